//! Messages reach every subscriber, whole, in their order, and never before the confirmation.

use std::thread;

use larder_integration_tests::client::{Client, Protocol, encode};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{confirmed, subscriber, told};

#[test]
fn pushes_come_between_the_replies_of_a_pipeline_and_split_none() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let value = "v".repeat(3000);
    larder.connect().call(&["SET", "k", &value]);
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    const ROUNDS: usize = 200;
    const GETS: usize = 50;
    const MESSAGES: usize = 2000;
    let publisher = {
        let mut publisher = larder.connect();
        thread::spawn(move || {
            for number in 0..MESSAGES {
                publisher.call(&["PUBLISH", "a", &format!("message {number}")]);
            }
        })
    };
    // Hits, misses that wait for the origin, and forwarded commands.
    let mut batch = Vec::new();
    for number in 0..GETS {
        batch.extend(encode(&["GET", "k"]));
        batch.extend(encode(&["GET", &format!("none{number}")]));
        batch.extend(encode(&["TTL", "k"]));
    }
    let mut next = 0;
    let mut push = |reply: &Reply| {
        let is_push = matches!(reply, Reply::Push(_));
        if is_push {
            assert_eq!(*reply, told(Protocol::Resp3, &["message", "a", &format!("message {next}")]));
            next += 1;
        }
        is_push
    };
    for _ in 0..ROUNDS {
        client.send_raw(&batch).expect("sent");
        let mut replies = 0;
        while replies < 3 * GETS {
            let reply = client.read();
            if push(&reply) {
                continue;
            }
            let expected = match replies % 3 {
                0 => Reply::bulk(&value),
                1 => Reply::Null,
                _ => Reply::Integer(-1),
            };
            assert_eq!(reply, expected, "reply {replies}");
            replies += 1;
        }
    }
    publisher.join().expect("published");
    client.send(&["ECHO", "end"]).expect("sent");
    // The last messages may still be on their way when ECHO is answered.
    let mut ended = false;
    while !ended || next < MESSAGES {
        let reply = client.read();
        if matches!(reply, Reply::Push(_)) {
            assert_eq!(reply, told(Protocol::Resp3, &["message", "a", &format!("message {next}")]));
            next += 1;
        } else {
            assert_eq!(reply, Reply::bulk("end"));
            ended = true;
        }
    }
    assert!(larder.hits() > 0.0);
}

#[test]
fn what_is_published_once_a_client_was_told_arrives_and_nothing_before() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        for round in 0..200 {
            // A new channel each time: its confirmation comes from the origin.
            let channel = format!("{protocol:?}-{round}");
            let noise = {
                let (mut publisher, channel) = (origin.connect(), channel.clone());
                thread::spawn(move || {
                    for number in 0..20 {
                        publisher.call(&["PUBLISH", &channel, &format!("{number}")]);
                    }
                })
            };
            let mut client = larder.connect_with(protocol);
            client.send(&["SUBSCRIBE", &channel]).expect("sent");
            assert_eq!(client.read(), confirmed(protocol, "subscribe", &channel, 1));
            origin.connect().call(&["PUBLISH", &channel, "after"]);
            let after = told(protocol, &["message", &channel, "after"]);
            while client.read() != after {}
            noise.join().expect("published");
        }
    }
}

#[test]
fn a_pipeline_of_subscriptions_is_answered_in_order_with_the_counts_of_each_moment() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut neighbour = larder.connect();
    for name in (0..100).step_by(3) {
        // Some are confirmed at once, since another client has them.
        neighbour.call(&["SUBSCRIBE", &format!("c{name}")]);
    }
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        let mut bytes = Vec::new();
        for name in 0..100 {
            bytes.extend(encode(&["SUBSCRIBE", &format!("c{name}")]));
            bytes.extend(encode(&["SUBSCRIBE", "c0", &format!("c{name}")]));
        }
        bytes.extend(encode(&["UNSUBSCRIBE", "c0"]));
        bytes.extend(encode(&["PING", "end"]));
        client.send_raw(&bytes).expect("sent");
        for name in 0..100 {
            let channel = format!("c{name}");
            for named in [&channel, "c0", &channel] {
                assert_eq!(client.read(), confirmed(protocol, "subscribe", named, name + 1));
            }
        }
        assert_eq!(client.read(), confirmed(protocol, "unsubscribe", "c0", 99));
        let pong = match protocol {
            Protocol::Resp2 => told(protocol, &["pong", "end"]),
            Protocol::Resp3 => Reply::bulk("end"),
        };
        assert_eq!(client.read(), pong);
    }
}

#[test]
fn every_subscriber_of_every_worker_gets_every_message_in_order() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut clients: Vec<(Client, Protocol)> =
        (0..40).map(|n| Protocol::BOTH[n % 2]).map(|protocol| (subscriber(&larder, protocol, "a"), protocol)).collect();
    for (client, _) in clients.iter_mut().step_by(4) {
        client.say("PSUBSCRIBE a*");
    }
    let mut publisher = origin.connect();
    for number in 0..500 {
        // One Larder is one subscriber of the channel and one of the pattern.
        assert_eq!(publisher.call(&["PUBLISH", "a", &format!("{number}")]), Reply::Integer(2));
    }
    for (at, (client, protocol)) in clients.iter_mut().enumerate() {
        for number in 0..500 {
            let text = format!("{number}");
            assert_eq!(client.read(), told(*protocol, &["message", "a", &text]));
            if at % 4 == 0 {
                assert_eq!(client.read(), told(*protocol, &["pmessage", "a*", "a", &text]));
            }
        }
    }
    assert_eq!(larder.metrics().sum("larder_pushes_total"), 500.0 * 50.0);
    wait::until("the messages are counted", || larder.metrics().sum("larder_messages_received_total") == 1000.0);
}

#[test]
fn messages_come_while_a_command_blocks_and_between_the_commands_of_a_transaction() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = subscriber(&larder, Protocol::Resp3, "a");
    let mut publisher = larder.connect();
    let message = |text: &str| told(Protocol::Resp3, &["message", "a", text]);
    client.send_raw(&[encode(&["SET", "k", "v"]), encode(&["BLPOP", "list", "0"])].concat()).expect("sent");
    assert_eq!(client.read(), Reply::ok());
    for text in ["one", "two"] {
        publisher.call(&["PUBLISH", "a", text]);
        assert_eq!(client.read(), message(text));
    }
    publisher.say("RPUSH list x");
    assert_eq!(client.read(), Reply::Array(vec![Reply::bulk("list"), Reply::bulk("x")]));

    assert_eq!(client.say("MULTI"), Reply::ok());
    publisher.say("PUBLISH a three");
    assert_eq!(client.read(), message("three"));
    assert_eq!(client.say("GET k"), Reply::Simple("QUEUED".to_owned()));
    publisher.say("PUBLISH a four");
    assert_eq!(client.read(), message("four"));
    assert_eq!(client.say("EXEC"), Reply::Array(vec![Reply::bulk("v")]));
}

#[test]
fn any_bytes_pass_in_names_and_messages() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let channel: Vec<u8> = (0..=255).chain(*b"\r\n$3\r\n").collect();
    let message = vec![b'\r'; 1 << 20];
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        client.call(&[b"SUBSCRIBE", &channel[..]]);
        client.call(&[&b"SUBSCRIBE"[..], b""]);
        larder.connect().call(&[b"PUBLISH", &channel[..], &message]);
        let heard = client.read();
        let items = heard.items().expect("a message");
        assert_eq!(items[1..], [Reply::Bulk(channel.clone()), Reply::Bulk(message.clone())]);
        larder.connect().call(&[&b"PUBLISH"[..], b"", b""]);
        assert_eq!(client.read(), told(protocol, &["message", "", ""]));
    }
}

#[test]
fn a_message_that_was_on_its_way_when_a_client_unsubscribed_does_not_reach_it() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut others = subscriber(&larder, Protocol::Resp3, "a");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publisher = {
        let (mut publisher, stop) = (origin.connect(), std::sync::Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                publisher.call(&["PUBLISH", "a", "x"]);
            }
        })
    };
    let listener = thread::spawn(move || while others.try_read().is_ok() {});
    let mut client = larder.connect_with(Protocol::Resp3);
    for round in 0..300 {
        client.send_raw(&[encode(&["SUBSCRIBE", "a"]), encode(&["PING"])].concat()).expect("sent");
        assert_eq!(client.read(), confirmed(Protocol::Resp3, "subscribe", "a", 1), "round {round}");
        client.send_raw(&[encode(&["UNSUBSCRIBE", "a"]), encode(&["ECHO", "end"])].concat()).expect("sent");
        let gone = confirmed(Protocol::Resp3, "unsubscribe", "a", 0);
        loop {
            let reply = client.read();
            if reply == gone {
                break;
            }
        }
        assert_eq!(client.read(), Reply::bulk("end"), "round {round}: nothing comes behind the confirmation");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    publisher.join().expect("published");
    drop(larder);
    listener.join().expect("the other listener");
}
