//! What the two processes say to each other. Lines, so that either can be of another version: the number of the protocol comes first.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The only protocol so far.
pub(super) const PROTOCOL: u32 = 1;
/// What a new process asks with.
pub(super) const ASK: &str = "larder handover 1";
/// It accepts clients.
pub(super) const SERVING: &str = "serving";
/// The old one accepts no more.
pub(super) const LEAVING: &str = "leaving";
/// The old one has waited long enough for it to serve, and stays.
pub(super) const TOO_LATE: &str = "too late";

/// As many descriptors as one message can carry.
pub(super) const MOST_SOCKETS: usize = 250;
/// Longer lines are nobody's.
const MOST_BYTES: usize = 256 << 10;

/// What the old process hands over.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Offer {
    pub protocol: u32,
    /// Of the old process.
    pub version: String,
    pub pid: u32,
    /// What the descriptors are, in their order.
    pub sockets: Vec<Role>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What a socket is for.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Clients; with the address of the configuration.
    Listener(String),
    /// The admin page.
    Admin(String),
    /// The handover itself.
    Handover,
}

/// Sends a line, with descriptors.
pub(super) async fn send(stream: &UnixStream, line: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = format!("{line}\n").into_bytes();
    let mut sent = 0;
    while sent < bytes.len() {
        sent += stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                // They go with the first byte.
                if sent == 0 && !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets for one message"));
                }
                Ok(sendmsg(stream, &[IoSlice::new(&bytes[sent..])], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
    }
    Ok(())
}

/// Receives a line, with descriptors.
pub(super) async fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let (mut line, mut sockets) = (Vec::new(), Vec::new());
    while !line.ends_with(b"\n") {
        let mut chunk = [0; 4096];
        let count = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::CMSG_CLOEXEC;
                let count = recvmsg(stream, &mut [IoSliceMut::new(&mut chunk)], &mut control, flags)?.bytes;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(given) = message {
                        sockets.extend(given);
                    }
                }
                Ok(count)
            })
            .await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&chunk[..count]);
        if line.len() > MOST_BYTES || sockets.len() > MOST_SOCKETS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "that is no Larder"));
        }
    }
    line.pop();
    let line = String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "that is no Larder"))?;
    Ok((line, sockets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn a_line_and_its_descriptors_arrive_together() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let long = "x".repeat(100_000);
        let both = [socket.as_fd(), socket.as_fd()];
        let (sent, received) = tokio::join!(send(&one, &long, &both), receive(&other));
        sent.expect("sent");
        let (line, sockets) = received.expect("received");
        assert_eq!((line, sockets.len()), (long, 2));
        let copy = std::net::TcpListener::from(sockets.into_iter().next().expect("two"));
        assert_eq!(copy.local_addr().expect("bound"), socket.local_addr().expect("bound"));
        drop(one);
        assert_eq!(receive(&other).await.expect_err("an end").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_offer_of_a_later_version_with_more_in_it_is_understood() {
        let text = r#"{"protocol":1,"version":"9.9.9","pid":7,"more":true,"sockets":[{"listener":"127.0.0.1:6380"},"handover"]}"#;
        let offer: Offer = serde_json::from_str(text).expect("an offer");
        assert_eq!(offer.sockets, [Role::Listener("127.0.0.1:6380".to_owned()), Role::Handover]);
    }
}
