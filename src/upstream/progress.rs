//! Whether a connection that owes a reply is getting anywhere.
//!
//! A reply has its time (the command timeout) from when it was asked for or, behind others on the same connection, from when the one
//! before it was whole. A long reply may take longer as long as it comes along; a few bytes now and then are no progress.

use crate::clock::Micros;

/// How far the replies of a connection have come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// When the last whole reply came, or the connection was made.
    at: Micros,
    /// Bytes of the next one.
    partial: usize,
}

/// Bytes of an unfinished reply that have to come in the time of a timeout: a tenth of the slowest link that anybody would put a cache
/// on (1 Mbit/s gives 62 KB in half a second).
const LEAST: u64 = 6 << 10;

impl Progress {
    /// The connection is up.
    pub fn begun(now: Micros) -> Self {
        Self { at: now, partial: 0 }
    }

    /// Bytes have come. Whether a whole reply was among them, and how much there is of the next one.
    #[inline]
    pub fn heard(&mut self, whole: bool, partial: usize, now: Micros) {
        self.partial = partial;
        if whole {
            self.at = now;
        }
    }

    /// Whether a reply that was asked for at `asked_at` and may take `limit` is too late.
    pub fn stalled(&self, asked_at: Micros, limit: Micros, now: Micros) -> bool {
        let waited = now.since(asked_at.max(self.at));
        waited > limit && (self.partial as u128) * u128::from(limit.0) < u128::from(LEAST) * u128::from(waited.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Micros = Micros(500_000);

    fn at(milliseconds: u64) -> Micros {
        Micros(milliseconds * 1000)
    }

    #[test]
    fn a_reply_has_its_time_from_when_it_was_asked_for_or_its_turn_came() {
        let mut progress = Progress::begun(at(0));
        assert!(!progress.stalled(at(100), LIMIT, at(600)));
        assert!(progress.stalled(at(100), LIMIT, at(601)));
        progress.heard(true, 0, at(590));
        assert!(!progress.stalled(at(100), LIMIT, at(1000)));
        assert!(progress.stalled(at(100), LIMIT, at(1091)));
        assert!(!Progress::begun(at(400)).stalled(at(100), LIMIT, at(900)), "it could not be asked for sooner");
    }

    #[test]
    fn a_long_reply_may_take_its_time_and_one_that_drips_may_not() {
        let mut progress = Progress::begun(at(0));
        let mut stalls = |bytes_in_a_second: u64| {
            (1..100).any(|tenth| {
                progress.heard(false, (tenth * bytes_in_a_second / 10) as usize, at(tenth * 100));
                progress.stalled(at(0), LIMIT, at(tenth * 100))
            })
        };
        assert!(!stalls(100_000));
        assert!(stalls(10));
        assert!(stalls(5_000));
    }
}
