//! What a cache in between could spoil: optimistic locking, reads inside, and who sees what EXEC has written.

use std::thread;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// T2: a read behind WATCH that came from the cache would let EXEC succeed on an old value.
#[test]
fn optimistic_locking_loses_no_update_while_the_key_is_hot() {
    const CLIENTS: usize = 12;
    const INCREMENTS: usize = 40;
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    origin.say("SET n 0");
    thread::scope(|scope| {
        let mut counting = Vec::new();
        for number in 0..CLIENTS {
            // One in six goes to the origin directly.
            let address = if number % 6 == 5 { origin.address() } else { larder.address() };
            counting.push(scope.spawn(move || increment(&mut Client::connect(address), INCREMENTS)));
        }
        let mut reader = larder.connect();
        let mut last = 0;
        while counting.iter().any(|thread| !thread.is_finished()) {
            let now = number(&reader.say("GET n"));
            assert!(now >= last, "a counter that only grows went from {last} to {now}");
            last = now;
        }
    });
    assert_eq!(number(&origin.say("GET n")), CLIENTS * INCREMENTS);
}

fn increment(client: &mut Client, times: usize) {
    let mut done = 0;
    while done < times {
        assert_eq!(client.say("WATCH n"), Reply::ok());
        let next = number(&client.say("GET n")) + 1;
        let replies = client.pipeline(&["MULTI", &format!("SET n {next}"), "EXEC"]);
        match &replies[2] {
            Reply::Null => {}
            Reply::Array(results) if *results == [Reply::ok()] => done += 1,
            other => panic!("EXEC: {other:?}"),
        }
    }
}

fn number(reply: &Reply) -> usize {
    reply.text().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a number, not {reply:?}"))
}

/// T2: what the cache has is old and nobody has told Larder yet. A transaction that is built on it must not succeed.
#[test]
fn a_read_behind_watch_sees_what_the_origin_has_though_its_push_is_late() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let settings = Settings::new(cutter.address()).upstream("heartbeat: {interval: 20s, timeout: 20s}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    client.say("SET n 1");
    larder.warm(&mut client, "GET n");
    cutter.hold(Scope::Tracked, Direction::FromOrigin);
    origin.say("SET n 2");
    if larder.is_binary() {
        assert_eq!(client.say("GET n"), Reply::bulk("1"), "the push is held back");
    }
    assert_eq!(client.say("WATCH n"), Reply::ok());
    assert_eq!(client.say("GET n"), Reply::bulk("2"));
    assert_eq!(client.pipeline(&["MULTI", "INCR n", "EXEC"])[2], Reply::Array(vec![Reply::Integer(3)]));
    cutter.heal();
}

/// T2: QUEUED, and not the value.
#[test]
fn reads_inside_a_transaction_or_behind_watch_do_not_come_from_the_cache() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    let before = larder.hits();
    assert_eq!(client.say("WATCH other"), Reply::ok());
    for _ in 0..5 {
        assert_eq!(client.say("GET k"), Reply::bulk("v"));
    }
    let replies = client.pipeline(&["MULTI", "GET k", "MGET k k", "EXISTS k", "EXEC"]);
    let queued = Reply::Simple("QUEUED".to_owned());
    assert_eq!(replies[1..4], [queued.clone(), queued.clone(), queued]);
    let both = Reply::Array(vec![Reply::bulk("v"), Reply::bulk("v")]);
    assert_eq!(replies[4], Reply::Array(vec![Reply::bulk("v"), both, Reply::Integer(1)]));
    if larder.is_binary() {
        assert_eq!(larder.hits(), before, "answered from the cache");
    }
    larder.warm(&mut client, "GET k");
}

/// What a transaction writes to `k`, if the value is put in for `VALUE`.
const WRITES: &[&[&str]] = &[
    &["SET k VALUE"],
    &["SET other x", "DEL k", "RENAME other2 k"],
    &["EVAL redis.call('SET',KEYS[1],ARGV[1]) 1 k VALUE"],
    &["EVAL redis.call('SET','k',ARGV[1]) 0 VALUE"],
    &["FLUSHALL", "SET k VALUE"],
    &["FLUSHDB", "SET k VALUE"],
];

/// Nobody pushes: what is written here is seen by nothing but what Larder does itself.
fn without_pushes(origin: &Redis) -> Larder {
    let settings = Settings::new(origin.address()).upstream("coherence: ttl");
    Larder::start_with(&settings.section("near_cache: {untracked_ttl: 60s}"))
}

/// C2 and C1: once EXEC is answered, every read here sees it, however hot the key was before.
#[test]
fn what_exec_has_written_is_seen_by_every_later_read() {
    let origin = Redis::start();
    seen_by_every_later_read(&origin, &Larder::start(origin.address()));
}

#[test]
fn what_exec_has_written_is_seen_by_every_later_read_without_pushes() {
    let origin = Redis::start();
    seen_by_every_later_read(&origin, &without_pushes(&origin));
}

fn seen_by_every_later_read(origin: &Redis, larder: &Larder) {
    for protocol in Protocol::BOTH {
        let (mut writer, mut reader) = (larder.connect_with(protocol), larder.connect_with(protocol));
        for (kind, commands) in WRITES.iter().enumerate() {
            for round in 0..15 {
                let value = format!("{kind}-{round}");
                origin.say(&format!("SET other2 {value}"));
                (0..3).for_each(|_| drop(reader.say("GET k")));
                let commands: Vec<String> = commands.iter().map(|words| words.replace("VALUE", &value)).collect();
                let mut all = vec!["MULTI"];
                all.extend(commands.iter().map(String::as_str));
                all.extend(["EXEC", "GET k"]);
                let replies = writer.pipeline(&all);
                assert!(replies[all.len() - 2].items().is_some(), "{commands:?}: {replies:?}");
                assert_eq!(replies[all.len() - 1], Reply::bulk(&value), "C1, {commands:?}");
                assert_eq!(reader.say("GET k"), Reply::bulk(&value), "C2, {commands:?}");
            }
        }
    }
}

/// C2 for what is written at once between WATCH and MULTI, on the connection that watches.
#[test]
fn what_is_written_behind_watch_is_seen_by_every_later_read() {
    let origin = Redis::start();
    let larder = without_pushes(&origin);
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    for round in 0..30 {
        let value = round.to_string();
        (0..3).for_each(|_| drop(reader.say("GET k")));
        assert_eq!(writer.say("WATCH other"), Reply::ok());
        let command = ["SET k VALUE", "EVAL redis.call('SET','k',ARGV[1]) 0 VALUE"][round % 2];
        writer.say(&command.replace("VALUE", &value));
        assert_eq!(reader.say("GET k"), Reply::bulk(&value), "{command}");
        assert_eq!(writer.say("UNWATCH"), Reply::ok());
    }
}

/// C2 for what blocking commands take and put.
#[test]
fn what_a_blocking_command_has_changed_is_seen_by_every_later_read() {
    let origin = Redis::start();
    let larder = without_pushes(&origin);
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    let empty = Reply::Array(vec![]);
    for round in 0..20 {
        let item = Reply::bulk(&round.to_string());
        let list = Reply::Array(vec![item.clone()]);
        larder.say(&format!("RPUSH from {round}"));
        (0..3).for_each(|_| drop((reader.say("LRANGE from 0 -1"), reader.say("LRANGE to 0 -1"))));
        assert_eq!(writer.say("BLMOVE from to LEFT RIGHT 0"), item);
        assert_eq!((reader.say("LRANGE from 0 -1"), reader.say("LRANGE to 0 -1")), (empty.clone(), list));
        assert_eq!(writer.say("BLPOP none to 0"), Reply::Array(vec![Reply::bulk("to"), item]));
        assert_eq!(reader.say("LRANGE to 0 -1"), empty);
    }
}

/// Many clients share a connection and send one transaction after the other without waiting.
#[test]
fn transactions_sent_in_one_go_do_not_wait_for_each_other() {
    const COUNT: usize = 50;
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = Larder::start(cutter.address());
    let mut client = larder.connect();
    client.pipeline(&["MULTI", "SET n 0", "EXEC"]);
    cutter.hold(Scope::All, Direction::FromOrigin);
    for _ in 0..COUNT {
        for words in ["MULTI", "INCR n", "NOSUCH", "EXEC", "WATCH n", "GET n", "MULTI", "INCR n", "EXEC"] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
    }
    client.send(&["GET", "n"]).expect("sent");
    wait::until("all are carried out, and nobody has heard of it", || number(&origin.say("GET n")) == COUNT);
    cutter.heal();
    for round in 0..COUNT {
        let replies: Vec<Reply> = (0..9).map(|_| client.read()).collect();
        assert!(replies[3].error().is_some_and(|words| words.starts_with("EXECABORT")), "{replies:?}");
        assert_eq!(replies[5], Reply::bulk(&round.to_string()));
        assert_eq!(replies[8], Reply::Array(vec![Reply::Integer(i64::try_from(round + 1).expect("small"))]));
    }
    assert_eq!(client.read(), Reply::bulk(&COUNT.to_string()));
    super::until_no_lease_is_out(&larder);
    assert_eq!(origin.clients_named(super::LEASED_NAME), 1);
}

/// What belongs to the connection is refused in words where the server would have taken it: it would be carried out on a
/// connection that is another's afterwards.
#[test]
fn what_concerns_the_connection_is_refused_in_words_inside_a_transaction_and_behind_watch() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for command in ["SELECT 1", "CLIENT SETNAME me", "HELLO 3", "AUTH default x", "CLIENT REPLY ON", "LARDER STATS"] {
        let replies = client.pipeline(&["MULTI", "SET k inside", command, "EXEC"]);
        assert!(replies[2].error().is_some_and(|words| words.contains("inside MULTI")), "{command}: {replies:?}");
        assert!(replies[3].error().is_some_and(|words| words.starts_with("EXECABORT")), "{command}: {replies:?}");
    }
    for command in ["SELECT 1", "HELLO 3", "AUTH default x"] {
        let replies = client.pipeline(&["WATCH w", command, "MULTI", "SET k behind", "EXEC"]);
        assert!(replies[1].error().is_some_and(|words| words.contains("behind WATCH")), "{command}: {replies:?}");
        assert_eq!(replies[4], Reply::Array(vec![Reply::ok()]), "{command}");
    }
    assert_eq!(origin.say("GET k"), Reply::bulk("behind"));
    assert_eq!(origin.say("INFO keyspace").text().map(|text| text.contains("db1")), Some(false));
    // In the database that the client has selected before.
    assert_eq!(client.say("SELECT 1"), Reply::ok());
    client.pipeline(&["WATCH w", "MULTI", "SET k one", "EXEC"]);
    assert_eq!((client.say("GET k"), origin.say("GET k")), (Reply::bulk("one"), Reply::bulk("behind")));
}
