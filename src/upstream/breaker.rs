//! The breaker of an endpoint: whether it may be asked now.
//!
//! *Closed*: traffic flows, failures are counted. *Open*: nobody but the health check asks it. *Half-open*: it has answered a health
//! check, and a few more have to succeed before traffic flows again.
//!
//! Failures in a row open it, and so does a share of failures in a window. A single failure does if it is one of an endpoint that
//! shows no sign of life at all: a request has timed out, or a connection could not be made, and on no connection anything whole has come
//! since it was begun. A slow command is no such thing as long as the server answers others.
//!
//! An endpoint that fails again soon after it was well is not believed at once the next time: it has to stay well for a while, which
//! doubles up to `reset_timeout`. The outage counts as one: it goes on where it was, and the time in between, when it was well, is no part
//! of it, or a server that fails for a moment now and then would be on the last rung within the hour.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::endpoint::Failure;
use crate::clock::Micros;
use crate::config;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Traffic flows.
    Closed,
    /// It has answered again; health checks decide.
    HalfOpen,
    /// It is not asked.
    Open,
}

/// An endpoint that is not asked: since when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the breaker opened; of an endpoint that came back and failed again, as long before that as it had been down.
    pub since: Micros,
    /// What failed, in words.
    pub why: Arc<str>,
}

/// The breaker of one endpoint; shared by all who speak to it.
#[derive(Debug)]
pub struct Breaker {
    settings: config::Breaker,
    state: AtomicU8,
    /// Somebody makes health checks, hence would close it again. Without it never opens.
    supervised: AtomicBool,
    /// Failures since the last success.
    in_a_row: AtomicU32,
    /// When a whole reply or push last came, to a hundredth of a second.
    heard_at: AtomicU64,
    /// Requests that were answered, as far as told.
    answered: AtomicU64,
    /// It has carried out a write before.
    took_writes: AtomicBool,
    /// Open breakers of the upstream: what a request looks at first.
    trouble: Arc<AtomicU32>,
    inner: Mutex<Inner>,
    /// It has opened or closed, or somebody has heard from an endpoint that it is open for.
    pub news: Notify,
    /// How often it opened, became half-open, and closed.
    pub transitions: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct Inner {
    outage: Option<Outage>,
    /// The last outage, and when it was over.
    before: Option<(Outage, Micros)>,
    /// Probes that have succeeded in a row, and when the first of them did.
    probes: u32,
    well_since: Micros,
    /// For how long it has to stay well.
    hold: Micros,
    /// When each part of the window began, and what had been counted by then; oldest first.
    window: VecDeque<Mark>,
    failed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Micros,
    answered: u64,
    failed: u64,
}

/// Parts into which the window is divided.
const PARTS: u64 = 10;
/// How exactly it is known when something was last heard.
const GRAIN: Micros = Micros(10_000);
/// How long an endpoint that failed again has to stay well the first time.
const FIRST_HOLD: Micros = Micros(500_000);

impl Breaker {
    /// A closed breaker. `trouble` counts those of its upstream that are not.
    pub fn new(settings: config::Breaker, trouble: Arc<AtomicU32>) -> Self {
        Self {
            settings,
            state: AtomicU8::new(State::Closed as u8),
            supervised: AtomicBool::new(false),
            in_a_row: AtomicU32::new(0),
            heard_at: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            took_writes: AtomicBool::new(false),
            trouble,
            inner: Mutex::default(),
            news: Notify::new(),
            transitions: Default::default(),
        }
    }

    /// Where it stands.
    #[inline]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Closed,
            1 => State::HalfOpen,
            _ => State::Open,
        }
    }

    /// Whether traffic flows.
    #[inline]
    pub fn flows(&self) -> bool {
        self.state() == State::Closed
    }

    /// From now on somebody makes health checks.
    pub fn supervise(&self) {
        self.supervised.store(true, Ordering::Release);
    }

    /// The present outage.
    pub fn outage(&self) -> Option<Outage> {
        if self.flows() { None } else { self.lock().outage.clone() }
    }

    /// A whole reply or push has come.
    #[inline]
    pub fn heard(&self, now: Micros) {
        // Shared by all workers: written only when it would tell something new.
        if now.since(Micros(self.heard_at.load(Ordering::Relaxed))) >= GRAIN {
            self.heard_at.store(now.0, Ordering::Relaxed);
            if !self.flows() {
                self.news.notify_one();
            }
        }
    }

    /// A reply has come that is no sign of trouble.
    #[inline]
    pub fn succeeded(&self) {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// So many requests more have been answered.
    pub fn note_answered(&self, count: u64) {
        self.answered.fetch_add(count, Ordering::Relaxed);
    }

    /// Requests that were answered, as far as told.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Opens it, whatever was counted: of what no health check is made.
    pub fn open(&self, now: Micros, why: &str) {
        let mut inner = self.lock();
        if self.flows() {
            inner.outage = Some(Outage { since: now, why: why.into() });
            self.enter(State::Open);
        }
    }

    /// Closes it, whatever was counted.
    pub fn close(&self) {
        let mut inner = self.lock();
        if !self.flows() {
            inner.outage = None;
            self.enter(State::Closed);
        }
    }

    /// Closes it for good: its endpoint is of no interest any more.
    pub fn retire(&self) {
        self.supervised.store(false, Ordering::Release);
        self.close();
    }

    /// Something has failed that `count` requests depended on. `silent_since`: when that was begun which has brought no answer at all,
    /// if so.
    pub fn failed(&self, now: Micros, count: u32, silent_since: Option<Micros>, why: impl FnOnce() -> String) {
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let dead = silent_since.is_some_and(|since| self.heard_at.load(Ordering::Relaxed) < since.0);
        let mut inner = self.lock();
        let answered = self.answered();
        inner.roll(now, self.window_part(), answered);
        inner.failed += u64::from(count);
        let opens = dead || in_a_row >= self.settings.failure_threshold || self.rate_is_too_high(&inner, answered);
        if opens && self.flows() && self.supervised.load(Ordering::Acquire) {
            let again = inner.before.take().filter(|(_, over)| now.since(*over) < Micros::of(self.settings.window));
            let why: Arc<str> = why().into();
            inner.hold = match again {
                None => Micros(0),
                Some(_) => Micros(inner.hold.0 * 2).max(FIRST_HOLD).min(Micros::of(self.settings.reset_timeout)),
            };
            let since = again.map_or(now, |(outage, over)| Micros(now.0 - over.since(outage.since).0));
            inner.outage = Some(Outage { since, why });
            self.enter(State::Open);
        }
    }

    /// A health check has succeeded.
    pub fn probe_succeeded(&self, now: Micros) {
        self.heard_at.fetch_max(now.0, Ordering::Relaxed);
        self.succeeded();
        let mut inner = self.lock();
        let answered = self.answered();
        inner.roll(now, self.window_part(), answered);
        if self.flows() {
            return;
        }
        if inner.probes == 0 {
            inner.well_since = now;
            self.enter(State::HalfOpen);
        }
        inner.probes += 1;
        if inner.probes >= self.settings.half_open_probes && now.since(inner.well_since) >= inner.hold {
            inner.probes = 0;
            inner.before = inner.outage.take().map(|outage| (outage, now));
            // What was counted of the outage does not open it again.
            inner.window.clear();
            self.enter(State::Closed);
        }
    }

    /// A health check has failed.
    pub fn probe_failed(&self, now: Micros, asked_at: Micros, why: &str) {
        if self.flows() {
            return self.failed(now, 1, Some(asked_at), || why.to_owned());
        }
        let mut inner = self.lock();
        inner.probes = 0;
        if let Some(outage) = &mut inner.outage
            && *outage.why != *why
        {
            outage.why = why.into();
        }
        if self.state() == State::HalfOpen {
            self.enter(State::Open);
        }
    }

    /// How often it has closed.
    pub fn recoveries(&self) -> u64 {
        self.transitions[State::Closed as usize].load(Ordering::Relaxed)
    }

    /// It has carried out a write, hence is a primary.
    #[inline]
    pub fn note_write(&self) {
        if !self.took_writes.load(Ordering::Relaxed) {
            self.took_writes.store(true, Ordering::Relaxed);
        }
    }

    /// For how long it still has to stay well before it closes.
    pub fn hold(&self) -> Micros {
        self.lock().hold
    }

    /// Under the lock.
    fn enter(&self, state: State) {
        let before = self.state.swap(state as u8, Ordering::AcqRel);
        match (before == State::Closed as u8, state == State::Closed) {
            (true, false) => _ = self.trouble.fetch_add(1, Ordering::AcqRel),
            (false, true) => _ = self.trouble.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.transitions[state as usize].fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
    }

    fn window_part(&self) -> (Micros, Micros) {
        let window = Micros::of(self.settings.window);
        (window, Micros(window.0 / PARTS))
    }

    fn rate_is_too_high(&self, inner: &Inner, answered: u64) -> bool {
        let start = inner.window.front().map_or((0, 0), |mark| (mark.answered, mark.failed));
        let failed = inner.failed.saturating_sub(start.1) as f64;
        let all = answered.saturating_sub(start.0) as f64 + failed;
        all >= f64::from(self.settings.min_requests) && failed / all >= self.settings.error_rate
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Errors by which a server says that it cannot serve anybody now (<https://redis.io/docs/latest/develop/reference/protocol-spec/>;
/// the texts are in Redis's `server.c` and `cluster.c`).
const SIGNALS: [&str; 3] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN"];

/// What an error reply (`-...`) says of the server's health; `None`: it is about the command. A server that has taken writes and does
/// not any more has become a replica.
pub fn signal<'a>(reply: &'a [u8], breaker: &Breaker) -> Option<&'a str> {
    let code = |code: &str| {
        reply.get(1..)?.strip_prefix(code.as_bytes()).filter(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
    };
    let signals = SIGNALS.iter().any(|signal| code(signal).is_some())
        || code("READONLY").is_some() && breaker.took_writes.load(Ordering::Relaxed);
    signals.then(|| std::str::from_utf8(&reply[1..]).unwrap_or_default().trim_end())
}

/// Tells a breaker why a connection failed on which `awaited` replies were awaited, the first of them since `since`.
pub fn blame(breaker: &Breaker, failure: &Failure, awaited: u32, since: Micros) {
    let now = Micros::now();
    match failure {
        Failure::Connect(_) => breaker.failed(now, awaited.max(1), Some(since), || failure.to_string()),
        Failure::Timeout(limit) if awaited > 0 => {
            breaker.failed(now, awaited, Some(since), || format!("did not answer within {limit:?}"));
        }
        Failure::Lost(why) if awaited > 0 => {
            // However many it has hit: one connection that was closed says little of the others.
            breaker.failed(now, 1, None, || format!("closed the connection before it answered ({why})"));
        }
        Failure::Refused(words) if signal(format!("-{words}").as_bytes(), breaker).is_some() => {
            breaker.failed(now, awaited.max(1), None, || words.clone());
        }
        // It is there, and does not want us.
        Failure::Refused(_) | Failure::Lost(_) | Failure::Timeout(_) => {}
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if !self.flows() {
            self.trouble.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Inner {
    /// Moves the window on.
    fn roll(&mut self, now: Micros, (window, part): (Micros, Micros), answered: u64) {
        while self.window.front().is_some_and(|mark| now.since(mark.at) > window) {
            self.window.pop_front();
        }
        if self.window.back().is_none_or(|mark| now.since(mark.at) >= part) {
            self.window.push_back(Mark { at: now, answered, failed: self.failed });
        }
    }
}

#[cfg(test)]
mod tests;
