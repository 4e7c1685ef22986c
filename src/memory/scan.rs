//! Walks over the keys: SCAN, KEYS, RANDOMKEY.
//!
//! A cursor is the number of positions still to be visited. The walk goes from the last position to the first and a key
//! only ever moves towards the first, and only from behind the cursor or to a place before it: so a key that is there from
//! the first call to the last is returned at least once, and the walk always ends.

use super::call::Call;
use super::text::parse_integer;
use crate::glob;
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// Positions that one SCAN visits unless told otherwise, as in Redis.
const COUNT: usize = 10;

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub(super) fn scan(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    let cursor = parse_cursor(cmd.arg(1)).ok_or(Refusal::CURSOR)?;
    let (mut pattern, mut count, mut kind) = (None, COUNT, None);
    let mut i = 2;
    while i < cmd.len() {
        let value = cmd.opt(i + 1).ok_or(Refusal::SYNTAX)?;
        if cmd.is(i, "count") {
            let wanted = parse_integer(value).ok_or(Refusal::INTEGER)?;
            count = usize::try_from(wanted).ok().filter(|&wanted| wanted > 0).ok_or(Refusal::SYNTAX)?;
        } else if cmd.is(i, "match") {
            pattern = Some(value).filter(|&pattern| pattern != b"*");
        } else if cmd.is(i, "type") {
            kind = Some(value);
        } else {
            return Err(Refusal::SYNTAX);
        }
        i += 2;
    }
    let below = usize::try_from(cursor).ok().filter(|&below| below > 0).unwrap_or(usize::MAX);
    let wanted_kind = kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"string"));
    let mut next = 0;
    let mut found = Vec::new();
    for (at, key) in call.store.below(call.db, below, call.now).take(count) {
        next = at;
        let matches = |key: &&[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, key));
        found.extend(key.filter(matches).filter(|_| wanted_kind));
    }
    encode::array(call.out, 2);
    encode::bulk(call.out, next.to_string().as_bytes());
    encode::array(call.out, found.len());
    for key in found {
        encode::bulk(call.out, key);
    }
    Ok(())
}

/// KEYS pattern
pub(super) fn keys(call: &mut Call<'_>) -> Result<(), Refusal> {
    let pattern = call.arg(1);
    let matches = |key: &&[u8]| pattern == b"*" || glob::matches(pattern, key);
    let found: Vec<&[u8]> =
        call.store.below(call.db, usize::MAX, call.now).filter_map(|(_, key)| key.filter(matches)).collect();
    encode::array(call.out, found.len());
    for key in found {
        encode::bulk(call.out, key);
    }
    Ok(())
}

/// RANDOMKEY
pub(super) fn randomkey(call: &mut Call<'_>) -> Result<(), Refusal> {
    match call.store.random_key(call.db, call.now) {
        Some(key) => encode::bulk(call.out, key),
        None => encode::null(call.out, call.proto),
    }
    Ok(())
}

/// A cursor as `strtoul` reads it, which takes a sign and takes nothing for zero.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        [] => return Some(0),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    /// Walks to the end with changes between the steps; counts how often each key came.
    fn walk(shell: &mut Shell, mut between: impl FnMut(&mut Shell, usize)) -> Vec<String> {
        let (mut cursor, mut keys, mut step) = (String::from("0"), Vec::new(), 0);
        loop {
            let reply = shell.run(&format!("SCAN {cursor} COUNT 7"));
            let words: Vec<&str> = reply.split(' ').filter(|word| !word.starts_with(['*', '$'])).collect();
            cursor = words[0].to_owned();
            keys.extend(words[1..].iter().map(|&word| word.to_owned()));
            if cursor == "0" {
                return keys;
            }
            between(shell, step);
            step += 1;
        }
    }

    #[test]
    fn a_quiet_walk_returns_every_key_once() {
        let mut shell = Shell::new();
        for i in 0..100 {
            shell.run(&format!("SET key{i} v"));
        }
        let mut keys = walk(&mut shell, |_, _| {});
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 100);
    }

    #[test]
    fn keys_that_stay_are_returned_whatever_else_happens() {
        let mut shell = Shell::new();
        for i in 0..200 {
            shell.run(&format!("SET stays{i} v"));
            shell.run(&format!("SET goes{i} v"));
        }
        let keys = walk(&mut shell, |shell, step| {
            for i in step * 9..step * 9 + 9 {
                shell.run(&format!("DEL goes{}", (i * 37) % 200));
                shell.run(&format!("SET comes{i} v"));
                shell.run(&format!("EXPIRE stays{i} 100"));
            }
        });
        for i in 0..200 {
            assert!(keys.contains(&format!("stays{i}")), "stays{i}");
        }
    }

    #[test]
    fn options_are_checked_as_in_redis() {
        let mut shell = Shell::new();
        for key in ["ab", "ac", "b"] {
            shell.run(&format!("SET {key} v"));
        }
        assert_eq!(shell.run("SCAN x"), "-ERR invalid cursor");
        assert_eq!(shell.run("SCAN 0 COUNT 0"), "-ERR syntax error");
        assert_eq!(shell.run("SCAN 0 COUNT x"), "-ERR value is not an integer or out of range");
        assert_eq!(shell.run("SCAN 0 MATCH"), "-ERR syntax error");
        assert_eq!(shell.run("SCAN 0 MATCH ?c"), "*2 $1 0 *1 $2 ac");
        assert_eq!(shell.run("SCAN 0 TYPE list"), "*2 $1 0 *0");
        assert_eq!(shell.run("SCAN 999"), "*2 $1 0 *3 $1 b $2 ac $2 ab");
        assert_eq!(shell.run("KEYS [a]*"), "*2 $2 ac $2 ab");
    }
}
