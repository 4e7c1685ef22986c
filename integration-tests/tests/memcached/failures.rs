//! A node that dies, hangs and comes back.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::encode;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::standing;
use larder_integration_tests::wait;

fn impatient(node: &Memcached) -> Larder {
    Larder::start_with(&impatience(Settings::memcached(&[node.address()])))
}

fn impatience(settings: Settings) -> Settings {
    settings
        .upstream("connect_timeout: 200ms")
        .upstream("command_timeout: 300ms")
        .upstream("health_check: {interval: 100ms, timeout: 200ms}")
        .upstream("breaker: {failure_threshold: 2, reset_timeout: 300ms, half_open_probes: 1}")
}

#[test]
fn a_node_that_was_killed_degrades_by_its_ladder_and_is_served_again_when_it_returns_t44() {
    let mut node = Memcached::start();
    // Long enough for the cached reply to be there when a busy machine has noticed that the node is not.
    let settings = Settings::memcached(&[node.address()]).section("near_cache: {untracked_ttl: 5s}");
    let larder = Larder::start_with(&impatience(settings));
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    assert_eq!(client.say("GET k").text().as_deref(), Some("v"));
    node.kill();
    standing::wait_for_rung(&larder, "local-only", |_| true);
    assert_eq!(client.say("GET k").text().as_deref(), Some("v"), "from the cache");
    let begun = Instant::now();
    for write in ["SET k w", "SET lock me NX PX 300", "INCR k", "GETDEL k"] {
        let refused = client.say(write);
        assert!(refused.error().is_some(), "{write}: {refused:?}");
    }
    assert!(begun.elapsed() < Duration::from_millis(200), "a failure is fast");
    node.restart();
    standing::wait_for_normal(&larder);
    // It came back empty, and what was cached before is not told as if it were there.
    wait::until("the cache has noticed", || client.say("GET k").text().is_none());
    assert_eq!(client.say("SET k again").text().as_deref(), Some("OK"));
    assert_eq!(client.say("GET k").text().as_deref(), Some("again"));
}

#[test]
fn a_node_that_hangs_holds_nobody_up_for_longer_than_the_timeout() {
    let node = Memcached::start();
    let larder = impatient(&node);
    let mut client = larder.connect();
    client.say("SET k v");
    node.freeze();
    let begun = Instant::now();
    let reply = client.say("INCR other");
    assert!(reply.error().is_some(), "{reply:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    standing::wait_for_rung(&larder, "local-only", |_| true);
    node.thaw();
    standing::wait_for_normal(&larder);
    wait::until("it counts again", || client.say("INCR third").integer().is_some());
}

#[test]
fn a_larder_that_is_started_before_its_node_serves_when_that_comes() {
    let mut node = Memcached::start();
    node.kill();
    let larder = impatient(&node);
    let mut client = larder.connect();
    assert!(client.say("GET k").error().is_some());
    node.restart();
    standing::wait_for_normal(&larder);
    wait::until("it is served", || client.say("SET k v").error().is_none());
}

#[test]
fn what_is_held_for_a_node_that_hangs_is_bounded() {
    let node = Memcached::start();
    let larder = Larder::start_with(&persistence(Settings::memcached(&[node.address()])));
    assert_eq!(larder.say("SET k v").text().as_deref(), Some("OK"));
    node.freeze();
    assert_much_is_refused_in_time(&larder);
}

/// Nothing but a command's own timeout ends the wait, and there is time to gather much until then.
pub(super) fn persistence(settings: Settings) -> Settings {
    settings
        .upstream("command_timeout: 2s")
        .upstream("health_check: {interval: 1m, timeout: 200ms}")
        .upstream("breaker: {failure_threshold: 2, reset_timeout: 1m, half_open_probes: 1}")
}

/// 512 MB of writes in one go: each is answered by an error, the first after the timeout, and they are not gathered in
/// memory meanwhile.
pub(super) fn assert_much_is_refused_in_time(larder: &Larder) {
    const WRITES: usize = 32_000;
    let before = larder.process().resident_bytes();
    let mut most = before;
    let mut client = larder.connect();
    let mut socket = client.stream().try_clone().expect("a second handle");
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let value = [b'x'; 16 << 10];
            for number in 0..WRITES {
                let key = format!("key:{number}");
                socket.write_all(&encode(&[b"SET".as_slice(), key.as_bytes(), &value])).expect("they are taken");
            }
        });
        let reader = scope.spawn(move || {
            for number in 0..WRITES {
                let reply = client.read();
                assert!(reply.error().is_some(), "{reply:?}");
                assert!(number > 0 || begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
            }
        });
        wait::until("all are answered", || {
            most = most.max(larder.process().resident_bytes());
            reader.is_finished()
        });
    });
    let grown = most - before;
    assert!(grown < 256 << 20, "grew by {grown} bytes");
}
