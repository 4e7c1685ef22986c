//! The time of a command: one reading of both clocks, taken before it runs.
//!
//! Deadlines are kept on the monotonic clock, so that a step of the wall clock neither revives nor kills a key; the wall
//! clock turns the times that commands name (`EXPIREAT`, `PXAT`) into deadlines at the moment they are set.

use std::num::NonZeroU64;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Both clocks.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds on the monotonic clock; at least [`Now::FIRST`].
    pub tick: u64,
    /// Microseconds since 1970.
    pub unix_us: i64,
}

/// When a key ends: exact on the wall clock for those who ask, and on the monotonic clock for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Milliseconds since 1970, as the command said.
    pub unix_ms: i64,
    /// The same instant as a tick.
    pub deadline: NonZeroU64,
}

// === impl Clock ===

impl Clock {
    /// A monotonic clock that begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The present instant on both.
    pub fn now(&self) -> Now {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { tick: elapsed.saturating_add(Now::FIRST), unix_us: i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) }
    }
}

// === impl Now ===

impl Now {
    /// The first tick there is: one later than the earliest deadline, so that a time in the past is past at once.
    pub const FIRST: u64 = 2;

    /// Milliseconds since 1970.
    pub fn unix_ms(self) -> i64 {
        self.unix_us / 1000
    }

    /// Seconds on the monotonic clock: the resolution in which Redis keeps the last access of a key.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.tick / 1000).unwrap_or(u32::MAX)
    }
}

// === impl Expiry ===

impl Expiry {
    /// At `unix_ms`, which may lie in the past.
    pub fn at(unix_ms: i64, now: Now) -> Self {
        let deadline = now.tick.saturating_add_signed(unix_ms.saturating_sub(now.unix_ms()));
        Self { unix_ms, deadline: NonZeroU64::new(deadline).unwrap_or(NonZeroU64::MIN) }
    }

    /// A key still lives in the very millisecond of its deadline, as in Redis.
    pub fn is_over(self, now: Now) -> bool {
        now.tick > self.deadline.get()
    }

    /// Milliseconds left.
    pub fn left_ms(self, now: Now) -> i64 {
        i64::try_from(self.deadline.get().saturating_sub(now.tick)).unwrap_or(i64::MAX)
    }
}
