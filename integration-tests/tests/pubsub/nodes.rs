//! Upstreams of several nodes: where a subscription is held, and that it moves when they change.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::wait;

use super::{confirmed, listeners, subscriber, told};

/// Publishes until the subscriber hears it; what is published during a move may be lost.
fn until_heard(client: &mut Client, kind: &str, channel: &str, mut publish: impl FnMut(&str)) {
    client.set_reply_timeout(std::time::Duration::from_millis(20));
    let mut number = 0;
    wait::until("a message is heard again", || {
        number += 1;
        publish(&format!("{number}"));
        match client.try_read() {
            Ok((reply, _)) => {
                let message = reply.items().and_then(|items| items.get(2)?.text()).unwrap_or_default();
                assert_eq!(reply, told(Protocol::Resp3, &[kind, channel, &message]));
                true
            }
            Err(_) => false,
        }
    });
    while client.try_read().is_ok() {}
    client.set_reply_timeout(larder_integration_tests::client::REPLY_TIMEOUT);
}

/// The nodes at which so named a channel has a subscriber.
fn holders(cluster: &Cluster, numsub: &str, channel: &str) -> Vec<usize> {
    let mut primaries = cluster.primaries();
    primaries.retain(|node| {
        let reply = cluster.say_on(*node, &format!("PUBSUB {numsub} {channel}"));
        reply.items().is_some_and(|items| items[1].integer().is_some_and(|count| count > 0))
    });
    primaries
}

#[test]
fn channels_are_held_at_one_node_and_hear_what_is_published_at_any() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let mut one = subscriber(&larder, Protocol::Resp2, "a");
    let mut two = subscriber(&larder, Protocol::Resp3, "a");
    two.say("PSUBSCRIBE a*");
    assert_eq!(holders(&cluster, "NUMSUB", "a").len(), 1);
    for node in cluster.primaries() {
        let text = format!("from {node}");
        cluster.call_on(node, &["PUBLISH", "a", &text]);
        assert_eq!(one.read(), told(Protocol::Resp2, &["message", "a", &text]));
        assert_eq!(two.read(), told(Protocol::Resp3, &["message", "a", &text]));
        assert_eq!(two.read(), told(Protocol::Resp3, &["pmessage", "a*", "a", &text]));
    }
    larder.say("PUBLISH a mine");
    assert_eq!(one.read(), told(Protocol::Resp2, &["message", "a", "mine"]));
    assert_eq!(listeners(&mut larder.connect(), "a"), 2);
}

#[test]
fn shard_channels_are_held_at_the_owner_of_their_slot() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        for (count, node) in cluster.primaries().into_iter().enumerate() {
            let channel = cluster.key_on(node, "shard");
            assert_eq!(
                client.call(&["SSUBSCRIBE", &channel]),
                confirmed(protocol, "ssubscribe", &channel, count as i64 + 1)
            );
            assert_eq!(holders(&cluster, "SHARDNUMSUB", &channel), [node]);
            assert_eq!(larder.say(&format!("SPUBLISH {channel} hello")), Reply::Integer(1));
            assert_eq!(client.read(), told(protocol, &["smessage", &channel, "hello"]));
            let reply = larder.say(&format!("PUBSUB SHARDNUMSUB {channel}"));
            assert_eq!(reply, Reply::Array(vec![Reply::bulk(&channel), Reply::Integer(1)]));
        }
    }
}

#[test]
fn a_confirmation_and_its_messages_wait_for_the_replies_before_them() {
    let mut cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let mut neighbour = subscriber(&larder, Protocol::Resp3, "a");
    let holder = holders(&cluster, "NUMSUB", "a")[0];
    let slow = cluster.primaries().into_iter().find(|node| *node != holder).expect("there are three");
    let key = cluster.key_on(slow, "key");
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
        cluster.freeze(slow);
        // The subscription is there, the reply to APPEND is not.
        client.send(&["APPEND", &key, "w"]).expect("sent");
        client.send(&["SUBSCRIBE", "a"]).expect("sent");
        wait::until("it is subscribed", || listeners(&mut larder.connect(), "a") == 2);
        cluster.call_on(holder, &["PUBLISH", "a", "hello"]);
        assert_eq!(neighbour.read(), told(Protocol::Resp3, &["message", "a", "hello"]));
        client.set_reply_timeout(std::time::Duration::from_millis(50));
        assert!(client.try_read().is_err(), "nothing overtakes the reply to APPEND");
        cluster.thaw(slow);
        client.set_reply_timeout(larder_integration_tests::client::REPLY_TIMEOUT);
        assert_eq!(client.read(), Reply::Integer(2));
        assert_eq!(client.read(), confirmed(protocol, "subscribe", "a", 1));
        assert_eq!(client.read(), told(protocol, &["message", "a", "hello"]));
        drop(client);
        wait::until("it has left", || listeners(&mut larder.connect(), "a") == 1);
    }
}

#[test]
fn keyspace_notifications_come_from_every_node() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    for node in cluster.primaries() {
        assert_eq!(cluster.say_on(node, "CONFIG SET notify-keyspace-events KEA"), Reply::ok());
    }
    let mut client = larder.connect_with(Protocol::Resp3);
    let pattern = "__keyevent@0__:set";
    assert_eq!(client.call(&["SUBSCRIBE", pattern]), confirmed(Protocol::Resp3, "subscribe", pattern, 1));
    let mut writer = larder.connect();
    for node in cluster.primaries() {
        let key = cluster.key_on(node, "key");
        assert_eq!(writer.call(&["SET", &key, "v"]), Reply::ok());
        assert_eq!(client.read(), told(Protocol::Resp3, &["message", pattern, &key]));
    }
    assert_eq!(holders(&cluster, "NUMSUB", pattern).len(), 3);
    drop(client);
    wait::until("all are given up", || holders(&cluster, "NUMSUB", pattern).is_empty());
}

#[test]
fn a_shard_channel_follows_its_slot() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let nodes = cluster.primaries();
    let channel = cluster.key_on(nodes[0], "moving");
    let mut client = larder.connect_with(Protocol::Resp3);
    client.call(&["SSUBSCRIBE", &channel]);
    for (from, to) in [(nodes[0], nodes[1]), (nodes[1], nodes[2]), (nodes[2], nodes[0])] {
        cluster.migrate_slot(cluster.slot_of(&channel), from, to);
        wait::until("the new owner has it", || holders(&cluster, "SHARDNUMSUB", &channel) == [to]);
        until_heard(&mut client, "smessage", &channel, |message| {
            cluster.call_on(to, &["SPUBLISH", &channel, message]);
        });
    }
    // A client that comes now is told nothing of where the slot was.
    assert_eq!(
        larder.connect_with(Protocol::Resp3).call(&["SSUBSCRIBE", &channel]),
        confirmed(Protocol::Resp3, "ssubscribe", &channel, 1)
    );
}

#[test]
fn a_slot_that_has_just_moved_is_subscribed_to_at_its_new_owner() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let nodes = cluster.primaries();
    for protocol in Protocol::BOTH {
        let (from, to) = if protocol == Protocol::Resp2 { (nodes[0], nodes[1]) } else { (nodes[1], nodes[2]) };
        let mut client = larder.connect_with(protocol);
        let channel = cluster.key_on(from, "moved");
        cluster.migrate_slot(cluster.slot_of(&channel), from, to);
        // Nobody has told Larder yet: the former owner sends it on, which is nothing for the client to know.
        assert_eq!(client.call(&["SSUBSCRIBE", &channel]), confirmed(protocol, "ssubscribe", &channel, 1));
        cluster.call_on(to, &["SPUBLISH", &channel, "hello"]);
        assert_eq!(client.read(), told(protocol, &["smessage", &channel, "hello"]));
    }
}

#[test]
fn subscriptions_survive_the_death_of_a_primary() {
    let mut cluster = Cluster::start();
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let lost = holders(&cluster, "NUMSUB", "a")[0];
    let channel = cluster.key_on(lost, "shard");
    let slot = cluster.slot_of(&channel);
    let mut shard = larder.connect_with(Protocol::Resp3);
    shard.call(&["SSUBSCRIBE", &channel]);
    let mut keys = larder.connect_with(Protocol::Resp3);
    assert_eq!(keys.say("PSUBSCRIBE __keyevent@0__:*").items().map(|items| items.len()), Some(3));
    cluster.kill_primary(lost);
    let heir = cluster.wait_for_takeover(lost, slot);
    until_heard(&mut client, "message", "a", |message| {
        cluster.call_on(heir, &["PUBLISH", "a", message]);
    });
    until_heard(&mut shard, "smessage", &channel, |message| {
        cluster.call_on(heir, &["SPUBLISH", &channel, message]);
    });
    assert_eq!(cluster.say_on(heir, "CONFIG SET notify-keyspace-events KEA"), Reply::ok());
    wait::until("the heir has the pattern", || {
        cluster.say_on(heir, "PUBSUB NUMPAT").integer().is_some_and(|count| count > 0)
    });
    assert_eq!(cluster.call_on(heir, &["SET", &channel, "v"]), Reply::ok());
    assert_eq!(keys.read(), told(Protocol::Resp3, &["pmessage", "__keyevent@0__:*", "__keyevent@0__:set", &channel]));
}

#[test]
fn subscriptions_follow_the_primary_that_sentinel_names() {
    let mut set = SentinelSet::start();
    let larder = Larder::start_with(&Settings::sentinel(&set));
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    // Both ways: with everybody healthy, and because it died.
    let next = set.fail_over();
    until_heard(&mut client, "message", "a", |message| {
        set.server(next).connect().call(&["PUBLISH", "a", message]);
    });
    wait::until("it is held there alone", || {
        let count = |address| listeners(&mut set.server(address).connect(), "a");
        set.server_addresses().into_iter().all(|address| count(address) == i64::from(address == next))
    });
    set.wait_until_settled();
    let old = set.kill_primary();
    let next = set.wait_for_new_primary(old);
    until_heard(&mut client, "message", "a", |message| {
        set.server(next).connect().call(&["PUBLISH", "a", message]);
    });
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
}
