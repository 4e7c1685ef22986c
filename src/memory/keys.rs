//! Keys as a whole: which there are, under which names and in which database.

use super::call::Call;
use super::store::Lifetime;
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// DEL key [key ...], also called UNLINK
pub(super) fn del(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    let count = cmd.args(1).filter(|key| call.store.remove(call.db, key, call.now).is_some()).count();
    call.reply_len(count)
}

/// EXISTS key [key ...]
pub(super) fn exists(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    let count = cmd.args(1).filter(|key| call.store.peek(call.db, key, call.now).is_some()).count();
    call.reply_len(count)
}

/// TOUCH key [key ...]
pub(super) fn touch(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    let count = cmd.args(1).filter(|key| call.store.read(call.db, key, call.now).is_some()).count();
    call.reply_len(count)
}

/// TYPE key
pub(super) fn r#type(call: &mut Call<'_>) -> Result<(), Refusal> {
    let present = call.store.peek(call.db, call.arg(1), call.now).is_some();
    encode::simple(call.out, if present { "string" } else { "none" });
    Ok(())
}

/// RENAME key newkey
pub(super) fn rename(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (from, to) = (call.arg(1), call.arg(2));
    if !call.store.rename(call.db, from, to, call.now)? {
        return Err(Refusal::NO_SUCH_KEY);
    }
    call.reply_ok()
}

/// RENAMENX key newkey
pub(super) fn renamenx(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (from, to) = (call.arg(1), call.arg(2));
    if call.store.peek(call.db, from, call.now).is_none() {
        return Err(Refusal::NO_SUCH_KEY);
    }
    if call.store.peek(call.db, to, call.now).is_some() {
        return call.reply_integer(0);
    }
    call.store.rename(call.db, from, to, call.now)?;
    call.reply_integer(1)
}

/// COPY source destination [DB destination-db] [REPLACE]
pub(super) fn copy(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (from, to) = (call.arg(1), call.arg(2));
    let (mut target, mut replace) = (call.db, false);
    let mut i = 3;
    while i < call.cmd.len() {
        if call.cmd.is(i, "replace") {
            replace = true;
        } else if call.cmd.is(i, "db") && i + 1 < call.cmd.len() {
            i += 1;
            target = call.database(i)?;
        } else {
            return Err(Refusal::SYNTAX);
        }
        i += 1;
    }
    if target == call.db && from == to {
        return Err(Refusal::SAME_OBJECT);
    }
    let Some(entry) = call.store.read(call.db, from, call.now) else {
        return call.reply_integer(0);
    };
    let (text, expiry) = (entry.text.clone(), entry.expiry());
    if !replace && call.store.peek(target, to, call.now).is_some() {
        return call.reply_integer(0);
    }
    let lifetime = expiry.map_or(Lifetime::Forever, Lifetime::Until);
    call.store.write(target, to, text, lifetime, call.now)?;
    call.reply_integer(1)
}

/// MOVE key db
pub(super) fn r#move(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (key, target) = (call.arg(1), call.database(2)?);
    if target == call.db {
        return Err(Refusal::SAME_OBJECT);
    }
    let movable = call.store.peek(call.db, key, call.now).is_some() && call.store.peek(target, key, call.now).is_none();
    if movable {
        call.store.relocate(call.db, key, target, call.now);
    }
    call.reply_integer(i64::from(movable))
}

/// SWAPDB index1 index2
pub(super) fn swapdb(call: &mut Call<'_>) -> Result<(), Refusal> {
    let database = |i, invalid: Refusal| match call.integer(i).map(i32::try_from) {
        Ok(Ok(number)) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        _ => Err(invalid),
    };
    let one = database(1, Refusal::FIRST_DATABASE)?;
    let other = database(2, Refusal::SECOND_DATABASE)?;
    if one.max(other) >= super::DATABASES {
        return Err(Refusal::DATABASE);
    }
    call.store.swap(one as usize, other as usize);
    call.reply_ok()
}

/// DBSIZE
pub(super) fn dbsize(call: &mut Call<'_>) -> Result<(), Refusal> {
    let len = call.store.len(call.db, call.now);
    call.reply_len(len)
}

/// FLUSHDB [ASYNC | SYNC]
pub(super) fn flushdb(call: &mut Call<'_>) -> Result<(), Refusal> {
    check_flush(call)?;
    call.store.flush(call.db);
    call.reply_ok()
}

/// FLUSHALL [ASYNC | SYNC]
pub(super) fn flushall(call: &mut Call<'_>) -> Result<(), Refusal> {
    check_flush(call)?;
    for db in 0..super::DATABASES as usize {
        call.store.flush(db);
    }
    call.reply_ok()
}

fn check_flush(call: &Call<'_>) -> Result<(), Refusal> {
    match call.cmd.len() {
        1 => Ok(()),
        2 if call.cmd.is(1, "async") || call.cmd.is(1, "sync") => Ok(()),
        _ => Err(Refusal::SYNTAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn a_renamed_key_takes_its_expiry_along() {
        let mut shell = Shell::new();
        shell.run("SET a 1 EX 10");
        shell.run("SET b 2 EX 99");
        assert_eq!(shell.run("RENAMENX a b"), ":0");
        assert_eq!(shell.run("RENAME a b"), "+OK");
        assert_eq!(shell.run("TTL b"), ":10");
        assert_eq!(shell.run("RENAME b b"), "+OK");
        assert_eq!(shell.run("GET b"), "$1 1");
        assert_eq!(shell.run("RENAME a b"), "-ERR no such key");
        assert_eq!(shell.run("DBSIZE"), ":1");
    }

    #[test]
    fn copies_and_moves_reach_other_databases() {
        let mut shell = Shell::new();
        shell.run("SET a 1 EX 10");
        assert_eq!(shell.run("COPY a a DB 3"), ":1");
        assert_eq!(shell.run("COPY a a DB 3"), ":0");
        assert_eq!(shell.run("COPY a a DB 3 REPLACE"), ":1");
        assert_eq!(shell.run("COPY a a"), "-ERR source and destination objects are the same");
        assert_eq!(shell.run("COPY a b DB 16"), "-ERR DB index is out of range");
        assert_eq!(shell.run("MOVE a 3"), ":0");
        assert_eq!(shell.run("MOVE a 4"), ":1");
        assert_eq!(shell.run("SWAPDB 0 4"), "+OK");
        assert_eq!(shell.run("TTL a"), ":10");
        assert_eq!(shell.run("SWAPDB 0 x"), "-ERR invalid second DB index");
        assert_eq!(shell.run("FLUSHDB"), "+OK");
        shell.db = 3;
        assert_eq!(shell.run("DBSIZE"), ":1");
        assert_eq!(shell.run("FLUSHALL NOW"), "-ERR syntax error");
    }

    #[test]
    fn keys_that_are_named_twice_count_twice_where_they_stay() {
        let mut shell = Shell::new();
        shell.run("SET a 1");
        assert_eq!(shell.run("EXISTS a a b"), ":2");
        assert_eq!(shell.run("TOUCH a a"), ":2");
        assert_eq!(shell.run("DEL a a"), ":1");
        assert_eq!(shell.run("TYPE a"), "+none");
    }
}
