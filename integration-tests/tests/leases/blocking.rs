//! Commands that wait: who wakes them, what waits with them, and how they end.

use std::time::Duration;

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{blocked, until_blocked, until_no_lease_is_out};

fn popped(key: &str, value: &str) -> Reply {
    Reply::Array(vec![Reply::bulk(key), Reply::bulk(value)])
}

/// Has nothing to read, now and for a moment.
fn is_silent(client: &mut Client) -> bool {
    client.set_reply_timeout(Duration::from_millis(50));
    let silent = client.try_read().is_err();
    client.set_reply_timeout(wait::PATIENCE);
    silent
}

#[test]
fn a_blocked_client_is_woken_through_larder_and_beside_it_and_its_commands_keep_their_order() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    origin.say("SET k v");
    let mut client = larder.connect();
    for words in
        ["ECHO before", "BLPOP q 0", "ECHO a", "GET k", "BRPOP q 0", "SET k w", "GET k", "BLPOP q 0.01", "PING"]
    {
        client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
    }
    assert_eq!(client.read(), Reply::bulk("before"));
    until_blocked(&origin, 1);
    assert!(is_silent(&mut client), "what is behind a blocked command waits");
    assert_eq!(larder.say("RPUSH q through"), Reply::Integer(1));
    assert_eq!(
        (client.read(), client.read(), client.read()),
        (popped("q", "through"), Reply::bulk("a"), Reply::bulk("v"))
    );
    until_blocked(&origin, 1);
    assert_eq!(larder.say("GET k"), Reply::bulk("v"), "the SET behind it is not carried out yet");
    origin.say("RPUSH q beside");
    assert_eq!(client.read(), popped("q", "beside"));
    assert_eq!((client.read(), client.read()), (Reply::ok(), Reply::bulk("w")));
    assert_eq!((client.read(), client.read()), (Reply::Null, Reply::Simple("PONG".to_owned())));
    until_no_lease_is_out(&larder);
}

#[test]
fn streams_and_sorted_sets_wake_their_readers_too() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    origin.say("XGROUP CREATE stream group $ MKSTREAM");
    let commands = [
        ("XREAD BLOCK 0 STREAMS stream $", "XADD stream * f 1"),
        ("XREADGROUP GROUP group me COUNT 1 BLOCK 0 STREAMS stream >", "XADD stream * f 2"),
        ("BZPOPMIN zset 0", "ZADD zset 1 m"),
        ("BZMPOP 0 1 zset MAX", "ZADD zset 1 m"),
        ("BLMPOP 0 2 none list LEFT", "RPUSH list x"),
        ("BLMOVE list other LEFT LEFT 0", "RPUSH list x"),
        ("BRPOPLPUSH list other 0", "RPUSH list x"),
    ];
    for (command, wakes) in commands {
        // The group has entries of the round before.
        origin.say("XREADGROUP GROUP group drain STREAMS stream >");
        let mut client = larder.connect();
        client.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        until_blocked(&origin, 1);
        larder.say(wakes);
        let reply = client.read();
        assert!(reply.error().is_none() && reply != Reply::Null, "{command}: {reply:?}");
    }
    until_no_lease_is_out(&larder);
}

#[test]
fn a_client_that_leaves_while_it_is_blocked_frees_its_connection_and_takes_nothing() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    // The second has sent more than the mebibyte that Larder reads ahead.
    for behind in [0, 80_000] {
        for round in 0..5 {
            let mut client = larder.connect();
            client.send(&["BLPOP", "q", "0"]).expect("sent");
            until_blocked(&origin, 1);
            client.send_raw(&encode(&["PING"]).repeat(behind)).expect("sent");
            if behind > 0 {
                let read = || larder.metrics().sum("larder_client_input_bytes_total");
                let mut before = read();
                wait::until("Larder reads no more", || {
                    let now = read();
                    now == std::mem::replace(&mut before, now)
                });
            }
            drop(client);
            until_blocked(&origin, 0);
            until_no_lease_is_out(&larder);
            origin.say(&format!("RPUSH q {round}"));
            assert_eq!(origin.say("LLEN q"), Reply::Integer(1), "taken for a client that has left");
            origin.say("DEL q");
        }
    }
}

#[test]
fn a_blocked_client_can_be_killed() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let id = client.say("CLIENT ID").integer().expect("a number");
    client.send(&["BLPOP", "q", "0"]).expect("sent");
    until_blocked(&origin, 1);
    assert_eq!(larder.say(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert_eq!(client.read_to_close().expect("closed"), b"");
    until_blocked(&origin, 0);
    until_no_lease_is_out(&larder);
}

#[test]
fn client_unblock_wakes_a_blocked_client_as_it_says() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let id = client.say("CLIENT ID").integer().expect("a number");
    let mut other = larder.connect();
    let unblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    for (reason, error) in [("", None), (" TIMEOUT", None), (" timeout", None), (" ERROR", Some(unblocked))] {
        client.send(&["BLPOP", "q", "0"]).expect("sent");
        until_blocked(&origin, 1);
        assert_eq!(other.say(&format!("CLIENT UNBLOCK {id}{reason}")), Reply::Integer(1), "{reason}");
        let reply = client.read();
        assert_eq!(reply.error(), error, "{reason}");
        assert!(error.is_some() || reply == Reply::Null, "{reason}: {reply:?}");
    }
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id}")), Reply::Integer(0), "it is not blocked");
    assert_eq!(other.say("CLIENT UNBLOCK 99999"), Reply::Integer(0), "there is no such client");
    for wrong in ["CLIENT UNBLOCK abc", "CLIENT UNBLOCK 1 perhaps"] {
        assert_eq!(other.say(wrong).error(), origin.say(wrong).error(), "{wrong}");
    }
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn the_command_timeout_does_not_cut_a_command_that_waits_longer() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("command_timeout: 700ms"));
    let mut client = larder.connect();
    for (command, push) in [("BLPOP q 0", true), ("BLPOP q 1.5", false), ("XREAD BLOCK 1500 STREAMS s $", false)] {
        client.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        until_blocked(&origin, 1);
        assert!(wait::stays_for(Duration::from_secs(1), || blocked(&origin) == 1), "{command} was cut");
        if push {
            origin.say("RPUSH q late");
            assert_eq!(client.read(), popped("q", "late"));
        } else {
            assert_eq!(client.read(), Reply::Null, "{command}");
        }
    }
    // Nor one behind it on the same connection, by a patience that was meant for the one before.
    assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[2], Reply::Array(vec![Reply::Simple("PONG".to_owned())]));
}

#[test]
fn an_upstream_that_hangs_is_noticed_when_the_time_of_a_blocked_command_is_over() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("command_timeout: 300ms"));
    let mut client = larder.connect();
    client.send(&["BLPOP", "q", "0.4"]).expect("sent");
    until_blocked(&origin, 1);
    origin.freeze();
    let reply = client.read();
    origin.thaw();
    // Its own time is over, or the server is known to be down before.
    let late = |words: &str| words.contains("did not answer within") || words.contains("is down");
    assert!(reply.error().is_some_and(late), "{reply:?}");
    larder.until_normal();
    // And one that no longer waits for ever is not spared by the one that did.
    client.send(&["BLPOP", "q", "0"]).expect("sent");
    until_blocked(&origin, 1);
    origin.say("RPUSH q x");
    assert_eq!(client.read(), popped("q", "x"));
    origin.freeze();
    client.send(&["MULTI"]).expect("sent");
    let reply = client.read();
    origin.thaw();
    assert!(reply.error().is_some(), "{reply:?}");
}
