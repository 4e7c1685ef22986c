//! Routes: which keys are cached, which of their replies, and for how long.

use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

fn larder(origin: &Redis, routes: &str) -> Larder {
    Larder::start_with(&Settings::new(origin.address()).section(routes))
}

/// How often the near-cache answers when this is sent so many times.
fn hits_of(larder: &Larder, client: &mut Client, words: &str, times: usize) -> f64 {
    let before = larder.hits();
    (0..times).for_each(|_| assert_eq!(client.say(words).error(), None, "{words}"));
    larder.hits() - before
}

/// How many seconds an entry has left, as EXPLAIN tells.
fn seconds_left(client: &mut Client, key: &str) -> f64 {
    let explained = client.call(&["LARDER", "EXPLAIN", "GET", key]);
    let lines: Vec<String> = explained.items().expect("lines").iter().filter_map(Reply::text).collect();
    let entry = lines.iter().find_map(|line| line.strip_prefix(&format!("entry of {key}: ")));
    let left = entry.and_then(|entry| entry.split(", ").find_map(|part| part.strip_suffix("s left")));
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("no entry of {key}: {lines:?}"))
}

#[test]
fn keys_of_a_route_that_does_not_cache_are_never_cached() {
    let origin = Redis::start();
    let larder = larder(&origin, "routes:\n  - {keys: [\"live:*\", \"lock:*\"], cache: {enabled: false}}");
    let mut client = larder.connect();
    client.pipeline(&["SET live:1 a", "SET lock:1 b", "SET other:1 c", "HSET live:h f v"]);
    for read in ["GET live:1", "GET lock:1", "STRLEN live:1", "HGETALL live:h", "MGET live:1", "GET live:missing"] {
        assert_eq!(hits_of(&larder, &mut client, read, 10), 0.0, "{read}");
    }
    // One key that must not be cached is enough for the whole command.
    larder.warm(&mut client, "GET other:1");
    assert_eq!(hits_of(&larder, &mut client, "MGET other:1 live:1", 10), 0.0);
    assert_eq!(hits_of(&larder, &mut client, "EXISTS other:1 lock:1", 10), 0.0);
    assert_eq!(larder.metrics().sum("larder_cache_keys"), 1.0, "only other:1");
    // Every read shows the origin as it is.
    for n in 0..50 {
        origin.say(&format!("SET live:1 {n}"));
        assert_eq!(client.say("GET live:1"), Reply::bulk(&n.to_string()));
    }
}

#[test]
fn keys_that_are_read_at_once_live_as_long_as_each_of_their_routes_says() {
    let origin = Redis::start();
    let larder = larder(
        &origin,
        "near_cache: {ttl_jitter: 0%}\nroutes:\n  - {keys: [\"short:*\"], cache: {ttl: 200s}}\n  - {keys: [\"long:*\"], cache: {ttl: 2000s}}",
    );
    let mut client = larder.connect();
    client.pipeline(&["SET short:1 a", "SET long:1 b", "SET short:2 c", "SET long:2 d"]);
    larder.warm(&mut client, "MGET short:1 long:1");
    larder.warm(&mut client, "MGET long:2 short:2");
    for number in 1..=2 {
        assert!(seconds_left(&mut client, &format!("short:{number}")) <= 200.0, "{number}");
        assert!(seconds_left(&mut client, &format!("long:{number}")) > 200.0, "{number}");
    }
}

#[test]
fn the_most_specific_pattern_decides() {
    let origin = Redis::start();
    let larder = larder(
        &origin,
        "routes:\n  - {keys: [\"*\"], cache: {ttl: 200s}}\n  - {keys: [\"user:*\"], cache: {enabled: false}}\n  \
         - {keys: ['user:name:\\*'], cache: {enabled: false}}\n  - {keys: [\"user:name:*\"], cache: {ttl: 20s}}",
    );
    let mut client = larder.connect();
    client.pipeline(&["SET k v", "SET user:1 v", "SET user:name:1 v", "SET user:name:* v"]);
    larder.warm(&mut client, "GET k");
    larder.warm(&mut client, "GET user:name:1");
    assert_eq!(hits_of(&larder, &mut client, "GET user:1", 5), 0.0);
    assert_eq!(hits_of(&larder, &mut client, "GET user:name:*", 5), 0.0, "the key itself; an escaped star is a star");
    assert!((150.0..=200.0).contains(&seconds_left(&mut client, "k")));
    assert!((10.0..=20.0).contains(&seconds_left(&mut client, "user:name:1")));
}

#[test]
fn an_entry_lives_no_longer_than_its_routes_ttl() {
    let origin = Redis::start();
    let larder = larder(&origin, "routes:\n  - {keys: [\"short:*\"], cache: {ttl: 300ms}}");
    let mut client = larder.connect();
    client.pipeline(&["SET short:1 v", "SET long:1 v"]);
    larder.warm(&mut client, "GET long:1");
    for _ in 0..3 {
        larder.warm(&mut client, "GET short:1");
        let (start, misses) = (Instant::now(), larder.misses());
        wait::until("it is read anew", || {
            client.say("GET short:1");
            larder.misses() > misses
        });
        assert!(start.elapsed() <= Duration::from_millis(400), "{:?}", start.elapsed());
    }
    assert_eq!(hits_of(&larder, &mut client, "GET long:1", 5), 5.0, "others live on");
}

#[test]
fn what_is_not_there_has_a_time_of_its_own() {
    let origin = Redis::start();
    let larder = larder(
        &origin,
        "near_cache: {ttl_jitter: 0%}\nroutes:\n  - {keys: [\"brief:*\"], cache: {negative_ttl: 100s, ttl: 200s}}\n  \
         - {keys: [\"never:*\"], cache: {negative_ttl: 0s}}",
    );
    let mut client = larder.connect();
    client.say("SET brief:there v");
    for read in ["GET brief:there", "GET brief:missing", "GET missing"] {
        larder.warm(&mut client, read);
    }
    assert!((190.0..=200.0).contains(&seconds_left(&mut client, "brief:there")));
    assert!((90.0..=100.0).contains(&seconds_left(&mut client, "brief:missing")));
    assert!(seconds_left(&mut client, "missing") <= 5.0, "near_cache.negative_ttl");
    assert_eq!(hits_of(&larder, &mut client, "GET never:missing", 10), 0.0);
    // It is gone as soon as something is there.
    origin.say("SET brief:missing now");
    wait::until("the push", || client.say("GET brief:missing") == Reply::bulk("now"));
}

#[test]
fn only_the_named_commands_of_a_route_are_cached() {
    let origin = Redis::start();
    let larder = larder(&origin, "routes:\n  - {keys: [\"n:*\"], cache: {commands: [GET, hgetall]}}");
    let mut client = larder.connect();
    client.pipeline(&["SET n:k v", "HSET n:h f v"]);
    for read in ["GET n:k", "HGETALL n:h"] {
        larder.warm(&mut client, read);
    }
    for read in ["STRLEN n:k", "EXISTS n:k", "GETRANGE n:k 0 0", "HGET n:h f", "HLEN n:h", "MGET n:k"] {
        assert_eq!(hits_of(&larder, &mut client, read, 5), 0.0, "{read}");
    }
    larder.warm(&mut client, "STRLEN other");
}

#[test]
fn replies_over_the_largest_entry_pass_and_are_never_kept() {
    let origin = Redis::start();
    let larder = larder(&origin, "near_cache: {max_memory: 10mb, max_entry: 10kb}");
    let mut client = larder.connect();
    let value = |length: usize| vec![b'v'; length];
    client.call(&[b"SET".as_slice(), b"small", &value(9_000)]);
    client.call(&[b"SET".as_slice(), b"large", &value(20_000)]);
    larder.warm(&mut client, "GET small");
    let before = larder.hits();
    for _ in 0..10 {
        assert!(client.say("GET large") == Reply::Bulk(value(20_000)));
        assert!(client.say("MGET small large").items().is_some_and(|items| items[1] == Reply::Bulk(value(20_000))));
    }
    assert_eq!(larder.hits() - before, 10.0, "small, as a part of MGET");
    assert_eq!(larder.metrics().sum("larder_cache_keys"), 1.0);
    larder.warm(&mut client, "STRLEN large");
}

#[test]
fn databases_are_kept_apart() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("database: 3"));
    let mut three = larder.connect();
    assert_eq!(three.say("SET k three"), Reply::ok());
    let mut zero = larder.connect();
    assert_eq!(zero.pipeline(&["SELECT 0", "SET k zero"])[1], Reply::ok());
    for _ in 0..2 {
        larder.warm(&mut three, "GET k");
        larder.warm(&mut zero, "GET k");
        assert_eq!((three.say("GET k"), zero.say("GET k")), (Reply::bulk("three"), Reply::bulk("zero")));
    }
    assert_eq!(origin.connect().pipeline(&["SELECT 3", "GET k"])[1], Reply::bulk("three"));
    // Clients that change nothing start there, whoever was there before.
    assert_eq!(larder.say("GET k"), Reply::bulk("three"));
    assert_eq!(zero.pipeline(&["HELLO 3", "GET k"])[1], Reply::bulk("zero"), "HELLO changes no database");
}
