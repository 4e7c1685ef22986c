//! Nothing grows without bounds: a subscriber that does not read is closed, and only that one.

use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{confirmed, subscriber, told};

#[test]
fn a_slow_subscriber_is_closed_and_the_others_go_on() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_output: 1mb}"));
    let slow = subscriber(&larder, Protocol::Resp3, "a");
    let mut quick = subscriber(&larder, Protocol::Resp2, "a");
    let mut publisher = larder.connect();
    let message = "m".repeat(100_000);
    let expected = told(Protocol::Resp2, &["message", "a", &message]);
    let mut sent = 0;
    wait::until("the slow one is closed", || {
        publisher.call(&["PUBLISH", "a", &message]);
        assert_eq!(quick.read(), expected);
        sent += 1;
        larder.metrics().sum("larder_clients_closed_by_limit_total") == 1.0
    });
    // What sockets hold (some megabytes), and max_output: it is closed at once, not when it has been silent for a while.
    assert!((10..300).contains(&sent), "closed after {sent} messages of 100 kB");
    wait::until("it is forgotten", || larder.metrics().sum("larder_subscriptions") == 1.0);
    publisher.call(&["PUBLISH", "a", "last"]);
    assert_eq!(quick.read(), told(Protocol::Resp2, &["message", "a", "last"]));
    assert!(larder.process().output().contains("limits.max_output"));
    drop(slow);
}

#[test]
fn a_message_that_is_more_than_may_wait_closes_its_subscribers_at_once() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_output: 1mb}"));
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let mut other = subscriber(&larder, Protocol::Resp3, "b");
    larder.connect().call(&["PUBLISH", "a", &"m".repeat(2_000_000)]);
    assert_eq!(client.read_to_close().expect("closed"), b"");
    origin.say("PUBLISH b hello");
    assert_eq!(other.read(), told(Protocol::Resp3, &["message", "b", "hello"]));
}

#[test]
fn a_subscriber_that_reads_gets_more_than_max_output() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_output: 1mb}"));
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let mut publisher = origin.connect();
    let message = "m".repeat(100_000);
    let expected = told(Protocol::Resp3, &["message", "a", &message]);
    for _ in 0..100 {
        publisher.call(&["PUBLISH", "a", &message]);
        assert_eq!(client.read(), expected);
    }
    assert_eq!(larder.metrics().sum("larder_clients_closed_by_limit_total"), 0.0);
}

#[test]
fn a_flood_of_messages_to_many_subscribers_leaves_other_clients_their_turn() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut clients: Vec<_> = (0..200).map(|_| subscriber(&larder, Protocol::Resp3, "a")).collect();
    const MESSAGES: usize = 2000;
    let readers: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(client.read(), told(Protocol::Resp3, &["message", "a", &format!("{number}")]));
                }
            })
        })
        .collect();
    let mut publisher = origin.connect();
    let mut bytes = Vec::new();
    for number in 0..MESSAGES {
        bytes.extend(larder_integration_tests::client::encode(&["PUBLISH", "a", &format!("{number}")]));
    }
    publisher.send_raw(&bytes).expect("sent");
    let mut bystander = larder.connect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        assert_eq!(bystander.say("PING"), Reply::Simple("PONG".to_owned()));
    }
    readers.into_iter().for_each(|reader| reader.join().expect("every message, in order"));
}

#[test]
fn a_client_may_have_so_many_subscriptions_and_no_more() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_subscriptions: 3}"));
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let reply = client.say("PSUBSCRIBE b c d");
    assert!(reply.error().is_some_and(|words| words.contains("limits.max_subscriptions")), "{reply:?}");
    assert_eq!(client.say("PSUBSCRIBE b"), confirmed(Protocol::Resp3, "psubscribe", "b", 2));
    assert_eq!(client.say("SUBSCRIBE a"), confirmed(Protocol::Resp3, "subscribe", "a", 2));
    assert_eq!(client.say("SSUBSCRIBE s"), confirmed(Protocol::Resp3, "ssubscribe", "s", 1));
    assert!(client.say("SUBSCRIBE e").error().is_some());
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for round in 0..300 {
        let mut client = larder.connect_with(Protocol::Resp3);
        let names: Vec<String> = (0..10).map(|n| format!("c{}", (round + n) % 50)).collect();
        let command: Vec<&str> = ["SUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
        client.send(&command).expect("sent");
        match round % 3 {
            // Gone before it was confirmed.
            0 => {}
            1 => drop(client.read()),
            _ => {
                (0..10).for_each(|_| drop(client.read()));
                client.say("PSUBSCRIBE p*");
                client.say("UNSUBSCRIBE c1");
            }
        }
    }
    wait::until("nothing is left here", || {
        let metrics = larder.metrics();
        metrics.sum("larder_subscriptions") + metrics.sum("larder_upstream_subscriptions") == 0.0
    });
    wait::until("nothing is left there", || {
        origin.say("PUBSUB CHANNELS") == Reply::Array(Vec::new()) && origin.say("PUBSUB NUMPAT") == Reply::Integer(0)
    });
}
