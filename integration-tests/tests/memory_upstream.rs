//! Larder with nothing behind it: what somebody who tries it for the first time would type, answered as Redis would.

use std::thread;
use std::time::Duration;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// Everyday commands on strings and keys; every reply must be the one that Redis gives.
const SESSION: &[&str] = &[
    "PING",
    "ECHO hello",
    "SET greeting hello",
    "GET greeting",
    "GET nothing",
    "SET greeting world NX",
    "SET greeting world XX GET",
    "SET once 1 NX",
    "SET temp v EX 100",
    "TTL temp",
    "PERSIST temp",
    "TTL temp",
    "SET temp v PX 100000 KEEPTTL",
    "SETEX temp 100 v",
    "PSETEX temp 100000 v",
    "SET temp w KEEPTTL",
    "TTL temp",
    "SETNX once 2",
    "GETSET greeting again",
    "GETDEL once",
    "GETEX temp PERSIST",
    "TTL temp",
    "APPEND greeting !",
    "STRLEN greeting",
    "GETRANGE greeting 0 2",
    "SETRANGE greeting 1 XY",
    "GET greeting",
    "SUBSTR greeting 0 1",
    "INCR n",
    "INCRBY n 41",
    "DECR n",
    "DECRBY n 10",
    "INCRBYFLOAT n 0.5",
    "INCR greeting",
    "INCR",
    "MSET a 1 b 2 c 3",
    "MGET a b nothing c",
    "MSETNX c 9 d 4",
    "MSETNX d 4 e 5",
    "EXISTS a b nothing a",
    "TYPE a",
    "TYPE nothing",
    "DEL a nothing",
    "UNLINK b",
    "RENAME c see",
    "RENAME nothing x",
    "RENAMENX see d",
    "COPY d copy",
    "COPY d copy REPLACE",
    "TOUCH d nothing",
    "EXPIRE d 100",
    "EXPIRE d 50 GT",
    "EXPIREAT d 4000000000",
    "EXPIRETIME d",
    "PEXPIRE nothing 1",
    "KEYS copy",
    "DBSIZE",
    "SETBIT bits 7 1",
    "GETBIT bits 7",
    "BITCOUNT bits",
    "BITPOS bits 1",
    "SELECT 1",
    "GET greeting",
    "SET greeting elsewhere",
    "MOVE greeting 2",
    "SELECT 2",
    "GET greeting",
    "SWAPDB 0 2",
    "GET n",
    "FLUSHDB",
    "DBSIZE",
    "SELECT 0",
    "GET greeting",
    "SELECT 16",
    "GET greeting extra",
    "NOSUCH command",
    "SET k v BOGUS",
    "FLUSHALL",
    "DBSIZE",
    "RANDOMKEY",
];

#[test]
fn an_everyday_session_is_answered_as_redis_would() {
    for protocol in Protocol::BOTH {
        let redis = Redis::start();
        let larder = Larder::start_with(&Settings::memory());
        let (mut theirs, mut ours) = (Client::connect_with(redis.address(), protocol), larder.connect_with(protocol));
        for command in SESSION {
            let words: Vec<&str> = command.split(' ').collect();
            let (expected, reply) = (theirs.call_raw(&words), ours.call_raw(&words));
            assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{command}");
        }
    }
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let redis = Redis::start();
    let larder = Larder::start_with(&Settings::memory());
    // SWAPDB and the like are in there: the order shows.
    assert_eq!(larder.connect().pipeline(SESSION), redis.connect().pipeline(SESSION));
}

#[test]
fn keys_go_when_their_time_is_over() {
    let larder = Larder::start_with(&Settings::memory());
    let mut client = larder.connect();
    client.pipeline(&["SET short v PX 80", "SET long v EX 100", "SET kept v"]);
    assert_eq!(client.say("GET short"), Reply::bulk("v"));
    wait::until("it is over", || client.say("GET short") == Reply::Null);
    assert_eq!(
        client.pipeline(&["EXISTS short", "TTL short", "GET long"]),
        [Reply::Integer(0), Reply::Integer(-2), Reply::bulk("v")]
    );
    // Also those that nobody asks for again.
    for n in 0..50 {
        client.call(&["SET", &format!("gone:{n}"), "v", "PX", "50"]);
    }
    wait::until("they are removed", || client.say("DBSIZE") == Reply::Integer(2));
    wait::until("and not counted", || larder.metrics().sum("larder_memory_upstream_keys") == 2.0);
}

#[test]
fn clients_share_the_data_and_see_every_write_at_once() {
    let larder = Larder::start_with(&Settings::memory().section("workers: 2"));
    let address = larder.address();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                (0..500).for_each(|_| assert_eq!(client.say("INCR n").error(), None));
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("no writer failed"));
    assert_eq!(larder.say("GET n"), Reply::bulk("2000"));
    let (mut one, mut two) = (larder.connect(), larder.connect());
    for n in 0..200 {
        one.call(&["SET", "k", &n.to_string()]);
        assert_eq!(two.say("GET k"), Reply::bulk(&n.to_string()));
    }
}

#[test]
fn what_is_not_served_is_refused_by_name_with_what_to_do() {
    let larder = Larder::start_with(&Settings::memory());
    for (command, name) in [
        ("LPUSH list a", "LPUSH"),
        ("LRANGE list 0 -1", "LRANGE"),
        ("HSET h f v", "HSET"),
        ("SADD s a", "SADD"),
        ("ZADD z 1 a", "ZADD"),
        ("XADD x * f v", "XADD"),
        ("EVAL script 0", "EVAL"),
    ] {
        let reply = larder.say(command);
        let told = reply.error().unwrap_or_default();
        assert!(told.starts_with("ERR ") && told.contains(name), "{command}: {reply:?}");
        assert!(told.contains("redis://") || told.contains("--upstream"), "what to do, for {command}: {told}");
    }
    for command in ["MULTI", "BLPOP list 0"] {
        assert!(larder.say(command).error().is_some_and(|told| told.contains("does not serve")), "{command}");
    }
}

#[test]
fn memory_is_bounded_and_says_so_in_redis_words() {
    let larder = Larder::start_with(&Settings::memory().upstream("max_memory: 1mb"));
    let mut client = larder.connect();
    let value = [b'v'; 10_000];
    let mut refusal = None;
    for n in 0..1000 {
        let reply = client.call(&[b"SET".as_slice(), format!("k{n}").as_bytes(), &value]);
        if let Some(words) = reply.error() {
            refusal = Some(words.to_owned());
            break;
        }
    }
    assert!(refusal.is_some_and(|words| words.starts_with("OOM command not allowed")), "it is refused");
    assert!(larder.metrics().sum("larder_memory_upstream_bytes") <= 1_100_000.0);
    assert!(client.say("GET k0").error().is_none(), "reading goes on");
    assert_eq!(client.say("DEL k0 k1 k2"), Reply::Integer(3));
    assert_eq!(client.say("SET small v"), Reply::ok(), "and writing, once there is room");
}

#[test]
fn large_and_binary_values_come_back_as_they_were() {
    let larder = Larder::start_with(&Settings::memory());
    let mut client = larder.connect();
    let binary: Vec<u8> = (0..=255).cycle().take(5 << 20).collect();
    let key = b"\x00key \r\n\xff";
    assert_eq!(client.call(&[b"SET".as_slice(), key, &binary]), Reply::ok());
    assert!(client.call(&[b"GET".as_slice(), key]) == Reply::Bulk(binary.clone()));
    assert_eq!(client.call(&[b"STRLEN".as_slice(), key]), Reply::Integer(5 << 20));
    drop(client);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = larder.connect();
                client.set_reply_timeout(Duration::from_secs(10));
                assert!(client.call(&[b"GET".as_slice(), key]) == Reply::Bulk(binary.clone()));
            });
        }
    });
}

#[test]
fn sessions_start_in_the_configured_database() {
    let larder = Larder::start_with(&Settings::memory().upstream("database: 4"));
    let mut client = larder.connect();
    client.say("SET k four");
    assert_eq!(
        client.pipeline(&["SELECT 0", "GET k", "SELECT 4", "GET k"])[1..],
        [Reply::Null, Reply::ok(), Reply::bulk("four")]
    );
    assert_eq!(client.pipeline(&["SELECT 0", "RESET", "GET k"])[2], Reply::bulk("four"));
}
