//! The harness itself: that the servers which belong together really form, move slots and fail over, and that the cutter's
//! faults are those that it says.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::cluster::{Cluster, slot_of};
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::replicated::Replicated;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::wait;

#[test]
fn a_cluster_forms_with_three_primaries_and_three_replicas() {
    let cluster = Cluster::start();
    assert_eq!(cluster.nodes(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    assert_eq!(cluster.replicas(), [3, 4, 5]);
    assert_eq!([0, 1, 2].map(|primary| cluster.replica_of(primary)), [3, 4, 5]);
    assert_eq!(cluster.seeds().into_iter().collect::<BTreeSet<_>>().len(), 6);
    for key in ["foo", "{user1000}.following", "a{}b", "{}", "x{y", "with}brace{tag}"] {
        assert_eq!(cluster.call_on(0, &["CLUSTER", "KEYSLOT", key]), Reply::Integer(slot_of(key).into()), "{key}");
    }
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "key:");
        assert_eq!(cluster.owner_of(&key), primary);
        assert_eq!(cluster.say_on(primary, &format!("SET {key} here")), Reply::ok());
        let moved = cluster.say_on((primary + 1) % 3, &format!("GET {key}"));
        let expected = format!("MOVED {} {}", slot_of(&key), cluster.address(primary));
        assert_eq!(moved, Reply::Error(expected));
        let replica = cluster.replica_of(primary);
        wait::until("the replica has it", || {
            let mut reader = cluster.connect(replica);
            reader.say("READONLY");
            reader.say(&format!("GET {key}")) == Reply::bulk("here")
        });
    }
}

#[test]
fn a_cluster_with_a_password_forms_and_moves_a_slot() {
    let cluster = Cluster::start_with(&["--requirepass", "secret", "--masterauth", "secret"]);
    let key = cluster.key_on(1, "k");
    cluster.say_on(1, &format!("SET {key} v"));
    cluster.migrate_slot(slot_of(&key), 1, 2);
    assert_eq!(cluster.owner_of(&key), 2);
    assert_eq!(cluster.say_on(2, &format!("GET {key}")), Reply::bulk("v"));
}

#[test]
fn a_slot_moves_in_steps_that_show_ask_and_then_moved() {
    let cluster = Cluster::start_primaries(2);
    let slot = slot_of("{t}");
    let from = cluster.owner_of_slot(slot);
    let to = 1 - from;
    for number in 0..250 {
        cluster.say_on(from, &format!("SET {{t}}{number} {number}"));
    }
    let migration = cluster.begin_migration(slot, from, to);
    cluster.move_key(migration, "{t}7");
    assert_eq!(cluster.say_on(from, "GET {t}8"), Reply::bulk("8"));
    let asked = cluster.say_on(from, "GET {t}7");
    assert_eq!(asked, Reply::Error(format!("ASK {slot} {}", cluster.address(to))));
    let mut importer = cluster.connect(to);
    assert_eq!(importer.say("ASKING"), Reply::ok());
    assert_eq!(importer.say("GET {t}7"), Reply::bulk("7"));
    assert!(cluster.say_on(from, "MGET {t}7 {t}8").error().is_some_and(|words| words.starts_with("TRYAGAIN")));
    assert_eq!(cluster.owner_of_slot(slot), from);
    assert_eq!(cluster.move_keys(migration), 249);
    cluster.finish_migration(migration);
    assert_eq!(cluster.owner_of_slot(slot), to);
    assert_eq!(cluster.say_on(to, "GET {t}249"), Reply::bulk("249"));
    assert!(cluster.say_on(from, "GET {t}7").error().is_some_and(|words| words.starts_with("MOVED")));
}

#[test]
fn a_cluster_fails_over_by_order_after_a_kill_and_after_a_freeze() {
    let mut cluster = Cluster::start();
    // By order: nothing is lost, the old primary follows.
    let key = cluster.key_on(0, "k");
    cluster.say_on(0, &format!("SET {key} kept"));
    assert_eq!(cluster.fail_over(0), 3);
    assert_eq!(cluster.owner_of(&key), 3);
    assert_eq!(cluster.replica_of(3), 0);
    assert_eq!(cluster.say_on(3, &format!("GET {key}")), Reply::bulk("kept"));
    // After a kill: the replica takes over, the killed one comes back as its replica.
    let slot = slot_of(&cluster.key_on(1, "k"));
    cluster.kill_primary(1);
    assert_eq!(cluster.wait_for_takeover(1, slot), 4);
    cluster.restart(1);
    cluster.wait_until_ok();
    assert_eq!(cluster.replica_of(4), 1);
    // After a freeze: the same, and the thawed one gives way.
    let slot = slot_of(&cluster.key_on(2, "k"));
    cluster.freeze(2);
    assert_eq!(cluster.wait_for_takeover(2, slot), 5);
    cluster.thaw(2);
    wait::until("the thawed primary gives way", || cluster.replicas().contains(&2));
    cluster.wait_until_ok();
    assert_eq!(cluster.owner_of_slot(slot), 5);
}

#[test]
fn sentinels_fail_over_by_order_and_after_a_kill() {
    let mut set = SentinelSet::start();
    let first = set.primary();
    assert_eq!(set.sentinel_addresses().len(), 3);
    set.server(first).say("SET a 1");
    let second = set.fail_over();
    assert_ne!(second, first);
    set.wait_until_settled();
    assert_eq!(set.server(second).say("GET a"), Reply::bulk("1"));
    assert!(set.server(first).say("SET a 2").error().is_some_and(|words| words.starts_with("READONLY")));

    assert_eq!(set.kill_primary(), second);
    let third = set.wait_for_new_primary(second);
    assert_eq!(set.server(third).say("SET a 3"), Reply::ok());
    assert_eq!(set.restart_old_primary(), second);
    set.wait_until_settled();
    assert_eq!(set.server(second).say("GET a"), Reply::bulk("3"));
    let known = set.connect_to_sentinel(1).call(&["SENTINEL", "REPLICAS", set.primary_name()]);
    assert_eq!(known.items().map(<[Reply]>::len), Some(2));
}

#[test]
fn replicas_follow_a_primary() {
    let servers = Replicated::start(2);
    servers.primary.say("SET a 1");
    servers.wait_until_caught_up();
    for replica in &servers.replicas {
        assert_eq!(replica.say("GET a"), Reply::bulk("1"));
        assert!(replica.say("SET a 2").error().is_some_and(|words| words.starts_with("READONLY")));
    }
    // A frozen one lags, and catches up.
    servers.replicas[0].freeze();
    servers.primary.say("SET a 2");
    let lagging = servers.replicas[0].address();
    let mut reader = larder_integration_tests::client::Client::connect(lagging);
    reader.set_reply_timeout(Duration::from_millis(50));
    assert!(reader.try_call(&["GET", "a"]).is_err());
    servers.replicas[0].thaw();
    servers.wait_until_caught_up();
    assert_eq!(servers.replicas[0].say("GET a"), Reply::bulk("2"));
}

/// Whether a client that asks is left without an answer.
fn is_silent(client: &mut Client) -> bool {
    client.set_reply_timeout(Duration::from_millis(100));
    let answer = client.try_call(&["PING"]);
    client.set_reply_timeout(Duration::from_secs(10));
    answer.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn end_of(client: &mut Client) -> ErrorKind {
    client.try_read().expect_err("the connection has ended").kind()
}

#[test]
fn connections_are_refused_reset_or_fall_silent_and_new_ones_are_as_it_is_said() {
    let redis = Redis::start();
    let cutter = Cutter::start(redis.address());
    let pong = Reply::Simple("PONG".to_owned());
    let connect = || Client::connect(cutter.address());
    let greeted = || {
        let mut client = connect();
        assert_eq!(client.say("PING"), pong);
        client
    };

    let mut old = greeted();
    cutter.refuse();
    assert_eq!(end_of(&mut old), ErrorKind::UnexpectedEof);
    let refused = TcpStream::connect(cutter.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    cutter.admit();

    let mut old = greeted();
    assert_eq!(cutter.reset(Scope::All), 1);
    assert_eq!(end_of(&mut old), ErrorKind::ConnectionReset);
    let mut old = greeted();
    cutter.reset_new();
    assert_eq!(end_of(&mut old), ErrorKind::ConnectionReset);
    // The reset may be there before connecting has returned.
    let new = Client::try_connect(cutter.address()).and_then(|mut client| client.try_call(&["PING"]));
    assert_eq!(new.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    cutter.admit();

    let mut old = greeted();
    assert_eq!(cutter.deaden(), 1);
    assert!(is_silent(&mut old), "half-open");
    greeted();
    cutter.blackhole_all();
    assert!(is_silent(&mut connect()), "a new one too");
    cutter.heal();
    greeted();
    assert!(is_silent(&mut old), "for good");
}

#[test]
fn a_blackhole_hides_the_end_of_the_server_too() {
    let mut redis = Redis::start();
    let cutter = Cutter::start(redis.address());
    let mut client = Client::connect(cutter.address());
    client.say("PING");
    cutter.blackhole_all();
    redis.kill();
    assert!(is_silent(&mut client));
    cutter.heal();
    assert_eq!(end_of(&mut client), ErrorKind::UnexpectedEof);
}

#[test]
fn replies_come_later_or_in_drips_until_it_is_over() {
    let redis = Redis::start();
    let cutter = Cutter::start(redis.address());
    let mut client = Client::connect(cutter.address());
    let value = "v".repeat(40);
    client.call(&["SET", "k", &value]);
    let read = |client: &mut Client| {
        let start = Instant::now();
        assert_eq!(client.say("GET k"), Reply::bulk(&value));
        start.elapsed()
    };

    cutter.delay(Scope::All, Direction::FromOrigin, Duration::from_millis(150));
    let late = read(&mut client);
    assert!(late >= Duration::from_millis(150), "{late:?}");
    cutter.heal();

    // 47 bytes in pieces of 8.
    cutter.drip(Scope::All, Direction::FromOrigin, 8, Duration::from_millis(30));
    let late = read(&mut client);
    assert!(late >= Duration::from_millis(180), "{late:?}");
    cutter.heal();

    cutter.drip(Scope::All, Direction::FromOrigin, 1, Duration::from_secs(3600));
    client.send(&["GET", "k"]).expect("sent");
    cutter.heal();
    assert_eq!(client.read(), Reply::bulk(&value), "what was begun is delivered when it is over");
}
