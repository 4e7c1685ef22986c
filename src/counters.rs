//! Counters of the hot path: plain cells that one worker writes and anybody may read.
//!
//! A cell is an atomic that its owner changes with a load and a store, which costs what a plain variable costs; there
//! is never more than one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// One cell. Only its worker may change it.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces what is in it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets for the age of stale answers, in seconds.
pub const AGES: [u64; 10] = [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600];

/// Latency buckets: powers of two of microseconds, 1 us to about 8 s, then everything above.
pub const BUCKETS: usize = 24;

/// The cells of one worker.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Counters {
    /// When the worker last looked at its timer, by the clock of `clock`: one that does not is stuck.
    pub ticked_at: Cell,
    pub commands: Cell,
    pub hits: Cell,
    pub misses: Cell,
    pub joined: Cell,
    pub bypassed: Cell,
    /// Reads that no cache could answer.
    pub reads_elsewhere: Cell,
    /// Misses that found a reply which was only not fresh any more.
    pub at_hand: Cell,
    /// Replies that were served once more while they were fetched anew.
    pub revalidations: Cell,
    /// Commands in degraded rungs: answered from the cache, sent to the origin all the same, refused; by rung.
    pub degraded: [[Cell; 3]; 5],
    /// Replies that were not fresh, by how long ago they were known to be true, and the sum of that.
    pub stale: [Cell; AGES.len() + 1],
    pub stale_micros: Cell,
    pub forwarded: Cell,
    pub local: Cell,
    pub errors: Cell,
    pub input_bytes: Cell,
    pub output_bytes: Cell,
    /// Written by the acceptor alone.
    pub clients_accepted: Cell,
    pub clients_left: Cell,
    pub clients_closed_by_limit: Cell,
    /// Clients that the process closed to end itself: between two commands, and whatever they were at.
    pub clients_drained: Cell,
    pub clients_cut: Cell,
    pub upstream_replies: Cell,
    pub upstream_failures: Cell,
    pub redirections: Cell,
    pub from_replicas: Cell,
    pub leases: Cell,
    pub leases_refused: Cell,
    /// Messages and other pushes handed to clients.
    pub pushes: Cell,
    pub latency_micros: Cell,
    pub latency: [Cell; BUCKETS],
}

impl Counters {
    /// Notes an answer that was known to be true `micros` ago.
    pub fn stale_answer(&self, micros: u64) {
        let seconds = micros.div_ceil(1_000_000);
        let bucket = AGES.iter().position(|bound| seconds <= *bound).unwrap_or(AGES.len());
        self.stale[bucket].add(1);
        self.stale_micros.add(micros);
    }

    /// Notes that `count` replies came from the upstream, the first of them after `micros`.
    #[inline]
    pub fn upstream(&self, count: u32, micros: u64) {
        self.upstream_replies.add(u64::from(count));
        self.latency_micros.add(micros * u64::from(count));
        let bucket = (64 - micros.leading_zeros()) as usize;
        self.latency[bucket.min(BUCKETS - 1)].add(u64::from(count));
    }
}
