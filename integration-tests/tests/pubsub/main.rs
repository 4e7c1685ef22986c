//! Publish and subscribe: what subscribers see is what Redis shows them, over subscriptions that all clients share.

mod delivery;
mod interruptions;
mod limits;
mod memory;
mod nodes;
mod session;
mod sharing;
mod users;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// The name under which Larder's subscription connection shows itself in the origin's CLIENT LIST.
const SUBSCRIBER_NAME: &str = "larder-pubsub";

/// A push or, in RESP2, an array of these bulk strings.
fn told(protocol: Protocol, words: &[&str]) -> Reply {
    frame(protocol, words.iter().map(|word| Reply::bulk(word)).collect())
}

/// A confirmation.
fn confirmed(protocol: Protocol, word: &str, name: &str, count: i64) -> Reply {
    frame(protocol, vec![Reply::bulk(word), Reply::bulk(name), Reply::Integer(count)])
}

fn frame(protocol: Protocol, items: Vec<Reply>) -> Reply {
    match protocol {
        Protocol::Resp2 => Reply::Array(items),
        Protocol::Resp3 => Reply::Push(items),
    }
}

/// A client of Larder that is subscribed to one channel.
fn subscriber(larder: &Larder, protocol: Protocol, channel: &str) -> Client {
    let mut client = larder.connect_with(protocol);
    assert_eq!(client.call(&["SUBSCRIBE", channel]), confirmed(protocol, "subscribe", channel, 1));
    client
}

/// What PUBSUB NUMSUB says of one channel.
fn listeners(client: &mut Client, channel: &str) -> i64 {
    let reply = client.call(&["PUBSUB", "NUMSUB", channel]);
    let items = reply.items().unwrap_or_else(|| panic!("PUBSUB NUMSUB: {reply:?}"));
    assert_eq!(items[0], Reply::bulk(channel));
    items[1].integer().expect("a number")
}

/// Waits until the origin itself knows of so many subscribers.
fn until_origin_has(origin: &Redis, channel: &str, count: i64) {
    let mut client = origin.connect();
    wait::until(&format!("{count} subscribers of {channel} at the origin"), || {
        listeners(&mut client, channel) == count
    });
}

/// Publishes at the origin until the subscriber hears it: for when nobody can tell from which message on it will.
fn until_heard(origin: &Redis, client: &mut Client, protocol: Protocol, channel: &str, message: &str) {
    client.set_reply_timeout(std::time::Duration::from_millis(20));
    let expected = told(protocol, &["message", channel, message]);
    wait::until(&format!("{message} is heard"), || {
        origin.connect().call(&["PUBLISH", channel, message]);
        match client.try_read() {
            Ok((reply, _)) => {
                assert_eq!(reply, expected);
                true
            }
            Err(_) => false,
        }
    });
    // Those that were published more than once.
    while client.try_read().is_ok() {}
    client.set_reply_timeout(larder_integration_tests::client::REPLY_TIMEOUT);
}
