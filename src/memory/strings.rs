//! Whole values: SET and GET in all their forms.

use super::call::Call;
use super::store::Lifetime;
use super::text::Text;
use crate::keyvalue::{Condition, Ending, Expiry, Options, OptionsOf, Refusal, Unit};
use crate::resp::encode;

/// GET key
pub(super) fn get(call: &mut Call<'_>) -> Result<(), Refusal> {
    let key = call.arg(1);
    call.reply_value(key);
    Ok(())
}

/// SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT time | PXAT time | KEEPTTL]
pub(super) fn set(call: &mut Call<'_>) -> Result<(), Refusal> {
    let options = Options::parse(&call.cmd, OptionsOf::Set, 3)?;
    let key = call.arg(1);
    let lifetime = match options.ending {
        Ending::Unsaid | Ending::Never => Lifetime::Forever,
        Ending::Keep => Lifetime::Keep,
        Ending::At(unit, time) => Lifetime::Until(expiry(call, unit, time)?),
    };
    if options.old {
        call.reply_value(key);
    }
    if !set_if(call, options.condition, key, call.arg(2), lifetime)? {
        return if options.old { Ok(()) } else { call.reply_null() };
    }
    if options.old { Ok(()) } else { call.reply_ok() }
}

/// SETNX key value
pub(super) fn setnx(call: &mut Call<'_>) -> Result<(), Refusal> {
    let done = set_if(call, Condition::Absent, call.arg(1), call.arg(2), Lifetime::Forever)?;
    call.reply_integer(i64::from(done))
}

/// SETEX key seconds value
pub(super) fn setex(call: &mut Call<'_>) -> Result<(), Refusal> {
    set_with_expiry(call, Unit::SECONDS)
}

/// PSETEX key milliseconds value
pub(super) fn psetex(call: &mut Call<'_>) -> Result<(), Refusal> {
    set_with_expiry(call, Unit::MILLISECONDS)
}

fn set_with_expiry(call: &mut Call<'_>, unit: Unit) -> Result<(), Refusal> {
    let lifetime = Lifetime::Until(expiry(call, unit, call.arg(2))?);
    set_if(call, Condition::Always, call.arg(1), call.arg(3), lifetime)?;
    call.reply_ok()
}

/// GETSET key value
pub(super) fn getset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let key = call.arg(1);
    call.reply_value(key);
    set_if(call, Condition::Always, key, call.arg(2), Lifetime::Forever)?;
    Ok(())
}

/// GETDEL key
pub(super) fn getdel(call: &mut Call<'_>) -> Result<(), Refusal> {
    let key = call.arg(1);
    call.reply_value(key);
    call.store.remove(call.db, key, call.now);
    Ok(())
}

/// GETEX key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]
pub(super) fn getex(call: &mut Call<'_>) -> Result<(), Refusal> {
    let options = Options::parse(&call.cmd, OptionsOf::Getex, 2)?;
    let key = call.arg(1);
    // Redis looks at the time only if there is a key.
    if call.store.peek(call.db, key, call.now).is_none() {
        return call.reply_null();
    }
    match options.ending {
        Ending::Unsaid | Ending::Keep => call.reply_value(key),
        Ending::Never => {
            call.reply_value(key);
            call.store.set_expiry(call.db, key, None, call.now);
        }
        Ending::At(unit, time) => {
            let expiry = expiry(call, unit, time)?;
            call.reply_value(key);
            if unit.absolute && expiry.unix_ms <= call.now.unix_ms() {
                call.store.remove(call.db, key, call.now);
            } else {
                call.store.set_expiry(call.db, key, Some(expiry), call.now);
            }
        }
    }
    Ok(())
}

/// MGET key [key ...]
pub(super) fn mget(call: &mut Call<'_>) -> Result<(), Refusal> {
    encode::array(call.out, call.cmd.len() - 1);
    let cmd = call.cmd;
    for key in cmd.args(1) {
        call.reply_value(key);
    }
    Ok(())
}

/// MSET key value [key value ...]
pub(super) fn mset(call: &mut Call<'_>) -> Result<(), Refusal> {
    set_pairs(call)?;
    call.reply_ok()
}

/// MSETNX key value [key value ...]
pub(super) fn msetnx(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    let taken = |key| call.store.peek(call.db, key, call.now).is_some();
    if !cmd.len().is_multiple_of(2) && cmd.args(1).step_by(2).any(taken) {
        return call.reply_integer(0);
    }
    set_pairs(call)?;
    call.reply_integer(1)
}

fn set_pairs(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    if cmd.len().is_multiple_of(2) {
        return Err(Refusal::arity(call.name));
    }
    let pairs = cmd.args(1).step_by(2).zip(cmd.args(2).step_by(2));
    call.store.write_all(call.db, pairs, call.now)
}

/// Sets a key if it is there or not, as `condition` says.
fn set_if(
    call: &mut Call<'_>,
    condition: Condition,
    key: &[u8],
    value: &[u8],
    lifetime: Lifetime,
) -> Result<bool, Refusal> {
    if condition != Condition::Always {
        let present = call.store.peek(call.db, key, call.now).is_some();
        if present != (condition == Condition::Present) {
            return Ok(false);
        }
    }
    call.store.write(call.db, key, Text::new(value), lifetime, call.now)?;
    Ok(true)
}

/// The instant that a positive time means.
fn expiry(call: &Call<'_>, unit: Unit, time: &[u8]) -> Result<Expiry, Refusal> {
    unit.instant(call.name, time, call.now).map(|unix_ms| Expiry::at(unix_ms, call.now))
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn options_of_set_exclude_each_other() {
        let mut shell = Shell::new();
        for bad in ["NX XX", "EX 1 PX 1", "KEEPTTL EX 1", "PERSIST", "EX", "FOO", "EX 5 KEEPTTL"] {
            assert_eq!(shell.run(&format!("SET k v {bad}")), "-ERR syntax error", "{bad}");
        }
        assert_eq!(shell.run("SET k v EX 0"), "-ERR invalid expire time in 'set' command");
        assert_eq!(shell.run("SET k v EX x"), "-ERR value is not an integer or out of range");
        assert_eq!(shell.run("SET k v PX 9223372036854775807"), "-ERR invalid expire time in 'set' command");
        assert_eq!(shell.run("GET k"), "$-1");
    }

    #[test]
    fn conditional_sets_reply_with_what_was_there() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("SET k 1 XX"), "$-1");
        assert_eq!(shell.run("SET k 1 NX GET"), "$-1");
        assert_eq!(shell.run("SET k 2 NX GET"), "$1 1");
        assert_eq!(shell.run("SET k 3 XX GET"), "$1 1");
        assert_eq!(shell.run("GETSET k 4"), "$1 3");
        assert_eq!(shell.run("GETDEL k"), "$1 4");
        assert_eq!(shell.run("SETNX k 5"), ":1");
        assert_eq!(shell.run("SETNX k 6"), ":0");
    }

    #[test]
    fn a_plain_set_ends_the_expiry_and_keepttl_keeps_it() {
        let mut shell = Shell::new();
        shell.run("SETEX k 100 v");
        assert_eq!(shell.run("SET k w KEEPTTL"), "+OK");
        assert_eq!(shell.run("TTL k"), ":100");
        assert_eq!(shell.run("APPEND k x"), ":2");
        assert_eq!(shell.run("TTL k"), ":100");
        assert_eq!(shell.run("SET k w"), "+OK");
        assert_eq!(shell.run("TTL k"), ":-1");
    }

    #[test]
    fn msetnx_sets_all_or_none() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("MSET a 1 b"), "-ERR wrong number of arguments for 'mset' command");
        assert_eq!(shell.run("MSET a 1 a 2"), "+OK");
        assert_eq!(shell.run("MSETNX b 1 a 3"), ":0");
        assert_eq!(shell.run("MSETNX b 1 c 3"), ":1");
        assert_eq!(shell.run("MGET a b c d"), "*4 $1 2 $1 1 $1 3 $-1");
    }
}
