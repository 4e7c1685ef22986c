//! How often what failed may be tried again: a share of what succeeds, so that an upstream in trouble is not asked the more.
//!
//! Only commands that are reads, or provably were not carried out, are tried again at all. Redirections are no retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Micros;

/// The retries of one upstream.
#[derive(Debug, Default)]
pub struct Budget {
    inner: Mutex<Inner>,
    /// Retries that were made.
    pub taken: AtomicU64,
    /// Retries that were not made.
    pub refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: f64,
    answered: u64,
    at: Micros,
}

/// Retries for each answered command.
const SHARE: f64 = 0.2;
/// Retries for each second, so that an upstream with little traffic has some.
const PER_SECOND: f64 = 10.0;
/// Most that are saved up. Losing a connection costs a retry for each read that waited for it.
const MOST: f64 = 10_000.0;

impl Budget {
    /// Takes leave for one retry. `answered`: how many commands of the upstream have been answered so far.
    pub fn take(&self, answered: u64, now: Micros) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.at == Micros(0) {
            inner.tokens = MOST;
        }
        let earned = answered.saturating_sub(inner.answered) as f64 * SHARE
            + now.since(inner.at).duration().as_secs_f64() * PER_SECOND;
        inner.tokens = (inner.tokens + earned).min(MOST);
        (inner.answered, inner.at) = (answered.max(inner.answered), now);
        let may = inner.tokens >= 1.0;
        if may {
            inner.tokens -= 1.0;
        }
        drop(inner);
        let tally = if may { &self.taken } else { &self.refused };
        tally.fetch_add(1, Ordering::Relaxed);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_what_is_answered_and_a_few_each_second() {
        let budget = Budget::default();
        let second = |n: u64| Micros(n * 1_000_000);
        let burst = (0..20_000).filter(|_| budget.take(0, second(5))).count();
        assert_eq!(burst, MOST as usize);
        assert_eq!((0..100).filter(|_| budget.take(50, second(5))).count(), 10);
        assert_eq!((0..100).filter(|_| budget.take(50, second(7))).count(), 20);
        assert_eq!(budget.refused.load(Ordering::Relaxed), 20_000 - MOST as u64 + 90 + 80);
    }
}
