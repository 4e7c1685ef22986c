//! The one clock: microseconds since the process first looked at it, monotonic.
//!
//! Ages and deadlines never come from the wall clock, so a clock that is set back or forward cannot lengthen the life
//! of a cached reply. A worker reads it once per batch of work, not once per command.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time, in microseconds since the process started; also used for spans of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl Micros {
    /// Later than every point in time that can be met.
    pub const NEVER: Self = Self(u64::MAX);

    /// Reads the clock (about 30 ns).
    pub fn now() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        // Starts at one second, so that 0 is free to mean "never" and spans can be subtracted near the start.
        Self::of(elapsed).plus(Self(1_000_000))
    }

    /// The length of a duration; durations beyond 500,000 years are cut off there.
    pub fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    /// This point, later by `span`.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}
