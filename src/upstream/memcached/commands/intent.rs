//! What commands of several steps want: read from their arguments, before anything is asked of the node.

use super::Work;
use super::change::{Change, What};
use super::plain::{self, Note, Plain};
use crate::keyvalue::{Condition, Conditions, Ending, EndsAt, Extended, Options, OptionsOf, Refusal};
use crate::resp::{Command, number};
use crate::upstream::memcached::desk::{Desk, Guard};
use crate::upstream::memcached::expiry::Life;

type Begun = Result<Work, Refusal>;

/// SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT time | PXAT time | KEEPTTL]
pub(super) fn set(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let options = Options::parse(cmd, OptionsOf::Set, 3)?;
    let life = match options.ending {
        Ending::Unsaid | Ending::Never => Some(Life::FOREVER),
        Ending::Keep => None,
        Ending::At(unit, time) => Some(desk.until(unit.instant("set", time, desk.now())?)),
    };
    let (key, value) = (cmd.arg(1), cmd.arg(2));
    let guard = match options.condition {
        Condition::Always => Guard::Any,
        Condition::Absent => Guard::Absent,
        Condition::Present => Guard::Present,
    };
    match life {
        Some(life) if !options.old => Ok(plain::store(desk, key, value, life, guard)),
        // There is nothing whose time could be kept.
        None if !options.old && guard == Guard::Absent => Ok(plain::store(desk, key, value, Life::FOREVER, guard)),
        life => {
            let what = What::Set { value: value.into(), condition: options.condition, life, old: options.old };
            Ok(Change::begin(key, what, desk))
        }
    }
}

/// GETSET key value
pub(super) fn getset(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let life = Some(Life::FOREVER);
    let what = What::Set { value: cmd.arg(2).into(), condition: Condition::Always, life, old: true };
    Ok(Change::begin(cmd.arg(1), what, desk))
}

/// GETDEL key
pub(super) fn getdel(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    Ok(Change::begin(cmd.arg(1), What::Take, desk))
}

/// GETEX key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]
pub(super) fn getex(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let options = Options::parse(cmd, OptionsOf::Getex, 2)?;
    let key = cmd.arg(1);
    let life = match options.ending {
        Ending::Unsaid | Ending::Keep => {
            desk.get(key, " v");
            return Ok(Work::Plain(Plain::Value(None)));
        }
        Ending::Never => Life::FOREVER,
        Ending::At(unit, time) => match unit.instant("getex", time, desk.now()) {
            Ok(unix_ms) => desk.until(unix_ms),
            // Redis looks at the time only if there is a key.
            Err(refusal) => {
                desk.get(key, "");
                return Ok(Work::Plain(Plain::Refused(refusal)));
            }
        },
    };
    if life.is_over() {
        return getdel(cmd, desk);
    }
    desk.server.deadlines.forget(key);
    desk.touch(key, life, " v");
    Ok(Work::Plain(Plain::Value(Note::of(key, life))))
}

/// APPEND key value
pub(super) fn append(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    Ok(Change::begin(cmd.arg(1), What::Append(cmd.arg(2).into()), desk))
}

/// INCR key
pub(super) fn incr(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    Ok(Change::begin(cmd.arg(1), What::Add(1), desk))
}

/// DECR key
pub(super) fn decr(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    Ok(Change::begin(cmd.arg(1), What::Add(-1), desk))
}

/// INCRBY key increment
pub(super) fn incrby(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let increment = number::integer(cmd.arg(2)).ok_or(Refusal::INTEGER)?;
    Ok(Change::begin(cmd.arg(1), What::Add(increment), desk))
}

/// DECRBY key decrement
pub(super) fn decrby(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let decrement = number::integer(cmd.arg(2)).ok_or(Refusal::INTEGER)?;
    let increment = decrement.checked_neg().ok_or(Refusal::DECREMENT_OVERFLOW)?;
    Ok(Change::begin(cmd.arg(1), What::Add(increment), desk))
}

/// INCRBYFLOAT key increment
pub(super) fn incrbyfloat(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    let increment = Extended::parse(cmd.arg(2)).ok_or(Refusal::FLOAT)?;
    Ok(Change::begin(cmd.arg(1), What::AddFloat(increment), desk))
}

/// EXPIRE key seconds [NX | XX | GT | LT]
pub(super) fn expire(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    end_at(cmd, desk, "expire", EndsAt::SECONDS)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub(super) fn pexpire(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    end_at(cmd, desk, "pexpire", EndsAt::MILLISECONDS)
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
pub(super) fn expireat(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    end_at(cmd, desk, "expireat", EndsAt::UNIX_SECONDS)
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
pub(super) fn pexpireat(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    end_at(cmd, desk, "pexpireat", EndsAt::UNIX_MILLISECONDS)
}

fn end_at(cmd: &Command<'_>, desk: &mut Desk<'_>, name: &str, ends: EndsAt) -> Begun {
    let conditions = Conditions::parse(cmd)?;
    let unix_ms = ends.instant(name, cmd.arg(2), desk.now())?;
    let key = cmd.arg(1);
    if !conditions.none_asked() {
        return Ok(Change::begin(key, What::EndIf(conditions, unix_ms), desk));
    }
    let life = desk.until(unix_ms);
    if life.is_over() {
        desk.delete(key, None);
        return Ok(Work::Plain(Plain::Touched(None)));
    }
    desk.server.deadlines.forget(key);
    desk.touch(key, life, "");
    Ok(Work::Plain(Plain::Touched(Note::of(key, life))))
}

/// PERSIST key
pub(super) fn persist(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Begun {
    Ok(Change::begin(cmd.arg(1), What::Persist, desk))
}
