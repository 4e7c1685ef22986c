//! Redis counts milliseconds, memcached whole seconds, and its clock ticks once in each: what is given `n` seconds lives
//! between `n - 1` and `n`.
//!
//! | asked for | given to the node |
//! |---|---|
//! | whole seconds from now, at least 2 | as asked, with memcached's own precision |
//! | anything else up to 30 days | rounded up and one more, so that nothing ends early; deleted at the very instant ([`super::deadlines`]) |
//! | more than 30 days | the Unix time: a number over 2,592,000 would be taken for one, long past |
//! | an instant that is past | -1: over at once |

use crate::clock::Micros;
use crate::keyvalue::Now;

/// The longest time that memcached takes for a time from now on.
const MONTH: i64 = 60 * 60 * 24 * 30;
/// memcached reads times as 32 signed bits: nothing ends later than 2038-01-19.
const LAST: i64 = i32::MAX as i64;

/// How long a key shall live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// What follows the flag `T`.
    pub seconds: i64,
    /// When it is to be deleted, if the node would do so too late.
    pub exact: Option<Micros>,
}

impl Life {
    /// Until somebody deletes it.
    pub(super) const FOREVER: Self = Self { seconds: 0, exact: None };
    /// Over at once.
    const OVER: Self = Self { seconds: -1, exact: None };

    /// Until `unix_ms`.
    pub(super) fn until(unix_ms: i64, now: Now, tick: Micros) -> Self {
        let left = unix_ms.saturating_sub(now.unix_ms());
        if left <= 0 {
            return Self::OVER;
        }
        let up = |ms: i64| ms / 1000 + i64::from(ms % 1000 > 0);
        if left > MONTH * 1000 {
            let date = if left % 1000 == 0 { unix_ms / 1000 } else { up(unix_ms) };
            return Self { seconds: date.min(LAST), exact: None };
        }
        if left % 1000 == 0 && left >= 2000 {
            return Self { seconds: left / 1000, exact: None };
        }
        let exact = tick.plus(Micros(left.unsigned_abs() * 1000));
        // (At the far end one more would be a date.)
        Self { seconds: (up(left) + 1).min(MONTH), exact: Some(exact) }
    }

    /// As long as is left: whole seconds, -1 for ever.
    pub(super) fn left(ttl: i64, now: Now) -> Self {
        let seconds = match ttl {
            ..0 => return Self::FOREVER,
            0 => return Self::OVER,
            1..=MONTH => ttl,
            _ => (now.unix_ms() / 1000).saturating_add(ttl).min(LAST),
        };
        Self { seconds, exact: None }
    }

    /// Whether it is over already.
    pub(super) fn is_over(self) -> bool {
        self.seconds < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { tick: 5, unix_us: 1_800_000_000_250_000 };
    const TICK: Micros = Micros(7_000_000);

    fn after(ms: i64) -> Life {
        Life::until(NOW.unix_ms() + ms, NOW, TICK)
    }

    #[test]
    fn whole_seconds_are_given_as_asked() {
        for seconds in [2, 10, 3600, MONTH] {
            assert_eq!(after(seconds * 1000), Life { seconds, exact: None });
        }
    }

    #[test]
    fn what_memcached_cannot_count_has_a_safety_net_and_an_exact_end() {
        for (ms, seconds) in [(1, 2), (100, 2), (1000, 2), (1001, 3), (1500, 3), (2001, 4), (9_999, 11)] {
            let exact = Some(Micros(TICK.0 + ms as u64 * 1000));
            assert_eq!(after(ms), Life { seconds, exact }, "{ms}");
        }
    }

    #[test]
    fn more_than_thirty_days_are_a_date() {
        let month = MONTH * 1000;
        assert_eq!(after(month + 1000), Life { seconds: 1_800_000_000 + MONTH + 1, exact: None });
        assert_eq!(after(month + 1), Life { seconds: 1_800_000_000 + MONTH + 1, exact: None });
        assert_eq!(after(i64::MAX / 4), Life { seconds: LAST, exact: None });
        assert_eq!(after(month - 1).seconds, MONTH);
    }

    #[test]
    fn what_is_left_is_given_back_as_it_was() {
        assert_eq!(Life::left(-1, NOW), Life::FOREVER);
        assert_eq!(Life::left(0, NOW), Life::OVER);
        assert_eq!(Life::left(MONTH, NOW).seconds, MONTH);
        assert_eq!(Life::left(MONTH + 1, NOW).seconds, 1_800_000_000 + MONTH + 1);
    }

    #[test]
    fn what_is_past_is_over() {
        assert!(after(0).is_over() && after(-5).is_over() && Life::until(i64::MIN, NOW, TICK).is_over());
        assert!(!after(1).is_over());
    }
}
