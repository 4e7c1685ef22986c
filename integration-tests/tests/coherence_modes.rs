//! What Larder makes of origins that cannot push, will not, or whose pushes do not tell everything: it finds out,
//! says so aloud, and bounds how old a read may be.

use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings, TRACKED_NAME};
use larder_integration_tests::meddler::Meddler;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// `near_cache.untracked_ttl` of these tests.
const UNTRACKED: Duration = Duration::from_millis(400);
const SECTION: &str = "near_cache: {untracked_ttl: 400ms}";

/// For a busy machine.
const SLACK: Duration = Duration::from_millis(200);

fn coherence(larder: &Larder) -> String {
    let info = larder.say("INFO larder").text().expect("text");
    info.lines().find_map(|line| line.strip_prefix("coherence:")).expect("it is told").to_owned()
}

fn wait_for(larder: &Larder, mode: &str) {
    wait::until(&format!("coherence: {mode}"), || coherence(larder) == mode);
}

/// How many seconds the entry of a read has left; 0 where there is none.
fn seconds_left(client: &mut Client, words: &str) -> f64 {
    let explained = client.say(&format!("LARDER EXPLAIN {words}"));
    let lines: Vec<String> = explained.items().expect("lines").iter().filter_map(Reply::text).collect();
    let entry = lines.iter().find(|line| line.starts_with("entry of "));
    let left = entry.and_then(|entry| entry.split(", ").find_map(|part| part.strip_suffix("s left")));
    left.map_or(0.0, |left| left.parse().expect("seconds"))
}

/// Reads are answered from the cache, and a change made elsewhere is seen when `UNTRACKED` is over.
fn assert_bounded(larder: &Larder, origin: &Redis) {
    for protocol in Protocol::BOTH {
        let mut client = larder.connect();
        // An old origin speaks only the one.
        if client.say(&format!("HELLO {}", protocol.number())).error().is_some() {
            continue;
        }
        origin.say("SET k old");
        wait::until("the value is there", || client.say("GET k") == Reply::bulk("old"));
        larder.warm(&mut client, "GET k");
        assert_eq!(origin.say("SET k new"), Reply::ok());
        let changed = Instant::now();
        let mut asked = changed;
        while client.say("GET k") == Reply::bulk("old") {
            assert!(asked - changed <= UNTRACKED + SLACK, "an old value {:?} after its change", asked - changed);
            asked = Instant::now();
        }
        // Own writes are seen at once in this mode too.
        for n in 0..20 {
            client.call(&["SET", "k", &n.to_string()]);
            assert_eq!(larder.say("GET k"), Reply::bulk(&n.to_string()));
        }
    }
}

// === origins that do not push ===

#[test]
fn an_origin_that_forbids_tracking_is_cached_for_a_bounded_time_and_that_is_said() {
    let origin = Redis::start_with(&["--user", "app", "on", ">pw", "~*", "&*", "+@all", "-client|tracking"]);
    let larder = Larder::start_with(
        &Settings::new(origin.address()).upstream("username: app").upstream("password: pw").section(SECTION),
    );
    wait_for(&larder, "ttl");
    let output = larder.process().output();
    assert!(output.contains("coherence: ttl") && output.contains("untracked_ttl"), "{output}");
    let metrics = larder.metrics();
    assert_eq!(metrics.sum_where("larder_cache_covered", "mode=\"ttl\""), 1.0);
    assert_eq!(metrics.sum_where("larder_cache_covered", "mode=\"tracking\""), 0.0);
    let explained = format!("{:?}", larder.say("LARDER EXPLAIN GET k"));
    assert!(explained.contains("coverage: ttl"), "{explained}");
    assert_bounded(&larder, &origin);
}

#[test]
fn an_origin_that_says_ok_to_tracking_and_does_nothing_is_found_out() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    meddler.answer("CLIENT TRACKING", b"+OK\r\n");
    let larder = Larder::start_with(&Settings::new(meddler.address()).section(SECTION));
    wait_for(&larder, "ttl");
    assert_bounded(&larder, &origin);
}

#[test]
fn an_origin_before_resp3_is_served_in_resp2_for_a_bounded_time() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    meddler.answer("HELLO", b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
    meddler.answer("CLIENT TRACKING", b"-ERR Unknown subcommand or wrong number of arguments for 'TRACKING'\r\n");
    let larder = Larder::start_with(&Settings::new(meddler.address()).section(SECTION));
    wait_for(&larder, "ttl");
    assert!(larder.say("HELLO 3").error().is_some_and(|words| words.starts_with("NOPROTO")), "it has no RESP3 replies");
    assert_bounded(&larder, &origin);
}

#[test]
fn redis_6_0_which_cannot_tell_whether_tracking_is_on_is_believed() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    let words = "-ERR Unknown subcommand or wrong number of arguments for 'TRACKINGINFO'. Try CLIENT HELP.\r\n";
    meddler.answer("CLIENT TRACKINGINFO", words.as_bytes());
    let larder = Larder::start(meddler.address());
    wait_for(&larder, "tracking");
    let mut client = larder.connect();
    client.say("SET k old");
    larder.warm(&mut client, "GET k");
    origin.say("SET k new");
    wait::until("the push has come", || client.say("GET k") == Reply::bulk("new"));
}

#[test]
fn a_refusal_that_will_pass_is_no_reason_to_do_without_pushes() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    for words in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "ERR max number of clients reached",
    ] {
        meddler.answer("CLIENT TRACKING", format!("-{words}\r\n").as_bytes());
        let larder = Larder::start(meddler.address());
        assert_eq!(larder.say("SET k v"), Reply::ok());
        assert_eq!(coherence(&larder), "disconnected", "{words}");
        assert_eq!(larder.say("GET k"), Reply::bulk("v"));
        meddler.relent();
        wait_for(&larder, "tracking");
    }
}

#[test]
fn an_origin_that_falls_silent_while_it_is_asked_for_tracking_is_asked_again() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    meddler.answer("CLIENT TRACKINGINFO", b"");
    let larder = Larder::start_with(&Settings::new(meddler.address()).upstream("connect_timeout: 300ms"));
    assert_eq!(larder.say("SET k v"), Reply::ok());
    assert_eq!(coherence(&larder), "disconnected");
    meddler.relent();
    wait_for(&larder, "tracking");
}

#[test]
fn where_tracking_is_demanded_and_refused_nothing_is_cached_and_that_is_said() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    meddler.answer("CLIENT TRACKING", b"-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.\r\n");
    let larder = Larder::start_with(&Settings::new(meddler.address()).upstream("coherence: tracking").section(SECTION));
    let mut client = larder.connect();
    for n in 0..50 {
        origin.say(&format!("SET k {n}"));
        assert_eq!(client.say("GET k"), Reply::bulk(&n.to_string()));
    }
    let metrics = larder.metrics();
    assert_eq!((metrics.sum("larder_cache_hits_total"), metrics.sum("larder_cache_covered")), (0.0, 0.0));
    let output = larder.process().output();
    assert!(output.contains("near-cache not covered") && output.contains("TRACKING"), "{output}");
    // As soon as it can, it does.
    meddler.relent();
    wait_for(&larder, "tracking");
    larder.warm(&mut client, "GET k");
}

#[test]
fn where_the_configuration_says_ttl_no_origin_is_asked_to_push() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("coherence: ttl").section(SECTION));
    wait_for(&larder, "ttl");
    assert_eq!(origin.clients_named(TRACKED_NAME), 0);
    assert_eq!(origin.info("tracking_clients"), "0");
    assert_bounded(&larder, &origin);
    // Several keys have ages of their own here: what must be of one instant is not put together.
    let mut client = larder.connect();
    client.say("MSET a 1 b 1");
    larder.warm(&mut client, "GET a");
    origin.say("MSET a 2 b 2");
    assert_eq!(client.say("MGET a b"), Reply::Array(vec![Reply::bulk("2"), Reply::bulk("2")]));
}

// === fields of hashes that expire unseen ===

/// COMMAND of an origin that has HEXPIRE: Redis's own, and one row more.
fn command_with_hexpire(origin: &Redis) -> Vec<u8> {
    let told = origin.connect().call_raw(&["COMMAND"]);
    let end = told.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
    let rows: usize = String::from_utf8_lossy(&told[1..end]).trim().parse().expect("a count");
    let row = "*10\r\n$7\r\nhexpire\r\n:-6\r\n*2\r\n+write\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
    [format!("*{}\r\n", rows + 1).as_bytes(), &told[end..], row.as_bytes()].concat()
}

#[test]
fn hash_replies_live_long_only_where_fields_cannot_expire() {
    let origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    let plain = Larder::start(meddler.address());
    meddler.answer("COMMAND", &command_with_hexpire(&origin));
    let newer = Larder::start(meddler.address());
    // One that is not allowed to ask knows nothing, and takes care.
    meddler.answer("COMMAND", b"-NOPERM this user has no permissions to run the 'command' command\r\n");
    let unsure = Larder::start(meddler.address());
    for (larder, long) in [(&plain, true), (&newer, false), (&unsure, false)] {
        let mut client = larder.connect();
        client.pipeline(&["HSET h f v", "SET k v"]);
        for read in ["HGETALL h", "HGET h f", "HLEN h", "HMGET h f g"] {
            wait::until("it is cached", || {
                client.say(read);
                seconds_left(&mut client, read) > 0.0
            });
            let left = seconds_left(&mut client, read);
            assert_eq!(left > 1.0, long, "{read}: {left}");
            larder.say("LARDER FLUSH");
        }
        larder.warm(&mut client, "GET k");
        assert!(seconds_left(&mut client, "GET k") > 100.0, "others live as long as ever");
    }
}

#[test]
fn an_origin_that_learns_hexpire_by_an_upgrade_has_its_hashes_read_anew() {
    let mut origin = Redis::start();
    let meddler = Meddler::start(origin.address());
    let larder = Larder::start(meddler.address());
    let mut client = larder.connect();
    client.say("HSET h f v");
    larder.warm(&mut client, "HGETALL h");
    assert!(seconds_left(&mut client, "HGETALL h") > 100.0);
    meddler.answer("COMMAND", &command_with_hexpire(&origin));
    origin.restart();
    origin.say("HSET h f v");
    let table_has_it =
        |client: &mut Client| client.say("COMMAND INFO hexpire").items().is_some_and(|rows| rows[0] != Reply::Null);
    wait::until("the upstream has told", || {
        client.say("HGETALL h");
        table_has_it(&mut client)
    });
    wait::until("what was kept before it told is not kept on", || {
        client.say("HGETALL h");
        let left = seconds_left(&mut client, "HGETALL h");
        left > 0.0 && left <= 1.0
    });
}
