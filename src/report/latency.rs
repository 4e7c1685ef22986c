//! Percentiles of how long upstreams took to reply, from the buckets of [`crate::counters`].

use serde::{Deserialize, Serialize};

use crate::counters::BUCKETS;

/// How long upstreams took, in seconds: half of the replies came within `p50_seconds`, and so on. `None` where there was no reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Percentiles {
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
    pub p999_seconds: Option<f64>,
}

impl Percentiles {
    /// Of these replies, counted in buckets.
    pub fn of(buckets: &[u64; BUCKETS]) -> Self {
        let at = |share| quantile(buckets, share);
        Self { p50_seconds: at(0.5), p99_seconds: at(0.99), p999_seconds: at(0.999) }
    }
}

/// The time within which a share of the replies came, in seconds; inside of a bucket the replies count as evenly spread, as
/// Prometheus's `histogram_quantile` has it.
fn quantile(buckets: &[u64; BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    let wanted = share * all as f64;
    let mut below = 0.0;
    for (n, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let within = below + *count as f64;
        if within >= wanted {
            // Bucket n holds what took less than 2^n microseconds and no less than half of that; the last one has no end.
            let bound = |n: usize| (1u64 << n) as f64 / 1e6;
            let start = if n == 0 { 0.0 } else { bound(n - 1) };
            let end = if n + 1 == BUCKETS { start } else { bound(n) };
            return Some(start + (end - start) * (wanted - below) / *count as f64);
        }
        below = within;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_in_the_bucket_that_has_them() {
        assert_eq!(Percentiles::of(&[0; BUCKETS]), Percentiles::default());
        let mut buckets = [0; BUCKETS];
        buckets[7] = 990; // 64 to 128 us
        buckets[12] = 9; // 2048 to 4096 us
        buckets[BUCKETS - 1] = 1;
        let of = Percentiles::of(&buckets);
        assert!(of.p50_seconds.is_some_and(|p50| (95e-6..98e-6).contains(&p50)), "{of:?}");
        assert!(of.p99_seconds.is_some_and(|p99| (p99 - 128e-6).abs() < 1e-9), "{of:?}");
        assert!(of.p999_seconds.is_some_and(|p999| (p999 - 4096e-6).abs() < 1e-9), "{of:?}");
        buckets = [0; BUCKETS];
        buckets[BUCKETS - 1] = 1;
        assert_eq!(Percentiles::of(&buckets).p50_seconds, Some(4.194304));
    }
}
