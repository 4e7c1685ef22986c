//! What the store promises as a whole.

use super::shell::Shell;
use super::{COMMANDS, Memory};
use crate::resp::Proto;

#[test]
fn commands_are_sorted_so_that_each_is_found() {
    assert!(COMMANDS.is_sorted_by(|one, two| one.0 < two.0));
    assert!(COMMANDS.iter().all(|row| Memory::serves(row.0)));
    assert!(!Memory::serves("lpush"));
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let mut shell = Shell::new();
    assert_eq!(
        shell.run("LPUSH k v"),
        "-ERR the memory upstream does not serve LPUSH: it keeps strings only; point Larder at a Redis with --upstream \
         redis://host:port"
    );
}

#[test]
fn nulls_follow_the_protocol_version() {
    let mut shell = Shell::new();
    assert_eq!(shell.run("GET k"), "$-1");
    shell.proto = Proto::Resp3;
    assert_eq!(shell.run("GET k"), "_");
    assert_eq!(shell.run("MGET k k"), "*2 _ _");
}

#[test]
fn a_write_over_the_budget_is_refused_and_changes_nothing() {
    let mut shell = Shell::with_budget(2_000);
    let value = "x".repeat(1_000);
    assert_eq!(shell.run(&format!("SET a {value}")), "+OK");
    let used = shell.memory.used();
    for write in [
        format!("SET b {value}"),
        format!("MSET b 1 c {value}"),
        format!("SET a {value}{value} GET"),
        format!("APPEND a {value}"),
        "COPY a b".to_owned(),
        "SETBIT b 4294967295 1".to_owned(),
        "SETRANGE b 536870911 x".to_owned(),
        format!("RENAME a {value}{value}"),
    ] {
        let reply = shell.run(&write);
        assert_eq!(reply, "-OOM command not allowed when used memory > 'maxmemory'.", "{write:.20}");
    }
    assert_eq!(shell.memory.used(), used);
    assert_eq!(shell.run("DBSIZE"), ":1");
    assert_eq!(shell.run(&format!("MSET a y b {value}")), "+OK");
}

#[test]
fn expired_keys_make_room() {
    let mut shell = Shell::with_budget(2_000);
    let value = "x".repeat(1_000);
    shell.run(&format!("SET a {value} PX 10"));
    shell.pass_ms(11);
    assert_eq!(shell.run(&format!("SET b {value}")), "+OK");
}

#[test]
fn the_books_balance_after_any_sequence_of_commands() {
    let mut shell = Shell::new();
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..20_000 {
        let (a, b, n) = (draw(30), draw(30), draw(200));
        shell.db = u32::try_from(draw(2)).expect("0 or 1");
        let line = match draw(16) {
            0 => format!("SET k{a} {}", "v".repeat(n as usize)),
            1 => format!("SET k{a} {n} PX {}", n + 1),
            2 => format!("DEL k{a} k{b}"),
            3 => format!("APPEND k{a} abc"),
            4 => format!("SETRANGE k{a} {n} xyz"),
            5 => format!("RENAME k{a} k{b}"),
            6 => format!("COPY k{a} k{b} REPLACE"),
            7 => format!("MOVE k{a} 1"),
            8 => "SWAPDB 0 1".to_owned(),
            9 => format!("PEXPIRE k{a} {n}"),
            10 => format!("PERSIST k{a}"),
            11 => format!("MSET k{a} 1 k{b} 22 k{a} 3333"),
            12 => format!("SETBIT k{a} {n} 1"),
            13 => format!("INCRBYFLOAT k{a} 1.5"),
            14 => format!("GETEX k{a} PX {}", n + 1),
            _ => format!("INCR k{a}"),
        };
        shell.run(&line);
        shell.pass_ms(draw(5));
    }
    for db in 0..2 {
        shell.db = db;
        let keys = shell.run("KEYS *").split(' ').filter(|word| word.starts_with('k')).count();
        assert_eq!(shell.run("DBSIZE"), format!(":{keys}"));
    }
    shell.run("FLUSHALL");
    assert_eq!(shell.memory.used(), 0);
}
