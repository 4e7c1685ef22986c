//! Whether a cached reply may be served: one judgement, used by every path.
//!
//! [`freshness`] says what a reply is worth; [`staleness`] and [`revalidates`] say what of it that is not fresh may be served all
//! the same, because the origin cannot be asked or because the route wants it so.

use super::coverage::{Coverage, Stamp};
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
    } else if form.stamp.is_current(current) && now < proof_until {
        Freshness::Fresh
    } else {
        Freshness::Suspect
    }
}

/// What a degraded rung lets pass that is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leniency {
    /// How long a reply may be past its life, and past the last proof that it was true. `None`: not past its life at all, however
    /// long ago the last proof was.
    pub max_stale: Option<Micros>,
    /// The same for replies that say that something is not there, which are given shorter lives.
    pub max_stale_negative: Micros,
    /// Also past the end that the key itself had at the origin.
    pub past_end: bool,
}

/// How long ago at most a reply was known to be true, if a degraded rung may serve it. A fresh one is as of now.
pub fn staleness(form: &Form, coverage: &Coverage, now: Micros, leniency: &Leniency) -> Option<Micros> {
    let age = now.since(coverage.proven(form.stamp, form.read_at));
    let most = leniency.max_stale.map(|most| match form.negative() {
        true => most.min(leniency.max_stale_negative),
        false => most,
    });
    match freshness(form, coverage.stamp(), coverage.until(), now) {
        Freshness::Fresh => Some(Micros(0)),
        Freshness::Suspect => most.is_none_or(|most| age <= most).then_some(age),
        Freshness::Expired => {
            let inside = most.is_some_and(|most| age <= most && now.since(form.expires_at) <= most);
            (inside && (leniency.past_end || now < form.ends_at())).then_some(age)
        }
        Freshness::Gone => None,
    }
}

/// Whether a reply may be served once more while it is fetched anew: its life is over by no more than `window`, but its key has not
/// expired, and whoever would tell of a change has not.
#[inline]
pub fn revalidates(form: &Form, coverage: &Coverage, now: Micros, window: Micros) -> bool {
    form.stamp.is_current(coverage.stamp())
        && now < coverage.until()
        && now >= form.expires_at
        && now < form.expires_at.plus(window).min(form.ends_at())
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

    #[test]
    fn what_nothing_ever_covered_is_suspect_whatever_is_said_of_the_proof() {
        // A heartbeat's answer that comes late may move the end of a proof that is none.
        assert_eq!(freshness(&form(Stamp(3), Micros(100)), Stamp(3), Micros(1000), Micros(60)), Freshness::Suspect);
    }

    const NO_EXPIRED: Leniency = Leniency { max_stale: None, max_stale_negative: Micros(0), past_end: false };
    const LENIENT: Leniency = Leniency { max_stale: Some(Micros(50)), max_stale_negative: Micros(5), past_end: false };

    /// A reply that was read under a connection which was proven at 40 and lost.
    fn lost() -> (Coverage, Stamp) {
        let coverage = Coverage::default();
        coverage.begin(Micros(10));
        coverage.extend(Micros(40), Micros(60));
        let stamp = coverage.stamp();
        coverage.lose();
        (coverage, stamp)
    }

    #[test]
    fn without_a_stale_budget_a_reply_lives_to_the_end_of_its_life_and_its_age_is_told() {
        let (coverage, stamp) = lost();
        let age = |now| staleness(&form(stamp, Micros(1000)), &coverage, Micros(now), &NO_EXPIRED);
        assert_eq!(age(45), Some(Micros(5)));
        assert_eq!(age(999), Some(Micros(959)));
        assert_eq!(age(1000), None);
    }

    #[test]
    fn the_stale_budget_bounds_the_time_past_the_end_and_past_the_last_proof() {
        let (coverage, stamp) = lost();
        let age = |expires_at, now| staleness(&form(stamp, Micros(expires_at)), &coverage, Micros(now), &LENIENT);
        assert_eq!(age(1000, 90), Some(Micros(50)), "not over, 50 past the last proof");
        assert_eq!(age(1000, 91), None);
        assert_eq!(age(30, 80), Some(Micros(40)), "50 past its end");
        assert_eq!(age(30, 81), None);
    }

    #[test]
    fn a_reply_is_revalidated_only_while_it_is_covered_and_its_key_lives() {
        let coverage = Coverage::default();
        coverage.begin(Micros(200));
        let form = form(coverage.stamp(), Micros(100));
        let judge = |now| revalidates(&form, &coverage, Micros(now), Micros(20));
        assert_eq!([99, 100, 119, 120].map(judge), [false, true, true, false]);
        coverage.lose();
        assert!(!judge(110));
    }
}
