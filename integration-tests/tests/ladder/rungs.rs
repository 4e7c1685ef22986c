//! The table of rungs, cell by cell, with the rung forced: the origin lives and shows what reaches it.

use std::time::{Duration, Instant};

use larder_integration_tests::larder::Settings;
use larder_integration_tests::reply::Reply;

use crate::{Case, Rig, assert_refused, show};

/// No entry lives long under `short:`, none is kept under `never:`, and what is missing is nil under `nil:`.
const ROUTES: &str = "near_cache: {ttl_jitter: 0%}
routes:
  - {keys: [\"*\"], upstream: main}
  - {keys: [\"short:*\"], upstream: main, cache: {ttl: 150ms}}
  - {keys: [\"never:*\"], upstream: main, stale: never}
  - {keys: [\"nil:*\"], upstream: main, on_miss: nil}";

const CASES: &[Case<Rig>] = &[
    ("a cached read that is fresh", cached_read),
    ("a cached read whose life is over", expired_read),
    ("a cacheable read that is not in the cache", missing_read),
    ("a read that is never cached", uncacheable_read),
    ("a key that must not be stale", never_stale),
    ("a miss that is normal", nil_on_miss),
    ("several keys at once", several_keys),
    ("a write, and reads of its key", write),
    ("writes of several kinds", kinds_of_writes),
    ("a transaction", transaction),
    ("WATCH", watch),
    ("commands that block", blocking),
    ("scripts", scripts),
    ("subscriptions and messages", messages),
    ("what needs a server and no key", keyless),
    ("what needs no server", local),
];

#[test]
fn every_kind_of_command_in_local_only() {
    every_kind_of_command_in("local-only");
}

#[test]
fn every_kind_of_command_in_stale_read_only() {
    every_kind_of_command_in("stale-read-only");
}

#[test]
fn every_kind_of_command_in_passthrough() {
    every_kind_of_command_in("passthrough");
}

#[test]
fn every_kind_of_command_in_reject() {
    every_kind_of_command_in("reject");
}

fn every_kind_of_command_in(rung: &str) {
    // Patient: what is shown here is no outage, and a busy machine must not make one.
    let settings = |settings: Settings| settings.section(ROUTES);
    let origin = larder_integration_tests::redis::Redis::start();
    let cutter = larder_integration_tests::cutter::Cutter::start(origin.address());
    let larder = larder_integration_tests::larder::Larder::start_with(&settings(Settings::new(cutter.address())));
    let rig = Rig { larder, cutter, origin };
    show(&rig, rung, CASES, |rig| {
        rig.leave();
        rig.origin.say("FLUSHALL");
    });
}

/// What is refused: reads, and what is neither read nor write.
fn read_code(rung: &str) -> &'static str {
    if rung == "reject" { "CLUSTERDOWN" } else { "MASTERDOWN" }
}

fn write_code(rung: &str) -> &'static str {
    if rung == "reject" { "CLUSTERDOWN" } else { "READONLY" }
}

fn cached_read(rig: &Rig, rung: &str) {
    rig.cache("k", "v");
    rig.force(rung);
    let (mut client, calls) = (rig.larder.connect(), rig.calls("get"));
    let reply = client.say("GET k");
    match rung {
        "reject" => assert_refused(&reply, "CLUSTERDOWN", rung),
        "passthrough" => {
            assert_eq!(reply, Reply::bulk("v"));
            assert_eq!(rig.calls("get"), calls + 1, "the cache is left aside");
        }
        _ => {
            assert_eq!(reply, Reply::bulk("v"));
            assert_eq!(rig.calls("get"), calls, "the origin was asked");
        }
    }
}

fn expired_read(rig: &Rig, rung: &str) {
    rig.cache("short:k", "v");
    std::thread::sleep(Duration::from_millis(151));
    rig.force(rung);
    let reply = rig.larder.say("GET short:k");
    match rung {
        "stale-read-only" | "passthrough" => assert_eq!(reply, Reply::bulk("v")),
        _ => assert_refused(&reply, read_code(rung), rung),
    }
}

fn missing_read(rig: &Rig, rung: &str) {
    rig.origin.say("SET k v");
    rig.origin.say("HSET h f v");
    rig.force(rung);
    let mut client = rig.larder.connect();
    for (words, there) in [("GET k", Reply::bulk("v")), ("HGET h f", Reply::bulk("v")), ("EXISTS k", Reply::Integer(1))]
    {
        let (reply, name) = (client.say(words), words.split(' ').next().expect("a name"));
        if rung == "passthrough" {
            assert_eq!(reply, there, "{words}");
            continue;
        }
        assert_refused(&reply, read_code(rung), rung);
        assert!(reply.error().is_some_and(|text| text.contains(name)), "{reply:?} does not say what {name} lacks");
    }
}

fn uncacheable_read(rig: &Rig, rung: &str) {
    rig.origin.say("SADD s a");
    rig.cache("k", "v");
    rig.force(rung);
    let mut client = rig.larder.connect();
    for (words, there) in [("SRANDMEMBER s", Reply::bulk("a")), ("OBJECT REFCOUNT s", Reply::Integer(1))] {
        let reply = client.say(words);
        match rung {
            "passthrough" => assert_eq!(reply, there, "{words}"),
            _ => assert_refused(&reply, read_code(rung), rung),
        }
    }
}

fn never_stale(rig: &Rig, rung: &str) {
    rig.cache("never:k", "v");
    rig.force(rung);
    let reply = rig.larder.say("GET never:k");
    match rung {
        // Its pushes still come: it is fresh, and no rung makes it less so.
        "reject" => assert_refused(&reply, "CLUSTERDOWN", rung),
        _ => assert_eq!(reply, Reply::bulk("v")),
    }
}

fn nil_on_miss(rig: &Rig, rung: &str) {
    rig.origin.say("SET nil:k v");
    rig.cache("nil:cached", "v");
    rig.force(rung);
    let mut client = rig.larder.connect();
    let replies =
        client.pipeline(&["GET nil:k", "GETRANGE nil:h 0 1", "EXISTS nil:k", "STRLEN nil:k", "MGET nil:cached nil:k"]);
    let served = Reply::Array(vec![Reply::bulk("v"), Reply::bulk("v")]);
    match rung {
        "reject" => replies.iter().for_each(|reply| assert_refused(reply, "CLUSTERDOWN", rung)),
        "passthrough" => {
            let there = [Reply::bulk("v"), Reply::bulk(""), Reply::Integer(1), Reply::Integer(1), served];
            assert_eq!(replies, there);
        }
        _ => {
            let nothing = [Reply::Null, Reply::bulk(""), Reply::Integer(0), Reply::Integer(0)];
            assert_eq!(replies[..4], nothing);
            assert_eq!(replies[4], Reply::Array(vec![Reply::bulk("v"), Reply::Null]));
        }
    }
    // No route says what a write that is refused could be instead of an error.
    let reply = client.say("SET nil:k w");
    match rung {
        "passthrough" => assert_eq!(reply, Reply::ok()),
        _ => assert_refused(&reply, write_code(rung), rung),
    }
}

fn several_keys(rig: &Rig, rung: &str) {
    rig.cache("a", "1");
    rig.cache("b", "2");
    rig.warm("EXISTS a");
    rig.warm("EXISTS b");
    rig.origin.say("SET c 3");
    rig.force(rung);
    let mut client = rig.larder.connect();
    let whole = client.pipeline(&["MGET a b", "EXISTS a b"]);
    let part = client.pipeline(&["MGET a c", "EXISTS a c"]);
    match rung {
        "reject" => whole.iter().chain(&part).for_each(|reply| assert_refused(reply, "CLUSTERDOWN", rung)),
        "passthrough" => {
            assert_eq!(whole, [Reply::Array(vec![Reply::bulk("1"), Reply::bulk("2")]), Reply::Integer(2)]);
            assert_eq!(part, [Reply::Array(vec![Reply::bulk("1"), Reply::bulk("3")]), Reply::Integer(2)]);
        }
        _ => {
            assert_eq!(whole, [Reply::Array(vec![Reply::bulk("1"), Reply::bulk("2")]), Reply::Integer(2)]);
            part.iter().for_each(|reply| assert_refused(reply, "MASTERDOWN", rung));
        }
    }
}

fn write(rig: &Rig, rung: &str) {
    rig.cache("k", "old");
    rig.warm("STRLEN k");
    rig.cache("other", "v");
    rig.force(rung);
    let mut client = rig.larder.connect();
    let reply = client.say("SET k new");
    if rung == "passthrough" {
        assert_eq!(reply, Reply::ok());
        assert_eq!(client.say("GET k"), Reply::bulk("new"));
        assert_eq!(rig.origin.say("GET k"), Reply::bulk("new"));
        rig.leave();
        assert_eq!(
            rig.larder.say("GET k"),
            Reply::bulk("new"),
            "what was written is not hidden by what was cached before"
        );
        return;
    }
    assert_refused(&reply, write_code(rung), rung);
    assert_eq!(rig.origin.say("GET k"), Reply::bulk("old"), "nothing was sent");
    // Whoever asks is not shown what the write was to replace, as long as nobody can know better.
    rig.force("stale-read-only");
    for words in ["GET k", "STRLEN k", "MGET other k"] {
        assert_refused(&rig.larder.say(words), "MASTERDOWN", "stale-read-only");
    }
    assert_eq!(rig.larder.say("GET other"), Reply::bulk("v"));
    rig.leave();
    assert_eq!(client.say("GET k"), Reply::bulk("old"), "nothing was written");
}

/// T44: a write that is refused is never answered as if it had been carried out, whatever its options.
fn kinds_of_writes(rig: &Rig, rung: &str) {
    if rung == "passthrough" {
        return;
    }
    let words = [
        "SET lock x NX PX 1000",
        "SET lock x XX",
        "SET lock x GET",
        "SETNX lock x",
        "INCR n",
        "INCRBYFLOAT n 1",
        "DEL k",
        "UNLINK k",
        "GETDEL k",
        "GETEX k EX 5",
        "EXPIRE k 10",
        "HSET h f v",
        "LPUSH l x",
        "RPOP l",
        "SADD s m",
        "ZADD z 1 m",
        "XADD x * f v",
        "PFADD p x",
        "RENAME k k2",
        "COPY k k2",
        "SORT l STORE k2",
        "MSET k 1 k2 2",
        "SINTERSTORE d s s",
    ];
    let names = ["k", "k2", "d"];
    for words in words {
        rig.leave();
        names.iter().for_each(|name| rig.cache(name, "v"));
        rig.origin.say("RPUSH l 1");
        rig.force(rung);
        let reply = rig.larder.say(words);
        assert!(reply.error().is_some(), "{words}: {reply:?}");
        assert_refused(&reply, write_code(rung), rung);
        rig.force("local-only");
        // Each of its keys, and no other.
        let written: Vec<_> = words.split(' ').skip(1).collect();
        for name in names {
            let reply = rig.larder.say(&format!("GET {name}"));
            let is_source = (words.starts_with("COPY") && name == "k") || words.starts_with("SORT") && name == "l";
            match written.contains(&name) && !is_source {
                true => assert_refused(&reply, "MASTERDOWN", "local-only"),
                false => assert_eq!(reply, Reply::bulk("v"), "{name} after {words}"),
            }
        }
    }
    assert_eq!(rig.origin.say("DEL lock n h s z x p"), Reply::Integer(0), "something was written");
}

fn transaction(rig: &Rig, rung: &str) {
    rig.origin.say("SET k old");
    rig.force(rung);
    let mut client = rig.larder.connect();
    let replies = client.pipeline(&["MULTI", "SET k new", "GET k", "EXEC"]);
    if rung == "passthrough" {
        assert_eq!(replies[3], Reply::Array(vec![Reply::ok(), Reply::bulk("new")]));
        return;
    }
    assert_refused(&replies[0], read_code(rung), rung);
    assert!(replies[3].error().is_some_and(|text| text.starts_with("EXECABORT")), "{replies:?}");
    assert_eq!(rig.origin.say("GET k"), Reply::bulk("old"));

    // The refusal of MULTI holds for what was sent behind it, even where the outage ends in between.
    assert_refused(&client.say("MULTI"), read_code(rung), rung);
    rig.leave();
    let replies = client.pipeline(&["SET k new", "EXEC"]);
    assert!(replies.iter().all(|reply| reply.error().is_some()), "{replies:?}");
    assert_eq!(rig.origin.say("GET k"), Reply::bulk("old"), "a command of a transaction was carried out alone");
    assert_eq!(client.pipeline(&["MULTI", "SET k new", "EXEC"])[2], Reply::Array(vec![Reply::ok()]));
}

fn watch(rig: &Rig, rung: &str) {
    rig.force(rung);
    let mut client = rig.larder.connect();
    let reply = client.say("WATCH k");
    if rung == "passthrough" {
        assert_eq!(reply, Reply::ok());
        return;
    }
    assert_refused(&reply, read_code(rung), rung);
    // Nobody has watched: a transaction behind it must not be carried out as if somebody had.
    rig.leave();
    let replies = client.pipeline(&["MULTI", "SET k new", "EXEC"]);
    assert!(replies[2].error().is_some(), "{replies:?}");
    assert_eq!(rig.origin.say("EXISTS k"), Reply::Integer(0));
}

fn blocking(rig: &Rig, rung: &str) {
    rig.force(rung);
    let mut client = rig.larder.connect();
    let start = Instant::now();
    if rung == "passthrough" {
        rig.origin.say("RPUSH q job");
        assert_eq!(client.say("BLPOP q 5"), Reply::Array(vec![Reply::bulk("q"), Reply::bulk("job")]));
        return;
    }
    assert_refused(&client.say("BLPOP q 60"), write_code(rung), rung);
    assert_refused(&client.say("XREAD BLOCK 60000 STREAMS x $"), read_code(rung), rung);
    assert!(client.say("WAIT 1 60000").error().is_some());
    assert!(start.elapsed() < Duration::from_secs(20), "they did block");
}

fn scripts(rig: &Rig, rung: &str) {
    rig.cache("k", "v");
    rig.force(rung);
    let mut client = rig.larder.connect();
    let eval = client.call(&["EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "scripted"]);
    let eval_ro = client.call(&["EVAL_RO", "return 1", "0"]);
    if rung == "passthrough" {
        assert_eq!((eval, eval_ro), (Reply::ok(), Reply::Integer(1)));
        return;
    }
    assert_refused(&eval, write_code(rung), rung);
    assert_refused(&eval_ro, read_code(rung), rung);
    assert_eq!(rig.origin.say("EXISTS scripted"), Reply::Integer(0));
    // It was not sent, so it has changed nothing, and the cache is all that there is.
    rig.force("local-only");
    assert_eq!(client.say("GET k"), Reply::bulk("v"), "a script that was refused has emptied the cache");
}

/// A subscription is no request: it goes on. A message is one.
fn messages(rig: &Rig, rung: &str) {
    let mut first = rig.larder.connect();
    first.say("SUBSCRIBE news");
    rig.force(rung);
    // Others share the subscription that there is.
    let mut second = rig.larder.connect();
    assert_eq!(second.say("SUBSCRIBE news").items().map(<[Reply]>::len), Some(3));
    let published = rig.larder.say("PUBLISH news hello");
    if rung == "passthrough" {
        assert_eq!(published, Reply::Integer(1));
    } else {
        assert_refused(&published, read_code(rung), rung);
        rig.leave();
        assert_eq!(rig.larder.say("PUBLISH news hello"), Reply::Integer(1));
    }
    let message = Reply::Array(["message", "news", "hello"].map(Reply::bulk).to_vec());
    assert_eq!([first.read(), second.read()], [message.clone(), message]);
}

fn keyless(rig: &Rig, rung: &str) {
    rig.force(rung);
    let mut client = rig.larder.connect();
    for words in ["DBSIZE", "SCAN 0", "RANDOMKEY", "KEYS *"] {
        let reply = client.say(words);
        match rung {
            "passthrough" => assert!(reply.error().is_none(), "{words}: {reply:?}"),
            _ => assert_refused(&reply, read_code(rung), rung),
        }
    }
    let reply = client.say("FLUSHALL");
    match rung {
        "passthrough" => assert_eq!(reply, Reply::ok()),
        _ => assert_refused(&reply, write_code(rung), rung),
    }
}

fn local(rig: &Rig, rung: &str) {
    rig.force(rung);
    let mut client = rig.larder.connect();
    for words in
        ["PING", "ECHO x", "SELECT 1", "CLIENT ID", "COMMAND COUNT", "INFO server", "HELLO 3", "LARDER LADDER", "RESET"]
    {
        let reply = client.say(words);
        assert!(reply.error().is_none(), "{words}: {reply:?}");
    }
}
