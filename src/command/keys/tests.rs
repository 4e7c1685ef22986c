use super::super::testing::{command, table};
use super::*;
use crate::command::Table;
use proptest::prelude::*;

/// The keys that are read and those that may be written, as words, and whether these are all.
fn keys(table: &Table, line: &str) -> (String, String, Coverage) {
    let quoted = command(line);
    let cmd = quoted.command();
    let spec = table.lookup(&cmd).expect("a known command");
    let (mut read, mut written) = (Vec::new(), Vec::new());
    let coverage = for_each_key(spec, &cmd, |key, access| {
        let word = String::from_utf8_lossy(cmd.arg(key)).into_owned();
        match access {
            Access::Read => read.push(word),
            Access::Write => written.push(word),
        }
    });
    (read.join(" "), written.join(" "), coverage)
}

#[track_caller]
fn check(table: &Table, line: &str, read: &str, written: &str, coverage: Coverage) {
    assert_eq!(keys(table, line), (read.to_owned(), written.to_owned(), coverage), "{line}");
}

#[test]
fn a_shard_channel_is_no_key_and_has_a_place() {
    let table = table();
    for (line, expected) in [("SPUBLISH c m", &[1][..]), ("PUBLISH c m", &[]), ("SET k v", &[])] {
        let quoted = command(line);
        let cmd = quoted.command();
        let mut channels = Vec::new();
        for_each_shard_channel(table.lookup(&cmd).expect("a known command"), &cmd, |at| channels.push(at));
        assert_eq!(channels, expected, "{line}");
    }
}

#[test]
fn keys_are_found_with_what_is_done_to_them() {
    use Coverage::{Complete, Partial};
    let table = table();
    let check = |line, read, written, coverage| check(&table, line, read, written, coverage);
    check("GET a", "a", "", Complete);
    check("SET a b", "", "a", Complete);
    check("SET a b GET", "", "a", Complete);
    check("MGET a b c", "a b c", "", Complete);
    check("MSET a 1 b 2", "", "a b", Complete);
    check("RENAME a b", "", "a b", Complete);
    check("COPY a b", "a", "b", Complete);
    check("SMOVE a b m", "", "a b", Complete);
    check("BITOP AND d a b", "a b", "d", Complete);
    check("BLPOP a b 0", "", "a b", Complete);
    check("PFMERGE d", "", "d", Complete);
    check("PFCOUNT a b", "", "a b", Complete);
    check("LCS a b", "a b", "", Complete);
    check("OBJECT FREQ a", "a", "", Complete);
    check("XGROUP CREATE a g $", "", "a", Complete);
    check("PUBLISH c m", "", "", Complete);
    check("SPUBLISH c m", "", "", Complete);
    check("PING", "", "", Complete);
    check("WATCH a b", "a b", "", Complete);
    check("KEYS *", "", "", Partial);
    check("SCAN 0", "", "", Partial);
    check("FLUSHALL", "", "", Partial);
}

#[test]
fn keys_that_an_argument_counts_are_found() {
    use Coverage::{Complete, Partial};
    let table = table();
    let check = |line, read, written, coverage| check(&table, line, read, written, coverage);
    check("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "a b", "d", Complete);
    check("ZUNIONSTORE d 3 a b", "", "d", Partial);
    check("ZUNIONSTORE d -1 a b", "", "d", Partial);
    check("ZUNIONSTORE d 99999999999999999999 a b", "", "d", Partial);
    check("ZUNIONSTORE d 01 a b", "", "d", Partial);
    check("SINTERCARD 2 a b LIMIT 1", "a b", "", Complete);
    check("LMPOP 1 a LEFT", "", "a", Complete);
    check("BZMPOP 0 2 a b MIN", "", "a b", Complete);
    // A script may touch keys that it does not name.
    check("EVAL s 2 a b c", "", "a b", Partial);
    check("EVAL s 0", "", "", Partial);
    check("EVAL_RO s 1 a", "a", "", Partial);
    check("FCALL f 1 a x", "", "a", Partial);
}

#[test]
fn keys_that_options_name_are_found() {
    use Coverage::{Complete, Partial};
    let table = table();
    let check = |line, read, written, coverage| check(&table, line, read, written, coverage);
    check("SORT a", "a", "", Complete);
    check("SORT a LIMIT 0 1 STORE d", "a", "d", Complete);
    check("SORT a store by store d", "a", "by d", Complete);
    check("SORT a BY nosort GET # STORE d", "a", "d", Complete);
    check("SORT a BY w_* STORE d", "a", "d", Partial);
    check("SORT_RO a GET *", "a", "", Partial);
    check("SORT a STORE", "a", "", Complete);
    check("GEORADIUS a 1 2 3 m", "a", "", Complete);
    check("GEORADIUS a 1 2 3 m STORE d STOREDIST e", "a", "d e", Complete);
    check("GEORADIUSBYMEMBER a m 3 m STOREDIST e", "a", "e", Complete);
    check("GEORADIUS_RO a 1 2 3 m", "a", "", Complete);
    check("MIGRATE h 1 a 0 0", "", "a", Complete);
    check("MIGRATE h 1 \"\" 0 0 AUTH keys KEYS a b", "", "a b", Complete);
    check("MIGRATE h 1 \"\" 0 0 AUTH2 keys keys KEYS a", "", "a", Complete);
    check("MIGRATE h 1 a 0 0 KEYS b", "", "a", Partial);
    check("XREAD COUNT 1 STREAMS a b 0 0", "a b", "", Complete);
    check("XREAD STREAMS a b 0", "a", "", Partial);
    check("XREAD COUNT 1 BLOCK 5", "", "", Partial);
    check("XREADGROUP GROUP streams c STREAMS a >", "", "a", Complete);
    check("XREADGROUP GROUP g c CLAIM 5 STREAMS a >", "", "a", Complete);
}

#[test]
fn a_keyword_is_looked_for_forwards_and_backwards() {
    let quoted = command("CMD a KEYS b c keys d");
    let cmd = quoted.command();
    let spec = |from, last| KeySpec {
        access: Access::Read,
        begin: Begin::Keyword { word: "KEYS".into(), from },
        find: Find::Range { last, step: 1, limit: 0 },
        flags: KeyFlags::RO,
    };
    assert_eq!(spec(1, -1).find_in(&cmd), Found::Keys { first: 3, last: 6, step: 1 });
    assert_eq!(spec(1, -3).find_in(&cmd), Found::Keys { first: 3, last: 4, step: 1 });
    assert_eq!(spec(3, 0).find_in(&cmd), Found::Keys { first: 6, last: 6, step: 1 });
    assert_eq!(spec(-1, 0).find_in(&cmd), Found::Keys { first: 6, last: 6, step: 1 });
    assert_eq!(spec(-3, 1).find_in(&cmd), Found::Keys { first: 3, last: 4, step: 1 });
    assert_eq!(spec(6, 0).find_in(&cmd), Found::Unclear);
    assert_eq!(spec(-99, 0).find_in(&cmd), Found::Unclear);
}

proptest! {
    /// Whatever the arguments: no panic, and every position is an argument behind the name.
    #[test]
    fn arguments_of_any_kind_give_positions_in_range(
        row in 0usize..400,
        words in proptest::collection::vec("(?i)|a|k|[0-9]{1,20}|-1|STORE|STREAMS|KEYS|GROUP|BLOCK|COUNT|BY|GET|\\*|LIMIT", 0..12),
    ) {
        let table = table();
        let all: Vec<_> = table.iter().flat_map(|spec| std::iter::once(spec).chain(&spec.subcommands)).collect();
        let spec = all[row % all.len()];
        let args: Vec<&[u8]> = spec.name.split('|').chain(words.iter().map(String::as_str)).map(str::as_bytes).collect();
        let quoted = crate::command::Quoted::new(args.into_iter()).expect("a name");
        let cmd = quoted.command();
        let legal = spec.admits(cmd.len());
        let visit = |key: usize, _| assert!(key > 0 && (key < cmd.len() || !legal), "{key}");
        for_each_key(spec, &cmd, visit);
        let _ = (crate::command::effect(spec, &cmd), crate::command::way(spec, &cmd), crate::command::cacheable(spec, &cmd));
    }
}
