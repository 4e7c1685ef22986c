//! Whether a cached reply may be served: one function, used by every path.

use super::coverage::Stamp;
use super::entry::Form;
use crate::clock::Micros;

/// What a cached reply is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Provably what the origin holds.
    Fresh,
    /// Its time is not over, but nobody would tell if it changed.
    Suspect,
    /// Its time is over.
    Expired,
    /// Void: a flush has passed over it.
    Gone,
}

/// Judges a reply that was read under `form.stamp` and lives until `form.expires_at`, against the endpoint's present
/// stamp and how far its proof reaches.
#[inline]
pub fn freshness(form: &Form, current: Stamp, proof_until: Micros, now: Micros) -> Freshness {
    if !form.stamp.survives(current) {
        Freshness::Gone
    } else if now >= form.expires_at {
        Freshness::Expired
    } else if form.stamp == current && now < proof_until {
        Freshness::Fresh
    } else {
        Freshness::Suspect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::form;

    const STAMP: Stamp = Stamp(5 << 32 | 3);
    const OTHER_CONNECTION: Stamp = Stamp(6 << 32 | 3);
    const AFTER_FLUSH: Stamp = Stamp(5 << 32 | 4);

    #[test]
    fn the_four_states_follow_from_age_coverage_and_flushes() {
        let form = form(STAMP, Micros(100));
        let judge = |stamp, proof, now| freshness(&form, stamp, Micros(proof), Micros(now));
        assert_eq!(judge(STAMP, 1000, 99), Freshness::Fresh);
        assert_eq!(judge(STAMP, 1000, 100), Freshness::Expired);
        assert_eq!(judge(STAMP, 50, 60), Freshness::Suspect);
        assert_eq!(judge(OTHER_CONNECTION, 1000, 60), Freshness::Suspect);
        assert_eq!(judge(AFTER_FLUSH, 1000, 60), Freshness::Gone);
    }
}
