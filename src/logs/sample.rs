//! Lines that could flood the log: one for each client that comes with a bad request, for each connection that fails.
//!
//! Of each kind the first [`FIRST`] of every [`INTERVAL`] are written, the others are counted, and the count is told at the end of the
//! interval. So a flood costs a few lines, and nobody takes the few for all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Lines of one kind that are written in an interval.
pub const FIRST: u64 = 5;
/// How long an interval is.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug)]
pub struct Sample {
    what: &'static str,
    /// Since the interval began.
    count: AtomicU64,
}

/// A client was not let in: no TLS handshake, or the system would not have it.
pub static NOT_ADMITTED: Sample = Sample::new("clients not admitted");
/// A client was turned away at a limit.
pub static TURNED_AWAY: Sample = Sample::new("clients refused at limits.max_clients or limits.max_clients_per_address");
/// The system accepts no client.
pub static ACCEPT: Sample = Sample::new("failures to accept a client");
/// A client was closed because it left too much unread.
pub static OVERFULL: Sample = Sample::new("clients closed at limits.max_output");
/// A client sent HTTP.
pub static HTTP: Sample = Sample::new("clients closed because they sent an HTTP request");
/// A client has forced a rung.
pub static FORCED: Sample = Sample::new("rungs forced or released by clients");
/// A tracked connection failed or was lost.
pub static UNCOVERED: Sample = Sample::new("tracked connections lost");
/// A subscription connection was lost.
pub static INTERRUPTED: Sample = Sample::new("subscription connections lost");
/// Keys could not be deleted from memcached.
pub static NOT_DELETED: Sample = Sample::new("deletions on behalf of an invalidation channel that failed");
/// A message on an invalidation channel is none.
pub static MALFORMED: Sample = Sample::new("messages on invalidation channels that cannot be read");
/// A connection to an upstream failed.
pub static LANES: Sample = Sample::new("connections to upstreams that failed");

static ALL: [&Sample; 11] = [
    &NOT_ADMITTED,
    &TURNED_AWAY,
    &ACCEPT,
    &OVERFULL,
    &HTTP,
    &FORCED,
    &UNCOVERED,
    &INTERRUPTED,
    &NOT_DELETED,
    &MALFORMED,
    &LANES,
];

// === impl Sample ===

impl Sample {
    const fn new(what: &'static str) -> Self {
        Self { what, count: AtomicU64::new(0) }
    }

    /// Whether this one is to be written; it is counted either way.
    pub fn admits(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) < FIRST
    }

    /// Begins a new interval; how many were left out in the last one.
    fn settle(&self) -> u64 {
        self.count.swap(0, Ordering::Relaxed).saturating_sub(FIRST)
    }
}

/// Tells what was left out since it was told last.
pub fn tell() {
    for sample in ALL {
        let left_out = sample.settle();
        if left_out > 0 {
            tracing::warn!(left_out, "{left_out} more lines were left out: {}", sample.what);
        }
    }
}

/// Tells it at the end of each interval, for ever.
pub async fn keep() {
    loop {
        tokio::time::sleep(INTERVAL).await;
        tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_an_interval_are_written_and_the_others_counted() {
        let sample = Sample::new("tests");
        let written = (0..1000).filter(|_| sample.admits()).count() as u64;
        assert_eq!((written, sample.settle()), (FIRST, 1000 - FIRST));
        assert!(sample.admits(), "a new interval");
        assert_eq!(sample.settle(), 0);
    }
}
