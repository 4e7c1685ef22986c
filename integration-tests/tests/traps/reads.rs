//! What is a cacheable read and what only looks like one.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// T30: a key that changes its type changes every form that was cached of it.
#[test]
fn t30_a_change_of_type_reaches_every_form() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    let states = ["SET k v", "HSET k f v", "RPUSH k a", "SADD k m", "ZADD k 1 m", "XADD k 1-1 f v"];
    let looks = [
        "GET k",
        "STRLEN k",
        "HGETALL k",
        "HGET k f",
        "HLEN k",
        "LRANGE k 0 -1",
        "LLEN k",
        "SMEMBERS k",
        "SISMEMBER k m",
        "ZRANGE k 0 -1",
        "ZSCORE k m",
        "XLEN k",
        "TYPE k",
        "EXISTS k",
        "MGET k",
    ];
    for round in 0..4 {
        for state in states {
            // Foreign changes in even rounds, own ones in odd rounds.
            let writer = if round % 2 == 0 { &mut direct } else { &mut client };
            writer.pipeline(&["DEL k", state]);
            let kind = direct.say("TYPE k");
            wait::until("the type is seen", || client.say("TYPE k") == kind);
            for look in looks {
                let right = direct.say(look);
                assert_eq!((client.say(look), client.say(look)), (right.clone(), right), "`{look}` after `{state}`");
            }
        }
    }
}

/// T30: an error is never cached.
#[test]
fn t30_an_error_is_gone_with_its_cause() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    client.say("SET k v");
    for _ in 0..5 {
        assert!(client.say("HGETALL k").error().is_some_and(|error| error.starts_with("WRONGTYPE")));
        assert_eq!(client.say("MGET k"), Reply::Array(vec![Reply::bulk("v")]));
    }
    direct.pipeline(&["DEL k", "HSET k f v"]);
    wait::until("the hash is seen", || client.say("HGETALL k").error().is_none());
    assert!(client.say("GET k").error().is_some());
    assert_eq!(client.say("MGET k"), Reply::Array(vec![Reply::Null]), "MGET has no wrong type");
}

/// T31: reads whose answer is never the same for long, or not of one key, reach the origin each time.
#[test]
fn t31_what_is_not_a_function_of_the_key_is_never_cached() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET k v PX 1000000", "SADD s a b c d", "HSET h a 1 b 2", "ZADD z 1 a 2 b", "XADD x 1-1 f v"]);
    let reads = [
        "RANDOMKEY",
        "SRANDMEMBER s",
        "HRANDFIELD h",
        "ZRANDMEMBER z",
        "SSCAN s 0",
        "HSCAN h 0",
        "ZSCAN z 0",
        "SCAN 0",
        "DBSIZE",
        "KEYS *",
        "TIME",
        "OBJECT IDLETIME k",
        "OBJECT ENCODING k",
        "MEMORY USAGE k",
        "XINFO STREAM x",
        "XPENDING x g",
        "DUMP k",
        "LASTSAVE",
        "PFCOUNT p",
        "TOUCH k",
        "XREAD STREAMS x 0",
        "EVAL_RO return(1) 0",
    ];
    for read in reads {
        let (hits, before) = (cached_answers(&larder), calls_at_the_origin(&origin, read));
        for _ in 0..5 {
            client.say(read);
        }
        assert_eq!(cached_answers(&larder), hits, "`{read}` was answered from the cache");
        let reached = calls_at_the_origin(&origin, read) - before;
        assert!(reached == 5, "`{read}` reached the origin {reached} times of 5");
    }
    // Computed from a live entry or forwarded: either way it counts down.
    client.pipeline(&["GET k", "GET k"]);
    let (first, mut least) = (client.say("PTTL k").integer().expect("a number"), i64::MAX);
    wait::until("PTTL counts down", || {
        let now = client.say("PTTL k").integer().expect("a number");
        assert!(now <= least.min(first), "PTTL went up");
        least = now;
        now < first
    });
}

fn cached_answers(larder: &Larder) -> f64 {
    if larder.is_binary() { larder.hits() } else { 0.0 }
}

/// How often the origin has carried out the command with this name.
fn calls_at_the_origin(origin: &Redis, command: &str) -> usize {
    let stats = origin.say("INFO commandstats").text().expect("INFO is text");
    let mut words = command.to_lowercase();
    if ["object", "memory", "xinfo"].iter().any(|container| words.starts_with(container)) {
        words = words.replacen(' ', "|", 1);
    }
    let name = words.split(' ').next().unwrap_or_default();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// T32, T58: commands that look like reads and change something do it each time, in every spelling.
#[test]
fn t32_t58_reads_that_write_are_carried_out_each_time() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    client.say("SET k 1");
    client.pipeline(&["GET k", "GET k"]);
    assert_eq!(client.say("GETEX k PXAT 33177117420123"), Reply::bulk("1"));
    assert_eq!(direct.say("PEXPIRETIME k"), Reply::Integer(33_177_117_420_123));
    assert_eq!(client.say("getex k persist"), Reply::bulk("1"));
    assert_eq!(direct.say("PEXPIRETIME k"), Reply::Integer(-1));
    assert_eq!(client.say("SET k 2 GET"), Reply::bulk("1"));
    assert_eq!((client.say("GETDEL k"), client.say("GETDEL k")), (Reply::bulk("2"), Reply::Null));
    for count in 1..=5 {
        let field = |reply: Reply| reply.items().and_then(|items| items[0].integer());
        assert_eq!(field(client.say("bitfield b incrby u8 0 1")), Some(count));
        assert_eq!(field(client.say("BITFIELD b GET u8 0")), Some(count));
        assert_eq!(field(client.say("BITFIELD_RO b GET u8 0")), Some(count));
    }
    client.say("RPUSH l 2 1");
    for target in ["d1", "d2"] {
        assert_eq!(client.say(&format!("sort l limit 0 10 store {target}")), Reply::Integer(2));
        assert_eq!(client.say(&format!("LRANGE {target} 0 -1")).items().map(<[Reply]>::len), Some(2));
    }
    client.say("GEOADD g 13 38 p");
    assert_eq!(client.say("georadius g 13 38 1 km store gd"), Reply::Integer(1));
    assert_eq!(client.say("EXISTS gd"), Reply::Integer(1));
    client.pipeline(&["XADD x 1-1 f v", "XADD x 1-2 f v", "XGROUP CREATE x g 0"]);
    let first = client.say("XREADGROUP GROUP g me COUNT 1 STREAMS x >");
    assert_ne!(client.say("XREADGROUP GROUP g me COUNT 1 STREAMS x >"), first, "each message is given once");
}

/// T32: PFCOUNT writes what it counts into the key; that must not set off a loop of misses.
#[test]
fn t32_pfcount_counts_and_leaves_the_cache_in_peace() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for member in 0..20 {
        client.say(&format!("PFADD p {member}"));
        assert_eq!(client.say("PFCOUNT p"), Reply::Integer(member + 1));
        assert_eq!(client.say("PFCOUNT p"), Reply::Integer(member + 1));
    }
    larder.warm(&mut client, "GET p");
}

/// T33: some reads depend on keys that they do not name first, or at all.
#[test]
fn t33_reads_of_unnamed_keys_are_right_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    direct.pipeline(&["RPUSH l a b", "SET script_key 0"]);
    let script = "return redis.call('GET', 'script_' .. ARGV[1])";
    for round in 0..50 {
        let (a, b) = (round % 2, 1 - round % 2);
        direct.pipeline(&[
            &format!("MSET w_a {a} w_b {b} o_a A{round} o_b B{round}"),
            &format!("SET script_key {round}"),
        ]);
        for name in ["SORT_RO", "SORT", "sort"] {
            let read = format!("{name} l BY w_* GET o_*");
            assert_eq!(client.say(&read), direct.say(&read), "{read}");
        }
        for name in ["EVAL", "EVAL_RO"] {
            assert_eq!(client.call(&[name, script, "0", "key"]), Reply::bulk(&round.to_string()), "{name}");
        }
    }
}

/// T40: "no such key" is an answer like others, and a key that is made is seen.
#[test]
fn t40_a_key_that_was_missing_is_seen_when_it_is_made() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client, mut other) = (origin.connect(), larder.connect(), larder.connect());
    let missing = |client: &mut Client, key: &str| {
        for _ in 0..3 {
            assert_eq!(client.say(&format!("GET {key}")), Reply::Null);
            assert_eq!(client.say(&format!("EXISTS {key}")), Reply::Integer(0));
            assert_eq!(client.say(&format!("HGETALL {key}")), Reply::Array(vec![]));
            assert_eq!(client.say(&format!("TYPE {key}")), Reply::Simple("none".to_owned()));
        }
    };
    for number in 0..50 {
        missing(&mut client, &format!("own:{number}"));
        other.say(&format!("SET own:{number} v"));
        assert_eq!(client.say(&format!("GET own:{number}")), Reply::bulk("v"), "one's own at once");
        missing(&mut client, &format!("foreign:{number}"));
        direct.say(&format!("SET foreign:{number} v"));
        wait::until("the foreign key is seen", || client.say(&format!("GET foreign:{number}")) == Reply::bulk("v"));
        assert_eq!(client.say(&format!("EXISTS foreign:{number}")), Reply::Integer(1));
        assert!(client.say(&format!("HGETALL foreign:{number}")).error().is_some());
    }
}
