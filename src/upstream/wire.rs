//! The bytes of one upstream connection: connecting, the handshake, and reading replies whole.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::endpoint::{Duty, Endpoint, Failure, Identity, Speaks};
use super::memcached::Adapter;
use crate::net::{self, Stream};
use crate::resp::scan::Scanner;
use crate::resp::{Proto, encode};

/// A connected stream with its unfinished input.
#[derive(Debug)]
pub struct Wire {
    stream: Link,
    scanner: Scanner,
    input: Vec<u8>,
}

/// What the bytes go over.
#[derive(Debug)]
enum Link {
    /// A socket, to a server that speaks Redis's protocol.
    Direct(Stream),
    /// Something that speaks it in the place of one that does not.
    Memcached(Box<Adapter>),
}

/// How much is read at once. Many small replies fit in; a large reply grows the buffer to its size for its time.
const READ: usize = 64 << 10;
/// A reply of more than this is taken for a broken stream: four times Redis's largest string.
const MAX_REPLY: usize = 2 << 30;

/// The first element of a primary's answer to ROLE.
const MASTER: &[u8] = b"\r\nmaster\r\n";

/// What is expected of the endpoint's own replies during the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The connection is of no use if this is refused.
    Must,
    /// Good to have.
    May,
    /// ROLE, of a server that has to be a primary.
    Primary,
    /// CLIENT ID, good to have.
    Number,
}

/// Connects and introduces itself, bounded by the connect timeout. `extra` commands must be answered without error.
pub async fn open(endpoint: &Endpoint, identity: &Identity, name: &str, extra: &[&[&[u8]]]) -> Result<Wire, Failure> {
    let extra: Vec<_> = extra.iter().map(|words| (Need::Must, *words)).collect();
    connect(endpoint, identity, name, &extra).await.map(|(wire, _)| wire)
}

/// The same, and the server's number of the connection (CLIENT ID). An old server has no such command, or an ACL forbids
/// it: 0.
pub async fn open_numbered(endpoint: &Endpoint, identity: &Identity, name: &str) -> Result<(Wire, u64), Failure> {
    connect(endpoint, identity, name, &[(Need::Number, &[b"CLIENT", b"ID"])]).await
}

async fn connect(
    endpoint: &Endpoint,
    identity: &Identity,
    name: &str,
    extra: &[(Need, &[&[u8]])],
) -> Result<(Wire, u64), Failure> {
    let late = || Failure::Connect(format!("no connection within {:?}", endpoint.connect_timeout));
    // Whoever has to wait for leave has waited for others' attempts, which end in this time too.
    let turn = tokio::time::timeout(endpoint.connect_timeout, endpoint.dialing.acquire()).await;
    let _turn = turn.map_err(|_| late())?;
    let attempt = async {
        let stream = net::connect(&endpoint.address, endpoint.tls.as_ref())
            .await
            .map_err(|error| Failure::Connect(error.to_string()))?;
        let stream = match &endpoint.speaks {
            Speaks::Redis => Link::Direct(stream),
            Speaks::Memcached(server) => Link::Memcached(Box::new(Adapter::new(stream, Arc::clone(server)))),
        };
        let mut wire = Wire { stream, scanner: Scanner::default(), input: Vec::new() };
        let number = wire.handshake(endpoint.duty, identity, name, extra).await?;
        Ok((wire, number))
    };
    tokio::time::timeout(endpoint.connect_timeout, attempt).await.unwrap_or_else(|_| Err(late()))
}

impl Wire {
    async fn handshake(
        &mut self,
        duty: Duty,
        identity: &Identity,
        name: &str,
        extra: &[(Need, &[&[u8]])],
    ) -> Result<u64, Failure> {
        let mut request = Vec::new();
        let mut needs = Vec::new();
        let mut ask = |need: Need, words: &[&[u8]]| {
            encode::command(&mut request, words);
            needs.push(need);
        };
        let (user, password) = match &identity.credentials {
            Some(known) => (known.username.as_deref(), known.password.expose().as_bytes()),
            None => (None, &b""[..]),
        };
        match (identity.proto, &identity.credentials) {
            (Proto::Resp3, None) => ask(Need::Must, &[b"HELLO", b"3"]),
            (Proto::Resp3, Some(_)) => {
                ask(Need::Must, &[b"HELLO", b"3", b"AUTH", user.unwrap_or("default").as_bytes(), password]);
            }
            (Proto::Resp2, None) => {}
            (Proto::Resp2, Some(_)) => match user {
                Some(user) => ask(Need::Must, &[b"AUTH", user.as_bytes(), password]),
                None => ask(Need::Must, &[b"AUTH", password]),
            },
        }
        if identity.database != 0 {
            ask(Need::Must, &[b"SELECT", identity.database.to_string().as_bytes()]);
        }
        ask(Need::May, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
        match duty {
            Duty::Any | Duty::Replica | Duty::ClusterPrimary => {}
            Duty::Primary => ask(Need::Primary, &[b"ROLE"]),
            Duty::ClusterReplica => ask(Need::Must, &[b"READONLY"]),
        }
        for (need, words) in extra {
            ask(*need, words);
        }
        // No command of a client has been sent yet.
        let lost =
            |error: io::Error| Failure::Connect(format!("it ended the connection during the handshake: {error}"));
        self.stream.write_all(&request).await.map_err(lost)?;
        let mut number = 0;
        for need in needs {
            let reply = self.reply().await.map_err(lost)?;
            if need == Need::Number {
                let digits = reply.strip_prefix(b":").and_then(|rest| std::str::from_utf8(rest.trim_ascii_end()).ok());
                number = digits.and_then(|digits| digits.parse().ok()).unwrap_or_default();
                continue;
            }
            if need != Need::May && reply.first() == Some(&b'-') {
                return Err(Failure::Refused(String::from_utf8_lossy(&reply[1..]).trim_end().to_owned()));
            }
            if need == Need::Primary && !reply.windows(MASTER.len()).any(|window| window == MASTER) {
                return Err(Failure::Refused("MASTERDOWN the server is no longer the primary".to_owned()));
            }
        }
        Ok(number)
    }

    /// Sends one command and reads its reply, within `limit`: for the handshake and for probes, never for clients.
    pub async fn ask(&mut self, words: &[&[u8]], limit: Duration) -> io::Result<Vec<u8>> {
        let mut request = Vec::new();
        encode::command(&mut request, words);
        let answer = async {
            self.stream.write_all(&request).await?;
            loop {
                let reply = self.reply().await?;
                if reply.first() != Some(&b'>') {
                    return Ok(reply);
                }
            }
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, answer).await.map_err(late)?
    }

    /// Sends several commands, `count` of them, and reads their replies, within `limit`.
    pub async fn ask_all(&mut self, requests: &[u8], count: usize, limit: Duration) -> io::Result<Vec<Vec<u8>>> {
        let answers = async {
            self.stream.write_all(requests).await?;
            self.stream.flush().await?;
            let mut replies = Vec::with_capacity(count);
            while replies.len() < count {
                let reply = self.reply().await?;
                if reply.first() != Some(&b'>') {
                    replies.push(reply);
                }
            }
            Ok(replies)
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, answers).await.map_err(late)?
    }

    /// The next frame, however long it takes: for connections on which something is told now and then.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = self.scanner.scan(&self.input).map_err(malformed)? {
                let rest = self.input.split_off(length);
                return Ok(std::mem::replace(&mut self.input, rest));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Writes what of `out` the socket takes, from `*sent` on; `Ready` when all is written.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, sent: &mut usize) -> Poll<io::Result<()>> {
        while *sent < out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &out[*sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => *sent += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        out.clear();
        *sent = 0;
        // Memory for a burst is not kept for ever.
        if out.capacity() > 1 << 20 {
            out.shrink_to(READ);
        }
        // Plain sockets have nothing to flush; TLS may.
        if matches!(self.stream, Link::Direct(Stream::Tls(_))) {
            Pin::new(&mut self.stream).poll_flush(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Reads once and hands every whole reply to `take`, in order. `scratch` is the worker's read buffer.
    pub fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        mut take: impl FnMut(&mut Scanner, &[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end of stream")));
                }
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled();
            let used = take(&mut self.scanner, bytes)?;
            self.input.extend_from_slice(&bytes[used..]);
            return Poll::Ready(Ok(()));
        }
        // The rest of a reply: straight behind what is there.
        let wanted = self.scanner.wanted().saturating_sub(self.input.len());
        self.input.reserve(wanted.clamp(READ, 64 << 20));
        let room = wanted.clamp(READ, 4 * READ);
        let start = self.input.len();
        self.input.resize(start + room, 0);
        let mut buffer = ReadBuf::new(&mut self.input[start..]);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        self.input.truncate(start + read);
        match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if read == 0 => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end of stream")));
            }
            Poll::Ready(Ok(())) => {}
        }
        let used = take(&mut self.scanner, &self.input)?;
        self.input.drain(..used);
        if self.input.is_empty() {
            self.input = Vec::new();
        } else if self.input.len() > MAX_REPLY {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a reply of more than 2 GiB")));
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye, as far as that goes without waiting: a peer that takes no bytes (TLS has a last word to say) must
    /// not keep those waiting who have to be told that the connection is gone.
    pub async fn close(mut self) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

// === impl Link ===

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Memcached(adapter) => Pin::new(adapter).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Memcached(adapter) => Pin::new(adapter).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_flush(cx),
            Self::Memcached(adapter) => Pin::new(adapter).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memcached(adapter) => Pin::new(adapter).poll_shutdown(cx),
        }
    }
}

/// What a reply that is none means for a connection: its end.
pub fn malformed(fault: crate::resp::scan::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {}", fault.0))
}
