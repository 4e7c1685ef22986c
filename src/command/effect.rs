//! What a command may do to keys, how it is served and whether its reply may be kept: on parsed arguments, never on the
//! first word alone.
//!
//! These three run for every command, so what does not depend on options is worked out once, when the row is made.

use std::time::Duration;

use super::columns::{Cacheable, Lease, Options, Row, Timeout, Way};
use super::keys::{KeySpec, options};
use super::quoted::Quoted;
use super::spec::{Flags, Origin, Spec};
use crate::resp::{Command, Proto};

#[cfg(test)]
mod tests;

/// What a command may do to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads keys and changes none.
    Read,
    /// May change keys. When [`super::for_each_key`] finds a partial coverage, the reach is `Beyond` whatever is said
    /// here.
    Write(Reach),
    /// Neither reads nor changes a key.
    Inert,
    /// Changes keys wholesale, or which server owns them, perhaps without an invalidation for any.
    Everything,
}

/// Which keys a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those that it names.
    Named,
    /// Any: a script, a module, an unknown command.
    Beyond,
}

/// What `cmd` may do to keys.
#[inline]
pub fn effect(spec: &Spec, cmd: &Command<'_>) -> Effect {
    match spec.options {
        Options::Plain | Options::Scores | Options::Set | Options::Migrate | Options::Streams | Options::Audience => {
            spec.effect
        }
        Options::Sort if spec.effect != Effect::Read => read_unless(spec, options::sort_has_store(cmd)),
        Options::Georadius => read_unless(spec, options::georadius_has_store(spec, cmd)),
        Options::Bitfield => read_unless(spec, !options::bitfield_reads(cmd)),
        Options::Sort => spec.effect,
    }
}

fn read_unless(spec: &Spec, writes: bool) -> Effect {
    if writes { spec.effect } else { Effect::Read }
}

/// How `cmd` is served.
#[inline]
pub fn way(spec: &Spec, cmd: &Command<'_>) -> Way {
    match spec.options {
        Options::Streams if options::streams_block(cmd).is_some() => Way::Leased(Lease::Block(Timeout::Option)),
        _ => spec.way,
    }
}

/// Where `cmd` says how long it may block.
fn block_argument(timeout: Timeout, cmd: &Command<'_>) -> Option<usize> {
    match timeout {
        Timeout::First => Some(1),
        Timeout::Last => Some(cmd.len() - 1),
        Timeout::Option => options::streams_block(cmd),
        Timeout::Unknown => None,
    }
}

/// How long `cmd` may block, by what it says; `None` for ever.
pub fn block_time(timeout: Timeout, cmd: &Command<'_>) -> Option<Duration> {
    if timeout == Timeout::Unknown {
        return None;
    }
    let argument = block_argument(timeout, cmd).and_then(|at| cmd.opt(at));
    let unit = if timeout == Timeout::Option { 1e-3 } else { 1.0 };
    let number: Option<f64> = argument.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    // What is no number is refused at once.
    match Duration::try_from_secs_f64(number.unwrap_or(-1.0) * unit) {
        Ok(Duration::ZERO) => None,
        Ok(time) => Some(time),
        Err(_) => Some(Duration::ZERO),
    }
}

/// `cmd` with `time` in place of the time that it may block, written for a server that speaks `proto`.
pub fn with_block_time(timeout: Timeout, cmd: &Command<'_>, time: Duration, proto: Proto) -> Option<Quoted> {
    let at = block_argument(timeout, cmd).filter(|at| *at < cmd.len())?;
    // No time would be for ever.
    let millis = time.as_millis().max(1);
    let text = match (timeout, proto) {
        (Timeout::Option, _) => millis.to_string(),
        (_, Proto::Resp3) => format!("{}.{:03}", millis / 1000, millis % 1000),
        // Servers older than RESP3 take whole seconds only.
        (_, Proto::Resp2) => millis.div_ceil(1000).to_string(),
    };
    let mut words: Vec<&[u8]> = cmd.args(0).collect();
    words[at] = text.as_bytes();
    Quoted::new(words.into_iter())
}

/// In which form the reply of `cmd` may be kept, if at all.
#[inline]
pub fn cacheable(spec: &Spec, cmd: &Command<'_>) -> Option<Cacheable> {
    let mut cacheable = spec.cacheable?;
    if spec.cacheable_args != 0 && spec.cacheable_args != cmd.len() {
        return None;
    }
    if spec.options == Options::Scores {
        // Arguments 2 and 3 are the range; one of them may be a member that reads like the option.
        cacheable.shape.pairs = (4..cmd.len()).any(|i| cmd.is(i, "withscores"));
    }
    Some(cacheable)
}

/// The effect of a row before options are looked at: what the columns say, else what the flags tell.
pub(super) fn fixed(row: Option<&Row>, flags: Flags, keys: &[KeySpec], origin: Origin) -> Effect {
    let said = row.and_then(|row| row.effect);
    if let Some(effect) = said.filter(|effect| *effect != Effect::Inert || !flags.has(Flags::WRITE)) {
        return effect;
    }
    if flags.has(Flags::READONLY) && !flags.has(Flags::WRITE) {
        return Effect::Read;
    }
    // A module's write may reach keys that it does not name, as a rule of a time series does.
    let trusted = origin == Origin::Builtin || !flags.has(Flags::MODULE);
    if flags.has(Flags::WRITE) && !keys.is_empty() && trusted {
        Effect::Write(Reach::Named)
    } else {
        Effect::Write(Reach::Beyond)
    }
}
