//! Every command that is served gives the reply that Redis gives; what is not served is refused by name.

use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::dice::Dice;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

use super::uncached;

/// Key-value commands in all their forms. A word in angle brackets is a space.
const SESSION: &[&str] = &[
    "SET a 1",
    "GET a",
    "GET nothing",
    "MGET a nothing a",
    "SET a 2 NX",
    "SET b 2 XX",
    "GET b",
    "SET a 3 XX",
    "SET a 4 GET",
    "SET c 4 GET",
    "SET c 5 NX GET",
    "SET d 5 NX GET",
    "SET a x EX 0",
    "SET a x EX 10 PX 5",
    "SET a x EX",
    "SET a x FOO",
    "SET a x EX y",
    "SET a x PX 9223372036854775807",
    "GET a",
    "SET k v EX 100",
    "TTL k",
    "SET k w KEEPTTL",
    "TTL k",
    "GET k",
    "SET k w2 KEEPTTL GET",
    "TTL k",
    "SET k w3",
    "TTL k",
    "SET fresh v KEEPTTL",
    "TTL fresh",
    "SET fresh2 v KEEPTTL NX",
    "SET absent v KEEPTTL XX",
    "GET absent",
    "SETNX n 1",
    "SETNX n 2",
    "SETEX s 100 v",
    "TTL s",
    "SETEX s 0 v",
    "SETEX s x v",
    "PSETEX s 100000 v",
    "TTL s",
    "GETSET a 9",
    "GETSET new 9",
    "GETDEL new",
    "GETDEL new",
    "GET new",
    "GETEX s PERSIST",
    "TTL s",
    "GETEX s EX 50",
    "TTL s",
    "GETEX s",
    "GETEX s EX 0",
    "GETEX nothing EX 0",
    "GETEX nothing EX 5",
    "GETEX s EXAT 1",
    "GET s",
    "INCR i",
    "INCR i",
    "INCRBY i 98",
    "DECR i",
    "DECR i",
    "DECRBY i 98",
    "DECR i",
    "DECR i",
    "INCRBY i 5",
    "GET i",
    "STRLEN i",
    "SET i 10",
    "DECR i",
    "GET i",
    "STRLEN i",
    "SET i 007",
    "INCR i",
    "GET i",
    "SET i 9223372036854775807",
    "INCR i",
    "INCRBY i -1",
    "DECRBY i -9223372036854775808",
    "INCRBY i x",
    "SET i -5",
    "INCR i",
    "GET i",
    "SET i 18446744073709551615",
    "INCR i",
    "GET i",
    "SET i abc",
    "INCR i",
    "INCRBY i 0",
    "SET f 10.5",
    "INCRBYFLOAT f 0.1",
    "INCRBYFLOAT f x",
    "INCRBYFLOAT g 3",
    "GET g",
    "INCRBYFLOAT f 1e5000",
    "INCRBYFLOAT a inf",
    "APPEND t hello",
    "APPEND t <world",
    "GET t",
    "STRLEN t",
    "STRLEN nothing",
    "TYPE t",
    "TYPE nothing",
    "EXISTS t t nothing",
    "TOUCH t nothing",
    "DEL t t nothing",
    "UNLINK g",
    "MSET m1 a m2 b m3",
    "MSET m1 a m2 b m1 c",
    "MGET m1 m2 m3",
    "EXPIRE m1 100",
    "TTL m1",
    "EXPIRE m1 200 NX",
    "EXPIRE m1 200 GT",
    "TTL m1",
    "EXPIRE m1 300 LT",
    "EXPIRE m1 50 LT XX",
    "TTL m1",
    "EXPIRE m2 50 GT",
    "EXPIRE m2 50 XX",
    "EXPIRE m2 50 NX GT",
    "EXPIRE m2 50 GT LT",
    "EXPIRE m2 50 FOO",
    "EXPIRE m2 x",
    "EXPIRE m2 9223372036854775807",
    "EXPIRE nothing 10",
    "EXPIRE m2 -1",
    "GET m2",
    "EXPIRE m1 -1 NX",
    "GET m1",
    "PERSIST m1",
    "PERSIST m1",
    "PERSIST nothing",
    "TTL m1",
    "PTTL m1",
    "PTTL nothing",
    "TTL nothing",
    "EXPIRETIME m1",
    "EXPIRETIME nothing",
    "PEXPIRETIME nothing",
    "EXPIREAT m1 4000000",
    "GET m1",
    "SET e <",
    "APPEND empty <",
    "SET month v EX 2592000",
    "TTL month",
    "SET p v EXAT 1",
    "GET p",
    "SET p v NX PXAT 1",
    "GET p",
    "GET",
    "SET a",
    "INCR",
    "FLUSHDB ASYNC",
    "GET a",
    "FLUSHALL FOO",
    "SET a 1",
    "FLUSHALL",
    "GET a",
];

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.replace('<', " ")).collect()
}

#[test]
fn replies_are_those_of_redis_in_both_protocols() {
    let (redis, (_node, larder)) = (Redis::start(), uncached());
    for protocol in Protocol::BOTH {
        let mut clients = [redis.connect(), larder.connect()];
        clients.iter_mut().for_each(|client| client.hello(protocol));
        let mut differ = Vec::new();
        for line in SESSION {
            let [expected, got] = clients.each_mut().map(|client| client.call(&words(line)));
            if expected != got {
                differ.push(format!("{line}: redis {expected:?}, larder {got:?}"));
            }
        }
        assert!(differ.is_empty(), "{protocol:?}\n{}", differ.join("\n"));
    }
}

/// Many commands on few keys, all sent before the first reply is read: what one connection wrote it reads, whatever takes
/// several steps in between.
#[test]
fn a_pipeline_is_carried_out_in_its_order() {
    let (redis, (_node, larder)) = (Redis::start(), uncached());
    let mut dice = Dice::new(7);
    let mut commands = Vec::new();
    for _ in 0..3000 {
        let key = format!("k{}", dice.below(12));
        let line = match dice.below(16) {
            0 | 1 => format!("INCR {key}"),
            2 => format!("DECR {key}"),
            3 => format!("INCRBY {key} -70"),
            4 => format!("SET {key} {}", dice.below(2000)),
            5 => format!("APPEND {key} 1"),
            6 => format!("GETSET {key} 5"),
            7 => format!("GETDEL {key}"),
            8 => format!("MGET k1 {key} k2"),
            9 => format!("SET {key} 7 KEEPTTL"),
            10 => format!("SET {key} 8 XX GET"),
            11 => format!("DEL {key} k3"),
            12 => format!("EXISTS {key} k4"),
            13 => format!("STRLEN {key}"),
            14 => format!("MSET {key} 3 k5 4"),
            _ => format!("GET {key}"),
        };
        commands.push(line);
    }
    let run = |mut client: Client| {
        for line in &commands {
            client.send(&words(line)).expect("it takes what it is sent");
        }
        commands.iter().map(|_| client.read()).collect::<Vec<_>>()
    };
    let (expected, got) = (run(redis.connect()), run(larder.connect()));
    for ((line, expected), got) in commands.iter().zip(expected).zip(got) {
        assert_eq!(got, expected, "{line}");
    }
}

#[test]
fn what_is_not_served_is_refused_by_name_and_changes_nothing() {
    let (_node, larder) = uncached();
    let mut client = larder.connect();
    for line in [
        "MSETNX a 1 b 2",
        "HSET h f v",
        "LPUSH l v",
        "KEYS *",
        "SCAN 0",
        "DBSIZE",
        "RENAME a b",
        "SETRANGE a 1 x",
        "GETRANGE a 0 1",
        "OBJECT ENCODING a",
        "EVAL x 0",
        "BLPOP l 1",
        "DUMP a",
        "MOVE a 1",
        "SORT a",
    ] {
        let reply = client.say(line);
        let name = line.split(' ').next().unwrap_or_default();
        let text = reply.error().unwrap_or_else(|| panic!("{line}: {reply:?}"));
        assert!(text.contains("memcached upstream does not serve") && text.contains(name), "{line}: {text}");
    }
    assert!(client.say("SELECT 1").error().is_some_and(|text| text.contains("DB index is out of range")));
    for line in ["MULTI", "WATCH a"] {
        let mut client = larder.connect();
        let text = client.say(line);
        assert!(text.error().is_some_and(|text| text.contains("memcached upstream does not serve")), "{text:?}");
    }
    assert!(client.say("INFO server").text().is_some_and(|text| text.contains("redis_version:7")));
}

/// Compare and swap: of many that add, none is lost.
#[test]
fn counters_of_many_clients_lose_no_step() {
    let (_node, larder) = uncached();
    larder.connect().say("SET down 4000");
    larder.connect().say("SET float 0 EX 100");
    let appended = AtomicI64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = larder.connect();
                for _ in 0..100 {
                    client.say("INCR up").integer().expect("a number");
                    client.say("DECRBY down 39").integer().expect("a number");
                    client.say("INCRBYFLOAT float 0.25");
                    client.say("APPEND text x").integer().expect("a length");
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let mut client = larder.connect();
    assert_eq!(client.say("GET up").text().as_deref(), Some("800"));
    assert_eq!(client.say("GET down").text().as_deref(), Some(&*(4000 - 800 * 39).to_string()));
    assert_eq!(client.say("GET float").text().as_deref(), Some("200"));
    assert_eq!(client.say("STRLEN text").integer(), Some(appended.load(Ordering::Relaxed)));
}

/// The near-cache in front of it: own writes are seen at once, and what is cached is not asked for again.
#[test]
fn cached_reads_see_own_writes_and_spare_the_node() {
    let node = Memcached::start();
    let larder = Larder::start_with(&Settings::memcached(&[node.address()]));
    let mut client = larder.connect();
    for round in 0..50 {
        let value = round.to_string();
        client.call(&["SET", "k", &value]);
        assert_eq!(client.say("GET k").text(), Some(value.clone()));
        assert_eq!(client.say("MGET k nothing").items().map(<[_]>::len), Some(2));
        client.say("INCR k");
        assert_eq!(client.say("GET k").text(), Some((round + 1).to_string()));
    }
    let asked = || node.connect().stat("cmd_get");
    client.say("GET k");
    let before = asked();
    let replies: Vec<_> = (0..200).map(|_| client.say("GET k")).collect();
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(asked() - before < 20, "{} reads reached the node", asked() - before);
}

#[test]
fn explain_says_what_the_node_does_not_serve() {
    let (_node, larder) = uncached();
    for (words, served) in [
        ("GET k", true),
        ("FLUSHALL", true),
        ("PING", true),
        ("PUBLISH c m", true),
        ("HSET k f v", false),
        ("SCAN 0", false),
        ("MULTI", false),
        ("BLPOP k 0", false),
    ] {
        let reply = larder.say(&format!("LARDER EXPLAIN {words}"));
        let lines: Vec<String> = reply.items().expect("lines").iter().filter_map(Reply::text).collect();
        let refused = lines.iter().any(|line| line.starts_with("served: no: the memcached upstream"));
        assert_eq!(!refused, served, "{words}: {lines:?}");
    }
}
