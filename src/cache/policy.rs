//! How long a reply may live: the shortest of what the origin, the route and the mode of coherence allow.

use std::time::Duration;

use crate::clock::Micros;
use crate::config;

/// Bounds on the life of cached replies, compiled from a route and the `near_cache` section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    /// Cap for ordinary replies.
    pub ttl: Micros,
    /// Cap for replies that say "not there".
    pub negative_ttl: Micros,
    /// Cap where no invalidation would tell of a change.
    pub untracked_ttl: Micros,
    /// By how much a cap may be shortened at random, 0 to 1. Never lengthened.
    pub jitter: f64,
}

/// What is known of a reply when it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// When the request for the origin's TTL was sent.
    pub read_at: Micros,
    /// The origin's `PTTL`, in milliseconds: -1 without expiry, -2 for a missing key.
    pub pttl: i64,
    /// The reply says that something is not there.
    pub negative: bool,
    /// Changes of this reply may go unseen: no tracking, or hash fields that may expire.
    pub untracked: bool,
    /// Random bits.
    pub dice: u64,
}

impl Lifetime {
    /// The bounds that the configuration gives a route.
    pub fn of(near_cache: &config::NearCache, route: Option<&config::RouteCache>) -> Self {
        let ttl = |own: Option<Duration>, general| Micros::of(own.unwrap_or(general));
        Self {
            ttl: ttl(route.and_then(|route| route.ttl), near_cache.ttl),
            negative_ttl: ttl(route.and_then(|route| route.negative_ttl), near_cache.negative_ttl),
            untracked_ttl: Micros::of(near_cache.untracked_ttl),
            jitter: near_cache.ttl_jitter,
        }
    }

    /// Until when a reply may be served as fresh. Counts from when its request was sent, hence never beyond the
    /// expiry that the origin had for it.
    pub fn expires_at(&self, known: &Known) -> Micros {
        let mut cap = self.ttl;
        if known.negative || known.pttl == -2 {
            cap = cap.min(self.negative_ttl);
        }
        if known.untracked {
            cap = cap.min(self.untracked_ttl);
        }
        let share = (known.dice >> 11) as f64 / (1u64 << 53) as f64;
        let jittered = Micros((cap.0 as f64 * (1.0 - self.jitter * share)) as u64);
        known.read_at.plus(jittered.min(cap)).min(known.ends_at())
    }
}

impl Known {
    /// When the key itself expires at the origin.
    pub fn ends_at(&self) -> Micros {
        let left = u64::try_from(self.pttl).map_or(Micros::NEVER, |left| Micros(left.saturating_mul(1000)));
        self.read_at.plus(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Lifetime = Lifetime {
        ttl: Micros(60_000_000),
        negative_ttl: Micros(5_000_000),
        untracked_ttl: Micros(1_000_000),
        jitter: 0.1,
    };
    const KNOWN: Known = Known { read_at: Micros(7), pttl: -1, negative: false, untracked: false, dice: 0 };

    fn life(known: Known) -> u64 {
        LIFETIME.expires_at(&known).0 - known.read_at.0
    }

    #[test]
    fn jitter_only_shortens_and_by_no_more_than_its_share() {
        for n in 0..1000u64 {
            let dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let life = life(Known { dice, ..KNOWN });
            assert!((54_000_000..=60_000_000).contains(&life), "{life}");
        }
        assert!(life(Known { dice: u64::MAX, ..KNOWN }) < life(KNOWN));
    }

    #[test]
    fn the_origins_expiry_is_never_exceeded() {
        assert_eq!(life(Known { pttl: 1500, ..KNOWN }), 1_500_000);
        assert_eq!(life(Known { pttl: 0, ..KNOWN }), 0);
        assert_eq!(life(Known { pttl: i64::MAX, ..KNOWN }), 60_000_000);
    }

    #[test]
    fn negative_and_unseen_replies_live_shorter() {
        assert_eq!(life(Known { negative: true, ..KNOWN }), 5_000_000);
        assert_eq!(life(Known { pttl: -2, ..KNOWN }), 5_000_000);
        assert_eq!(life(Known { untracked: true, ..KNOWN }), 1_000_000);
    }
}
