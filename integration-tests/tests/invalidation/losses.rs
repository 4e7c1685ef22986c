//! A channel that is gone, or silent: nothing that it covered is fresh any more.

use std::time::{Duration, Instant};

use larder_integration_tests::wait;

use super::{Setup, bulk, keep, larder, until_up};

/// The name of the subscription's connection.
const SUBSCRIBER: &str = "larder-pubsub";
/// The name of the connection over which own writes are told.
const PUBLISHER: &str = "larder-invalidation";

#[test]
fn what_a_lost_channel_covered_is_not_fresh_any_more() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 old");
    keep(&setup.larder, &mut client, "GET api:1");
    setup.api.say("SET api:1 new");
    assert_eq!(client.say("GET api:1"), bulk("old"));
    assert_eq!(setup.main.kill_clients_named(SUBSCRIBER), 1);
    wait::until("it is read anew", || client.say("GET api:1") == bulk("new"));
    wait::until("the loss is counted", || setup.larder.metrics().sum("larder_invalidation_lost_total") == 1.0);
    // And when the channel is back, entries live long again.
    until_up(&setup.larder);
    keep(&setup.larder, &mut client, "GET api:1");
}

#[test]
fn without_the_channel_entries_live_shortly_and_are_read_anew() {
    let mut setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 0");
    keep(&setup.larder, &mut client, "GET api:1");
    setup.main.kill();
    wait::until("the channel is down", || setup.larder.metrics().sum("larder_invalidation_up") == 0.0);
    for n in 1..4 {
        setup.larder.warm(&mut client, "GET api:1");
        setup.api.say(&format!("SET api:1 {n}"));
        let changed = Instant::now();
        wait::until("the short life is over", || client.say("GET api:1") == bulk(&n.to_string()));
        assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    }
    setup.main.restart();
    until_up(&setup.larder);
    keep(&setup.larder, &mut client, "GET api:1");
}

#[test]
fn a_silent_channel_proves_nothing() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 old");
    keep(&setup.larder, &mut client, "GET api:1");
    setup.main.freeze();
    setup.api.say("SET api:1 new");
    let changed = Instant::now();
    wait::until("the proof is over", || client.say("GET api:1") == bulk("new"));
    // The heartbeat's timeout, and room for a busy machine.
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    setup.main.thaw();
    until_up(&setup.larder);
}

#[test]
fn writes_of_the_time_without_channel_are_told_when_it_is_back() {
    let mut setup = Setup::start();
    let mut client = setup.larder.connect();
    client.say("SET api:0 v");
    setup.main.kill();
    client.pipeline(&["SET api:1 v", "SET api:2 v"]);
    wait::until("it is known that they could not be told", || {
        setup.larder.metrics().sum_where("larder_invalidation_published_total", "failed") > 0.0
    });
    setup.main.restart();
    wait::until("they are told", || {
        setup.larder.metrics().sum_where("larder_invalidation_published_total", "sent") == 3.0
    });
}

#[test]
fn a_publisher_whose_connection_was_closed_loses_nothing() {
    let setup = Setup::start();
    let beside = larder(&setup.main, &setup.api);
    let (mut one, mut other) = (setup.larder.connect(), beside.connect());
    for n in 0..20 {
        one.call(&["SET", "api:1", &n.to_string()]);
        wait::until("the other sees it", || other.say("GET api:1") == bulk(&n.to_string()));
        keep(&beside, &mut other, "GET api:1");
        setup.main.kill_clients_named(PUBLISHER);
    }
}

#[test]
fn a_write_whose_fate_is_unknown_is_told_too() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    // It is at the server when its connection goes.
    setup.api.say("CLIENT PAUSE 60000 WRITE");
    client.send(&["SET", "api:1", "new"]).expect("it is connected");
    let published = || setup.larder.metrics().sum_where("larder_invalidation_published_total", "sent");
    assert_eq!(published(), 0.0);
    wait::until("the command is at the server", || {
        setup.api.clients().iter().any(|client| client.get("cmd").is_some_and(|cmd| cmd == "set"))
    });
    setup.api.connect().call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    setup.api.say("CLIENT UNPAUSE");
    assert!(client.read().error().is_some());
    wait::until("it is told", || published() >= 1.0);
}
