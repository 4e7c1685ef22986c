//! How far the cache would carry: the share of recent reads that it could still answer without its origin.
//!
//! Measured in every rung by what reads find: one that is answered from the cache, or finds there a reply that is only no longer fresh,
//! could be answered; one that finds nothing, or may not ask the cache, could not.

use std::sync::atomic::{AtomicU64, Ordering};

/// The share, moved on once a second or so.
#[derive(Debug)]
pub struct Runway {
    /// In millionths.
    share: AtomicU64,
    seen: AtomicU64,
    found: AtomicU64,
}

/// The weight of the last second's reads against all before: what was ten seconds ago counts for a third.
const FADE: f64 = 0.1;
const MILLION: f64 = 1_000_000.0;

impl Default for Runway {
    fn default() -> Self {
        Self { share: AtomicU64::new(u64::MAX), seen: AtomicU64::new(0), found: AtomicU64::new(0) }
    }
}

impl Runway {
    /// The share of reads that could be answered, 0 to 1; `None` before there were any.
    pub fn share(&self) -> Option<f64> {
        let share = self.share.load(Ordering::Relaxed);
        (share != u64::MAX).then(|| share as f64 / MILLION)
    }

    /// Moves it on: so many reads there have been since the start, and so many of them could have been answered.
    pub fn update(&self, seen: u64, found: u64) {
        let reads = seen.saturating_sub(self.seen.swap(seen, Ordering::Relaxed));
        let answerable = found.saturating_sub(self.found.swap(found, Ordering::Relaxed));
        if reads == 0 {
            return;
        }
        let latest = (answerable as f64 / reads as f64).min(1.0);
        let share = self.share().map_or(latest, |before| before + FADE * (latest - before));
        self.share.store((share * MILLION) as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_share_of_recent_reads_and_stays_while_there_are_none() {
        let runway = Runway::default();
        assert_eq!(runway.share(), None);
        runway.update(0, 0);
        assert_eq!(runway.share(), None);
        runway.update(100, 80);
        assert_eq!(runway.share(), Some(0.8));
        runway.update(100, 80);
        assert_eq!(runway.share(), Some(0.8));
        for n in 1..=100 {
            runway.update(100 + n * 10, 80);
        }
        assert!(runway.share().is_some_and(|share| share < 0.01));
    }
}
