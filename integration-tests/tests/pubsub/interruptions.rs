//! The subscription connection breaks: clients keep their subscriptions, and hear again as soon as the origin is there.

use std::time::Duration;

use larder_integration_tests::client::Protocol;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{SUBSCRIBER_NAME, confirmed, subscriber, told, until_heard, until_origin_has};

#[test]
fn subscriptions_survive_a_restart_of_the_origin() {
    let mut origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut clients: Vec<_> = Protocol::BOTH.map(|protocol| (subscriber(&larder, protocol, "a"), protocol)).into();
    let mut other = larder.connect();
    other.say("PSUBSCRIBE p*");
    other.say("SSUBSCRIBE s");
    for round in 0..3 {
        origin.restart();
        until_origin_has(&origin, "a", 1);
        wait::until("the pattern is there", || origin.say("PUBSUB NUMPAT") == Reply::Integer(1));
        wait::until("the shard channel is there", || {
            origin.say("PUBSUB SHARDCHANNELS") == Reply::Array(vec![Reply::bulk("s")])
        });
        let text = format!("round {round}");
        let mut publisher = origin.connect();
        publisher.call(&["PUBLISH", "a", &text]);
        publisher.call(&["PUBLISH", "pq", &text]);
        publisher.call(&["SPUBLISH", "s", &text]);
        for (client, protocol) in &mut clients {
            // Nothing else has come: no second confirmation.
            assert_eq!(client.read(), told(*protocol, &["message", "a", &text]));
        }
        assert_eq!(other.read(), told(Protocol::Resp2, &["pmessage", "p*", "pq", &text]));
        assert_eq!(other.read(), told(Protocol::Resp2, &["smessage", "s", &text]));
    }
    assert!(larder.metrics().sum("larder_subscriptions_lost_total") >= 3.0);
}

#[test]
fn subscriptions_survive_the_end_of_their_connection() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    for round in 0..5 {
        until_origin_has(&origin, "a", 1);
        assert_eq!(origin.kill_clients_named(SUBSCRIBER_NAME), 1);
        until_heard(&origin, &mut client, Protocol::Resp3, "a", &format!("round {round}"));
    }
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn a_silent_loss_is_noticed_by_the_heartbeat() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let settings = Settings::new(cutter.address())
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}")
        .upstream("connect_timeout: 500ms");
    let larder = Larder::start_with(&settings);
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    cutter.blackhole(Scope::All, Direction::FromOrigin);
    wait::until("the loss is noticed", || larder.metrics().sum("larder_subscriptions_lost_total") > 0.0);
    cutter.cut(Scope::All);
    cutter.heal();
    until_heard(&origin, &mut client, Protocol::Resp3, "a", "again");
}

#[test]
fn subscribing_while_the_origin_is_away_is_an_error_and_possible_again_when_it_is_back() {
    let mut origin = Redis::start();
    let settings = Settings::new(origin.address()).upstream("connect_timeout: 300ms");
    let larder = Larder::start_with(&settings);
    let mut keeper = subscriber(&larder, Protocol::Resp3, "kept");
    origin.kill();
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        wait::until("the loss is noticed", || {
            let reply = client.say("SUBSCRIBE a kept");
            reply.error().is_some_and(|words| words.contains("cannot be reached"))
        });
        // Nothing of it is kept, and the client is an ordinary one.
        assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
        assert_eq!(client.say("ECHO x"), Reply::bulk("x"));
    }
    assert_eq!(larder.metrics().sum("larder_subscriptions"), 1.0);
    let mut client = larder.connect();
    origin.restart();
    wait::until("it can be subscribed to", || {
        let reply = client.say("SUBSCRIBE a");
        reply == confirmed(Protocol::Resp2, "subscribe", "a", 1)
    });
    until_heard(&origin, &mut keeper, Protocol::Resp3, "kept", "there");
    origin.connect().say("PUBLISH a b");
    assert_eq!(client.read(), told(Protocol::Resp2, &["message", "a", "b"]));
}

#[test]
fn a_subscription_that_waits_for_a_silent_origin_ends_in_an_error() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address())
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}")
        .upstream("connect_timeout: 300ms");
    let larder = Larder::start_with(&settings);
    let mut keeper = subscriber(&larder, Protocol::Resp3, "kept");
    origin.freeze();
    let mut client = larder.connect_with(Protocol::Resp3);
    client.set_reply_timeout(Duration::from_secs(10));
    let reply = client.say("SUBSCRIBE a");
    assert!(reply.error().is_some_and(|words| words.contains("cannot be reached")), "{reply:?}");
    // One that is shared with a client that has it waits for the origin as well: it is not there now.
    let reply = client.say("SUBSCRIBE kept");
    assert!(reply.error().is_some_and(|words| words.contains("cannot be reached")), "{reply:?}");
    origin.thaw();
    until_heard(&origin, &mut keeper, Protocol::Resp3, "kept", "there");
}

#[test]
fn a_busy_origin_is_asked_again() {
    let origin = Redis::start_with(&["--busy-reply-threshold", "50"]);
    let cutter = Cutter::start(origin.address());
    let settings = Settings::new(cutter.address()).upstream("heartbeat: {interval: 100ms, timeout: 5s}");
    let larder = Larder::start_with(&settings);
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let mut script = origin.connect();
    script.send(&["EVAL", "while true do end", "0"]).expect("sent");
    let busy = |reply: Reply| reply.error().is_some_and(|words| words.starts_with("BUSY"));
    wait::until("the origin is busy", || busy(origin.say("GET k")));
    // The new connection's subscription is refused, and the client that has it is not told.
    cutter.cut(Scope::All);
    wait::until("the refusal is passed on to who asks", || busy(larder.say("SUBSCRIBE b")));
    assert_eq!(origin.say("SCRIPT KILL"), Reply::ok());
    until_heard(&origin, &mut client, Protocol::Resp3, "a", "over");
}
