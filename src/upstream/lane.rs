//! A lane: one shared, pipelined connection of one worker to one endpoint, for one identity.
//!
//! Sessions append their command bytes to its output and leave a receiver; the lane's task writes what has gathered
//! in one go when the sessions that are ready have had their turn, and hands replies back in order. A session always
//! uses the same lane for an identity, so its commands keep their order. Nothing is ever sent twice: when the
//! connection breaks, every receiver learns that its command's fate is unknown.
//!
//! A leased lane is the same thing for one session at a time (MULTI, blocking commands, MONITOR). What it holds at the
//! server ends with its connection, so it never connects a second time.

mod verdict;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::breaker::Breaker;
use super::endpoint::{Endpoint, Failure, Identity};
use super::progress::Progress;
use super::wire::{self, Wire, malformed};
use crate::clock::Micros;
use crate::logs::sample;

/// Who gets the replies of one or more commands that a session sent in a row.
pub trait Receiver {
    /// `count` whole replies. `latency` is the time since the first of them was asked for.
    fn replies(&mut self, bytes: &[u8], count: u32, latency: Micros);
    /// No replies will come for the last `count` commands.
    fn lost(&mut self, count: u32, error: &str);
    /// The same, because the lane was closed from this side: nobody waits for them, and the endpoint is not to blame.
    fn closed(&mut self, count: u32);
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
    /// Whether it may be asked, and where it is told how that went.
    breaker: Arc<Breaker>,
    inner: RefCell<Inner<R>>,
    scratch: Rc<RefCell<Box<[u8]>>>,
    /// When something was last sent.
    used_at: Cell<Micros>,
    /// It is leased: its first connection is its only one.
    leased: bool,
    /// How long a reply may take.
    patience: Cell<Micros>,
    /// The same while nothing but trying tells whether the endpoint is there.
    trial: Cell<Option<Micros>>,
    /// The number that the server gave a leased connection (CLIENT ID); 0 until it is known.
    client_id: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Inner<R> {
    out: Vec<u8>,
    sent: usize,
    pending: VecDeque<Pending<R>>,
    waker: Option<Waker>,
    phase: Phase,
    progress: Progress,
    /// Replies that the breaker has not been told of.
    answered: u64,
    /// The oldest command has waited too long: this connection is to be given up.
    late: bool,
    /// The endpoint has left the upstream: nothing waits for it any longer.
    cut: bool,
    /// Nobody uses the lane any more: its task is to end.
    closing: bool,
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
    /// Being made: bounded by the connect timeout.
    Connecting,
    /// Up.
    Up,
    /// The last attempt failed; until then every command fails at once.
    Down {
        until: Micros,
        error: String,
        /// How often the breaker had closed by then: when it closes once more, the endpoint is there again.
        recoveries: u64,
    },
}

/// How long failed connection attempts are not repeated: from the first to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// Why a command is not waited for any more.
const LEFT: &str = "it has left the upstream or is down";
/// The count of a command whose replies never end.
const ENDLESS: u32 = u32::MAX;
/// A lane whose endpoint takes no bytes holds at most this much; sessions then wait.
const CONGESTED: usize = 16 << 20;

impl<R> Inner<R> {
    /// Has the lane's task look at what has changed.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<R: Receiver + 'static> Lane<R> {
    /// A lane that connects when it is first used; `leased`: for one session at a time, with one connection in its life. `scratch` is the
    /// worker's read buffer.
    pub fn start(
        endpoint: Arc<Endpoint>,
        breaker: Arc<Breaker>,
        identity: Identity,
        scratch: Rc<RefCell<Box<[u8]>>>,
        leased: bool,
    ) -> Rc<Self> {
        let patience = Cell::new(Micros::of(endpoint.command_timeout));
        let lane = Rc::new(Self {
            endpoint,
            breaker,
            identity,
            inner: RefCell::new(Inner {
                out: Vec::new(),
                sent: 0,
                pending: VecDeque::new(),
                waker: None,
                phase: Phase::Idle,
                progress: Progress::begun(Micros(0)),
                answered: 0,
                late: false,
                cut: false,
                closing: false,
            }),
            scratch,
            used_at: Cell::new(Micros::now()),
            leased,
            patience,
            trial: Cell::new(None),
            client_id: Arc::default(),
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
            Phase::Down { until, error, recoveries }
                if now < *until && (self.leased || *recoveries == self.breaker.recoveries()) =>
            {
                Some(error.clone())
            }
            _ => None,
        }
    }

    /// Sends one command. `token` names the receiver, which is only made if the last one cannot take the reply too.
    #[inline]
    pub fn send(&self, request: &[u8], token: (u64, u64), now: Micros, receiver: impl FnOnce() -> R) {
        let mut inner = self.inner.borrow_mut();
        if inner.out.is_empty() {
            inner.wake();
        }
        inner.out.extend_from_slice(request);
        match inner.pending.back_mut() {
            Some(last) if last.receiver.takes(token) => last.count += 1,
            _ => inner.pending.push_back(Pending { receiver: receiver(), count: 1, sent_at: now }),
        }
        self.used_at.set(now);
    }

    /// Sends a command whose replies never end.
    pub fn send_endless(&self, request: &[u8], now: Micros, receiver: R) {
        self.send(request, (0, 0), now, || receiver);
        if let Some(last) = self.inner.borrow_mut().pending.back_mut() {
            last.count = ENDLESS;
        }
    }

    /// From now on a reply may take the command timeout and `more`; `None` for ever.
    pub fn wait_for(&self, more: Option<Duration>) {
        let wait = |more| Micros::of(self.endpoint.command_timeout).plus(Micros::of(more));
        self.patience.set(more.map_or(Micros::NEVER, wait));
    }

    /// From now on, until the breaker has closed, a reply may take no longer than this, connecting included.
    pub fn try_for(&self, limit: Micros) {
        self.trial.set(Some(limit));
    }

    /// Whether it can be given to another session: its connection is up and owes nothing.
    pub fn is_vacant(&self) -> bool {
        let inner = self.inner.borrow();
        inner.pending.is_empty() && matches!(inner.phase, Phase::Up) && !inner.late && !inner.cut && !inner.closing
    }

    /// Whether its task has been told to end, or its only connection is over.
    pub fn closed(&self) -> bool {
        let inner = self.inner.borrow();
        inner.closing || matches!(inner.phase, Phase::Down { until: Micros::NEVER, .. })
    }

    /// The server's number of a leased connection (CLIENT ID); 0 until it is known.
    pub fn client_id(&self) -> &Arc<AtomicU64> {
        &self.client_id
    }

    /// Looks after the connection: called a few times a second. Tells when a command has waited too long; but not if we were
    /// held up ourselves (`late`), and its reply may lie there unread.
    pub fn tick(&self, now: Micros, late: bool) {
        let mut inner = self.inner.borrow_mut();
        self.breaker.note_answered(std::mem::take(&mut inner.answered));
        if self.breaker.flows() {
            self.trial.set(None);
        }
        let (limit, trial) = (self.patience.get(), self.trial.get());
        // Oldest request, not last write: traffic alone is no sign of life. Bytes of a long reply are.
        let overdue = inner.pending.front().is_some_and(|oldest| match (&inner.phase, trial) {
            (Phase::Up, trial) => inner.progress.stalled(oldest.sent_at, trial.unwrap_or(limit), now),
            (Phase::Connecting, Some(trial)) => now.since(oldest.sent_at) > trial,
            _ => false,
        });
        if overdue && !late {
            inner.late = true;
            inner.wake();
        }
    }

    /// The endpoint has left the upstream, or is down. A command that may take longer than others (it blocks, or never ends) is not
    /// waited for any more: perhaps nobody is there to answer it.
    pub fn cut(&self) {
        if self.patience.get() <= Micros::of(self.endpoint.command_timeout) {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        inner.cut = true;
        inner.wake();
    }

    /// How long nothing has been sent, if nothing is awaited either.
    pub fn unused_for(&self, now: Micros) -> Option<Micros> {
        self.inner.borrow().pending.is_empty().then(|| now.since(self.used_at.get()))
    }

    /// Ends the connection and the lane's task. For a lane that no session holds.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.closing = true;
        inner.wake();
    }

    async fn run(self: Rc<Self>) {
        let mut failures = 0u32;
        loop {
            self.wait_for_work().await;
            if self.inner.borrow().closing {
                return self.end();
            }
            let begun = Micros::now();
            let failure = match self.open().await {
                Ok(wire) => {
                    failures = 0;
                    let error = self.serve(wire).await;
                    match error.kind() {
                        io::ErrorKind::TimedOut => Failure::Timeout(self.limit().duration()),
                        _ => Failure::Lost(error.to_string()),
                    }
                }
                Err(failure) => {
                    failures += 1;
                    failure
                }
            };
            if self.inner.borrow().closing {
                return self.end();
            }
            self.blame(&failure, begun);
            self.fail(&failure, failures);
            if self.leased {
                return;
            }
        }
    }

    /// How long a reply may take now.
    fn limit(&self) -> Micros {
        self.trial.get().unwrap_or(self.patience.get())
    }

    async fn open(&self) -> Result<Wire, Failure> {
        let given_up = poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if inner.late {
                return Poll::Ready(());
            }
            inner.waker = Some(cx.waker().clone());
            Poll::Pending
        });
        tokio::select! {
            opened = self.connect() => opened,
            () = given_up => {
                Err(Failure::Connect(format!("no connection within {:?}", self.limit().duration())))
            }
        }
    }

    async fn connect(&self) -> Result<Wire, Failure> {
        if !self.leased {
            return wire::open(&self.endpoint, &self.identity, "larder", &[]).await;
        }
        let (wire, number) = wire::open_numbered(&self.endpoint, &self.identity, "larder-lease").await?;
        self.client_id.store(number, Ordering::Release);
        Ok(wire)
    }

    async fn wait_for_work(&self) {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if inner.pending.is_empty() && !inner.closing {
                inner.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            inner.phase = Phase::Connecting;
            inner.late = false;
            Poll::Ready(())
        })
        .await;
    }

    /// Writes and reads until the connection ends; the error says why.
    async fn serve(&self, mut wire: Wire) -> io::Error {
        {
            let mut inner = self.inner.borrow_mut();
            inner.phase = Phase::Up;
            inner.progress = Progress::begun(Micros::now());
            inner.late = false;
        }
        let error = poll_fn(|cx| {
            loop {
                let mut inner = self.inner.borrow_mut();
                if inner.cut {
                    return Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, LEFT));
                }
                if inner.late || inner.closing {
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
                self.judge(&bytes[used..used + length], now);
                used += length;
                run += 1;
                inner.answered += 1;
            } else {
                inner.progress.heard(used > 0, bytes.len() - used, now);
                if used > 0 {
                    self.breaker.heard(now);
                }
            }
            let Some(front) = inner.pending.front() else {
                if whole.is_none() {
                    return Ok(used);
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
            };
            if (run == front.count || (whole.is_none() && run > 0))
                && let Some(mut front) = inner.pending.pop_front()
            {
                if front.count != ENDLESS {
                    front.count -= run;
                }
                // The receiver may use the lane (to send again, or to give it back), so it must be free meanwhile.
                drop(inner);
                front.receiver.replies(&bytes[start..used], run, now.since(front.sent_at));
                inner = self.inner.borrow_mut();
                if front.count > 0 {
                    inner.pending.push_front(front);
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
            inner.phase = if self.leased {
                Phase::Down { until: Micros::NEVER, error: error.clone(), recoveries: 0 }
            } else if failures == 0 {
                Phase::Idle
            } else {
                if tracing::enabled!(tracing::Level::DEBUG) && sample::LANES.admits() {
                    tracing::debug!(upstream = %self.endpoint.upstream, "{error}");
                }
                let wait = (BACKOFF.0 * 2u32.saturating_pow(failures.min(16) - 1)).min(BACKOFF.1);
                let until = Micros::now().plus(Micros::of(wait));
                Phase::Down { until, error: error.clone(), recoveries: self.breaker.recoveries() }
            };
            std::mem::take(&mut inner.pending)
        };
        for mut pending in lost {
            pending.receiver.lost(pending.count, &error);
        }
    }

    /// The lane has been closed. Whoever still waits is told, for what a write leaves to be done.
    fn end(&self) {
        let lost = {
            let mut inner = self.inner.borrow_mut();
            inner.out = Vec::new();
            let error = "ERR this connection was closed".to_owned();
            inner.phase = Phase::Down { until: Micros::NEVER, error, recoveries: 0 };
            std::mem::take(&mut inner.pending)
        };
        for mut pending in lost {
            pending.receiver.closed(pending.count);
        }
    }
}

#[cfg(test)]
mod tests;
