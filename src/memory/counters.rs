//! Numbers in place: INCR, DECR and their kin.

use super::call::Call;
use super::store::Lifetime;
use super::text::Text;
use crate::keyvalue::Extended;
use crate::keyvalue::Refusal;

/// INCR key
pub(super) fn incr(call: &mut Call<'_>) -> Result<(), Refusal> {
    add(call, 1)
}

/// DECR key
pub(super) fn decr(call: &mut Call<'_>) -> Result<(), Refusal> {
    add(call, -1)
}

/// INCRBY key increment
pub(super) fn incrby(call: &mut Call<'_>) -> Result<(), Refusal> {
    let increment = call.integer(2)?;
    add(call, increment)
}

/// DECRBY key decrement
pub(super) fn decrby(call: &mut Call<'_>) -> Result<(), Refusal> {
    let increment = call.integer(2)?.checked_neg().ok_or(Refusal::DECREMENT_OVERFLOW)?;
    add(call, increment)
}

fn add(call: &mut Call<'_>, increment: i64) -> Result<(), Refusal> {
    let key = call.arg(1);
    let old = match call.store.peek(call.db, key, call.now) {
        Some(entry) => entry.text.integer().ok_or(Refusal::INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(Refusal::OVERFLOW)?;
    call.store.write(call.db, key, Text::Integer(new), Lifetime::Keep, call.now)?;
    call.reply_integer(new)
}

/// INCRBYFLOAT key increment
pub(super) fn incrbyfloat(call: &mut Call<'_>) -> Result<(), Refusal> {
    let key = call.arg(1);
    let old = match call.store.peek(call.db, key, call.now) {
        Some(entry) => Extended::parse(&entry.text.bytes()).ok_or(Refusal::FLOAT)?,
        None => Extended::ZERO,
    };
    let increment = Extended::parse(call.arg(2)).ok_or(Refusal::FLOAT)?;
    let new = old.plus(increment).text().ok_or(Refusal::FLOAT_OVERFLOW)?;
    let text = Text::Fixed(new.as_bytes().into());
    call.store.write(call.db, key, text, Lifetime::Keep, call.now)?;
    call.reply_bulk(new.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn counters_refuse_what_is_no_number_and_what_overflows() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("INCR n"), ":1");
        assert_eq!(shell.run("DECRBY n 3"), ":-2");
        shell.run("SET n 9223372036854775807");
        assert_eq!(shell.run("INCR n"), "-ERR increment or decrement would overflow");
        assert_eq!(shell.run("DECRBY n -9223372036854775808"), "-ERR decrement would overflow");
        shell.run("SET n 01");
        assert_eq!(shell.run("INCR n"), "-ERR value is not an integer or out of range");
        assert_eq!(shell.run("INCRBY other 1.5"), "-ERR value is not an integer or out of range");
        assert_eq!(shell.run("EXISTS other"), ":0");
    }

    #[test]
    fn counting_keeps_the_expiry() {
        let mut shell = Shell::new();
        shell.run("SET n 5 EX 10");
        shell.run("INCR n");
        shell.run("INCRBYFLOAT n 0.5");
        assert_eq!(shell.run("TTL n"), ":10");
        assert_eq!(shell.run("GET n"), "$3 6.5");
    }

    #[test]
    fn floats_are_added_without_binary_noise() {
        let mut shell = Shell::new();
        shell.run("SET f 10.50");
        assert_eq!(shell.run("INCRBYFLOAT f 0.1"), "$4 10.6");
        assert_eq!(shell.run("INCRBYFLOAT f -5"), "$3 5.6");
        shell.run("SET f 5.0e3");
        assert_eq!(shell.run("INCRBYFLOAT f 2.0e2"), "$4 5200");
        assert_eq!(shell.run("OBJECT ENCODING f"), "$6 embstr");
        assert_eq!(shell.run("INCRBYFLOAT f inf"), "-ERR increment would produce NaN or Infinity");
        assert_eq!(shell.run("INCRBYFLOAT f nan"), "-ERR value is not a valid float");
        assert_eq!(shell.run("INCRBYFLOAT f 1x"), "-ERR value is not a valid float");
    }
}
