//! The tracked connection: the one connection of the process over which an endpoint's cacheable reads go.
//!
//! Replies and invalidations come on one stream, and its reader hands them on in exactly that order, before it looks
//! at the next frame. What is stored from it is therefore true as of one position of one stream. After every
//! (re)connection tracking is switched on before the first read is sent; whatever ends the connection is reported as
//! [`Event::Lost`] before anything else happens. A heartbeat proves that the stream is alive: an answered one says that
//! every push which the origin made before it has been seen.
//!
//! A read asks for the origin's expiry (`PTTL`) of its keys first, then for the value. Both are tracked reads, so a
//! change between the two is pushed before the value's reply and the fill is given up. Without tracking (TTL mode)
//! they are wrapped in MULTI/EXEC instead.

mod frame;
mod probe;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::breaker::{self, Breaker};
use super::endpoint::{Duty, Endpoint, Failure};
use super::progress::Progress;
use super::wire::{Wire, malformed};
use crate::clock::Micros;
use crate::config::Coherence;
use crate::logs::sample;
use crate::resp::scan::Scanner;
use crate::resp::{Proto, encode};
use frame::{integer, line, push, unwrap};
use probe::{announce, open};

/// A read for the tracked connection, with what its sender needs when the reply comes.
#[derive(Debug)]
pub struct Job<J> {
    /// Database to read in.
    pub database: u32,
    /// Keys whose expiry is asked for, in order.
    pub keys: SmallVec<[Box<[u8]>; 1]>,
    /// The command; empty for a barrier.
    pub request: Vec<u8>,
    /// The sender's own.
    pub tag: J,
}

/// What the reader hands on, in the order of the stream.
#[derive(Debug)]
pub enum Event<'a, J> {
    /// A connection is up and what is read on it is covered; the mode in which it works, and the protocol version.
    Up(Mode, Proto),
    /// A batch of frames has been handed on; what has gathered may be passed along.
    Batch,
    /// Nothing that was read before is covered any more.
    Lost(&'a str),
    /// An answered heartbeat: all pushes made before it was sent have been seen.
    Alive {
        /// When it was sent.
        sent_at: Micros,
        /// What came back: of a cluster's node, CLUSTER INFO.
        reply: &'a [u8],
    },
    /// A key was changed.
    Invalidate(&'a [u8]),
    /// All keys were.
    InvalidateAll,
    /// A job is done.
    Done {
        /// The sender's own.
        tag: J,
        /// `PTTL` of the job's keys; `None` where it was refused.
        pttls: &'a [Option<i64>],
        /// The command's reply; empty for a barrier.
        reply: &'a [u8],
        /// When the job was sent.
        sent_at: Micros,
    },
    /// A job will not be done.
    Failed(J),
}

/// How coherence is kept on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The origin pushes invalidations.
    Tracking,
    /// Nobody tells of changes: only a short time to live bounds them.
    Ttl,
}

/// What is asked of a connection.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// How changes are to be noticed.
    pub coherence: Coherence,
    /// Only changes under this prefix are of interest, but all of those (BCAST), and nothing is read.
    pub prefix: Option<&'a [u8]>,
}

/// The handle through which all workers send jobs.
#[derive(Debug)]
pub struct Tracked<J> {
    inbox: Mutex<VecDeque<Job<J>>>,
    open: AtomicBool,
    /// Nobody needs the connection any more.
    ended: AtomicBool,
    /// Replies that the connection awaits.
    awaited: AtomicUsize,
    waker: AtomicWaker,
    /// The server is there again: do not wait any longer before connecting.
    again: Notify,
}

/// Jobs that may wait to be taken up; beyond, senders go past the cache.
const MAX_INBOX: usize = 65_536;
/// Replies that may be awaited (two or more for each job); beyond, the same.
const MAX_AWAITED: usize = 262_144;
/// Awaited replies beyond which nothing is read that nobody waits for.
const BUSY: usize = 1024;
/// No job's database: the next job selects its own.
const NO_DATABASE: u32 = u32::MAX;
/// Reads that are under way at the same time on a new connection. Each that is answered makes room for one more, so that a server
/// that has just come back is not asked for everything at once, and a quick one is soon asked for all that is wanted.
const FIRST_WINDOW: usize = 64;
const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl<J> Default for Tracked<J> {
    fn default() -> Self {
        Self {
            inbox: Mutex::default(),
            open: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            awaited: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            again: Notify::new(),
        }
    }
}

impl<J> Tracked<J> {
    /// Hands a job over, or gives it back when there is no connection to do it on.
    pub fn submit(&self, job: Job<J>) -> Result<(), Job<J>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let full = inbox.len() >= MAX_INBOX || self.awaited.load(Ordering::Relaxed) >= MAX_AWAITED;
        if full || !self.open.load(Ordering::Acquire) {
            return Err(job);
        }
        inbox.push_back(job);
        if inbox.len() == 1 {
            self.waker.wake();
        }
        Ok(())
    }

    /// Whether a read that nobody waits for would be in nobody's way.
    pub fn has_time(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) < BUSY
    }

    /// The server is known to be there: a connection is to be made now, if there is none.
    pub fn nudge(&self) {
        self.again.notify_one();
    }

    /// Ends the connection for good: its server has no part in the upstream any more.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn set_open(&self) {
        let _inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.store(true, Ordering::Release);
    }

    fn shut(&self) -> VecDeque<Job<J>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.store(false, Ordering::Release);
        self.awaited.store(0, Ordering::Relaxed);
        std::mem::take(&mut inbox)
    }
}

/// What an awaited reply is.
#[derive(Debug)]
enum Awaited<J> {
    /// Of a command whose answer matters only if it is an error.
    Ok,
    /// Of SELECT.
    Select,
    Heartbeat,
    /// `PTTL` of the next key of the job behind.
    Expiry,
    /// The last reply of a job.
    Value(J),
    /// The reply of EXEC around a job.
    Wrapped(J, usize),
}

/// The reader's and writer's state.
struct Stream<'a, J, H> {
    handler: H,
    mode: Mode,
    /// The database that the last SELECT sent asks for.
    database: u32,
    /// The last SELECT answered was refused: what is read until the next one is not of the database asked for.
    misplaced: bool,
    out: Vec<u8>,
    sent: usize,
    awaited: VecDeque<(Awaited<J>, Micros)>,
    expiries: Vec<Option<i64>>,
    progress: Progress,
    /// Jobs under way, and how many there may be.
    jobs: usize,
    window: usize,
    breaker: &'a Breaker,
}

/// Keeps the tracked connection of an endpoint up and serves jobs on it, until it is ended. Runs on one worker.
pub async fn run<J, H>(
    endpoint: Arc<Endpoint>,
    breaker: Arc<Breaker>,
    how: How<'_>,
    tracked: Arc<Tracked<J>>,
    mut handler: H,
) where
    H: FnMut(Event<'_, J>),
{
    let mut scratch = vec![0; 64 << 10];
    let mut failures = 0u32;
    let mut said = None;
    while !tracked.ended() {
        let begun = Micros::now();
        let opened = open(&endpoint, how).await;
        let error = match opened {
            Ok((wire, mode, proto)) => {
                failures = 0;
                if said != Some(mode) && how.prefix.is_none() {
                    said = Some(mode);
                    announce(&endpoint, mode);
                }
                handler(Event::Up(mode, proto));
                tracked.set_open();
                let now = Micros::now();
                let mut stream = Stream {
                    handler: &mut handler,
                    mode,
                    database: 0,
                    misplaced: false,
                    out: Vec::new(),
                    sent: 0,
                    awaited: VecDeque::new(),
                    expiries: Vec::new(),
                    progress: Progress::begun(now),
                    jobs: 0,
                    window: FIRST_WINDOW,
                    breaker: &breaker,
                };
                let (error, since) = stream.serve(wire, &endpoint, &tracked, &mut scratch).await;
                let failure = match error.kind() {
                    _ if tracked.ended() => Failure::Lost(error.to_string()),
                    io::ErrorKind::TimedOut => Failure::Timeout(endpoint.heartbeat.timeout),
                    _ => Failure::Lost(error.to_string()),
                };
                if !tracked.ended() {
                    let awaited = u32::try_from(stream.awaited.len()).unwrap_or(u32::MAX);
                    // A heartbeat may have less time than a command; only what a command may not take is a sign of death.
                    let hung = endpoint.heartbeat.timeout >= endpoint.command_timeout;
                    breaker::blame(&breaker, &failure, awaited, if hung { since.max(begun) } else { Micros(0) });
                }
                // First of all nothing is covered any more; then those who wait are told.
                (stream.handler)(Event::Lost(&error.to_string()));
                for (awaited, _) in std::mem::take(&mut stream.awaited) {
                    if let Awaited::Value(tag) | Awaited::Wrapped(tag, _) = awaited {
                        (stream.handler)(Event::Failed(tag));
                    }
                }
                Failure::Lost(error.to_string())
            }
            Err(failure) => {
                failures += 1;
                breaker::blame(&breaker, &failure, 1, begun);
                failure
            }
        };
        for job in tracked.shut() {
            handler(Event::Failed(job.tag));
        }
        handler(Event::Batch);
        if tracked.ended() {
            return;
        }
        // (A connection that was lost has been told of by whoever heard of it.)
        if failures == 1 && how.prefix.is_none() && sample::UNCOVERED.admits() {
            tracing::warn!(upstream = %endpoint.upstream, "near-cache not covered: {}", endpoint.error(&error));
        }
        let wait = RECONNECT.0 * 2u32.saturating_pow(failures.min(16));
        tokio::select! {
            () = tokio::time::sleep(wait.min(RECONNECT.1)) => {}
            () = tracked.again.notified() => {}
        }
    }
}

impl<J, H: FnMut(Event<'_, J>)> Stream<'_, J, H> {
    async fn serve(
        &mut self,
        mut wire: Wire,
        endpoint: &Endpoint,
        tracked: &Tracked<J>,
        scratch: &mut [u8],
    ) -> (io::Error, Micros) {
        let mut beat = tokio::time::interval(endpoint.heartbeat.interval);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let timeout = Micros::of(endpoint.heartbeat.timeout);
        // A timer of its own: a heartbeat's deadline may lie before the next beat.
        let period = (endpoint.heartbeat.timeout / 4).max(Duration::from_millis(5));
        let mut watch = tokio::time::interval(period);
        let mut watched_at = Micros::now();
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let error = poll_fn(|cx| {
            if beat.poll_tick(cx).is_ready() {
                // Register for the following beat.
                while beat.poll_tick(cx).is_ready() {}
                let question: &[&[u8]] = match endpoint.duty {
                    Duty::ClusterPrimary => &[b"CLUSTER", b"INFO"],
                    _ => &[b"PING"],
                };
                self.ask(question, Awaited::Heartbeat, Micros::now());
            }
            if watch.poll_tick(cx).is_ready() {
                while watch.poll_tick(cx).is_ready() {}
                let now = Micros::now();
                // If we were held up ourselves, the answer may lie there unread.
                let held_up = now.since(std::mem::replace(&mut watched_at, now)) > Micros::of(period * 3);
                let oldest = self.awaited.front().map(|(_, sent_at)| *sent_at).filter(|_| !held_up);
                if oldest.is_some_and(|sent_at| self.progress.stalled(sent_at, timeout, now)) {
                    return Poll::Ready(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the heartbeat was not answered in time",
                    ));
                }
            }
            tracked.waker.register(cx.waker());
            if tracked.ended() {
                return Poll::Ready(io::Error::other("the server has no part in the upstream any more"));
            }
            loop {
                self.take_up(tracked);
                tracked.awaited.store(self.awaited.len(), Ordering::Relaxed);
                if let Poll::Ready(Err(error)) = wire.poll_send(cx, &mut self.out, &mut self.sent) {
                    return Poll::Ready(error);
                }
                match wire.poll_replies(cx, scratch, |scanner, bytes| self.receive(scanner, bytes)) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(error),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        wire.close().await;
        let since = self.awaited.front().map_or(Micros(0), |(_, sent_at)| *sent_at);
        (error, since)
    }

    fn ask(&mut self, words: &[&[u8]], awaited: Awaited<J>, now: Micros) {
        encode::command(&mut self.out, words);
        self.awaited.push_back((awaited, now));
    }

    /// Turns the jobs that have come in into requests.
    fn take_up(&mut self, tracked: &Tracked<J>) {
        let mut inbox = tracked.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.window.saturating_sub(self.jobs).min(inbox.len());
        if room == 0 {
            return;
        }
        let jobs: VecDeque<_> =
            if room == inbox.len() { std::mem::take(&mut *inbox) } else { inbox.drain(..room).collect() };
        drop(inbox);
        self.jobs += room;
        let now = Micros::now();
        for job in jobs {
            if job.request.is_empty() {
                self.ask(&[b"PING"], Awaited::Value(job.tag), now);
                continue;
            }
            if job.database != self.database {
                self.database = job.database;
                self.ask(&[b"SELECT", job.database.to_string().as_bytes()], Awaited::Select, now);
            }
            let keys = job.keys.len();
            if self.mode == Mode::Ttl {
                self.ask(&[b"MULTI"], Awaited::Ok, now);
            }
            for key in &job.keys {
                let awaited = if self.mode == Mode::Ttl { Awaited::Ok } else { Awaited::Expiry };
                self.ask(&[b"PTTL", key], awaited, now);
            }
            self.out.extend_from_slice(&job.request);
            if self.mode == Mode::Ttl {
                self.awaited.push_back((Awaited::Ok, now));
                self.ask(&[b"EXEC"], Awaited::Wrapped(job.tag, keys), now);
            } else {
                self.awaited.push_back((Awaited::Value(job.tag), now));
            }
        }
    }

    /// Hands on the whole frames at the start of `bytes`, one by one; how many bytes that was.
    fn receive(&mut self, scanner: &mut Scanner, bytes: &[u8]) -> io::Result<usize> {
        let now = Micros::now();
        let mut used = 0;
        while let Some(length) = scanner.scan(&bytes[used..]).map_err(malformed)? {
            let frame = &bytes[used..used + length];
            used += length;
            if frame[0] == b'>' {
                push(frame, |key| (self.handler)(key.map_or(Event::InvalidateAll, Event::Invalidate)))?;
            } else {
                self.reply(frame)?;
            }
        }
        self.progress.heard(used > 0, bytes.len() - used, now);
        if used > 0 {
            self.breaker.heard(now);
        }
        (self.handler)(Event::Batch);
        Ok(used)
    }

    fn job_done(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
        self.window = (self.window + 1).min(MAX_AWAITED);
        self.breaker.succeeded();
        self.breaker.note_answered(1);
    }

    fn reply(&mut self, frame: &[u8]) -> io::Result<()> {
        let unasked = || io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for");
        let (awaited, sent_at) = self.awaited.pop_front().ok_or_else(unasked)?;
        match awaited {
            Awaited::Ok if frame[0] != b'-' => {}
            Awaited::Select => {
                // There may be no such database, or it is not ours to read. That concerns those who asked for it only.
                self.misplaced = frame[0] == b'-';
                if self.misplaced {
                    self.database = NO_DATABASE;
                }
            }
            // A command refused inside MULTI: EXEC's reply, or the end of the stream, will tell.
            Awaited::Ok if self.mode == Mode::Ttl => {}
            Awaited::Ok => return Err(io::Error::other(String::from_utf8_lossy(frame).trim_end().to_owned())),
            Awaited::Heartbeat if frame[0] == b'-' => {
                return Err(io::Error::other(String::from_utf8_lossy(frame).trim_end().to_owned()));
            }
            Awaited::Heartbeat => (self.handler)(Event::Alive { sent_at, reply: frame }),
            // Refused, as by an ACL that allows the read alone: nobody knows how long the value may live.
            Awaited::Expiry => self.expiries.push(line(frame).and_then(|(l, _)| integer(l.strip_prefix(b":")?))),
            Awaited::Value(tag) | Awaited::Wrapped(tag, _) if self.misplaced => {
                self.job_done();
                self.expiries.clear();
                (self.handler)(Event::Failed(tag));
            }
            Awaited::Value(tag) => {
                self.job_done();
                let expiries = std::mem::take(&mut self.expiries);
                (self.handler)(Event::Done { tag, pttls: &expiries, reply: frame, sent_at });
                self.expiries = expiries;
                self.expiries.clear();
            }
            Awaited::Wrapped(tag, keys) => {
                self.job_done();
                match unwrap(frame, keys) {
                    Some((expiries, reply)) => {
                        (self.handler)(Event::Done { tag, pttls: &expiries, reply, sent_at });
                    }
                    None => (self.handler)(Event::Failed(tag)),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
