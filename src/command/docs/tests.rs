use super::super::data;
use super::super::testing::{command, table};
use super::*;

fn asked(table: &Table, line: &str, proto: Proto) -> String {
    let mut out = Vec::new();
    reply(table, &command(line).command(), proto, &mut out);
    String::from_utf8(out).expect("COMMAND replies are text")
}

/// The committed data are what a server sent: every reply must be those bytes again.
#[test]
fn rows_and_docs_are_the_bytes_of_redis() {
    let table = table();
    for line in data::redis() {
        // Larder adds subcommands to this one.
        if line.name == "client" {
            continue;
        }
        for proto in [Proto::Resp2, Proto::Resp3] {
            let mut expected = Vec::new();
            encode::array(&mut expected, 1);
            line.info.write(proto, &mut expected);
            let shown = asked(&table, &format!("COMMAND INFO {}", line.name), proto);
            assert_eq!(shown.as_bytes(), expected, "{}", line.name);

            expected.clear();
            encode::map(&mut expected, proto, 1);
            encode::bulk(&mut expected, line.name.as_bytes());
            line.docs.write(proto, &mut expected);
            let shown = asked(&table, &format!("COMMAND DOCS {}", line.name), proto);
            assert_eq!(shown.as_bytes(), expected, "{}", line.name);
        }
    }
}

#[test]
fn larder_is_shown_among_the_commands() {
    let table = table();
    let info = asked(&table, "COMMAND INFO larder larder|hotkeys", Proto::Resp2);
    assert!(info.contains("$6\r\nlarder\r\n:-2\r\n") && info.contains("$14\r\nlarder|hotkeys\r\n:-2\r\n"));
    for word in ["explain", "flush", "help", "hotkeys", "invalidate", "nodes", "stats"] {
        assert!(asked(&table, "COMMAND DOCS LARDER", Proto::Resp3).contains(&format!("larder|{word}\r\n%")), "{word}");
    }
    assert_eq!(asked(&table, "COMMAND COUNT", Proto::Resp2), ":241\r\n");
    assert!(asked(&table, "COMMAND", Proto::Resp2).starts_with("*241\r\n*10\r\n$3\r\nacl\r\n"));
    assert!(asked(&table, "COMMAND DOCS", Proto::Resp3).starts_with("%241\r\n$3\r\nacl\r\n%"));
}

#[test]
fn unknown_names_are_null_in_info_and_absent_in_docs() {
    let table = table();
    let line = "COMMAND INFO nope get|x config|nope a|b|c \"\"";
    assert_eq!(asked(&table, line, Proto::Resp2), "*5\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n");
    assert_eq!(asked(&table, line, Proto::Resp3), "*5\r\n_\r\n_\r\n_\r\n_\r\n_\r\n");
    assert_eq!(asked(&table, "COMMAND DOCS nope", Proto::Resp3), "%0\r\n");
    assert_eq!(asked(&table, "COMMAND DOCS nope", Proto::Resp2), "*0\r\n");
}

#[test]
fn lists_are_filtered() {
    let table = table();
    let list = |line| asked(&table, &format!("COMMAND LIST{line}"), Proto::Resp2);
    assert!(list("").starts_with("*378\r\n$3\r\nacl\r\n$7\r\nacl|cat\r\n"));
    assert_eq!(list(" filterby PATTERN ?ET"), "*2\r\n$3\r\nget\r\n$3\r\nset\r\n");
    assert!(list(" FILTERBY ACLCAT Scripting").starts_with("*21\r\n$4\r\neval\r\n"));
    assert_eq!(list(" FILTERBY ACLCAT @scripting"), "*0\r\n");
    assert_eq!(list(" FILTERBY MODULE json"), "*0\r\n");
    for wrong in [" FILTERBY", " FILTERBY PATTERN", " FILTERBY x y", " a b c"] {
        assert_eq!(list(wrong), "-ERR syntax error\r\n", "{wrong}");
    }
}

/// The expected replies are those of redis-server 7.0.15.
#[test]
fn keys_are_shown_as_redis_shows_them() {
    let table = table();
    let keys = |line| asked(&table, &format!("COMMAND GETKEYS {line}"), Proto::Resp2);
    assert_eq!(keys("MSET a 1 b 2"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(keys("MEMORY USAGE k"), "*1\r\n$1\r\nk\r\n");
    assert_eq!(keys("EVAL s 0"), "*0\r\n");
    assert_eq!(keys("EVAL s 1x a"), "*1\r\n$1\r\na\r\n");
    assert_eq!(keys("ZUNIONSTORE d 1x a"), "*2\r\n$1\r\na\r\n$1\r\nd\r\n");
    assert_eq!(keys("ZUNIONSTORE d 2 a"), "-ERR Invalid arguments specified for command\r\n");
    assert_eq!(keys("PFMERGE d"), "-ERR Invalid arguments specified for command\r\n");
    assert_eq!(keys("GET a b"), "-ERR Invalid number of arguments specified for command\r\n");
    assert_eq!(keys("PING x"), "-ERR The command has no key arguments\r\n");
    assert_eq!(keys("SSUBSCRIBE x"), "-ERR The command has no key arguments\r\n");
    assert_eq!(keys("nope x"), "-ERR Invalid command specified\r\n");
    assert_eq!(keys("config|get x"), "-ERR Invalid command specified\r\n");
    assert_eq!(keys("GET"), "-ERR wrong number of arguments for 'command|getkeys' command\r\n");
}

#[test]
fn flags_of_keys_follow_the_options() {
    let table = table();
    let flags = |line: &str| {
        let shown = asked(&table, &format!("COMMAND GETKEYSANDFLAGS {line}"), Proto::Resp3);
        let words = shown.lines().filter(|line| !line.starts_with(['*', '$', '~']));
        words.map(|word| word.trim_start_matches('+')).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(flags("SET a b"), "a OW update");
    assert_eq!(flags("SET a b GET"), "a RW access update");
    assert_eq!(flags("BITFIELD a OVERFLOW SAT GET u8 0"), "a RO access");
    assert_eq!(flags("BITFIELD a SET u8 0 1"), "a RW access update");
    assert_eq!(flags("SORT a STORE d STORE e"), "a RO access e OW update");
    assert_eq!(flags("GEORADIUS a 1 1 1 m"), "a RO access");
    assert_eq!(flags("GEORADIUS a 1 1 1 m STORE d STOREDIST e"), "a RO access d OW update e OW update");
    assert_eq!(flags("MIGRATE h 1 \"\" 0 0 KEYS a"), "a RW access delete");
    assert_eq!(flags("XREADGROUP GROUP g c STREAMS a >"), "a RO access");
}

#[test]
fn a_refusal_repeats_bytes_that_are_no_text() {
    let mut out = Vec::new();
    let quoted = Quoted::new([&b"COMMAND"[..], b"\xff\r"].into_iter()).expect("a name");
    reply(&table(), &quoted.command(), Proto::Resp2, &mut out);
    assert_eq!(out, b"-ERR unknown subcommand '\xff '. Try COMMAND HELP.\r\n");
}

#[test]
fn a_subcommand_that_only_an_upstream_knows_is_refused() {
    let row = b"*1\r\n*10\r\n$7\r\ncommand\r\n:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*1\r\n\
        *6\r\n$11\r\ncommand|new\r\n:2\r\n*0\r\n:0\r\n:0\r\n:0\r\n";
    let table = table().with_upstream(row).expect("a good reply");
    assert_eq!(asked(&table, "COMMAND NEW", Proto::Resp2), "-ERR unknown subcommand 'NEW'. Try COMMAND HELP.\r\n");
}
