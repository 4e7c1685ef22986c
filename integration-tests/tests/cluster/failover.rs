//! A primary that is gone, silent, replaced or back: what was cached from it is not believed, nothing more is written to it,
//! and everybody is served again soon.

use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::cluster::{Cluster, slot_of};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

const HEARTBEAT: &str = "heartbeat: {interval: 100ms, timeout: 400ms}";
/// How long after the cluster is whole again Larder may still refuse.
const SOON: Duration = Duration::from_secs(2);

/// One after the other on one cluster, each as the one before has left it.
#[test]
fn t17_primaries_that_are_replaced() {
    let mut cluster = Cluster::start();
    let larder = Larder::start_with(&Settings::cluster(&cluster).upstream(HEARTBEAT));
    a_primary_goes_and_comes_back_by_order(&cluster, &larder);
    scripts_are_those_of_the_new_primary(&cluster, &larder);
    a_silent_primary_is_neither_believed_nor_written_to(&mut cluster, &larder);
    a_blocked_client_is_told_that_its_server_is_gone(&mut cluster, &larder);
}

fn serves_again(larder: &Larder) {
    let mut client = larder.connect();
    wait::until_within(SOON, "Larder serves every primary's keys again", || {
        (0..30).all(|number| client.call(&["SET", &format!("probe:{number}"), "v"]).error().is_none())
    });
}

/// Cached before, changed at the new primary, asked at once.
fn a_primary_goes_and_comes_back_by_order(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let key = cluster.key_on(cluster.primaries()[0], "back:");
    for round in 0..2 {
        let old = format!("old{round}");
        let new = format!("new{round}");
        assert_eq!(client.call(&["SET", &key, &old]), Reply::ok(), "round {round}");
        larder.warm(&mut client, &format!("GET {key}"));
        larder.warm(&mut client, "GET {missing}");
        let owner = cluster.fail_over(cluster.owner_of(&key));
        assert_eq!(cluster.call_on(owner, &["SET", &key, &new]), Reply::ok());
        wait::until_within(Duration::from_secs(1), "the change is seen", || {
            client.call(&["GET", &key]) == Reply::bulk(&new)
        });
        // The new primary pushes in its turn.
        larder.warm(&mut client, &format!("GET {key}"));
        cluster.call_on(owner, &["SET", &key, "pushed"]);
        wait::until("the push is seen", || client.call(&["GET", &key]) == Reply::bulk("pushed"));
        // C2 at once.
        assert_eq!(client.call(&["SET", &key, "mine"]), Reply::ok());
        assert_eq!(larder.connect().call(&["GET", &key]), Reply::bulk("mine"));
    }
}

/// EVALSHA of a script that only the old primary has seen: NOSCRIPT, as from Redis, and the client sends EVAL.
fn scripts_are_those_of_the_new_primary(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let key = cluster.key_on(cluster.primaries()[0], "script:");
    let script = "return redis.call('INCR', KEYS[1]) -- not loaded";
    assert_eq!(client.call(&["EVAL", script, "1", &key]), Reply::Integer(1));
    let hash = cluster.call_on(cluster.owner_of("other"), &["SCRIPT", "LOAD", script]).text().expect("a hash");
    assert_eq!(client.call(&["EVALSHA", &hash, "1", &key]), Reply::Integer(2));
    let loaded =
        client.call(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1]) -- loaded"]).text().expect("a hash");
    let replica = cluster.replica_of(cluster.owner_of(&key));
    wait::until("SCRIPT LOAD reaches the replica too, as soon as Larder knows of it", || {
        client.call(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1]) -- loaded"]);
        cluster.call_on(replica, &["SCRIPT", "EXISTS", &loaded]) == Reply::Array(vec![Reply::Integer(1)])
    });
    cluster.fail_over(cluster.owner_of(&key));
    let reply = client.call(&["EVALSHA", &hash, "1", &key]);
    assert!(reply.error().is_some_and(|error| error.starts_with("NOSCRIPT")), "{reply:?}");
    assert_eq!(client.call(&["EVAL", script, "1", &key]), Reply::Integer(3));
    assert_eq!(client.call(&["EVALSHA", &loaded, "1", &key]), Reply::Integer(4));
}

/// SIGSTOP: its connections stay open. Its entries are fresh no longer than the heartbeat allows; after the takeover
/// everything goes to the new primary, also when the old one goes on and still thinks that it is one.
fn a_silent_primary_is_neither_believed_nor_written_to(cluster: &mut Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let lost = cluster.primaries()[1];
    let key = cluster.key_on(lost, "silent:");
    assert_eq!(client.call(&["SET", &key, "old"]), Reply::ok());
    larder.warm(&mut client, &format!("GET {key}"));
    cluster.freeze(lost);
    let frozen = Instant::now();
    let explain = format!("LARDER EXPLAIN GET {key}");
    wait::until_within(Duration::from_secs(1), "its entries are not fresh", || {
        !format!("{:?}", client.say(&explain)).contains(": fresh")
    });
    eprintln!("not believed {:?} after it fell silent", frozen.elapsed());
    let owner = cluster.wait_for_takeover(lost, slot_of(&key));
    let whole = Instant::now();
    let owner_address = cluster.address(owner).to_string();
    wait::until_within(SOON, "Larder knows the new owner, whoever else it asked was silent", || {
        format!("{:?}", larder.say(&explain)).contains(&owner_address)
    });
    serves_again(larder);
    eprintln!("served {:?} after the takeover", whole.elapsed());
    let mut client = larder.connect();
    assert_eq!(client.call(&["SET", &key, "new"]), Reply::ok());
    assert_eq!(cluster.call_on(owner, &["GET", &key]), Reply::bulk("new"));
    cluster.thaw(lost);
    for number in 0..200 {
        assert_eq!(client.call(&["SET", &key, &number.to_string()]), Reply::ok());
        assert_eq!(client.call(&["GET", &key]), Reply::bulk(&number.to_string()));
    }
    cluster.wait_until_ok();
    assert_eq!(cluster.call_on(owner, &["GET", &key]), Reply::bulk("199"));
}

fn a_blocked_client_is_told_that_its_server_is_gone(cluster: &mut Cluster, larder: &Larder) {
    let lost = cluster.primaries()[2];
    let key = cluster.key_on(lost, "blocked:");
    let mut waiting: Client = larder.connect();
    waiting.send(&["BLPOP", &key, "30"]).expect("sent");
    wait::until("it is blocked", || {
        cluster.say_on(lost, "INFO clients").text().unwrap_or_default().contains("blocked_clients:1")
    });
    cluster.kill_primary(lost);
    let reply = waiting.read();
    assert!(reply.error().is_some_and(|error| error.contains("may or may not have been carried out")), "{reply:?}");
    cluster.wait_for_takeover(lost, slot_of(&key));
    serves_again(larder);
    waiting.send(&["BLPOP", &key, "10"]).expect("sent");
    assert_eq!(larder.connect().call(&["RPUSH", &key, "job"]), Reply::Integer(1));
    assert_eq!(waiting.read(), Reply::Array(vec![Reply::bulk(&key), Reply::bulk("job")]));
}
