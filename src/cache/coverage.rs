//! Coverage: the standing proof that invalidations for an endpoint's entries are arriving.
//!
//! Every reply is stored with the [`Stamp`] of the moment its request was sent, and is fresh only while that stamp is
//! still the endpoint's current one. Losing the tracked connection changes the stamp, and so does a flush: both turn
//! every entry of the endpoint at once, without walking the cache. The proof also has an end: it reaches a bounded time
//! past the last heartbeat that was answered, so that a silent loss (or a process that was stopped and resumed) ends
//! it even if nobody noticed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::Micros;

/// Under which coverage, and since which flush, a reply was read.
///
/// The upper half is the number of a tracked connection (0: no coverage), the lower half that of the last flush before.
/// Both are counted by the whole process, so stamps of different endpoints never match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    /// A stamp that no endpoint ever has.
    pub const NONE: Self = Self(0);

    /// Whether some tracked connection (or the TTL mode) stands behind it.
    pub const fn covered(self) -> bool {
        self.0 >> 32 != 0
    }

    /// Whether no flush lies between it and `current`.
    pub const fn survives(self, current: Self) -> bool {
        self.0 as u32 >= current.0 as u32
    }

    /// Whether both belong to the same tracked connection: what was read under either was true at one moment.
    pub const fn same_connection(self, other: Self) -> bool {
        self.covered() && self.0 >> 32 == other.0 >> 32
    }

    /// Whether it is the present one of an endpoint whose invalidations arrive.
    pub const fn is_current(self, current: Self) -> bool {
        self.0 == current.0 && self.covered()
    }

    /// The number of the tracked connection; 0 if there was none.
    pub const fn connection(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// For a reply that an earlier process has read: nothing covers it, and every flush from now on voids it.
    pub fn of_the_past() -> Self {
        Self(u64::from(flushes()))
    }

    /// For replies that an earlier process has read on one connection: the same, but that they belong together. It is of a
    /// connection that no endpoint ever has.
    pub fn of_a_past_connection() -> Self {
        Self(u64::from(next_connection()) << 32 | Self::of_the_past().0)
    }
}

/// How many tracked connections and how many flushes there have been: their numbers are never used twice.
static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
static FLUSHES: AtomicU32 = AtomicU32::new(0);

fn next_connection() -> u32 {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// How many flushes there have been, of all endpoints.
pub fn flushes() -> u32 {
    FLUSHES.load(Ordering::Relaxed)
}

/// The coverage of one endpoint; shared by all workers.
#[derive(Debug, Default)]
pub struct Coverage {
    stamp: AtomicU64,
    until: AtomicU64,
    /// Up to when what was read on the present connection is known to have been true: when the last answered heartbeat was sent.
    proven_at: AtomicU64,
    /// The last connection that was lost, and its `proven_at`.
    lost: AtomicU64,
    lost_proven_at: AtomicU64,
    /// Commands under way that may change any key (FLUSHALL, SWAPDB): while there are some, nothing is filled.
    wholesale: AtomicU32,
}

impl Coverage {
    /// The current stamp.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Acquire))
    }

    /// Until when the present proof reaches, if no further heartbeat is answered.
    pub fn until(&self) -> Micros {
        Micros(self.until.load(Ordering::Acquire))
    }

    /// Whether entries of the current stamp may be served as fresh at `now`.
    pub fn holds(&self, now: Micros) -> bool {
        self.stamp().covered() && now < self.until()
    }

    /// A tracked connection is up: what is read on it from now on is covered until `until`.
    pub fn begin(&self, until: Micros) {
        let number = next_connection();
        self.until.store(until.0, Ordering::Release);
        self.proven_at.store(0, Ordering::Release);
        self.change(|stamp| u64::from(number) << 32 | stamp & u64::from(u32::MAX));
    }

    /// A heartbeat that was sent at `sent_at` was answered: the proof reaches further.
    pub fn extend(&self, sent_at: Micros, until: Micros) {
        self.proven_at.fetch_max(sent_at.0, Ordering::AcqRel);
        self.until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// The connection is gone, or its silence was too long: nothing it covered is fresh any more.
    pub fn lose(&self) {
        if self.stamp().covered() {
            self.lost_proven_at.store(self.proven_at.load(Ordering::Acquire), Ordering::Release);
            self.lost.store(self.stamp().0 >> 32, Ordering::Release);
        }
        self.until.store(0, Ordering::Release);
        self.change(|stamp| stamp & u64::from(u32::MAX));
    }

    /// Up to when a reply that was read at `read_at` under `stamp` is known to have been true: nothing changed it as long as its
    /// connection proved itself. Of connections before the last one only the reading itself is known.
    pub fn proven(&self, stamp: Stamp, read_at: Micros) -> Micros {
        let connection = stamp.0 >> 32;
        let proven_at = if connection == 0 {
            0
        } else if connection == self.stamp().0 >> 32 {
            self.proven_at.load(Ordering::Acquire)
        } else if connection == self.lost.load(Ordering::Acquire) {
            self.lost_proven_at.load(Ordering::Acquire)
        } else {
            0
        };
        read_at.max(Micros(proven_at))
    }

    /// Everything of this endpoint is void.
    pub fn flush(&self) {
        let number = FLUSHES.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.raise_flush(number);
    }

    /// This endpoint follows another one as the owner of keys: what a flush voided there stays void.
    pub fn inherit(&self, before: Stamp) {
        self.raise_flush(before.0 as u32);
    }

    fn raise_flush(&self, number: u32) {
        self.change(|stamp| stamp & !u64::from(u32::MAX) | u64::from(number.max(stamp as u32)));
    }

    /// A command that may change any key is about to be sent.
    pub fn begin_wholesale(&self) {
        self.wholesale.fetch_add(1, Ordering::AcqRel);
        self.flush();
    }

    /// Its reply is here (or will never come); called before the reply is delivered.
    pub fn end_wholesale(&self) {
        self.flush();
        self.wholesale.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether such a command is under way.
    pub fn wholesale(&self) -> bool {
        self.wholesale.load(Ordering::Acquire) != 0
    }

    fn change(&self, next: impl Fn(u64) -> u64) {
        // The closure always gives a value, so the update cannot fail.
        let _ = self.stamp.fetch_update(Ordering::AcqRel, Ordering::Acquire, |stamp| Some(next(stamp)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_coverage_never_returns_under_the_same_stamp() {
        let coverage = Coverage::default();
        coverage.begin(Micros(10));
        let first = coverage.stamp();
        assert!(coverage.holds(Micros(9)) && !coverage.holds(Micros(10)));
        coverage.lose();
        assert!(!coverage.holds(Micros(0)));
        coverage.begin(Micros(20));
        assert_ne!(coverage.stamp(), first);
        assert!(first.survives(coverage.stamp()));
    }

    #[test]
    fn a_flush_changes_the_stamp_and_keeps_the_coverage() {
        let coverage = Coverage::default();
        coverage.begin(Micros(10));
        let before = coverage.stamp();
        coverage.flush();
        assert!(coverage.holds(Micros(1)) && !before.survives(coverage.stamp()));
    }

    #[test]
    fn stamps_of_two_endpoints_never_match() {
        let (one, other) = (Coverage::default(), Coverage::default());
        one.begin(Micros(10));
        other.begin(Micros(10));
        assert!(!one.stamp().same_connection(other.stamp()));
        one.flush();
        let read = one.stamp();
        other.inherit(read);
        assert!(read.survives(other.stamp()));
        one.flush();
        other.inherit(one.stamp());
        assert!(!read.survives(other.stamp()), "a flush of the owner before voids what was read there earlier");
    }

    #[test]
    fn what_an_earlier_process_read_is_of_no_connection_until_a_flush_voids_it() {
        let (alone, together, others) =
            (Stamp::of_the_past(), Stamp::of_a_past_connection(), Stamp::of_a_past_connection());
        assert!(together.same_connection(together) && !together.same_connection(others));
        assert!(!alone.same_connection(alone), "nothing is known of when it was true");
        let coverage = Coverage::default();
        for _ in 0..3 {
            coverage.begin(Micros(10));
            let current = coverage.stamp();
            for past in [alone, together] {
                assert!(past.survives(current) && !past.is_current(current) && !past.same_connection(current));
            }
            coverage.lose();
        }
        coverage.flush();
        assert!(!alone.survives(coverage.stamp()) && !together.survives(coverage.stamp()));
        assert!(Stamp::of_the_past().survives(coverage.stamp()));
    }

    #[test]
    fn a_late_heartbeat_does_not_revive_a_lost_coverage() {
        let coverage = Coverage::default();
        coverage.begin(Micros(10));
        coverage.lose();
        coverage.extend(Micros(90), Micros(100));
        assert!(!coverage.holds(Micros(5)));
    }

    #[test]
    fn a_reply_is_known_to_have_been_true_until_the_last_proof_of_its_own_connection() {
        let coverage = Coverage::default();
        coverage.begin(Micros(10));
        let first = coverage.stamp();
        coverage.extend(Micros(7), Micros(17));
        assert_eq!(coverage.proven(first, Micros(3)), Micros(7));
        assert_eq!(coverage.proven(first, Micros(8)), Micros(8), "it was read behind the last proof");
        coverage.lose();
        assert_eq!(coverage.proven(first, Micros(3)), Micros(7));
        coverage.begin(Micros(40));
        let second = coverage.stamp();
        coverage.extend(Micros(35), Micros(45));
        assert_eq!(coverage.proven(second, Micros(31)), Micros(35));
        assert_eq!(coverage.proven(first, Micros(3)), Micros(7));
        coverage.lose();
        assert_eq!(coverage.proven(second, Micros(31)), Micros(35));
        assert_eq!(
            coverage.proven(first, Micros(3)),
            Micros(3),
            "two connections ago: nothing but the reading is known"
        );
        assert_eq!(coverage.proven(Stamp::NONE, Micros(3)), Micros(3));
    }
}
