//! What a few numbers were in the last quarter of an hour, second by second, so that a page that is opened later shows it too.
//!
//! [`crate::report::sampler`] takes the samples on the control thread. One takes some 200 bytes, hence all of them at most 200 KB, and
//! a byte more for each upstream beyond the 16th.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::counters::BUCKETS;

/// Samples that are kept.
pub const KEPT: usize = 900;

/// What happened in one second, and how things stood at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Its number, from 1; never used again.
    pub number: u64,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it was since the one before, in seconds.
    pub seconds: f32,
    /// Commands received.
    pub commands: u32,
    /// Reads that the near-cache answered.
    pub hits: u32,
    /// Cacheable reads that it did not answer.
    pub misses: u32,
    /// Replies that were not fresh.
    pub stale: u32,
    /// Replies of upstreams by their latency, in the buckets of [`crate::counters`].
    pub latency: [u32; BUCKETS],
    /// Bytes held by the near-cache.
    pub cache_bytes: u64,
    /// Connected clients.
    pub clients: u32,
    /// Share of recent reads that the cache could answer; `None` before the first read.
    pub runway: Option<f32>,
    /// The worst rung of each upstream, as in `larder_rung`, in the order of the upstreams' names.
    pub rungs: SmallVec<[u8; 16]>,
}

/// The last samples.
#[derive(Debug, Default)]
pub struct History(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    count: u64,
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds one, under the next number.
    pub fn add(&self, sample: Sample) {
        let mut last = self.lock();
        last.count += 1;
        let number = last.count;
        if last.samples.len() == KEPT {
            last.samples.pop_front();
        }
        last.samples.push_back(Sample { number, ..sample });
    }

    /// Those with a higher number than this, the oldest first.
    pub fn after(&self, number: u64) -> Vec<Sample> {
        self.lock().samples.iter().filter(|sample| sample.number > number).cloned().collect()
    }

    /// The last `count` of them, the oldest first.
    pub fn last(&self, count: usize) -> Vec<Sample> {
        let last = self.lock();
        last.samples.iter().skip(last.samples.len().saturating_sub(count)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_of_an_hour_is_kept_under_its_numbers() {
        let history = History::default();
        for commands in 0..KEPT as u32 + 5 {
            history.add(Sample { commands, ..Sample::default() });
        }
        let all = history.after(0);
        assert_eq!((all.len(), all[0].number, all[0].commands), (KEPT, 6, 5));
        assert_eq!(history.after(all[KEPT - 1].number - 2).len(), 2);
        assert_eq!(history.last(3), history.after(all[KEPT - 1].number - 3));
    }

    #[test]
    fn it_takes_no_more_memory_than_the_documentation_says() {
        assert!(size_of::<Sample>() * KEPT < 200 << 10, "{} bytes each", size_of::<Sample>());
    }
}
