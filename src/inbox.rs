//! What threads hand to a worker: new clients, replies that another worker's connection got, orders.

use std::sync::{Mutex, PoisonError};

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use crate::cache::{Entry, Waiter};
use crate::command::Shape;
use crate::listener::Accepted;

/// A worker's letter box.
#[derive(Debug, Default)]
pub struct Inbox {
    letters: Mutex<Vec<Letter>>,
    waker: AtomicWaker,
}

/// What is handed to a worker.
#[derive(Debug)]
pub enum Letter {
    /// A client that was just accepted.
    Client(Box<Accepted>),
    /// A reply for one of its sessions.
    Reply(Waiter, Payload),
    /// A session is to end.
    Kill(u64),
    /// The command table has changed.
    NewTable,
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

impl Inbox {
    /// Leaves letters and wakes the worker.
    pub fn post(&self, new: impl IntoIterator<Item = Letter>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = letters.is_empty();
        letters.extend(new);
        if idle && !letters.is_empty() {
            drop(letters);
            self.waker.wake();
        }
    }

    /// Takes what is there; registers the worker's task to be woken by the next letter.
    pub fn collect(&self, cx: &std::task::Context<'_>) -> Vec<Letter> {
        self.waker.register(cx.waker());
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
