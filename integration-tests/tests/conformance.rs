//! The same script to Larder and to redis-server: the replies are the same bytes.
//!
//! In RESP2 and in RESP3, one command at a time and pipelined, cold and from the cache. Two servers are started equally,
//! one bare, one behind Larder, so that both hold the same data at every step.

use std::net::SocketAddr;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::script;
use larder_integration_tests::script::comparison::{self, EXCEPTIONS};
use larder_integration_tests::script::play::{Command, Pace, assert_none, differences, play};

#[test]
fn larder_replies_as_redis_does_in_resp2() {
    larder_against_redis(Protocol::Resp2, Pace::OneByOne);
}

#[test]
fn larder_replies_as_redis_does_in_resp3() {
    larder_against_redis(Protocol::Resp3, Pace::OneByOne);
}

#[test]
fn larder_replies_as_redis_does_to_a_resp2_pipeline() {
    larder_against_redis(Protocol::Resp2, Pace::Pipelined);
}

#[test]
fn larder_replies_as_redis_does_to_a_resp3_pipeline() {
    larder_against_redis(Protocol::Resp3, Pace::Pipelined);
}

/// Otherwise a difference would say nothing about Larder.
#[test]
fn two_redis_servers_agree_on_the_whole_script() {
    for protocol in Protocol::BOTH {
        let (one, two) = (Redis::start(), Redis::start());
        compare(one.address(), two.address(), protocol, Pace::OneByOne);
        let (one, two) = (Redis::start(), Redis::start());
        compare(one.address(), two.address(), protocol, Pace::Pipelined);
    }
}

#[test]
fn every_exception_is_needed_by_the_script() {
    let steps = script::steps();
    for (words, _, reason) in EXCEPTIONS {
        assert!(steps.iter().any(|step| comparison::applies(words, &step.args)), "{words} ({reason}): no such command");
    }
}

#[test]
fn hello_says_what_redis_says_but_for_the_id() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    for command in ["HELLO", "HELLO 2", "HELLO 3", "HELLO 3 SETNAME me", "HELLO 3 AUTH default any"] {
        let said = |mut client: Client| {
            let reply = client.say(command);
            let mut items = reply.items().map(<[Reply]>::to_vec).unwrap_or_else(|| panic!("{command}: {reply:?}"));
            let id = items.iter().position(|item| *item == Reply::bulk("id")).expect("HELLO names the id");
            assert!(items[id + 1].integer().is_some());
            items[id + 1] = Reply::Integer(0);
            (matches!(reply, Reply::Map(_)), items, client.say("CLIENT GETNAME"))
        };
        assert_eq!(said(larder.connect()), said(redis.connect()), "{command}");
    }
}

#[test]
fn reset_gives_the_connection_its_first_state_back() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    for address in [redis.address(), larder.address()] {
        let mut client = Client::connect_with(address, Protocol::Resp3);
        let replies =
            client.pipeline(&["SET a 0", "SELECT 5", "SET a 5", "CLIENT SETNAME me", "GET a", "HGETALL none"]);
        assert_eq!(replies[4..], [Reply::bulk("5"), Reply::Map(vec![])]);
        assert_eq!(client.say("RESET"), Reply::Simple("RESET".to_owned()));
        let replies = client.pipeline(&["GET a", "CLIENT GETNAME", "HGETALL none", "GET none"]);
        assert_eq!(replies, [Reply::bulk("0"), Reply::Null, Reply::Array(vec![]), Reply::Null]);
    }
}

fn larder_against_redis(protocol: Protocol, pace: Pace) {
    let (bare, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    compare(bare.address(), larder.address(), protocol, pace);
    if larder.is_binary() {
        let reads = script::steps().iter().filter(|step| step.kind == script::Kind::CacheableRead).count();
        // Not each is: errors never are, and in a pipeline most reads stand behind a write of their key that is still
        // under way, which they must not overtake.
        let share = match pace {
            Pace::OneByOne => 4.0,
            Pace::Pipelined => 15.0,
        };
        assert!(larder.hits() > reads as f64 / share, "the cache answered only {} of {reads} reads", larder.hits());
    }
}

/// Runs the script on both and fails with every difference.
fn compare(redis: SocketAddr, other: SocketAddr, protocol: Protocol, pace: Pace) {
    let commands = script::commands();
    let (expected, actual) = (play(redis, &commands, protocol, pace), play(other, &commands, protocol, pace));
    let agree = |command: &Command, one: &[u8], two: &[u8]| comparison::agree(comparison::of(command), one, two);
    assert_none(&format!("{protocol:?}, {pace:?}"), differences(&commands, (&expected, &actual), agree));
}
