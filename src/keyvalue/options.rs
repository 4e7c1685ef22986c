//! The options of SET and GETEX.

use super::clock::Now;
use super::refusal::Refusal;
use crate::resp::{Command, number};

/// When SET sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// NX: only if the key is not there.
    Absent,
    /// XX: only if it is.
    Present,
}

/// A time as a command states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    seconds: bool,
    /// An instant since 1970, not a time from now on.
    pub absolute: bool,
}

/// What the options of SET and GETEX say of the key's expiry.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// Nothing: SET ends it, GETEX leaves it.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Never,
    /// EX, PX, EXAT, PXAT and their argument, not looked at yet.
    At(Unit, &'a [u8]),
}

/// Which of the two commands the options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsOf {
    /// SET.
    Set,
    /// GETEX.
    Getex,
}

/// The options of one command.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// NX, XX.
    pub condition: Condition,
    /// What becomes of the expiry.
    pub ending: Ending<'a>,
    /// Reply with the old value.
    pub old: bool,
}

// === impl Unit ===

impl Unit {
    /// EX, SETEX.
    pub const SECONDS: Self = Self { seconds: true, absolute: false };
    /// PX, PSETEX.
    pub const MILLISECONDS: Self = Self { seconds: false, absolute: false };

    fn of(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_slice() {
            b"ex" => Self::SECONDS,
            b"px" => Self::MILLISECONDS,
            b"exat" => Self { absolute: true, ..Self::SECONDS },
            b"pxat" => Self { absolute: true, ..Self::MILLISECONDS },
            _ => return None,
        })
    }

    /// The instant that a positive time means, in milliseconds since 1970; `name` is the command's, for the error.
    pub fn instant(self, name: &str, time: &[u8], now: Now) -> Result<i64, Refusal> {
        let time = number::integer(time).ok_or(Refusal::INTEGER)?;
        let scale = if self.seconds { 1000 } else { 1 };
        let base = if self.absolute { 0 } else { now.unix_ms() };
        Some(time)
            .filter(|&time| time > 0)
            .and_then(|time| time.checked_mul(scale))
            .and_then(|time| time.checked_add(base))
            .ok_or_else(|| Refusal::expire_time(name))
    }
}

// === impl Options ===

impl<'a> Options<'a> {
    /// Reads the arguments from `from` on. As in Redis an option may be repeated; it may not contradict another one.
    pub fn parse(cmd: &Command<'a>, of: OptionsOf, from: usize) -> Result<Self, Refusal> {
        let mut options = Self { condition: Condition::Always, ending: Ending::Unsaid, old: false };
        let mut i = from;
        while let Some(word) = cmd.opt(i) {
            let is = |name: &str| cmd.is(i, name);
            let set = of == OptionsOf::Set;
            if set && is("nx") && options.condition != Condition::Present {
                options.condition = Condition::Absent;
            } else if set && is("xx") && options.condition != Condition::Absent {
                options.condition = Condition::Present;
            } else if set && is("get") {
                options.old = true;
            } else if set && is("keepttl") && matches!(options.ending, Ending::Unsaid | Ending::Keep) {
                options.ending = Ending::Keep;
            } else if !set && is("persist") && matches!(options.ending, Ending::Unsaid | Ending::Never) {
                options.ending = Ending::Never;
            } else if let Some(unit) = Unit::of(word)
                && let Some(time) = cmd.opt(i + 1)
                && options.ending.admits(unit)
            {
                options.ending = Ending::At(unit, time);
                i += 1;
            } else {
                return Err(Refusal::SYNTAX);
            }
            i += 1;
        }
        Ok(options)
    }
}

// === impl Ending ===

impl Ending<'_> {
    fn admits(self, unit: Unit) -> bool {
        match self {
            Self::Unsaid => true,
            Self::Keep | Self::Never => false,
            Self::At(said, _) => said == unit,
        }
    }
}
