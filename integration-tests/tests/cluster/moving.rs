//! Slots on their way from one primary to another: redirections are followed, nothing is done twice, and what was cached
//! is right or gone.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::{Cluster, Migration, slot_of};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::show;

/// What the negative entries of these tests could live for if nothing else bounded them.
const NEAR_CACHE: &str = "near_cache: {negative_ttl: 60s}";
const HEARTBEAT: &str = "heartbeat: {interval: 100ms, timeout: 400ms}";

#[test]
fn t16_slots_on_the_move() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster).section(NEAR_CACHE).upstream(HEARTBEAT));
    let cases: &[crate::Case] = &[
        ("a slot half moved answers as a whole one", a_slot_half_moved_answers_as_a_whole_one),
        ("several keys of a slot half moved", several_keys_of_a_slot_half_moved),
        ("a command that waits for its slot is not overtaken", a_command_that_waits_is_not_overtaken),
        ("nothing is done twice", nothing_is_done_twice),
        ("only moved slots lose their entries", only_moved_slots_lose_their_entries),
        ("a slot that went away and came back", a_slot_that_went_away_and_came_back),
        ("a missing key that is made where its slot goes", a_missing_key_that_is_made_where_its_slot_goes),
        (
            "a missing key is not shown beside what came after it was made",
            a_missing_key_is_not_shown_beside_what_came_later,
        ),
        ("a missing key beside one that changes is read again", a_missing_key_beside_one_that_changes_is_read_again),
        ("a transaction that meets a slot on the move", a_transaction_that_meets_a_slot_on_the_move),
        ("a client that is blocked on a slot that moves", a_client_that_is_blocked_on_a_slot_that_moves),
        ("a script on a slot half moved", a_script_on_a_slot_half_moved),
    ];
    show(&cluster, &larder, cases);
}

/// The slot of `{tag}` begins to move to the next primary.
fn begin(cluster: &Cluster, tag: &str) -> Migration {
    let slot = slot_of(&format!("{{{tag}}}"));
    let from = cluster.owner_of_slot(slot);
    cluster.begin_migration(slot, from, (from + 1) % 3)
}

/// It arrives.
fn end(cluster: &Cluster, migration: Migration) {
    cluster.move_keys(migration);
    cluster.finish_migration(migration);
}

fn entry(larder: &Larder, words: &str) -> String {
    let lines = larder.say(&format!("LARDER EXPLAIN {words}"));
    let lines: Vec<String> = lines.items().expect("lines").iter().filter_map(Reply::text).collect();
    lines.into_iter().find(|line| line.starts_with("entry of ")).expect("it tells of the entry")
}

fn a_slot_half_moved_answers_as_a_whole_one(cluster: &Cluster, larder: &Larder) {
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        for number in 0..10 {
            assert_eq!(client.say(&format!("SET {{half}}{number} {number}")), Reply::ok());
            larder.warm(&mut client, &format!("GET {{half}}{number}"));
        }
        client.say("HSET {half}h f v");
        let migration = begin(cluster, "half");
        for number in (0..10).step_by(2) {
            cluster.move_key(migration, &format!("{{half}}{number}"));
        }
        for round in 0..3 {
            for number in 0..10 {
                assert_eq!(client.say(&format!("GET {{half}}{number}")), Reply::bulk(&number.to_string()), "{round}");
                assert_eq!(client.say(&format!("EXISTS {{half}}{number}")), Reply::Integer(1));
                assert_eq!(client.say(&format!("STRLEN {{half}}{number}")), Reply::Integer(1));
            }
        }
        assert_eq!(client.say("GET {half}none"), Reply::Null);
        assert_eq!(client.say("HGET {half}h f"), Reply::bulk("v"));
        assert!(client.say("LPUSH {half}1 x").error().is_some_and(|words| words.starts_with("WRONGTYPE")));
        assert!(client.say("LPUSH {half}2 x").error().is_some_and(|words| words.starts_with("WRONGTYPE")));
        let sets: Vec<String> = (0..12).map(|number| format!("SET {{half}}{number} new{number}")).collect();
        let gets: Vec<String> = (0..12).map(|number| format!("GET {{half}}{number}")).collect();
        let pipeline: Vec<&str> = sets.iter().chain(&gets).map(String::as_str).collect();
        let replies = client.pipeline(&pipeline);
        for number in 0..12 {
            assert_eq!(replies[number], Reply::ok());
            assert_eq!(replies[12 + number], Reply::bulk(&format!("new{number}")));
        }
        for number in 0..12 {
            assert_eq!(client.say(&format!("DEL {{half}}{number}")), Reply::Integer(1));
            assert_eq!(client.say(&format!("GET {{half}}{number}")), Reply::Null);
        }
        end(cluster, migration);
        assert_eq!(client.say("HGETALL {half}h").items().map(<[Reply]>::len), Some(2));
        assert_eq!(client.say("DEL {half}h"), Reply::Integer(1));
    }
}

/// No node has all of them: they are waited for, and if that takes too long the client is told to try again.
fn several_keys_of_a_slot_half_moved(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    assert_eq!(client.say("MSET {several}1 1 {several}2 2"), Reply::ok());
    let migration = begin(cluster, "several");
    cluster.move_key(migration, "{several}1");
    for words in ["MGET {several}1 {several}2", "MSET {several}1 x {several}2 x", "RENAME {several}2 {several}1"] {
        let reply = client.say(words);
        assert!(reply.error().is_some_and(|error| error.starts_with("TRYAGAIN")), "{words}: {reply:?}");
    }
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let start = Instant::now();
            let reply = larder.connect().say("MGET {several}1 {several}2");
            (reply, start.elapsed())
        });
        thread::sleep(Duration::from_millis(20));
        cluster.move_key(migration, "{several}2");
        let (reply, took) = reader.join().expect("a reader ends");
        assert_eq!(reply, Reply::Array(vec![Reply::bulk("1"), Reply::bulk("2")]), "after {took:?}");
    });
    assert_eq!(client.say("MSET {several}1 a {several}2 b"), Reply::ok());
    assert_eq!(client.say("MGET {several}2 {several}1"), Reply::Array(vec![Reply::bulk("b"), Reply::bulk("a")]));
    end(cluster, migration);
    assert_eq!(client.say("MGET {several}2 {several}1"), Reply::Array(vec![Reply::bulk("b"), Reply::bulk("a")]));
}

/// What a client sent later must not be done before, nor seen by, what it sent earlier.
fn a_command_that_waits_is_not_overtaken(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    for round in 0..10 {
        assert_eq!(client.say("MSET {line}1 old {line}2 old"), Reply::ok());
        let migration = begin(cluster, "line");
        cluster.move_key(migration, "{line}1");
        let pipeline = ["MSET {line}1 first {line}2 first", "SET {line}2 second", "GET {line}2"];
        let replies = thread::scope(|scope| {
            let sender = scope.spawn(|| larder.connect().pipeline(&pipeline));
            // Together with the rest, or before it.
            thread::sleep(Duration::from_millis(round * 5));
            cluster.move_keys(migration);
            sender.join().expect("a sender ends")
        });
        // Either it was carried out first, or not at all.
        let refused = replies[0].error().is_some_and(|error| error.starts_with("TRYAGAIN"));
        assert!(refused || replies[0] == Reply::ok(), "{replies:?}");
        assert_eq!(replies[1..], [Reply::ok(), Reply::bulk("second")]);
        let first = Reply::bulk(if refused { "old" } else { "first" });
        assert_eq!(client.say("MGET {line}1 {line}2"), Reply::Array(vec![first, Reply::bulk("second")]), "{replies:?}");
        end(cluster, migration);
    }
}

/// INCR on keys whose slot moves all the time: as many as were answered, each answer one more than the last.
fn nothing_is_done_twice(cluster: &Cluster, larder: &Larder) {
    let stop = AtomicBool::new(false);
    let counts: [AtomicI64; 3] = Default::default();
    thread::scope(|scope| {
        let counters: Vec<_> = counts
            .iter()
            .enumerate()
            .map(|(client, counted)| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut connection = larder.connect();
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let words = format!("INCR {{twice}}{client}");
                        let replies = connection.pipeline(&[words.as_str(); 8]);
                        for reply in replies {
                            count += 1;
                            assert_eq!(reply, Reply::Integer(count));
                        }
                        counted.store(count, Ordering::Relaxed);
                    }
                    count
                })
            })
            .collect();
        let mut moves = 0;
        // Where the machine is busy the slot moves faster than they count.
        let enough = wait::holds_within(wait::PATIENCE, || {
            end(cluster, begin(cluster, "twice"));
            moves += 1;
            // A counter that has failed says so below.
            let failed = counters.iter().any(ScopedJoinHandle::is_finished);
            failed || (moves >= 6 && counts.iter().all(|count| count.load(Ordering::Relaxed) > 100))
        });
        stop.store(true, Ordering::Relaxed);
        for (client, counter) in counters.into_iter().enumerate() {
            let count = counter.join().expect("a counter ends");
            assert!(enough, "hardly anything was counted in {moves} moves: {count}");
            assert_eq!(larder.say(&format!("GET {{twice}}{client}")), Reply::bulk(&count.to_string()));
        }
    });
}

fn only_moved_slots_lose_their_entries(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = ["{goes}k", "{stays}k", "{other}k", "{third}k", "{fourth}k"];
    for key in keys {
        client.call(&["SET", key, "v"]);
        larder.warm(&mut client, &format!("GET {key}"));
    }
    let from = cluster.owner_of("{goes}k");
    let beside = cluster.keys_on(from, "beside", 3);
    for key in &beside {
        client.call(&["SET", key, "v"]);
        larder.warm(&mut client, &format!("GET {key}"));
    }
    let migration = begin(cluster, "goes");
    end(cluster, migration);
    assert_eq!(client.say("SET {goes}k new"), Reply::ok());
    let owner = cluster.address(migration.to).to_string();
    wait::until("Larder knows of the move", || {
        format!("{:?}", client.say("LARDER EXPLAIN GET {goes}k")).contains(&owner)
    });
    let misses = larder.misses();
    for key in keys[1..].iter().copied().chain(beside.iter().map(String::as_str)) {
        let entry = entry(larder, &format!("GET {key}"));
        assert!(entry.contains("fresh"), "{entry}");
        assert_eq!(client.call(&["GET", key]), Reply::bulk("v"));
    }
    assert_eq!(larder.misses(), misses, "the others were answered from the near-cache");
    assert!(!entry(larder, "GET {goes}k").contains("fresh"));
    larder.warm(&mut client, "GET {goes}k");
    assert_eq!(client.say("GET {goes}k"), Reply::bulk("new"));
    assert!(larder.metrics().sum("larder_topology_changes_total") > 0.0);
}

/// Never an old value: neither of a key that was changed meanwhile nor of one that was made or deleted.
fn a_slot_that_went_away_and_came_back(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    for round in 0..3 {
        client.say("SET {back}changed old");
        client.say("SET {back}deleted old");
        client.say("DEL {back}made");
        for key in ["changed", "deleted", "made"] {
            larder.warm(&mut client, &format!("GET {{back}}{key}"));
        }
        let home = cluster.owner_of("{back}");
        let migration = begin(cluster, "back");
        end(cluster, migration);
        let mut direct = cluster.connect(migration.to);
        assert_eq!(direct.say("MSET {back}changed new {back}made new"), Reply::ok());
        assert_eq!(direct.say("DEL {back}deleted"), Reply::Integer(1));
        // With and without a look in between.
        if round > 0 {
            wait::until("the change is seen", || client.say("GET {back}changed") == Reply::bulk("new"));
        }
        let migration = cluster.begin_migration(migration.slot, migration.to, home);
        end(cluster, migration);
        let changed = Instant::now();
        for (key, value) in [("changed", Reply::bulk("new")), ("made", Reply::bulk("new")), ("deleted", Reply::Null)] {
            wait::until(key, || client.say(&format!("GET {{back}}{key}")) == value);
            for _ in 0..20 {
                assert_eq!(client.say(&format!("GET {{back}}{key}")), value, "{key}: an old value came back");
            }
        }
        eprintln!("all seen {:?} after the slot was back", changed.elapsed());
    }
}

/// The owner of a slot that moves has nothing to push when a key which it never had is made at the other node.
fn a_missing_key_that_is_made_where_its_slot_goes(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    larder.warm(&mut client, "GET {made}k");
    larder.warm(&mut client, "EXISTS {made}k");
    let migration = begin(cluster, "made");
    let mut direct = cluster.connect(migration.to);
    direct.say("ASKING");
    assert_eq!(direct.say("SET {made}k there"), Reply::ok());
    let made = Instant::now();
    wait::until_within(Duration::from_secs(1), "the key is seen", || client.say("GET {made}k") == Reply::bulk("there"));
    eprintln!("seen after {:?}", made.elapsed());
    wait::until_within(Duration::from_secs(1), "it exists", || client.say("EXISTS {made}k") == Reply::Integer(1));
    end(cluster, migration);
    assert_eq!(client.say("GET {made}k"), Reply::bulk("there"));
}

/// C7: "not there" was read before the key was made at the other node, the value beside it after that. No instant had both.
fn a_missing_key_is_not_shown_beside_what_came_later(cluster: &Cluster, _: &Larder) {
    // What is not there is proven for as long as the test takes.
    let settings =
        Settings::cluster(cluster).section(NEAR_CACHE).upstream("heartbeat: {interval: 100ms, timeout: 60s}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    client.say("SET {torn}changed old");
    larder.warm(&mut client, "GET {torn}changed");
    larder.warm(&mut client, "GET {torn}made");
    let both = |first: Reply, second: Reply| Reply::Array(vec![first, second]);
    let misses = larder.misses();
    assert_eq!(client.say("MGET {torn}changed {torn}made"), both(Reply::bulk("old"), Reply::Null));
    assert_eq!(larder.misses(), misses, "both were read at one instant at the latest");
    let migration = begin(cluster, "torn");
    let mut direct = cluster.connect(migration.to);
    direct.say("ASKING");
    assert_eq!(direct.say("SET {torn}made new"), Reply::ok());
    assert_eq!(cluster.say_on(migration.from, "SET {torn}changed new"), Reply::ok());
    wait::until("the change is seen", || client.say("GET {torn}changed") == Reply::bulk("new"));
    larder.warm(&mut client, "GET {torn}changed");
    let known = entry(&larder, "GET {torn}made");
    assert!(known.contains("fresh"), "{known}: it would prove nothing");
    // No node has both: the origin answers nothing else.
    let reply = client.say("MGET {torn}changed {torn}made");
    assert!(reply.error().is_some_and(|error| error.starts_with("TRYAGAIN")), "{reply:?}");
    end(cluster, migration);
    let new = both(Reply::bulk("new"), Reply::bulk("new"));
    wait::until("both are seen", || client.say("MGET {torn}changed {torn}made") == new);
}

/// Beside what was changed since it is read again, and from then on answered from the near-cache as before.
fn a_missing_key_beside_one_that_changes_is_read_again(_: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    for value in ["1", "2", "3"] {
        client.call(&["SET", "{again}changed", value]);
        let both = Reply::Array(vec![Reply::bulk(value), Reply::Null]);
        let command = "MGET {again}changed {again}missing";
        assert_eq!(client.say(command), both);
        wait::until("nothing of it is missing any more", || {
            let misses = larder.misses();
            assert_eq!(client.say(command), both);
            larder.misses() == misses
        });
    }
}

/// The server aborts it, and nothing of it was done.
fn a_transaction_that_meets_a_slot_on_the_move(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    client.say("MSET {tx}1 0 {tx}2 0");
    let migration = begin(cluster, "tx");
    cluster.move_key(migration, "{tx}1");
    let replies = client.pipeline(&["MULTI", "SET {tx}1 1", "SET {tx}2 2", "EXEC"]);
    let code = |reply: &Reply| reply.error().and_then(|words| words.split(' ').next()).map(str::to_owned);
    assert_eq!(replies[0], Reply::ok());
    assert_eq!(code(&replies[1]).as_deref(), Some("TRYAGAIN"), "{replies:?}");
    assert_eq!(code(&replies[3]).as_deref(), Some("EXECABORT"), "{replies:?}");
    assert_eq!(client.say("GET {tx}1"), Reply::bulk("0"));
    assert_eq!(client.say("GET {tx}2"), Reply::bulk("0"));
    let replies = client.pipeline(&["MULTI", "SET {tx}2 2", "MGET {tx}1 {tx}2", "EXEC"]);
    assert!(replies[3].error().is_some_and(|words| words.starts_with("EXECABORT")), "{replies:?}");
    assert_eq!(client.say("GET {tx}2"), Reply::bulk("0"));
    end(cluster, migration);
    wait::until("the transaction finds the slot", || {
        let replies = client.pipeline(&["MULTI", "SET {tx}1 1", "SET {tx}2 2", "EXEC"]);
        replies[3] == Reply::Array(vec![Reply::ok(), Reply::ok()])
    });
    assert_eq!(client.say("MGET {tx}1 {tx}2"), Reply::Array(vec![Reply::bulk("1"), Reply::bulk("2")]));
}

fn a_client_that_is_blocked_on_a_slot_that_moves(cluster: &Cluster, larder: &Larder) {
    let (mut waiting, mut giving) = (larder.connect(), larder.connect());
    waiting.send(&["BLPOP", "{blocked}queue", "0"]).expect("sent");
    let owner = cluster.owner_of("{blocked}queue");
    wait::until("it is blocked", || {
        cluster.say_on(owner, "INFO clients").text().unwrap_or_default().contains("blocked_clients:1")
    });
    // The server sends a blocked client away when its slot goes; it goes on waiting where the slot is.
    let migration = begin(cluster, "blocked");
    end(cluster, migration);
    wait::until("it is blocked at the new owner", || {
        cluster.say_on(migration.to, "INFO clients").text().unwrap_or_default().contains("blocked_clients:1")
    });
    assert_eq!(giving.say("RPUSH {blocked}queue job"), Reply::Integer(1));
    let job = || Reply::Array(vec![Reply::bulk("{blocked}queue"), Reply::bulk("job")]);
    assert_eq!(waiting.read(), job());
    // One that comes while the slot moves waits where its key will be made.
    let migration = begin(cluster, "blocked");
    waiting.send(&["BLPOP", "{blocked}queue", "10"]).expect("sent");
    wait::until("it is blocked where the slot goes", || {
        cluster.say_on(migration.to, "INFO clients").text().unwrap_or_default().contains("blocked_clients:1")
    });
    assert_eq!(giving.say("RPUSH {blocked}queue job"), Reply::Integer(1));
    assert_eq!(waiting.read(), job());
    end(cluster, migration);
}

fn a_script_on_a_slot_half_moved(cluster: &Cluster, larder: &Larder) {
    let mut client: Client = larder.connect();
    client.say("MSET {script}1 0 {script}2 0");
    let migration = begin(cluster, "script");
    cluster.move_key(migration, "{script}1");
    let script = "return redis.call('INCR', KEYS[1])";
    for expected in 1..5 {
        assert_eq!(client.call(&["EVAL", script, "1", "{script}1"]), Reply::Integer(expected));
        assert_eq!(client.call(&["EVAL", script, "1", "{script}2"]), Reply::Integer(expected));
        assert_eq!(client.say("GET {script}1"), Reply::bulk(&expected.to_string()));
    }
    end(cluster, migration);
    assert_eq!(client.call(&["EVAL", script, "1", "{script}1"]), Reply::Integer(5));
}
