//! A lane: one shared, pipelined connection of one worker to one endpoint, for one identity.
//!
//! Sessions append their command bytes to its output and leave a receiver; the lane's task writes what has gathered
//! in one go when the sessions that are ready have had their turn, and hands replies back in order. A session always
//! uses the same lane for an identity, so its commands keep their order. Nothing is ever sent twice: when the
//! connection breaks, every receiver learns that its command's fate is unknown.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::endpoint::{Endpoint, Failure, Identity};
use super::wire::{self, Wire, malformed};
use crate::clock::Micros;

/// Who gets the replies of one or more commands that a session sent in a row.
pub trait Receiver {
    /// `count` whole replies. `latency` is the time since the first of them was asked for.
    fn replies(&mut self, bytes: &[u8], count: u32, latency: Micros);
    /// No replies will come for the last `count` commands.
    fn lost(&mut self, count: u32, error: &str);
    /// Whether a further command with this token can be answered through this receiver too.
    fn takes(&self, token: (u64, u64)) -> bool;
}

/// A shared connection; the handle that sessions keep.
#[derive(Debug)]
pub struct Lane<R> {
    /// Where it goes.
    pub endpoint: Arc<Endpoint>,
    /// As what it speaks.
    pub identity: Identity,
    inner: RefCell<Inner<R>>,
    scratch: Rc<RefCell<Box<[u8]>>>,
    /// When something was last sent.
    used_at: Cell<Micros>,
}

#[derive(Debug)]
struct Inner<R> {
    out: Vec<u8>,
    sent: usize,
    pending: VecDeque<Pending<R>>,
    waker: Option<Waker>,
    phase: Phase,
    heard_at: Micros,
    /// A command has waited too long: the connection is given up.
    late: bool,
    /// Nobody will send any more: the task ends.
    retired: bool,
}

#[derive(Debug)]
struct Pending<R> {
    receiver: R,
    count: u32,
    sent_at: Micros,
}

#[derive(Debug)]
enum Phase {
    /// No connection; one is made when there is something to send.
    Idle,
    /// Being made, or up.
    Busy,
    /// The last attempt failed; until then every command fails at once.
    Down { until: Micros, error: String },
}

/// How long failed connection attempts are not repeated: from the first to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// A lane whose endpoint takes no bytes holds at most this much; sessions then wait.
const CONGESTED: usize = 16 << 20;

impl<R: Receiver + 'static> Lane<R> {
    /// A lane that connects when it is first used. `scratch` is the worker's read buffer.
    pub fn start(endpoint: Arc<Endpoint>, identity: Identity, scratch: Rc<RefCell<Box<[u8]>>>) -> Rc<Self> {
        let lane = Rc::new(Self {
            endpoint,
            identity,
            inner: RefCell::new(Inner {
                out: Vec::new(),
                sent: 0,
                pending: VecDeque::new(),
                waker: None,
                phase: Phase::Idle,
                heard_at: Micros(0),
                late: false,
                retired: false,
            }),
            scratch,
            used_at: Cell::new(Micros::now()),
        });
        tokio::task::spawn_local(Rc::clone(&lane).run());
        lane
    }

    /// Whether so much is waiting to be written that the sender should wait.
    pub fn congested(&self) -> bool {
        self.inner.borrow().out.len() > CONGESTED
    }

    /// Why a command would fail at once: the endpoint could not be reached a moment ago.
    #[inline]
    pub fn refusal(&self, now: Micros) -> Option<String> {
        match &self.inner.borrow().phase {
            Phase::Down { until, error } if now < *until => Some(error.clone()),
            _ => None,
        }
    }

    /// Sends one command. `token` names the receiver, which is only made if the last one cannot take the reply too.
    #[inline]
    pub fn send(&self, request: &[u8], token: (u64, u64), now: Micros, receiver: impl FnOnce() -> R) {
        let mut inner = self.inner.borrow_mut();
        if inner.out.is_empty()
            && let Some(waker) = inner.waker.take()
        {
            waker.wake();
        }
        inner.out.extend_from_slice(request);
        match inner.pending.back_mut() {
            Some(last) if last.receiver.takes(token) => last.count += 1,
            _ => inner.pending.push_back(Pending { receiver: receiver(), count: 1, sent_at: now }),
        }
        self.used_at.set(now);
    }

    /// Looks after the connection: called a few times a second. Tells when a command has waited too long.
    pub fn tick(&self, now: Micros) {
        let mut inner = self.inner.borrow_mut();
        let limit = Micros::of(self.endpoint.command_timeout);
        // Oldest request, not last write: traffic alone is no sign of life. Bytes of a long reply are.
        let late = inner.pending.front().is_some_and(|oldest| {
            now.since(oldest.sent_at) > limit && now.since(inner.heard_at) > limit && matches!(inner.phase, Phase::Busy)
        });
        if late {
            inner.late = true;
            if let Some(waker) = inner.waker.take() {
                waker.wake();
            }
        }
    }

    /// How long nothing has been sent, if nothing is awaited either.
    pub fn unused_for(&self, now: Micros) -> Option<Micros> {
        self.inner.borrow().pending.is_empty().then(|| now.since(self.used_at.get()))
    }

    /// Ends the connection; the lane's task ends when nobody else holds it.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.retired = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    async fn run(self: Rc<Self>) {
        let mut failures = 0u32;
        loop {
            self.wait_for_work().await;
            if self.inner.borrow().retired {
                return;
            }
            let wire = wire::open(&self.endpoint, &self.identity, "larder", &[]).await;
            let failure = match wire {
                Ok(wire) => {
                    failures = 0;
                    let error = self.serve(wire).await;
                    match error.kind() {
                        io::ErrorKind::TimedOut => Failure::Timeout(self.endpoint.command_timeout),
                        _ => Failure::Lost(error.to_string()),
                    }
                }
                Err(failure) => {
                    failures += 1;
                    failure
                }
            };
            self.fail(&failure, failures);
        }
    }

    async fn wait_for_work(&self) {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if inner.pending.is_empty() && !inner.retired {
                inner.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            inner.phase = Phase::Busy;
            inner.heard_at = Micros::now();
            Poll::Ready(())
        })
        .await;
    }

    /// Writes and reads until the connection ends; the error says why.
    async fn serve(&self, mut wire: Wire) -> io::Error {
        self.inner.borrow_mut().heard_at = Micros::now();
        let error = poll_fn(|cx| {
            loop {
                let mut inner = self.inner.borrow_mut();
                if inner.late || inner.retired {
                    inner.late = false;
                    return Poll::Ready(io::Error::from(io::ErrorKind::TimedOut));
                }
                let Inner { out, sent, waker, .. } = &mut *inner;
                if let Poll::Ready(Err(error)) = wire.poll_send(cx, out, sent) {
                    return Poll::Ready(error);
                }
                *waker = Some(cx.waker().clone());
                drop(inner);
                let mut scratch = self.scratch.borrow_mut();
                match wire.poll_replies(cx, &mut scratch, |scanner, bytes| self.deliver(scanner, bytes)) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(error),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        wire.close().await;
        error
    }

    /// Hands the whole replies at the start of `bytes` to their receivers; how many bytes that was.
    fn deliver(&self, scanner: &mut crate::resp::scan::Scanner, bytes: &[u8]) -> io::Result<usize> {
        let now = Micros::now();
        let mut inner = self.inner.borrow_mut();
        inner.heard_at = now;
        let mut used = 0;
        // Replies for one receiver are handed over together.
        let (mut start, mut run) = (0, 0u32);
        loop {
            let whole = scanner.scan(&bytes[used..]).map_err(malformed)?;
            if whole.is_some() && bytes[used] == b'>' {
                // A push on an untracked connection: not asked for, not for anybody.
                used += whole.unwrap_or(0);
                if run == 0 {
                    start = used;
                    continue;
                }
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a push between replies of a shared connection",
                ));
            }
            if let Some(length) = whole {
                used += length;
                run += 1;
            }
            let Some(front) = inner.pending.front_mut() else {
                if whole.is_none() {
                    return Ok(used);
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
            };
            if run == front.count || (whole.is_none() && run > 0) {
                front.count -= run;
                let latency = now.since(front.sent_at);
                if front.count == 0 {
                    if let Some(mut done) = inner.pending.pop_front() {
                        // The receiver may send again (a held reply), so the lane must be free meanwhile.
                        drop(inner);
                        done.receiver.replies(&bytes[start..used], run, latency);
                        inner = self.inner.borrow_mut();
                    }
                } else {
                    front.receiver.replies(&bytes[start..used], run, latency);
                }
                (start, run) = (used, 0);
            }
            if whole.is_none() {
                return Ok(used);
            }
        }
    }

    /// The connection is gone: every command that was waiting learns it.
    fn fail(&self, failure: &Failure, failures: u32) {
        let error = self.endpoint.error(failure);
        let lost = {
            let mut inner = self.inner.borrow_mut();
            inner.out.clear();
            inner.sent = 0;
            inner.phase = if failures == 0 {
                Phase::Idle
            } else {
                tracing::warn!(upstream = %self.endpoint.upstream, "{error}");
                let wait = (BACKOFF.0 * 2u32.saturating_pow(failures.min(16) - 1)).min(BACKOFF.1);
                Phase::Down { until: Micros::now().plus(Micros::of(wait)), error: error.clone() }
            };
            std::mem::take(&mut inner.pending)
        };
        for mut pending in lost {
            pending.receiver.lost(pending.count, &error);
        }
    }
}
