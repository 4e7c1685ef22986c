//! OBJECT: how a value is kept.

use super::call::Call;
use super::store::Entry;
use super::text::Text;
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// Redis shares one object for each of the numbers below this, and then shows the largest reference count.
const SHARED: i64 = 10_000;

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

/// OBJECT ENCODING key
pub(super) fn encoding(call: &mut Call<'_>) -> Result<(), Refusal> {
    match entry(call).map(|entry| entry.text.encoding()) {
        Some(name) => call.reply_bulk(name.as_bytes()),
        None => call.reply_null(),
    }
}

/// OBJECT REFCOUNT key
pub(super) fn refcount(call: &mut Call<'_>) -> Result<(), Refusal> {
    let count = |entry: &Entry| match entry.text {
        Text::Integer(number) if (0..SHARED).contains(&number) => i64::from(i32::MAX),
        _ => 1,
    };
    match entry(call).map(count) {
        Some(count) => call.reply_integer(count),
        None => call.reply_null(),
    }
}

/// OBJECT IDLETIME key
pub(super) fn idletime(call: &mut Call<'_>) -> Result<(), Refusal> {
    let now = call.now;
    match entry(call).map(|entry| entry.idle_seconds(now)) {
        Some(seconds) => call.reply_integer(i64::from(seconds)),
        None => call.reply_null(),
    }
}

/// OBJECT FREQ key: as in a Redis that does not evict by frequency, which is the default.
pub(super) fn freq(call: &mut Call<'_>) -> Result<(), Refusal> {
    match entry(call) {
        Some(_) => Err(Refusal::NO_FREQUENCY),
        None => call.reply_null(),
    }
}

/// OBJECT HELP
pub(super) fn help(call: &mut Call<'_>) -> Result<(), Refusal> {
    encode::array(call.out, HELP.len());
    for line in HELP {
        encode::simple(call.out, line);
    }
    Ok(())
}

/// The entry of argument 2; asking about it is no use of it.
fn entry<'a>(call: &'a mut Call<'_>) -> Option<&'a Entry> {
    call.store.peek(call.db, call.cmd.arg(2), call.now)
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn encodings_follow_how_the_value_was_written() {
        let mut shell = Shell::new();
        let long = "x".repeat(45);
        for (write, encoding) in [
            ("SET k 12", "int"),
            ("SET k 012", "embstr"),
            (&format!("SET k {long}"), "raw"),
            ("SET k ab", "embstr"),
            ("APPEND k c", "raw"),
            ("SETRANGE new 0 1", "raw"),
        ] {
            shell.run(write);
            let key = write.split(' ').nth(1).unwrap_or_default();
            let reply = shell.run(&format!("OBJECT ENCODING {key}"));
            assert!(reply.ends_with(&format!(" {encoding}")), "{write}: {reply}");
        }
    }

    #[test]
    fn idle_time_counts_from_the_last_use() {
        let mut shell = Shell::new();
        shell.run("SET k 1");
        shell.pass_ms(5_000);
        shell.run("EXISTS k");
        assert_eq!(shell.run("OBJECT IDLETIME k"), ":5");
        shell.run("GET k");
        assert_eq!(shell.run("OBJECT IDLETIME k"), ":0");
        assert_eq!(shell.run("OBJECT REFCOUNT k"), ":2147483647");
        assert_eq!(shell.run("OBJECT FREQ none"), "$-1");
        assert!(shell.run("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy"));
    }
}
