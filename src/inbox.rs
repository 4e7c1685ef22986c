//! What threads hand to a worker: new clients, replies and messages that another worker's connection got, orders.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use crate::cache::{Entry, Waiter};
use crate::command::Shape;
use crate::listener::Accepted;
use crate::origin::Node;
use crate::resp::Proto;

/// A worker's letter box.
#[derive(Debug, Default)]
pub struct Inbox {
    letters: Mutex<Vec<Letter>>,
    waker: AtomicWaker,
    /// What the pushes among the letters will cost: bytes to be copied, and something for each copy.
    pushes: AtomicUsize,
}

/// What is handed to a worker.
#[derive(Debug)]
pub enum Letter {
    /// A client that was just accepted.
    Client(Box<Accepted>),
    /// A reply for one of its sessions.
    Reply(Waiter, Payload),
    /// Something that some of its sessions are told without having asked at that moment.
    Push(Arc<Vec<Member>>, Push),
    /// What a session has asked to be subscribed to is confirmed, or why nothing of it is.
    Subscribed {
        /// Who asked.
        session: u64,
        /// The number that it was given.
        request: u64,
        /// The error, if it was refused.
        refusal: Option<Box<str>>,
    },
    /// The upstream has other primaries now.
    NewPrimaries,
    /// There are subscription connections to be started.
    Links,
    /// A node whose tracked connection it is to keep.
    Follow(Arc<Node>),
    /// A session is to end.
    Kill(u64),
    /// What a session has waited for is there.
    Wake(u64),
    /// There are new rules.
    NewRules,
    /// The command table has changed.
    NewTable,
    /// Its sessions are to end, each in its turn within this time.
    Leave(Leaving, Duration),
    /// Its sessions end now, whatever they are at.
    Cut,
    /// The process ends.
    Stop,
}

/// A reply in the form in which it travels between threads.
#[derive(Clone, Debug)]
pub enum Payload {
    /// RESP3, converted where the client needs it.
    Entry(Entry),
    /// RESP3, converted where the client needs it.
    Resp3(Bytes, Shape),
    /// To be sent as it is.
    Verbatim(Bytes),
    /// The read was not done: the command is to be sent on the session's own connection.
    Retry(Bytes),
}

/// How much the process wants a session to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    /// Not at all.
    Stays,
    /// When it is idle.
    WhenIdle,
    /// When it is idle; what it waits for is ended.
    Soon,
    /// Likewise, though it is subscribed.
    Last,
}

/// A session that is to be told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The session's number.
    pub session: u64,
    /// Under which it asked to be told, and forgets when it no longer wants to be; 0: whatever comes.
    pub ticket: u64,
}

/// A frame that is no reply. All who get it share its bytes.
#[derive(Clone, Debug)]
pub struct Push {
    frame: Bytes,
    resp2: Option<Bytes>,
}

/// Pushes whose delivery would cost more than this have their sources wait.
const MAX_PUSHES: usize = 8 << 20;
/// What each copy costs besides its bytes.
const COPY: usize = 64;

impl Push {
    /// A RESP3 push (`>...`), which a RESP2 client gets as an array of the same elements.
    pub fn same_in_both(frame: Bytes) -> Self {
        Self { frame, resp2: None }
    }

    /// A RESP3 push, and what a RESP2 client gets in its place.
    pub fn of(frame: Bytes, resp2: Bytes) -> Self {
        Self { frame, resp2: Some(resp2) }
    }

    /// Writes it for a client that speaks `proto`.
    pub fn write(&self, out: &mut Vec<u8>, proto: Proto) {
        match (proto, &self.resp2) {
            (Proto::Resp3, _) => out.extend_from_slice(&self.frame),
            (Proto::Resp2, Some(other)) => out.extend_from_slice(other),
            (Proto::Resp2, None) => {
                out.push(b'*');
                out.extend_from_slice(self.frame.get(1..).unwrap_or_default());
            }
        }
    }

    /// How long it is, about.
    pub fn size(&self) -> usize {
        self.frame.len()
    }
}

impl Inbox {
    /// Leaves letters and wakes the worker.
    pub fn post(&self, new: impl IntoIterator<Item = Letter>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = letters.is_empty();
        let before = letters.len();
        letters.extend(new);
        let cost = letters[before..].iter().map(Letter::cost).sum();
        self.pushes.fetch_add(cost, Ordering::Relaxed);
        if idle && !letters.is_empty() {
            drop(letters);
            self.waker.wake();
        }
    }

    /// Takes what is there; registers the worker's task to be woken by the next letter.
    pub fn collect(&self, cx: &std::task::Context<'_>) -> Vec<Letter> {
        self.waker.register(cx.waker());
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.pushes.store(0, Ordering::Relaxed);
        std::mem::take(&mut *letters)
    }

    /// Whether so many pushes lie here that their source should wait.
    pub fn congested(&self) -> bool {
        self.pushes.load(Ordering::Relaxed) > MAX_PUSHES
    }
}

impl Letter {
    fn cost(&self) -> usize {
        match self {
            Self::Push(members, push) => members.len().saturating_mul(push.size() + COPY),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_costs_what_its_copies_cost_until_it_is_taken() {
        let inbox = Inbox::default();
        let members = |count| Arc::new(vec![Member { session: 1, ticket: 1 }; count]);
        let push = Push::same_in_both(Bytes::from_static(b">1\r\n+x\r\n"));
        inbox.post([Letter::Push(members(1000), push.clone())]);
        assert!(!inbox.congested());
        inbox.post([Letter::NewTable, Letter::Push(members(MAX_PUSHES / COPY), push)]);
        assert!(inbox.congested());
        let waker = std::task::Waker::noop();
        assert_eq!(inbox.collect(&std::task::Context::from_waker(waker)).len(), 3);
        assert!(!inbox.congested());
    }

    #[test]
    fn a_resp2_client_gets_an_array_or_what_was_said_for_it() {
        let written = |push: &Push, proto| {
            let mut out = Vec::new();
            push.write(&mut out, proto);
            String::from_utf8(out).expect("text")
        };
        let same = Push::same_in_both(Bytes::from_static(b">1\r\n+x\r\n"));
        assert_eq!(written(&same, Proto::Resp3), ">1\r\n+x\r\n");
        assert_eq!(written(&same, Proto::Resp2), "*1\r\n+x\r\n");
        let other = Push::of(Bytes::from_static(b">1\r\n+x\r\n"), Bytes::from_static(b"*2\r\n+y\r\n+z\r\n"));
        assert_eq!(written(&other, Proto::Resp3), ">1\r\n+x\r\n");
        assert_eq!(written(&other, Proto::Resp2), "*2\r\n+y\r\n+z\r\n");
    }
}
