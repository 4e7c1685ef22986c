//! How long keys live: EXPIRE, TTL and their kin, and TIME.

use super::call::Call;
use crate::keyvalue::{Conditions, EndsAt, Expiry, Refusal};
use crate::resp::encode;

/// EXPIRE key seconds [NX | XX | GT | LT]
pub(super) fn expire(call: &mut Call<'_>) -> Result<(), Refusal> {
    end_at(call, EndsAt::SECONDS)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub(super) fn pexpire(call: &mut Call<'_>) -> Result<(), Refusal> {
    end_at(call, EndsAt::MILLISECONDS)
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
pub(super) fn expireat(call: &mut Call<'_>) -> Result<(), Refusal> {
    end_at(call, EndsAt::UNIX_SECONDS)
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
pub(super) fn pexpireat(call: &mut Call<'_>) -> Result<(), Refusal> {
    end_at(call, EndsAt::UNIX_MILLISECONDS)
}

/// Ends the key's life at the instant that argument 2 names.
fn end_at(call: &mut Call<'_>, ends: EndsAt) -> Result<(), Refusal> {
    let conditions = Conditions::parse(&call.cmd)?;
    let unix_ms = ends.instant(call.name, call.arg(2), call.now)?;
    let key = call.arg(1);
    let Some(current) = call.store.read(call.db, key, call.now).map(|entry| entry.expiry()) else {
        return call.reply_integer(0);
    };
    if !conditions.allow(current.map(|expiry| expiry.unix_ms), unix_ms) {
        return call.reply_integer(0);
    }
    if unix_ms <= call.now.unix_ms() {
        call.store.remove(call.db, key, call.now);
    } else {
        let expiry = Expiry::at(unix_ms, call.now);
        call.store.set_expiry(call.db, key, Some(expiry), call.now);
    }
    call.reply_integer(1)
}

/// TTL key
pub(super) fn ttl(call: &mut Call<'_>) -> Result<(), Refusal> {
    let now = call.now;
    show(call, |expiry| expiry.left_ms(now).saturating_add(500) / 1000)
}

/// PTTL key
pub(super) fn pttl(call: &mut Call<'_>) -> Result<(), Refusal> {
    let now = call.now;
    show(call, |expiry| expiry.left_ms(now))
}

/// EXPIRETIME key
pub(super) fn expiretime(call: &mut Call<'_>) -> Result<(), Refusal> {
    show(call, |expiry| expiry.unix_ms.saturating_add(500) / 1000)
}

/// PEXPIRETIME key
pub(super) fn pexpiretime(call: &mut Call<'_>) -> Result<(), Refusal> {
    show(call, |expiry| expiry.unix_ms)
}

/// -2 without the key, -1 without an expiry.
fn show(call: &mut Call<'_>, value: impl Fn(Expiry) -> i64) -> Result<(), Refusal> {
    let entry = call.store.peek(call.db, call.arg(1), call.now);
    let shown = entry.map_or(-2, |entry| entry.expiry().map_or(-1, value));
    call.reply_integer(shown)
}

/// PERSIST key
pub(super) fn persist(call: &mut Call<'_>) -> Result<(), Refusal> {
    let key = call.arg(1);
    let entry = call.store.read(call.db, key, call.now);
    let mortal = entry.is_some_and(|entry| entry.expiry().is_some());
    if mortal {
        call.store.set_expiry(call.db, key, None, call.now);
    }
    call.reply_integer(i64::from(mortal))
}

/// TIME
pub(super) fn time(call: &mut Call<'_>) -> Result<(), Refusal> {
    let now = call.now.unix_us;
    encode::array(call.out, 2);
    encode::bulk(call.out, (now / 1_000_000).to_string().as_bytes());
    encode::bulk(call.out, (now % 1_000_000).to_string().as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn a_key_is_gone_right_after_its_last_millisecond() {
        let mut shell = Shell::new();
        shell.run("SET k v PX 100");
        assert_eq!(shell.run("PTTL k"), ":100");
        shell.pass_ms(100);
        assert_eq!(shell.run("PTTL k"), ":0");
        shell.pass_ms(1);
        assert_eq!(shell.run("PTTL k"), ":-2");
        assert_eq!(shell.run("DBSIZE"), ":0");
    }

    #[test]
    fn absolute_times_are_shown_exactly_and_past_ones_delete() {
        let mut shell = Shell::new();
        shell.run("SET k v");
        assert_eq!(shell.run("TTL k"), ":-1");
        assert_eq!(shell.run("PEXPIREAT k 1700000001500"), ":1");
        assert_eq!(shell.run("EXPIRETIME k"), ":1700000002");
        assert_eq!(shell.run("PEXPIRETIME k"), ":1700000001500");
        assert_eq!(shell.run("TTL k"), ":2");
        assert_eq!(shell.run("EXPIREAT k 1"), ":1");
        assert_eq!(shell.run("EXISTS k"), ":0");
        assert_eq!(shell.run("SET k v PXAT 1"), "+OK");
        assert_eq!(shell.run("GET k"), "$-1");
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_end_a_key() {
        let mut shell = Shell::new();
        shell.run("SET k v EX 10");
        shell.now.unix_us += 3_600_000_000;
        assert_eq!(shell.run("TTL k"), ":10");
        assert_eq!(shell.run("EXPIRETIME k"), ":1700000010");
    }

    #[test]
    fn conditions_compare_with_the_expiry_that_is_there() {
        let mut shell = Shell::new();
        shell.run("SET k v");
        assert_eq!(shell.run("EXPIRE k 10 XX"), ":0");
        assert_eq!(shell.run("EXPIRE k 10 GT"), ":0");
        assert_eq!(shell.run("EXPIRE k 10 LT"), ":1");
        assert_eq!(shell.run("EXPIRE k 20 NX"), ":0");
        assert_eq!(shell.run("EXPIRE k 10 GT"), ":0");
        assert_eq!(shell.run("EXPIRE k 11 XX GT"), ":1");
        assert_eq!(shell.run("PERSIST k"), ":1");
        assert_eq!(shell.run("PERSIST k"), ":0");
        assert_eq!(shell.run("EXPIRE k 1 NO"), "-ERR Unsupported option NO");
    }
}
