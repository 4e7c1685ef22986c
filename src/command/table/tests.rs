use super::super::columns::{self, Cacheable, Form, Local, Options, Way};
use super::super::docs;
use super::super::effect::Effect;
use super::super::keys::{Access, KeyFlags};
use super::super::spec::{Flags, Spec};
use super::super::testing::{command, table};
use super::*;
use crate::command::{Lease, Missing, Timeout};
use crate::resp::Proto;

/// Every row, subcommands too.
fn all(table: &Table) -> Vec<Arc<Spec>> {
    table.iter().flat_map(|spec| std::iter::once(spec).chain(&spec.subcommands)).cloned().collect()
}

fn refusal(table: &Table, line: &str) -> String {
    table.resolve(&command(line).command()).expect_err("a refusal").to_string()
}

#[test]
fn every_command_and_subcommand_of_redis_and_larder_is_there() {
    let table = table();
    // Redis 7.0.15 has 240 and 366; LARDER with nine subcommands and two subcommands of CLIENT are added.
    assert_eq!(table.iter().len(), 241);
    assert_eq!(all(&table).len(), 366 + 10 + 2);
    for name in ["get", "config|get", "larder|explain", "client|setinfo", "georadiusbymember_ro", "object|freq"] {
        let spec = table.find_full(name.to_uppercase().as_bytes()).expect("a known name");
        assert_eq!(&*spec.name, name);
    }
}

#[test]
fn columns_are_sorted_and_belong_to_known_commands() {
    let table = table();
    let names: Vec<&str> = columns::names().collect();
    assert!(names.is_sorted_by(|a, b| a < b));
    for name in names {
        assert!(table.find_full(name.as_bytes()).is_some(), "{name} has columns but is no command");
    }
}

#[test]
fn what_is_cacheable_is_a_steady_read_of_keys() {
    let mut count = 0;
    for spec in all(&table()) {
        let said = columns::row(&spec.name).and_then(|row| row.cacheable);
        assert_eq!(spec.cacheable, said, "{}: the facts do not permit what the column says", spec.name);
        if spec.cacheable.is_none() {
            continue;
        }
        count += 1;
        assert!(spec.flags.has(Flags::READONLY) && !spec.flags.has(Flags::BLOCKING), "{}", spec.name);
        assert!(!spec.keys.is_empty() && spec.keys_complete, "{}", spec.name);
        assert!(!spec.tips.iter().any(|tip| &**tip == "nondeterministic_output"), "{}", spec.name);
        assert_eq!((spec.way, spec.effect), (Way::Forward, Effect::Read), "{}", spec.name);
    }
    assert_eq!(count, 51);
}

#[test]
fn what_must_not_be_cached_is_not() {
    let table = table();
    let names = "ttl pttl touch pfcount xread eval_ro evalsha_ro fcall_ro memory|usage xinfo|stream xinfo|consumers \
         sort_ro sort object|encoding object|freq randomkey srandmember hrandfield zrandmember scan hscan sscan zscan \
         dump xpending sinter sunion sdiff lcs sintercard zinter keys dbsize getex getdel georadius bitfield";
    for name in names.split_whitespace() {
        assert_eq!(table.find_full(name.as_bytes()).expect("a known name").cacheable, None, "{name}");
    }
}

#[test]
fn what_is_inert_has_no_key_and_no_flag_of_reading_or_writing() {
    for spec in all(&table()).iter().filter(|spec| spec.inert) {
        assert!(!spec.flags.has(Flags::WRITE), "{}", spec.name);
        // LOLWUT is flagged as a read, WATCH names keys; neither reads one.
        assert!(!spec.flags.has(Flags::READONLY) || &*spec.name == "lolwut", "{}", spec.name);
        let keyless = spec.keys.iter().all(|keys| keys.flags.has(KeyFlags::NOT_KEY));
        assert!(keyless || &*spec.name == "watch", "{}", spec.name);
    }
}

#[test]
fn a_write_that_names_its_keys_has_one_that_it_may_change() {
    for spec in all(&table()).iter().filter(|spec| spec.effect == Effect::Write(crate::command::Reach::Named)) {
        // XREADGROUP's spec calls its keys read-only; `keys` knows better.
        let writes = spec.keys.iter().any(|keys| keys.access == Access::Write);
        assert!(writes || spec.options == Options::Streams, "{}", spec.name);
    }
}

#[test]
fn what_blocks_is_leased_a_connection_and_what_is_served_here_never_reaches_an_upstream() {
    let table = table();
    for spec in all(&table).iter().filter(|spec| spec.flags.has(Flags::BLOCKING)) {
        assert!(matches!(spec.way, Way::Leased(_)) || spec.options == Options::Streams, "{}", spec.name);
    }
    for spec in all(&table) {
        let local = match spec.name.split('|').next().expect("a first part") {
            "client" => Some(Local::Client),
            "command" => Some(Local::Command),
            "larder" => Some(Local::Larder),
            _ => continue,
        };
        assert_eq!(spec.way, local.map_or(Way::Refused, Way::Local), "{}", spec.name);
    }
    assert_eq!(table.find_full(b"config|set").expect("known").way, Way::Forward);
    assert_eq!(table.find_full(b"script|debug").expect("known").way, Way::Refused);
}

#[test]
fn refusals_have_the_words_of_redis() {
    let table = table();
    let long = "a".repeat(200);
    let cases = [
        ("foo", "ERR unknown command 'foo', with args beginning with: ".to_owned()),
        ("FoO a b", "ERR unknown command 'FoO', with args beginning with: 'a' 'b' ".to_owned()),
        ("\"\" \"\"", "ERR unknown command '', with args beginning with: '' ".to_owned()),
        ("a\r\nb c\nd", "ERR unknown command 'a  b', with args beginning with: 'c d' ".to_owned()),
        ("a\0b c\0d e", "ERR unknown command 'a', with args beginning with: 'c' 'e' ".to_owned()),
        (&long, format!("ERR unknown command '{}', with args beginning with: ", &long[..128])),
        ("config|get x", "ERR unknown command 'config|get', with args beginning with: 'x' ".to_owned()),
        ("CONFIG nope", "ERR unknown subcommand 'nope'. Try CONFIG HELP.".to_owned()),
        ("config", "ERR wrong number of arguments for 'config' command".to_owned()),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command".to_owned()),
        ("GET", "ERR wrong number of arguments for 'get' command".to_owned()),
        ("get a b", "ERR wrong number of arguments for 'get' command".to_owned()),
    ];
    for (line, expected) in cases {
        assert_eq!(refusal(&table, line), expected);
    }
    assert!(table.resolve(&command("COMMAND").command()).is_ok());
}

#[test]
fn a_refusal_repeats_at_most_128_bytes_of_arguments() {
    let table = table();
    let args = |line: &str| refusal(&table, line).split_once(": ").expect("a colon").1.to_owned();
    let (a, b) = ("a".repeat(100), "b".repeat(100));
    assert_eq!(args(&format!("foo {a} {b} c")), format!("'{a}' '{}' ", "b".repeat(25)));
    assert_eq!(args(&format!("foo {}", "a ".repeat(99).trim())), "'a' ".repeat(32));
    // An argument that fills the room exactly leaves none for the next one.
    assert_eq!(args(&format!("foo {} b", "a".repeat(125))), format!("'{}' ", "a".repeat(125)));
    assert_eq!(args(&format!("foo {} bcd", "a".repeat(124))), format!("'{}' 'b' ", "a".repeat(124)));
}

/// What decides in a row, comparable.
fn facts(spec: &Spec) -> String {
    let Spec { name, arity, flags, keys, keys_complete, categories, tips, way, cacheable, .. } = spec;
    let (options, effect, info) = (spec.options, spec.effect, &spec.info);
    format!(
        "{name} {arity} {flags:?} {keys:?} {keys_complete} {categories:?} {tips:?} {way:?} {cacheable:?} {options:?} \
         {effect:?} {info:?}"
    )
}

fn command_reply(table: &Table, proto: Proto) -> Vec<u8> {
    let mut reply = Vec::new();
    docs::reply(table, &command("COMMAND").command(), proto, &mut reply);
    reply
}

#[test]
fn an_upstream_that_says_the_same_changes_nothing() {
    let table = table();
    for proto in [Proto::Resp2, Proto::Resp3] {
        let overlaid = table.with_upstream(&command_reply(&table, proto)).expect("a good reply");
        let (before, after) = (all(&table), all(&overlaid));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(facts(before), facts(after));
        }
        for shown in [Proto::Resp2, Proto::Resp3] {
            assert_eq!(command_reply(&overlaid, shown), command_reply(&table, shown));
        }
    }
}

#[test]
fn an_upstream_is_believed_about_its_commands() {
    let reply = b"*2\r\n\
        *7\r\n$3\r\nget\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@write\r\n\
        *6\r\n$5\r\nzrank\r\n:-3\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n";
    let table = table().with_upstream(reply).expect("a good reply");
    let get = table.find(b"GET").expect("known");
    assert_eq!((get.arity, get.effect, get.cacheable), (-2, Effect::Write(crate::command::Reach::Named), None));
    // What the short row does not say stays as it was.
    assert_eq!(get.keys.len(), 1);
    assert!(get.docs.is_some());
    // ZRANK's new option changes the shape of its reply.
    let zrank = table.find(b"zrank").expect("known");
    let cached = |line| crate::command::cacheable(zrank, &command(line).command());
    assert!(matches!(cached("ZRANK z m"), Some(Cacheable { form: Form::Key, .. })));
    assert_eq!(cached("ZRANK z m WITHSCORE"), None);
}

#[test]
fn what_only_an_upstream_knows_is_treated_with_care() {
    let reply = b"*6\r\n\
        *6\r\n$8\r\njson.GET\r\n:-2\r\n*2\r\n+readonly\r\n+module\r\n:1\r\n:1\r\n:1\r\n\
        *6\r\n$8\r\nJSON.SET\r\n:-4\r\n*2\r\n+write\r\n+module\r\n:1\r\n:1\r\n:1\r\n\
        *6\r\n$6\r\nhsetex\r\n:-6\r\n*2\r\n+write\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
        *6\r\n$7\r\nwaitaof\r\n:4\r\n*1\r\n+blocking\r\n:0\r\n:0\r\n:0\r\n\
        *6\r\n$7\r\nmystery\r\n:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n\
        *10\r\n$6\r\nclient\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*1\r\n\
            *10\r\n$11\r\nclient|capa\r\n:-3\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
    let table = table().with_upstream(reply).expect("a good reply");
    let row = |name: &str| table.find_full(name.as_bytes()).expect("known");
    let judged = |name: &str| (row(name).way, row(name).effect, row(name).cacheable, row(name).keys_complete);
    use crate::command::Reach::{Beyond, Named};
    assert_eq!(judged("json.get"), (Way::Forward, Effect::Read, None, true));
    assert_eq!(judged("json.set"), (Way::Forward, Effect::Write(Beyond), None, false));
    assert_eq!(judged("hsetex"), (Way::Forward, Effect::Write(Named), None, true));
    assert_eq!(judged("waitaof"), (Way::Leased(Lease::Block(Timeout::Unknown)), Effect::Write(Beyond), None, false));
    assert_eq!(judged("mystery"), (Way::Forward, Effect::Write(Beyond), None, false));
    assert_eq!(judged("client|capa").0, Way::Local(Local::Client));
    assert!(table.find_full(b"client|setname").is_some(), "the other subcommands stay");
}

#[test]
fn every_cacheable_read_says_what_a_missing_key_gets_unless_that_depends_on_its_options() {
    let table = table();
    let rows = all(&table).into_iter().filter(|spec| spec.cacheable.is_some_and(|c| c.missing == Missing::Unknown));
    let unknown: Vec<String> = rows.map(|spec| spec.name.to_string()).collect();
    assert_eq!(unknown, ["bitfield_ro", "bitpos", "lpos"]);
}
