//! One upstream subscription, however many clients share it; and what that means for the numbers.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{SUBSCRIBER_NAME, confirmed, listeners, subscriber, told, until_origin_has};

#[test]
fn a_thousand_clients_of_a_channel_are_one_subscription_upstream() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..1000 {
        clients.push(subscriber(&larder, Protocol::BOTH[number % 2], "a"));
    }
    assert_eq!(listeners(&mut origin.connect(), "a"), 1);
    assert_eq!(origin.clients_named(SUBSCRIBER_NAME), 1);
    assert_eq!(listeners(&mut larder.connect(), "a"), 1000);
    let metrics = larder.metrics();
    assert_eq!(metrics.sum("larder_subscriptions"), 1000.0);
    assert_eq!(metrics.sum("larder_upstream_subscriptions"), 1.0);
    assert_eq!(larder.say("PUBLISH a hello"), Reply::Integer(1), "the origin counts each Larder once");
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read(), told(Protocol::BOTH[number % 2], &["message", "a", "hello"]));
    }

    // They come and go; the last one takes the subscription along.
    for client in clients.drain(500..) {
        drop(client);
    }
    wait::until("half of them are left", || listeners(&mut larder.connect(), "a") == 500);
    assert_eq!(listeners(&mut origin.connect(), "a"), 1);
    for client in &mut clients {
        assert_eq!(client.say("UNSUBSCRIBE a").items().map(|items| items[2].clone()), Some(Reply::Integer(0)));
    }
    until_origin_has(&origin, "a", 0);
    let metrics = larder.metrics();
    assert_eq!(metrics.sum("larder_subscriptions") + metrics.sum("larder_upstream_subscriptions"), 0.0);
    let stats = larder.say("LARDER STATS");
    let items = stats.items().expect("a list");
    let at = items.iter().position(|item| *item == Reply::bulk("subscriptions")).expect("the figure");
    assert_eq!(items[at + 1], Reply::Integer(0));
}

#[test]
fn subscribing_and_unsubscribing_at_random_leaves_the_right_subscriptions() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("workers: 3"));
    let mut dice = larder_integration_tests::dice::Dice::new(7);
    let mut clients: Vec<(Client, std::collections::BTreeSet<usize>)> =
        (0..30).map(|_| (larder.connect(), Default::default())).collect();
    for _ in 0..3000 {
        let (client, held) = &mut clients[dice.below(30)];
        let channel = dice.below(10);
        let word = if dice.chance(1, 2) {
            held.insert(channel);
            "subscribe"
        } else {
            held.remove(&channel);
            "unsubscribe"
        };
        let reply = client.call(&[word, &format!("c{channel}")]);
        assert_eq!(reply, confirmed(Protocol::Resp2, word, &format!("c{channel}"), held.len() as i64));
    }
    let mut observer = larder.connect();
    for channel in 0..10 {
        let expected = clients.iter().filter(|(_, held)| held.contains(&channel)).count() as i64;
        let name = format!("c{channel}");
        assert_eq!(listeners(&mut observer, &name), expected);
        until_origin_has(&origin, &name, expected.min(1));
        origin.connect().call(&["PUBLISH", &name, &name]);
    }
    for (client, held) in &mut clients {
        for channel in held.iter() {
            let name = format!("c{channel}");
            assert_eq!(client.read(), told(Protocol::Resp2, &["message", &name, &name]));
        }
    }
}

#[test]
fn the_numbers_of_subscribers_count_clients_here_and_elsewhere() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut beside = origin.connect();
    beside.say("SUBSCRIBE a");
    let _first = subscriber(&larder, Protocol::Resp2, "a");
    let _second = subscriber(&larder, Protocol::Resp3, "a");
    let mut shard = larder.connect();
    shard.say("SSUBSCRIBE s");
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        let count = |name: &str, number| [Reply::bulk(name), Reply::Integer(number)];
        let expected = [count("a", 3), count("none", 0), count("a", 3)].concat();
        assert_eq!(client.say("PUBSUB NUMSUB a none a"), Reply::Array(expected));
        assert_eq!(client.say("PUBSUB NUMSUB"), Reply::Array(Vec::new()));
        assert_eq!(client.say("PUBSUB SHARDNUMSUB s a"), Reply::Array([count("s", 1), count("a", 0)].concat()));
        // In the midst of others' replies.
        let replies = client.pipeline(&["SET k v", "PUBSUB NUMSUB a", "TTL k", "GET k", "PUBSUB NUMPAT"]);
        let expected = [
            Reply::ok(),
            Reply::Array(count("a", 3).to_vec()),
            Reply::Integer(-1),
            Reply::bulk("v"),
            Reply::Integer(0),
        ];
        assert_eq!(replies, expected);
        assert_eq!(client.say("PUBSUB CHANNELS"), Reply::Array(vec![Reply::bulk("a")]));
        assert_eq!(client.say("PUBSUB SHARDCHANNELS"), Reply::Array(vec![Reply::bulk("s")]));
    }
}

#[test]
fn without_a_subscriber_there_is_no_connection_for_subscriptions() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET k v", "GET k", "PUBLISH a b", "UNSUBSCRIBE", "PUBSUB NUMSUB a"]);
    assert_eq!(origin.clients_named(SUBSCRIBER_NAME), 0);
}
