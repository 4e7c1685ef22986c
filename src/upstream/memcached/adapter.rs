//! The stream that a wire takes for a Redis server.
//!
//! Commands that are written to it become requests to the node at once; replies that are read from it stand in the order
//! of the commands. There is no task and no channel between the two sides: whoever reads or writes moves everything on
//! that can be moved. Two rules keep the order that a client may rely on: the node answers in the order of the requests,
//! and while a command of several steps is at work, nothing that names its key passes it.
//!
//! What is held is bounded: no more commands are taken while [`MOST_UNDERWAY`] are under way or [`HIGH`] bytes wait on
//! either side, or in between for a command in front. One command may be larger than that, as in Redis.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Server;
use super::commands::batch::{self, Batch};
use super::commands::plain::{self, Greeting};
use super::commands::{self, Step, Work};
use super::desk::Desk;
use super::meta::{self, Found, Kind, Reply};
use crate::keyvalue::Refusal;
use crate::net::Stream;
use crate::resp::decode::{DecodeLimits, Decoder};
use crate::resp::{Command, Proto, encode, number};

/// Commands under way at most.
const MOST_UNDERWAY: usize = 4096;
/// Bytes that may wait on a side before no more commands are taken.
const HIGH: usize = 1 << 20;
/// How much is read at once.
const READ: usize = 64 << 10;
/// What a wire may ask: what clients may, since it has been checked there.
const LIMITS: DecodeLimits =
    DecodeLimits { max_bulk: 512 << 20, max_args: 1 << 24, max_inline: 64 << 10, max_request: u32::MAX as usize };

/// A connection to a node that looks like one to a Redis server.
#[derive(Debug)]
pub struct Adapter {
    socket: Stream,
    server: Arc<Server>,
    proto: Proto,
    /// A transaction that is being gathered.
    batch: Option<Box<Batch>>,
    decoder: Decoder,
    /// Bytes of commands that have not begun.
    input: Vec<u8>,
    /// A command at the start of `input` has been decoded, and has to wait; its length.
    held: Option<usize>,
    out: Vec<u8>,
    sent: usize,
    /// Bytes of the node that are no whole reply yet.
    inbound: Vec<u8>,
    /// As many bytes are needed before it is worth looking again.
    wanted: usize,
    underway: VecDeque<Underway>,
    /// Bytes of replies in `underway`, which wait for those in front of them.
    waiting: usize,
    /// How many commands are done and gone: the number of the first in `underway`.
    gone: u64,
    /// Whom the node's next replies are for: a command's number, and how many.
    owed: VecDeque<(u64, usize)>,
    /// The keys of commands of several steps: each has one at most.
    changing: HashSet<Box<[u8]>>,
    replies: Vec<u8>,
    taken: usize,
    ended: bool,
    fault: Option<(io::ErrorKind, String)>,
}

#[derive(Debug)]
struct Underway {
    work: Work,
    /// Its reply, while those before it are not complete.
    reply: Vec<u8>,
    done: bool,
}

impl Adapter {
    /// Over a socket that is connected to the node.
    pub fn new(socket: Stream, server: Arc<Server>) -> Self {
        Self {
            socket,
            server,
            proto: Proto::Resp2,
            batch: None,
            decoder: Decoder::default(),
            input: Vec::new(),
            held: None,
            out: Vec::new(),
            sent: 0,
            inbound: Vec::new(),
            wanted: 1,
            underway: VecDeque::new(),
            waiting: 0,
            gone: 0,
            owed: VecDeque::new(),
            changing: HashSet::new(),
            replies: Vec::new(),
            taken: 0,
            ended: false,
            fault: None,
        }
    }

    fn has_room(&self) -> bool {
        self.underway.len() < MOST_UNDERWAY
            && self.out.len() - self.sent < HIGH
            && self.replies.len() - self.taken < HIGH
            && self.waiting < HIGH
    }

    /// Begins the commands in `input` that may begin.
    fn feed(&mut self) -> io::Result<()> {
        let input = std::mem::take(&mut self.input);
        let used = self.begin_all(&input);
        self.input = input;
        self.input.drain(..used?);
        if self.input.is_empty() && self.input.capacity() > HIGH {
            self.input = Vec::new();
        }
        Ok(())
    }

    /// The same with these bytes; how many of them were commands that have begun.
    fn begin_all(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while self.has_room() {
            let rest = &bytes[used..];
            let length = match self.held.take() {
                Some(length) => length,
                None => match self.decoder.decode(rest, &LIMITS).map_err(|fault| wrong(&fault.to_string()))? {
                    Some(length) => length,
                    None => break,
                },
            };
            let decoder = std::mem::take(&mut self.decoder);
            let begun = match decoder.command(rest) {
                Some(command) if self.must_wait(&command) => false,
                Some(command) => {
                    self.begin(&command);
                    true
                }
                None => true,
            };
            self.decoder = decoder;
            if !begun {
                self.held = Some(length);
                break;
            }
            used += length;
        }
        Ok(used)
    }

    /// Whether a command names a key that is being changed, or all keys.
    fn must_wait(&self, command: &Command<'_>) -> bool {
        if self.changing.is_empty() {
            return false;
        }
        let all = command.is(0, "flushall") || command.is(0, "flushdb") || command.is(0, "exec");
        // (A value that reads like the key makes it wait, too. That is harmless, and rare.)
        all || command.args(1).any(|arg| self.changing.contains(arg))
    }

    fn begin(&mut self, command: &Command<'_>) {
        let number = self.gone + self.underway.len() as u64;
        let mut reply = Vec::new();
        let front = self.underway.is_empty();
        let mut desk = Desk {
            out: &mut self.out,
            asked: 0,
            server: &self.server,
            proto: self.proto,
            reply: if front { &mut self.replies } else { &mut reply },
        };
        let begun = match own(command, &mut desk, &mut self.batch) {
            Some(begun) => begun,
            None => commands::begin(command, &mut desk),
        };
        let work = begun.unwrap_or_else(|refusal| {
            encode::error(desk.reply, refusal.text());
            Work::Answered
        });
        let asked = desk.asked;
        self.proto = desk.proto;
        if let Some(key) = work.key() {
            self.changing.insert(key.into());
        }
        let done = matches!(work, Work::Answered);
        if done && front {
            self.gone += 1;
            return;
        }
        self.waiting += reply.len();
        self.underway.push_back(Underway { work, reply, done });
        self.owe(number, asked);
    }

    fn owe(&mut self, number: u64, replies: usize) {
        match self.owed.back_mut() {
            _ if replies == 0 => {}
            Some((last, count)) if *last == number => *count += replies,
            _ => self.owed.push_back((number, replies)),
        }
    }

    /// Takes the whole replies at the start of `bytes`; how many bytes they were.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        loop {
            match meta::find(&bytes[used..]).map_err(|fault| wrong(fault.0))? {
                Found::Whole(reply, length) => {
                    used += length;
                    self.deliver(reply)?;
                }
                Found::Part(wanted) => {
                    self.wanted = wanted;
                    return Ok(used);
                }
            }
            if used == bytes.len() {
                self.wanted = 1;
                return Ok(used);
            }
        }
    }

    fn deliver(&mut self, mut reply: Reply<'_>) -> io::Result<()> {
        match reply.kind {
            Kind::ClientError if reply.value.starts_with(b"cannot increment") => reply.kind = Kind::Changed,
            // What was meant for a value may have been read as a request: nothing is certain on this connection any more.
            Kind::ClientError | Kind::Unknown => {
                let said = String::from_utf8_lossy(reply.value);
                return Err(wrong(&format!(
                    "it does not understand the meta protocol, which memcached has had since 1.6.10 (it said: {} {said})",
                    if reply.kind == Kind::Unknown { "ERROR" } else { "CLIENT_ERROR" },
                )));
            }
            _ => {}
        }
        let (number, left) = self.owed.front_mut().ok_or_else(|| wrong("a reply that nobody asked for"))?;
        let number = *number;
        *left -= 1;
        if *left == 0 {
            self.owed.pop_front();
        }
        let at = usize::try_from(number - self.gone).unwrap_or(usize::MAX);
        let Some(underway) = self.underway.get_mut(at) else { return Err(wrong("a reply to nothing")) };
        let before = underway.reply.len();
        let mut desk = Desk {
            out: &mut self.out,
            asked: 0,
            server: &self.server,
            proto: self.proto,
            reply: if at == 0 { &mut self.replies } else { &mut underway.reply },
        };
        let step = underway.work.take(&reply, &mut desk);
        let asked = desk.asked;
        underway.done = step == Step::Done;
        self.waiting += underway.reply.len() - before;
        if underway.done
            && let Some(key) = underway.work.key()
        {
            self.changing.remove(key);
        }
        self.owe(number, asked);
        if step == Step::Done {
            while let Some(done) = self.underway.front().filter(|first| first.done) {
                self.replies.extend_from_slice(&done.reply);
                self.waiting -= done.reply.len();
                self.underway.pop_front();
                self.gone += 1;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.out.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.sent += written?,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.out.capacity() > HIGH {
            self.out = Vec::new();
        }
        if let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx) {
            flushed?;
        }
        Ok(())
    }

    /// Reads once; whether there was something.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.wanted.saturating_sub(self.inbound.len()).clamp(READ, 16 * READ);
        self.inbound.reserve(room);
        let read = match pin!(self.socket.read_buf(&mut self.inbound)).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(read) => read?,
        };
        if read == 0 {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        if self.inbound.len() >= self.wanted {
            let inbound = std::mem::take(&mut self.inbound);
            let used = self.hear(&inbound);
            self.inbound = inbound;
            self.inbound.drain(..used?);
            if self.inbound.is_empty() && self.inbound.capacity() > HIGH {
                self.inbound = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what can be moved. After something has gone wrong nothing moves any more.
    fn advance(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some((kind, text)) = &self.fault {
            return Err(io::Error::new(*kind, text.clone()));
        }
        self.move_on(cx).inspect_err(|error| self.fault = Some((error.kind(), error.to_string())))
    }

    fn move_on(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if !self.input.is_empty() {
                self.feed()?;
            }
            self.send(cx)?;
            if self.replies.len() - self.taken >= HIGH || self.ended {
                return Ok(());
            }
            match self.receive(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(received) => received?,
            }
        }
    }
}

/// What concerns the connection and not the node's keys.
fn own(command: &Command<'_>, desk: &mut Desk<'_>, batch: &mut Option<Box<Batch>>) -> Option<Result<Work, Refusal>> {
    if command.is(0, "exec") {
        let Some(mut gathered) = batch.take() else { return Some(Err(Refusal::new("ERR EXEC without MULTI"))) };
        return Some(gathered.execute(desk).map(|()| Work::Batch(gathered)));
    }
    if let Some(gathered) = batch {
        gathered.queue(command);
        batch::queued(desk.reply);
        return Some(Ok(Work::Answered));
    }
    Some(match command.name().to_ascii_lowercase().as_slice() {
        b"ping" => Ok(plain::noop(desk, Greeting::Pong)),
        b"multi" => {
            *batch = Some(Box::new(Batch::new()));
            encode::ok(desk.reply);
            Ok(Work::Answered)
        }
        b"hello" => hello(command, desk),
        b"auth" => Err(Refusal::new("ERR memcached is spoken to without a password")),
        // Every connection is named in its handshake: a round trip here finds out whether anybody is there.
        b"client" if command.is(1, "setname") => Ok(plain::noop(desk, Greeting::Ok)),
        b"client" if command.is(1, "setinfo") => {
            encode::ok(desk.reply);
            Ok(Work::Answered)
        }
        b"client" if command.is(1, "id") => {
            desk.integer(0);
            Ok(Work::Answered)
        }
        b"select" => match command.opt(1).and_then(number::integer) {
            Some(0) => {
                encode::ok(desk.reply);
                Ok(Work::Answered)
            }
            _ => Err(Refusal::DATABASE),
        },
        _ => return None,
    })
}

fn hello(command: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    if command.len() > 2 {
        return Err(Refusal::new("ERR memcached is spoken to without a password"));
    }
    desk.proto = match command.opt(1) {
        Some(b"3") => Proto::Resp3,
        Some(b"2") => Proto::Resp2,
        None => desk.proto,
        Some(_) => return Err(Refusal::new("NOPROTO unsupported protocol version")),
    };
    plain::hello(desk.reply, desk.proto);
    Ok(Work::Answered)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

// === impl AsyncRead, AsyncWrite ===

impl AsyncRead for Adapter {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.replies.len() {
            this.replies.clear();
            this.taken = 0;
            let advanced = this.advance(cx);
            // What was answered before something went wrong is delivered first.
            if this.replies.is_empty() {
                advanced?;
                // (An end of the stream is Ready with nothing.)
                return if this.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
        let waiting = &this.replies[this.taken..];
        let some = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..some]);
        this.taken += some;
        if this.taken == this.replies.len() && this.replies.capacity() > HIGH {
            this.replies = Vec::new();
            this.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Adapter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.has_room() || (this.held.is_some() && this.input.len() >= HIGH) {
            this.advance(cx)?;
            if !this.has_room() || (this.held.is_some() && this.input.len() >= HIGH) {
                return Poll::Pending;
            }
        }
        // Whole commands are taken from where they lie; only a part of one is copied, or one that has to wait. The rest is
        // left to whoever writes, and whose bound it counts for.
        let mut used = if this.input.is_empty() { this.begin_all(bytes)? } else { 0 };
        if used == 0 {
            used = bytes.len().min(HIGH);
            this.input.extend_from_slice(&bytes[..used]);
            this.feed()?;
        }
        this.send(cx)?;
        Poll::Ready(Ok(used))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.send(cx)?;
        if this.out.is_empty() { Pin::new(&mut this.socket).poll_flush(cx) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
