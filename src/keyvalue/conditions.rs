//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: the instant that they name, and what they ask of the expiry that is there.

use super::clock::Now;
use super::refusal::Refusal;
use crate::resp::{Command, number};

/// What the options ask of the expiry that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    none: bool,
    some: bool,
    later: bool,
    sooner: bool,
}

/// How the time of one of the four commands is to be read.
#[derive(Clone, Copy, Debug)]
pub struct EndsAt {
    scale: i64,
    absolute: bool,
}

// === impl EndsAt ===

impl EndsAt {
    /// EXPIRE.
    pub const SECONDS: Self = Self { scale: 1000, absolute: false };
    /// PEXPIRE.
    pub const MILLISECONDS: Self = Self { scale: 1, absolute: false };
    /// EXPIREAT.
    pub const UNIX_SECONDS: Self = Self { scale: 1000, absolute: true };
    /// PEXPIREAT.
    pub const UNIX_MILLISECONDS: Self = Self { scale: 1, absolute: true };

    /// The instant that `time` means, in milliseconds since 1970; it may be long past. `name` is the command's.
    pub fn instant(self, name: &str, time: &[u8], now: Now) -> Result<i64, Refusal> {
        let base = if self.absolute { 0 } else { now.unix_ms() };
        number::integer(time)
            .ok_or(Refusal::INTEGER)?
            .checked_mul(self.scale)
            .and_then(|time| time.checked_add(base))
            .ok_or_else(|| Refusal::expire_time(name))
    }
}

// === impl Conditions ===

impl Conditions {
    /// Reads the arguments behind the time.
    pub fn parse(cmd: &Command<'_>) -> Result<Self, Refusal> {
        let mut conditions = Self::default();
        for word in cmd.args(3) {
            let condition = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut conditions.none,
                b"xx" => &mut conditions.some,
                b"gt" => &mut conditions.later,
                b"lt" => &mut conditions.sooner,
                _ => return Err(Refusal::unsupported_option(word)),
            };
            *condition = true;
        }
        if conditions.none && (conditions.some || conditions.later || conditions.sooner) {
            return Err(Refusal::EXPIRE_NX);
        }
        if conditions.later && conditions.sooner {
            return Err(Refusal::EXPIRE_GT_LT);
        }
        Ok(conditions)
    }

    /// Whether nothing is asked.
    pub fn none_asked(&self) -> bool {
        !(self.none || self.some || self.later || self.sooner)
    }

    /// Whether the key may end at `unix_ms` that ends at `current` now. A key without an expiry lives longer than any other.
    pub fn allow(&self, current: Option<i64>, unix_ms: i64) -> bool {
        match current {
            None => !self.some && !self.later,
            Some(current) => !self.none && (!self.later || unix_ms > current) && (!self.sooner || unix_ms < current),
        }
    }
}
