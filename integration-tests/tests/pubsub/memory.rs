//! With the memory upstream there is no Redis, and yet clients hear each other.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

use super::{subscriber, told};

#[test]
fn clients_of_the_memory_upstream_hear_each_other() {
    let larder = Larder::start_with(&Settings::memory());
    let mut one = subscriber(&larder, Protocol::Resp2, "a");
    let mut two = subscriber(&larder, Protocol::Resp3, "a");
    two.say("PSUBSCRIBE a*");
    two.say("SSUBSCRIBE a");
    let mut publisher = larder.connect();
    assert_eq!(publisher.say("PUBLISH a hello"), Reply::Integer(3));
    assert_eq!(publisher.say("PUBLISH ab hello"), Reply::Integer(1));
    assert_eq!(publisher.say("PUBLISH b nobody"), Reply::Integer(0));
    assert_eq!(publisher.say("SPUBLISH a shard"), Reply::Integer(1));
    assert_eq!(one.read(), told(Protocol::Resp2, &["message", "a", "hello"]));
    assert_eq!(two.read(), told(Protocol::Resp3, &["message", "a", "hello"]));
    assert_eq!(two.read(), told(Protocol::Resp3, &["pmessage", "a*", "a", "hello"]));
    assert_eq!(two.read(), told(Protocol::Resp3, &["pmessage", "a*", "ab", "hello"]));
    assert_eq!(two.read(), told(Protocol::Resp3, &["smessage", "a", "shard"]));
}

#[test]
fn pubsub_tells_of_the_memory_upstream_what_redis_would() {
    let redis = Redis::start();
    let larder = Larder::start_with(&Settings::memory());
    let heard = |address| {
        let mut subscriber = Client::connect_with(address, Protocol::Resp3);
        for command in ["SUBSCRIBE abc", "PSUBSCRIBE a*", "SSUBSCRIBE s"] {
            subscriber.say(command);
        }
        let mut client = Client::connect(address);
        [
            "PUBSUB CHANNELS",
            "PUBSUB CHANNELS a*",
            "PUBSUB CHANNELS b*",
            "PUBSUB CHANNELS a b",
            "PUBSUB NUMSUB abc none",
            "PUBSUB NUMSUB",
            "PUBSUB NUMPAT",
            "PUBSUB SHARDCHANNELS",
            "PUBSUB SHARDCHANNELS x y",
            "PUBSUB SHARDNUMSUB s abc",
        ]
        .map(|command| client.call_raw(&command.split(' ').collect::<Vec<_>>()).escape_ascii().to_string())
    };
    assert_eq!(heard(larder.address()), heard(redis.address()));
}
