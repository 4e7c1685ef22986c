use super::super::columns::{Form, Local};
use super::super::testing::{command, table};
use super::*;
use Effect::{Everything, Inert, Read};

const NAMED: Effect = Effect::Write(Reach::Named);
const BEYOND: Effect = Effect::Write(Reach::Beyond);

#[test]
fn effects_follow_the_options() {
    let table = table();
    let cases = [
        ("GET k", Read),
        ("SET k v", NAMED),
        ("SET k v GET", NAMED),
        ("GETEX k", NAMED),
        ("GETDEL k", NAMED),
        ("TOUCH k", Read),
        ("PFCOUNT k", NAMED),
        ("SORT k BY nosort", Read),
        ("SORT k LIMIT 0 1 STORE d", NAMED),
        ("SORT k BY store", Read),
        ("SORT_RO k", Read),
        ("GEORADIUS k 1 2 3 m", Read),
        ("GEORADIUS k 1 2 3 m STOREDIST d", NAMED),
        ("GEORADIUSBYMEMBER k store 3 m", Read),
        ("GEORADIUSBYMEMBER k m 3 m STORE d", NAMED),
        ("BITFIELD k", Read),
        ("BITFIELD k GET u8 0 GET u8 8", Read),
        ("BITFIELD k OVERFLOW SAT GET u8 0", Read),
        ("BITFIELD k GET u8 0 SET u8 0 1", NAMED),
        ("BITFIELD k GET u8", NAMED),
        ("XREAD STREAMS k 0", Read),
        ("XREADGROUP GROUP g c STREAMS k >", NAMED),
        ("EVAL s 0", BEYOND),
        ("FCALL f 1 k", BEYOND),
        ("EVAL_RO s 0", Read),
        ("FCALL_RO f 0", Read),
        ("FUNCTION LOAD x", BEYOND),
        ("PUBLISH c m", Inert),
        ("TIME", Inert),
        ("PING", Inert),
        ("CONFIG SET a b", Inert),
        ("ACL SETUSER u", BEYOND),
        ("DBSIZE", Read),
        ("KEYS *", Read),
        ("FLUSHALL", Everything),
        ("SWAPDB 0 1", Everything),
        ("DEBUG RELOAD", Everything),
        ("REPLICAOF NO ONE", Everything),
    ];
    for (line, expected) in cases {
        let quoted = command(line);
        let spec = table.lookup(&quoted.command()).expect("a known command");
        assert_eq!(effect(spec, &quoted.command()), expected, "{line}");
    }
}

#[test]
fn a_command_that_may_block_gets_a_connection_of_its_own() {
    let table = table();
    let block = |timeout| Way::Leased(Lease::Block(timeout));
    let cases = [
        ("GET k", Way::Forward),
        ("XREAD COUNT 1 STREAMS k 0", Way::Forward),
        ("XREAD BLOCK 0 STREAMS k $", block(Timeout::Option)),
        ("XREAD STREAMS block 0", Way::Forward),
        ("XREADGROUP GROUP block c STREAMS k >", Way::Forward),
        ("XREADGROUP GROUP g c NOACK block 1 STREAMS k >", block(Timeout::Option)),
        ("BLPOP k 0", block(Timeout::Last)),
        ("BLMPOP 1 1 k LEFT", block(Timeout::First)),
        ("MULTI", Way::Leased(Lease::Transaction)),
        ("SUBSCRIBE c", Way::Local(Local::Subscribe)),
        ("PSYNC a b", Way::Refused),
        ("READONLY", Way::Local(Local::Cluster)),
        ("PING", Way::Local(Local::Ping)),
        ("CLIENT SETINFO LIB-NAME x", Way::Local(Local::Client)),
        ("CONFIG GET *", Way::Local(Local::ConfigGet)),
        ("CONFIG SET a b", Way::Forward),
        ("SHUTDOWN", Way::Forward),
    ];
    for (line, expected) in cases {
        let quoted = command(line);
        let spec = table.resolve(&quoted.command()).expect("a known command");
        assert_eq!(way(spec, &quoted.command()), expected, "{line}");
    }
}

#[test]
fn scores_are_pairs_only_when_they_are_asked_for() {
    let table = table();
    let cases = [
        ("ZRANGE k 0 -1", false),
        ("ZRANGE k 0 -1 withscores", true),
        ("ZRANGE k -inf +inf BYSCORE LIMIT 0 1 WITHSCORES", true),
        ("ZRANGE k withscores withscores BYLEX", false),
        ("ZRANGEBYSCORE k 0 1 WITHSCORES LIMIT 0 1", true),
        ("ZREVRANGE k 0 1 WITHSCORES", true),
        ("ZRANGEBYLEX k - +", false),
    ];
    for (line, pairs) in cases {
        let quoted = command(line);
        let spec = table.resolve(&quoted.command()).expect("a known command");
        let cacheable = cacheable(spec, &quoted.command()).expect("a cacheable command");
        assert_eq!((cacheable.shape.pairs, cacheable.form), (pairs, Form::Key), "{line}");
    }
}

#[test]
fn forms_and_nulls_are_those_of_the_command() {
    use super::super::columns::Nulls;
    let table = table();
    let cases = [
        ("GET k", Form::Key, Nulls::Bulk, false),
        ("MGET a b", Form::Mget, Nulls::Bulk, false),
        ("EXISTS a b", Form::Exists, Nulls::Bulk, false),
        ("HGET k f", Form::Key, Nulls::Bulk, true),
        ("GEOPOS k m", Form::Key, Nulls::Array, false),
        ("XRANGE k - + COUNT 0", Form::Key, Nulls::Array, false),
    ];
    for (line, form, nulls, hash_fields) in cases {
        let quoted = command(line);
        let spec = table.resolve(&quoted.command()).expect("a known command");
        let found = cacheable(spec, &quoted.command()).expect("a cacheable command");
        assert_eq!((found.form, found.shape.nulls, found.hash_fields), (form, nulls, hash_fields), "{line}");
    }
}

#[test]
fn a_blocking_command_says_how_long() {
    let table = table();
    let cases = [
        ("BLPOP a b 0", None),
        ("BLPOP a b 1.5", Some(1500)),
        ("BLMOVE a b LEFT RIGHT 2", Some(2000)),
        ("BZMPOP 0.25 1 k MIN", Some(250)),
        ("XREAD BLOCK 70 STREAMS k $", Some(70)),
        ("XREAD BLOCK 0 STREAMS k $", None),
        ("BLPOP a never", Some(0)),
        ("BLPOP a -1", Some(0)),
        ("BLPOP a 1e300", Some(0)),
    ];
    for (line, expected) in cases {
        let quoted = command(line);
        let spec = table.lookup(&quoted.command()).expect("a known command");
        let Way::Leased(Lease::Block(timeout)) = way(spec, &quoted.command()) else { panic!("{line} does not block") };
        assert_eq!(block_time(timeout, &quoted.command()).map(|time| time.as_millis()), expected, "{line}");
    }
}

#[test]
fn a_blocking_command_is_said_again_with_what_is_left() {
    let table = table();
    let left = Duration::from_millis(1250);
    let cases = [
        ("BLPOP a b 30", left, Proto::Resp3, Some("BLPOP a b 1.250")),
        ("BLPOP a b 30", left, Proto::Resp2, Some("BLPOP a b 2")),
        ("BLMOVE a b LEFT RIGHT 2", Duration::ZERO, Proto::Resp3, Some("BLMOVE a b LEFT RIGHT 0.001")),
        ("BZMPOP 4 1 k MIN", left, Proto::Resp3, Some("BZMPOP 1.250 1 k MIN")),
        ("XREAD COUNT 1 BLOCK 7000 STREAMS k $", left, Proto::Resp2, Some("XREAD COUNT 1 BLOCK 1250 STREAMS k $")),
        ("XREAD BLOCK", left, Proto::Resp3, None),
    ];
    for (line, left, proto, expected) in cases {
        let quoted = command(line);
        let spec = table.lookup(&quoted.command()).expect("a known command");
        let timeout = match way(spec, &quoted.command()) {
            Way::Leased(Lease::Block(timeout)) => timeout,
            _ => Timeout::Option,
        };
        let said = with_block_time(timeout, &quoted.command(), left, proto);
        let words =
            said.map(|said| said.command().args(0).map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>());
        assert_eq!(words.map(|words| words.join(" ")).as_deref(), expected, "{line}");
    }
}
