//! Transactions and blocking commands: on the upstream of their keys, and on one alone.

use std::thread;

use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{Three, keys, list, refused_with};

#[test]
fn a_transaction_runs_on_the_upstream_of_its_first_key() {
    let three = Three::start();
    let mut client = three.larder.connect();
    for (prefix, server) in [("", &three.main), ("other:", &three.other)] {
        let set = format!("SET {prefix}a 1");
        let replies = client.pipeline(&["MULTI", "PING", &set, &format!("INCR {prefix}a"), "EXEC"]);
        assert_eq!(replies[4].items().map(<[Reply]>::len), Some(3), "{replies:?}");
        assert_eq!(server.say(&format!("GET {prefix}a")), Reply::bulk("2"));
    }
    // One after the other on the same connection, without waiting for a reply.
    let replies = client.pipeline(&[
        "MULTI",
        "SET a 1",
        "EXEC",
        "MULTI",
        "SET other:a 2",
        "EXEC",
        "MULTI",
        "GET a",
        "EXEC",
        "GET other:a",
    ]);
    assert_eq!(replies[8], list(&[Reply::bulk("1")]));
    assert_eq!(replies[9], Reply::bulk("2"));
}

#[test]
fn a_transaction_over_two_upstreams_is_refused_as_a_whole() {
    let three = Three::start();
    let mut client = three.larder.connect();
    let replies = client.pipeline(&["MULTI", "SET a 1", "SET other:a 2", "EXEC"]);
    assert_eq!(replies[1], Reply::Simple("QUEUED".into()));
    assert!(replies[2].error().is_some_and(|error| error.starts_with("CROSSSLOT")), "{replies:?}");
    assert!(replies[3].error().is_some_and(|error| error.starts_with("EXECABORT")), "{replies:?}");
    let replies = client.pipeline(&["MULTI", "SET local:a 1", "EXEC", "MULTI", "MSET a 1 other:a 2", "EXEC"]);
    assert!(replies[1].error().is_some_and(|error| error.contains("has no transactions")), "{replies:?}");
    assert!(replies[2].error().is_some_and(|error| error.starts_with("EXECABORT")), "{replies:?}");
    assert!(replies[5].error().is_some_and(|error| error.starts_with("EXECABORT")), "{replies:?}");
    assert_eq!(keys(&three.main).len() + keys(&three.other).len(), 0);
    assert_eq!(client.say("GET local:a").text(), None);
    // And none is under way any more.
    assert_eq!(client.pipeline(&["SET a 1", "GET a"])[1], Reply::bulk("1"));
    assert_eq!(client.pipeline(&["MULTI", "DISCARD", "MULTI", "EXEC"])[3], list(&[]));
}

/// Those who listen are at the home upstream: a message of another's transaction would be heard by nobody.
#[test]
fn a_message_in_a_transaction_is_heard_or_refused() {
    let three = Three::start();
    let (mut client, mut reader) = (three.larder.connect(), three.larder.connect());
    reader.say("SUBSCRIBE news");
    for commands in [["PUBLISH news x", "SET a 1"], ["SET a 1", "PUBLISH news x"]] {
        let replies = client.pipeline(&["MULTI", commands[0], commands[1], "EXEC"]);
        let mut results = replies[3].items().expect("it is carried out").to_vec();
        results.sort_by_key(|result| result.integer().is_some());
        assert_eq!(results, [Reply::ok(), Reply::Integer(1)], "{commands:?}");
        assert_eq!(reader.read().items().and_then(|items| items[2].text()).as_deref(), Some("x"));
    }
    for commands in [["PUBLISH news y", "SET other:a 1"], ["SET other:a 1", "PUBLISH news y"]] {
        let replies = client.pipeline(&["MULTI", commands[0], commands[1], "EXEC"]);
        assert!(replies[2].error().is_some_and(|error| error.starts_with("CROSSSLOT")), "{commands:?}: {replies:?}");
        assert!(replies[3].error().is_some_and(|error| error.starts_with("EXECABORT")), "{replies:?}");
    }
    assert_eq!(keys(&three.other), Vec::<String>::new());
}

#[test]
fn watched_keys_fail_a_transaction_on_their_upstream_and_others_are_served_meanwhile() {
    let three = Three::start();
    let mut client = three.larder.connect();
    assert_eq!(client.say("SET other:a 1"), Reply::ok());
    assert_eq!(client.say("WATCH other:a"), Reply::ok());
    refused_with(&mut client, "WATCH a", "CROSSSLOT");
    assert_eq!(client.say("GET other:a"), Reply::bulk("1"));
    assert_eq!(client.say("SET a 5"), Reply::ok());
    assert_eq!(client.say("GET a"), Reply::bulk("5"));
    assert_eq!(client.say("SET local:a 6"), Reply::ok());
    three.other.say("SET other:a 2");
    let replies = client.pipeline(&["MULTI", "SET other:a 3", "EXEC"]);
    assert!(replies[2].error().is_none() && replies[2].items().is_none(), "nothing was carried out: {replies:?}");
    assert_eq!(three.other.say("GET other:a"), Reply::bulk("2"));
    // Watched again and left alone, it is carried out.
    let replies = client.pipeline(&["WATCH other:a", "MULTI", "SET other:a 4", "EXEC"]);
    assert_eq!(replies[3], list(&[Reply::ok()]));
    refused_with(&mut client, "WATCH local:a", "no transactions");
}

#[test]
fn what_is_split_behind_watch_is_seen_by_the_transaction_behind_it() {
    let three = Three::start();
    let mut client = three.larder.connect();
    for (split, value) in [("MSET a 5 other:a 5", Some("5")), ("DEL a other:a", None), ("FLUSHALL", None)] {
        for _ in 0..20 {
            client.say("SET a 1");
            let replies = client.pipeline(&["WATCH a", split, "MULTI", "INCR a", "EXEC", "GET a"]);
            assert!(replies[4].error().is_none() && replies[4].items().is_none(), "{split} has changed a: {replies:?}");
            assert_eq!(replies[5].text().as_deref(), value, "{split}");
        }
    }
    // Nor does it overtake EXEC.
    for number in 0..20 {
        let set = format!("SET a {number}");
        let replies = client.pipeline(&["MULTI", &set, "EXEC", "MGET a other:a", "MSET a x other:a x", "GET a"]);
        assert_eq!(replies[3].items().and_then(|items| items[0].text()), Some(number.to_string()), "{replies:?}");
        assert_eq!(replies[5], Reply::bulk("x"), "{replies:?}");
    }
    // Nor what was sent to the connection that watches, and a read behind it sees it.
    for number in 0..20 {
        let number = number.to_string();
        let (set, mset) = (format!("SET a {number}"), format!("MSET a {number}9 other:a 1"));
        let replies = client.pipeline(&["WATCH a", &set, "MGET a other:a", &mset, "GET a", "UNWATCH", "GET a"]);
        assert_eq!(replies[2].items().and_then(|items| items[0].text()).as_deref(), Some(&*number), "{replies:?}");
        assert_eq!(replies[4].text(), Some(format!("{number}9")), "{replies:?}");
        assert_eq!(replies[6].text(), Some(format!("{number}9")), "{replies:?}");
    }
}

#[test]
fn what_concerns_every_upstream_is_no_part_of_a_transaction() {
    let three = Three::start();
    let mut client = three.larder.connect();
    client.say("MSET a 1 other:a 2 local:a 3");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        for queued in [vec!["MULTI", flush, "EXEC"], vec!["MULTI", "SET a 9", flush, "EXEC"]] {
            let replies = client.pipeline(&queued);
            let refused = replies[queued.len() - 2].error().unwrap_or_default();
            assert!(refused.starts_with(&format!("CROSSSLOT {flush}")), "{replies:?}");
            let end = replies[queued.len() - 1].error().unwrap_or_default();
            assert!(end.starts_with("EXECABORT"), "{replies:?}");
        }
    }
    assert_eq!(client.say("MGET a other:a local:a"), list(&["1", "2", "3"].map(Reply::bulk)));
}

#[test]
fn blocking_commands_wait_at_the_upstream_of_their_keys() {
    let three = Three::start();
    let waiter = {
        let mut client = three.larder.connect();
        thread::spawn(move || client.say("BLPOP other:queue 20"))
    };
    wait::until("it is blocked there", || three.other.info("blocked_clients") == "1");
    assert_eq!(three.main.info("blocked_clients"), "0");
    three.larder.say("RPUSH other:queue job");
    assert_eq!(waiter.join().expect("no panic"), list(&[Reply::bulk("other:queue"), Reply::bulk("job")]));
    let mut client = three.larder.connect();
    refused_with(&mut client, "BLPOP queue other:queue 1", "CROSSSLOT");
    refused_with(&mut client, "BLPOP local:queue 1", "memory upstream does not serve BLPOP");
}
