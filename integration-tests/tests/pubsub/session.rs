//! What one client sees, byte for byte beside a real redis-server.

use std::net::SocketAddr;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{confirmed, subscriber, told};

/// One step of a conversation.
enum Step {
    /// The client says this.
    Say(&'static str),
    /// Another client says this, and the subscriber gets so many frames.
    Other(&'static str, usize),
}

use Step::{Other, Say};

/// Every byte that the client got, step by step.
fn conversation(address: SocketAddr, protocol: Protocol, steps: &[Step]) -> Vec<String> {
    let mut client = Client::connect_with(address, protocol);
    let mut other = Client::connect(address);
    let mut heard = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let mut bytes = Vec::new();
        match step {
            Say(words) => {
                client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
                // PING is always allowed, and its answer tells that everything before it is here.
                let mark = format!("mark-{number}");
                client.send(&["PING", &mark]).expect("sent");
                loop {
                    let (reply, raw) = client.try_read().unwrap_or_else(|error| panic!("{words}: {error}"));
                    bytes.extend_from_slice(&raw);
                    let last = reply.items().and_then(<[Reply]>::last).unwrap_or(&reply);
                    if *last == Reply::bulk(&mark) {
                        break;
                    }
                }
                heard.push(format!("{words}: {}", bytes.escape_ascii()));
            }
            Other(words, frames) => {
                other.say(words);
                for _ in 0..*frames {
                    bytes.extend(client.try_read().unwrap_or_else(|error| panic!("{words}: {error}")).1);
                }
                heard.push(format!("({words}): {}", bytes.escape_ascii()));
            }
        }
    }
    heard
}

fn same_as_redis(protocol: Protocol, steps: &[Step]) {
    let (redis, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    assert_eq!(
        conversation(larder.address(), protocol, steps),
        conversation(redis.address(), protocol, steps),
        "{protocol:?}"
    );
}

#[test]
fn subscribing_is_confirmed_and_counted_as_redis_does() {
    for protocol in Protocol::BOTH {
        same_as_redis(
            protocol,
            &[
                Say("SUBSCRIBE a b"),
                Say("SUBSCRIBE a a c"),
                Say("PSUBSCRIBE a*"),
                Say("SSUBSCRIBE s t"),
                Say("SSUBSCRIBE s"),
                Other("PUBLISH a hello", 2),
                Other("PUBLISH b hello", 1),
                Other("SPUBLISH s hello", 1),
                Other("SPUBLISH a nobody", 0),
                Other("PUBLISH nobody here", 0),
                Say("UNSUBSCRIBE nothing a"),
                Say("PUNSUBSCRIBE a*"),
                Other("PUBLISH a nobody", 0),
                Say("SUNSUBSCRIBE t"),
                Say("UNSUBSCRIBE b c"),
                Say("UNSUBSCRIBE"),
                Say("PUNSUBSCRIBE"),
                Say("SUNSUBSCRIBE"),
                Say("SUNSUBSCRIBE"),
                Say("UNSUBSCRIBE a"),
            ],
        );
    }
}

#[test]
fn a_resp2_subscriber_may_say_what_redis_lets_it_say_and_is_refused_in_its_words() {
    same_as_redis(
        Protocol::Resp2,
        &[
            Say("SUBSCRIBE a"),
            Say("GET k"),
            Say("SET k v"),
            Say("CLIENT LIST"),
            Say("CONFIG GET x"),
            Say("HELLO 3"),
            Say("AUTH a b"),
            Say("SELECT 1"),
            Say("MULTI"),
            Say("BLPOP k 0"),
            Say("PUBLISH a b"),
            Say("PUBSUB NUMSUB a"),
            Say("COMMAND COUNT"),
            Say("INFO"),
            Say("MONITOR"),
            Say("NOSUCH x"),
            Say("GET"),
            Say("SUBSCRIBE"),
            Say("PING"),
            Say("PING hey"),
            Say("PING a b"),
            Say("UNSUBSCRIBE a"),
            Say("GET k"),
            Say("PING"),
            Say("SSUBSCRIBE s"),
            Say("GET k"),
            Say("SUNSUBSCRIBE s"),
            Say("GET k"),
            Say("PSUBSCRIBE *"),
            Say("GET k"),
            Say("RESET"),
            Say("GET k"),
            Other("PUBLISH a nobody", 0),
            Say("PING"),
        ],
    );
}

#[test]
fn a_resp3_subscriber_may_say_anything_until_it_speaks_resp2_again() {
    same_as_redis(
        Protocol::Resp3,
        &[
            Say("SUBSCRIBE a"),
            Say("SET k v"),
            Say("GET k"),
            Say("PING"),
            Say("SELECT 1"),
            Other("PUBLISH a one", 1),
            Say("GET k"),
            Say("PUBLISH b nobody"),
            Say("UNSUBSCRIBE nothing"),
            Say("UNSUBSCRIBE a"),
            Say("PSUBSCRIBE a*"),
            Other("PUBLISH ab two", 1),
            Say("RESET"),
            Other("PUBLISH ab nobody", 0),
            Say("GET k"),
            Say("SUBSCRIBE c"),
            Say("GET k"),
        ],
    );
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for address in [origin.address(), larder.address()] {
        let mut client = Client::connect_with(address, Protocol::Resp3);
        client.say("SUBSCRIBE a");
        client.hello(Protocol::Resp2);
        assert!(client.say("GET k").error().is_some_and(|words| words.starts_with("ERR Can't execute 'get'")));
    }
}

#[test]
fn confirmations_and_messages_come_though_replies_are_off() {
    let (redis, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    let heard = |address, protocol, mode: &str| {
        let mut client = Client::connect_with(address, protocol);
        let mut other = Client::connect(address);
        let mut bytes = Vec::new();
        client.send(&["CLIENT", "REPLY", mode]).expect("sent");
        client.send(&["SUBSCRIBE", "a"]).expect("sent");
        bytes.extend(client.try_read().expect("the confirmation").1);
        other.say("PUBLISH a b");
        bytes.extend(client.try_read().expect("the message").1);
        for words in ["SUBSCRIBE", "PING", "UNSUBSCRIBE a", "GET k"] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        client.send(&["CLIENT", "REPLY", "ON"]).expect("sent");
        bytes.extend(client.read_to(b"+OK\r\n").expect("ON is answered"));
        bytes.escape_ascii().to_string()
    };
    for protocol in Protocol::BOTH {
        for mode in ["OFF", "SKIP"] {
            let (expected, got) = (heard(redis.address(), protocol, mode), heard(larder.address(), protocol, mode));
            assert_eq!(got, expected, "{protocol:?} {mode}");
        }
    }
}

#[test]
fn quit_is_answered_and_ends_a_subscriber() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        let mut client = subscriber(&larder, protocol, "a");
        client.send(&["QUIT"]).expect("sent");
        assert_eq!(client.read_to_close().expect("closed"), b"+OK\r\n");
        super::until_origin_has(&origin, "a", 0);
    }
}

#[test]
fn the_client_list_tells_subscribers_and_they_can_be_killed_as_such() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    for command in ["SUBSCRIBE b", "PSUBSCRIBE p*", "SSUBSCRIBE s"] {
        client.say(command);
    }
    let line = client.say("CLIENT INFO").text().expect("text");
    assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=1 "), "{line}");
    let mut plain = larder.connect();
    let list = |plain: &mut Client, kind: &str| {
        plain.call(&["CLIENT", "LIST", "TYPE", kind]).text().expect("text").lines().count()
    };
    assert_eq!((list(&mut plain, "pubsub"), list(&mut plain, "normal")), (1, 1));
    assert_eq!(plain.say("CLIENT KILL TYPE pubsub"), Reply::Integer(1));
    assert!(client.read_to_close().is_ok());
    assert_eq!(plain.say("PING"), Reply::Simple("PONG".to_owned()));
    super::until_origin_has(&origin, "a", 0);

    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    client.say("UNSUBSCRIBE");
    let line = client.say("CLIENT INFO").text().expect("text");
    assert!(line.contains(" flags=N ") && line.contains(" sub=0 psub=0 ssub=0 "), "{line}");
    let info = larder.say("INFO stats").text().expect("text");
    assert!(info.contains("pubsub_channels:0\r\n"), "{info}");
}

#[test]
fn reset_and_a_disconnect_end_every_subscription() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = subscriber(&larder, Protocol::Resp2, "a");
    client.say("PSUBSCRIBE p*");
    client.say("SSUBSCRIBE s");
    super::until_origin_has(&origin, "a", 1);
    assert_eq!(client.say("RESET"), Reply::Simple("RESET".to_owned()));
    super::until_origin_has(&origin, "a", 0);
    assert_eq!(origin.say("PUBSUB NUMPAT"), Reply::Integer(0));
    assert_eq!(client.say("GET k"), Reply::Null);

    client.say("SUBSCRIBE a");
    super::until_origin_has(&origin, "a", 1);
    drop(client);
    super::until_origin_has(&origin, "a", 0);
    wait::until("nothing is left", || larder.metrics().sum("larder_subscriptions") == 0.0);
}

#[test]
fn subscribing_inside_a_transaction_is_refused_in_words() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.say("MULTI");
    for command in ["SUBSCRIBE a", "PUNSUBSCRIBE", "SSUBSCRIBE a"] {
        let words = client.say(command);
        assert!(words.error().is_some_and(|words| words.contains("inside MULTI")), "{command}: {words:?}");
    }
    client.say("DISCARD");
    assert_eq!(client.say("SUBSCRIBE a"), confirmed(Protocol::Resp2, "subscribe", "a", 1));
}

#[test]
fn keyspace_notifications_arrive() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut writer = larder.connect();
    assert_eq!(origin.say("CONFIG SET notify-keyspace-events KEA"), Reply::ok());
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        client.say("PSUBSCRIBE __keyevent@0__:*");
        client.say("SUBSCRIBE __keyspace@0__:k");
        assert_eq!(writer.say("SET k v"), Reply::ok());
        assert_eq!(client.read(), told(protocol, &["message", "__keyspace@0__:k", "set"]));
        assert_eq!(client.read(), told(protocol, &["pmessage", "__keyevent@0__:*", "__keyevent@0__:set", "k"]));
        assert_eq!(origin.say("DEL k"), Reply::Integer(1));
        assert_eq!(client.read(), told(protocol, &["message", "__keyspace@0__:k", "del"]));
        assert_eq!(client.read(), told(protocol, &["pmessage", "__keyevent@0__:*", "__keyevent@0__:del", "k"]));
    }
}
