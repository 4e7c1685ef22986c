//! Which key is where, and commands with keys in several places.

use larder_integration_tests::client::Protocol;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{Three, keys, list, refused_with};

#[test]
fn each_store_holds_exactly_the_keys_of_its_routes() {
    let three = Three::start();
    let mut client = three.larder.connect();
    for key in ["a", "b", "other:a", "other:b", "local:a", "local:b"] {
        assert_eq!(client.call(&["SET", key, &format!("value of {key}")]), Reply::ok());
    }
    assert_eq!(client.say("INCR other:count"), Reply::Integer(1));
    assert_eq!(client.say("HSET other:hash f v"), Reply::Integer(1));
    assert_eq!(client.say("APPEND local:a !"), Reply::Integer("value of local:a!".len() as i64));
    assert_eq!(keys(&three.main), ["a", "b"]);
    assert_eq!(keys(&three.other), ["other:a", "other:b", "other:count", "other:hash"]);
    assert_eq!(three.larder.metrics().sum("larder_memory_upstream_keys"), 2.0);
    for key in ["a", "other:b", "local:b"] {
        assert_eq!(client.call(&["GET", key]), Reply::bulk(&format!("value of {key}")));
    }
    // What a store cannot do is said of that store.
    refused_with(&mut client, "HSET local:hash f v", "memory upstream does not serve HSET");
    refused_with(&mut client, "LPUSH local:list v", "memory upstream does not serve LPUSH");
}

#[test]
fn commands_over_several_upstreams_are_split_and_joined_in_the_order_of_their_keys() {
    let three = Three::start();
    for protocol in Protocol::BOTH {
        let mut client = three.larder.connect_with(protocol);
        assert_eq!(client.say("FLUSHALL"), Reply::ok());
        assert_eq!(client.say("MSET a 1 other:a 2 local:a 3 b 4 local:b 5"), Reply::ok());
        let one_to_five: Vec<_> = (1..=5).map(|n| Reply::bulk(&n.to_string())).collect();
        for _ in 0..3 {
            assert_eq!(client.say("MGET a other:a local:a b local:b"), list(&one_to_five));
        }
        let null = client.say("GET nothing");
        let mixed = [Reply::bulk("5"), null.clone(), Reply::bulk("2"), Reply::bulk("2"), null.clone()];
        assert_eq!(client.say("MGET local:b nothing other:a other:a local:nothing"), list(&mixed));
        assert_eq!(client.say("EXISTS a other:a other:a local:a nothing other:nothing"), Reply::Integer(4));
        assert_eq!(client.say("TOUCH a other:a local:a nothing"), Reply::Integer(3));
        assert_eq!(client.say("DEL a other:a local:a nothing"), Reply::Integer(3));
        assert_eq!(client.say("UNLINK b local:b other:b"), Reply::Integer(2));
        assert_eq!(client.say("EXISTS a b other:a local:a local:b"), Reply::Integer(0));
    }
    let mut client = three.larder.connect();
    refused_with(&mut client, "MSET a 1 other:a", "wrong number of arguments for 'mset'");
    assert_eq!(keys(&three.main).len() + keys(&three.other).len(), 0, "nothing of it was done");
}

#[test]
fn a_pipeline_over_all_upstreams_is_answered_in_its_order_and_sees_its_own_writes() {
    let three = Three::start();
    let mut client = three.larder.connect();
    for round in 0..50 {
        let commands: Vec<String> = ["a", "other:a", "local:a"]
            .iter()
            .flat_map(|key| {
                [format!("SET {key} {round}"), format!("GET {key}"), format!("MGET {key} other:a local:a a")]
            })
            .collect();
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        let replies = client.pipeline(&commands);
        for (number, key) in ["a", "other:a", "local:a"].iter().enumerate() {
            let value = Reply::bulk(&round.to_string());
            assert_eq!(replies[3 * number], Reply::ok(), "{key}");
            assert_eq!(replies[3 * number + 1], value, "{key}");
            assert_eq!(replies[3 * number + 2].items().map(|items| &items[0]), Some(&value), "{key}");
        }
    }
}

#[test]
fn what_cannot_be_split_over_upstreams_is_refused_in_words_and_not_done() {
    let three = Three::start();
    let mut client = three.larder.connect();
    client.pipeline(&["SET a 1", "SET other:a 2", "SET local:a 3"]);
    for words in [
        "MSETNX b 1 other:b 2",
        "RENAME a other:c",
        "COPY other:a a2",
        "SINTERSTORE s other:s t",
        "BITOP AND d a other:a",
        "EVAL return{redis.call('set',KEYS[1],'x')} 2 a other:a",
        "LMOVE l other:l LEFT RIGHT",
        "PFCOUNT h other:h",
    ] {
        refused_with(&mut client, words, "CROSSSLOT the keys of this command belong to the upstreams");
    }
    assert_eq!((keys(&three.main), keys(&three.other)), (vec!["a".to_owned()], vec!["other:a".to_owned()]));
    assert_eq!(client.say("MGET a other:a local:a").items().map(<[Reply]>::len), Some(3));
}

#[test]
fn a_key_that_no_route_names_is_refused_and_nothing_of_its_command_is_done() {
    let three = Three::start_with("", "  - {keys: ['known:*'], upstream: main}\n", |settings| settings);
    let mut client = three.larder.connect();
    assert_eq!(client.say("SET known:1 v"), Reply::ok());
    for words in [
        "GET stranger",
        "SET stranger v",
        "MSET known:2 v stranger v",
        "MGET stranger other:a",
        "DEL other:a stranger",
        "MSET known:3 v other:b v stranger v",
    ] {
        refused_with(&mut client, words, "no route leads from the key 'stranger' to an upstream");
    }
    assert_eq!(keys(&three.main), ["known:1"]);
}

#[test]
fn what_a_cluster_tells_all_its_primaries_is_told_to_every_upstream() {
    let three = Three::start();
    let mut client = three.larder.connect();
    client.pipeline(&["MSET a 1 b 2 other:a 3 local:a 4"]);
    assert_eq!(client.say("DBSIZE"), Reply::Integer(4));
    let mut names: Vec<_> = client.say("KEYS *").items().expect("a list").iter().filter_map(Reply::text).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "local:a", "other:a"]);
    let sha = client.call(&["SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"]).text().expect("a hash");
    assert_eq!(client.call(&["EVALSHA", &sha, "1", "a"]), Reply::bulk("1"));
    assert_eq!(client.call(&["EVALSHA", &sha, "1", "other:a"]), Reply::bulk("3"));
    refused_with(&mut client, "EVAL return(1) 1 local:a", "memory upstream does not serve EVAL");
    assert_eq!(client.say("FLUSHALL"), Reply::ok());
    assert_eq!(client.say("DBSIZE"), Reply::Integer(0));
    assert_eq!(keys(&three.main).len() + keys(&three.other).len(), 0);
    // PING, ECHO and what else concerns no key is the home upstream's, or Larder's own.
    assert_eq!(client.say("PUBLISH c m"), Reply::Integer(0));
}

#[test]
fn each_upstream_invalidates_its_own_keys_alone() {
    let three = Three::start();
    let mut client = three.larder.connect();
    client.pipeline(&["SET a 1", "SET other:a 1"]);
    three.larder.warm(&mut client, "GET a");
    three.larder.warm(&mut client, "GET other:a");
    // A foreign write is seen, on either.
    three.other.say("SET other:a 2");
    wait::until("the push of the second upstream", || client.say("GET other:a") == Reply::bulk("2"));
    three.larder.warm(&mut client, "GET other:a");
    // A flush of one leaves what the other holds.
    three.main.say("FLUSHALL");
    wait::until("the flush of the first upstream", || client.say("GET a").text().is_none());
    let before = three.larder.hits();
    assert_eq!(client.say("GET other:a"), Reply::bulk("2"));
    assert_eq!(three.larder.hits(), before + 1.0, "it is still there");
}

#[test]
fn the_store_in_the_process_keeps_to_its_own_budget() {
    let three = Three::start();
    let mut client = three.larder.connect();
    let value = "x".repeat(10_000);
    let full = (0..200).find_map(|n| client.call(&["SET", &format!("local:{n}"), &value]).error().map(str::to_owned));
    assert_eq!(full.as_deref(), Some("OOM command not allowed when used memory > 'maxmemory'."));
    assert!(three.larder.metrics().sum("larder_memory_upstream_bytes") <= f64::from(1 << 20));
    // The other stores, and what is there, do not notice.
    assert_eq!(client.call(&["SET", "other:large", &value]), Reply::ok());
    assert_eq!(client.call(&["SET", "large", &value]), Reply::ok());
    assert_eq!(client.say("STRLEN local:0"), Reply::Integer(10_000));
    assert_eq!(client.say("DEL local:0"), Reply::Integer(1));
    assert_eq!(client.call(&["SET", "local:0", &value]), Reply::ok());
}
