//! The one clock: microseconds, monotonic, counted from long before the process first looked at it.
//!
//! Ages and deadlines never come from the wall clock, so a clock that is set back or forward cannot lengthen the life
//! of a cached reply. A worker reads it once per batch of work, not once per command.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time, in microseconds since [`BEGINNING`] before the process started; also used for spans of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

/// How late the clock says it is when the process starts: 2^50 us, 35 years.
///
/// Replies from a snapshot were read before the process started, and their ages have to be told all the same. Nobody keeps a
/// snapshot for so long, and from here to the end of the numbers there is still more time than anything lasts. 0 stays free to
/// mean "never".
pub const BEGINNING: Micros = Micros(1 << 50);

impl Micros {
    /// Later than every point in time that can be met.
    pub const NEVER: Self = Self(u64::MAX);

    /// Reads the clock (about 30 ns).
    pub fn now() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        BEGINNING.plus(Self::of(START.get_or_init(Instant::now).elapsed()))
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
