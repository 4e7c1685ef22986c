//! One's own writes: which commands are writes, and when their effect is seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// A state, a command that changes `k`, and the looks that must show the change. `|` separates commands.
const WRITES: [(&str, &str, &str); 52] = [
    ("SET k 1", "SET k 2", "GET k"),
    ("SET k 1", "SET k 2 GET", "GET k"),
    ("SET k 1", "SET k 2 PX 100000 XX", "GET k|PEXPIRETIME k"),
    ("SET k 1", "GETSET k 2", "GET k"),
    ("SET k 1", "GETDEL k", "GET k|EXISTS k"),
    ("SET k 1", "GETEX k PXAT 33177117420123", "PEXPIRETIME k"),
    ("SET k 1 PXAT 33177117420123", "GETEX k PERSIST", "PEXPIRETIME k"),
    ("SET k 1", "INCR k", "GET k"),
    ("SET k 1", "DECRBY k 9", "GET k|STRLEN k"),
    ("SET k 1", "INCRBYFLOAT k 0.5", "GET k"),
    ("SET k abc", "APPEND k def", "GET k|STRLEN k|GETRANGE k 0 -1"),
    ("SET k abc", "SETRANGE k 1 XX", "GET k|GETRANGE k 1 1"),
    ("SET k abc", "SETBIT k 1 0", "GET k|GETBIT k 1|BITCOUNT k"),
    ("SET k abc", "BITFIELD k SET u8 0 255", "GET k|BITCOUNT k"),
    ("SET k abc", "bitfield k incrby u8 8 1", "GET k|BITFIELD_RO k GET u8 8"),
    ("DEL k", "SETNX k v", "GET k|EXISTS k"),
    ("DEL k", "SETEX k 1000 v", "GET k|TYPE k"),
    ("SET k v", "EXPIREAT k 33177117420", "EXPIRETIME k"),
    ("SET k v", "PEXPIREAT k 33177117420123", "PEXPIRETIME k"),
    ("SET k v PXAT 33177117420123", "PERSIST k", "PEXPIRETIME k"),
    ("SET k v", "EXPIRE k -1", "GET k|EXISTS k|TYPE k"),
    ("SET k v", "DEL k", "GET k|EXISTS k|STRLEN k"),
    ("SET k v", "UNLINK k", "GET k|MGET k other"),
    ("HSET k f 1", "HSET k f 2 g 3", "HGET k f|HGETALL k|HLEN k|HKEYS k|HVALS k"),
    ("HSET k f 1", "HSETNX k g 3", "HGETALL k|HEXISTS k g"),
    ("HSET k f 1", "HMSET k f 2", "HGET k f|HMGET k f g|HSTRLEN k f"),
    ("HSET k f 1", "HINCRBY k f 5", "HGET k f|HGETALL k"),
    ("HSET k f 1", "HINCRBYFLOAT k f 0.5", "HGET k f|HVALS k"),
    ("HSET k f 1 g 2", "HDEL k f", "HGET k f|HGETALL k|HLEN k|HEXISTS k f"),
    ("RPUSH k a b c", "LPUSH k z", "LRANGE k 0 -1|LLEN k|LINDEX k 0"),
    ("RPUSH k a b c", "RPUSHX k z", "LRANGE k 0 -1|LINDEX k -1|LPOS k z"),
    ("RPUSH k a b c", "LPOP k 2", "LRANGE k 0 -1|LLEN k"),
    ("RPUSH k a b c", "RPOP k", "LRANGE k 0 -1"),
    ("RPUSH k a b c", "LSET k 1 B", "LRANGE k 0 -1|LINDEX k 1"),
    ("RPUSH k a b c", "LREM k 0 b", "LRANGE k 0 -1"),
    ("RPUSH k a b c", "LTRIM k 1 1", "LRANGE k 0 -1|LLEN k"),
    ("RPUSH k a b c", "LINSERT k BEFORE b x", "LRANGE k 0 -1|LPOS k b"),
    ("SADD k 1", "SADD k 2", "SMEMBERS k|SCARD k|SISMEMBER k 2|SMISMEMBER k 1 2"),
    ("SADD k 1 2", "SREM k 2", "SMEMBERS k|SCARD k|SISMEMBER k 2"),
    ("SADD k 1", "SPOP k", "SMEMBERS k|EXISTS k"),
    ("ZADD k 1 a", "ZADD k 2 a 3 b", "ZSCORE k a|ZRANGE k 0 -1 WITHSCORES|ZCARD k|ZRANK k b"),
    ("ZADD k 1 a", "ZADD k INCR 5 a", "ZSCORE k a|ZMSCORE k a b|ZCOUNT k 2 9"),
    ("ZADD k 1 a", "ZINCRBY k 5 a", "ZSCORE k a|ZRANGEBYSCORE k 2 9"),
    ("ZADD k 1 a 2 b", "ZREM k a", "ZSCORE k a|ZRANK k b|ZREVRANK k b"),
    ("ZADD k 1 a 2 b", "ZPOPMIN k", "ZRANGE k 0 -1|ZCARD k"),
    ("ZADD k 1 a 2 b", "ZPOPMAX k 1", "ZRANGE k 0 -1|ZREVRANGE k 0 -1"),
    ("ZADD k 1 a 2 b", "ZREMRANGEBYRANK k 0 0", "ZRANGE k 0 -1"),
    ("ZADD k 1 a 2 b", "ZREMRANGEBYSCORE k 2 2", "ZRANGE k 0 -1|ZCOUNT k -inf +inf"),
    ("ZADD k 0 a 0 b", "ZREMRANGEBYLEX k [a [a", "ZRANGE k 0 -1|ZLEXCOUNT k - +"),
    ("GEOADD k 13 38 p", "GEOADD k 14 39 p", "GEOPOS k p|GEOHASH k p|ZSCORE k p"),
    ("XADD k 1-1 f v", "XADD k 1-2 f v", "XLEN k|XRANGE k - +"),
    ("PFADD k a", "PFADD k b", "GET k|STRLEN k"),
];

/// T11, T19: every write is seen at once through the same proxy, on any connection, whatever was cached.
#[test]
fn t11_every_kind_of_write_is_seen_at_once_on_another_connection() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut writer, mut reader) = (origin.connect(), larder.connect(), larder.connect());
    for (state, write, looks) in WRITES {
        writer.say("DEL k");
        assert_eq!(writer.say(state).error(), None, "{state}");
        let looks: Vec<&str> = looks.split('|').collect();
        for _ in 0..3 {
            looks.iter().for_each(|look| drop(reader.say(look)));
        }
        assert_eq!(writer.say(write).error(), None, "{write}");
        for look in looks {
            assert_eq!(reader.say(look), direct.say(look), "`{look}` after `{state}` and `{write}`");
        }
    }
}

/// T11: the same writes by scripts and functions that declare their keys.
#[test]
fn t11_scripts_and_functions_are_writes_of_their_declared_keys() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    let script = "return redis.call('SET', KEYS[2], ARGV[1])";
    let code =
        "#!lua name=lib\nredis.register_function('put', function(k, a) return redis.call('SET', k[2], a[1]) end)";
    let hash = writer.call(&["SCRIPT", "LOAD", script]).text().expect("a digest");
    assert_eq!(writer.call(&["FUNCTION", "LOAD", code]), Reply::bulk("lib"));
    for round in 0..30 {
        for (number, call) in [["EVAL", script], ["EVALSHA", &hash], ["FCALL", "put"]].iter().enumerate() {
            assert_eq!((reader.say("GET k"), reader.say("GET k")).0.error(), None);
            let value = format!("{round}-{number}");
            assert_eq!(writer.call(&[call[0], call[1], "2", "other", "k", &value]), Reply::ok());
            assert_eq!(reader.say("GET k"), Reply::bulk(&value), "after {}", call[0]);
        }
    }
}

/// T18: a read behind a write in one pipeline must not be answered before the write is.
#[test]
fn t18_a_pipelined_read_sees_the_write_before_it() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for round in 0..200 {
        let (a, b) = (format!("SET k a{round}"), format!("SET k b{round}"));
        let replies = client
            .pipeline(&["GET k", &a, "GET k", "STRLEN k", &b, "GET k", "DEL k", "GET k", "EXISTS k", &a, "GET k"]);
        let (a, b) = (Reply::bulk(&format!("a{round}")), Reply::bulk(&format!("b{round}")));
        assert_eq!((&replies[2], &replies[5]), (&a, &b));
        assert_eq!((&replies[7], &replies[8], &replies[10]), (&Reply::Null, &Reply::Integer(0), &a));
        assert_eq!(client.say("GET k"), a);
    }
}

/// T19: once a write is acknowledged to one client, every other client's read sees it.
#[test]
fn t19_an_acknowledged_write_is_seen_by_all_clients() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut writer = larder.connect();
    // More connections than workers, so that writer and readers share none.
    let mut readers: Vec<_> = (0..6).map(|_| larder.connect()).collect();
    // Others keep the entry warm all the time: their fills must not bring the older value back.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        for _ in 0..2 {
            let mut warmer = larder.connect();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    warmer.pipeline(&["GET k", "GET k", "MGET k k"]);
                }
            });
        }
        let mut wrong = None;
        for version in 0..1500 {
            writer.say(&format!("SET k {version}"));
            for reader in &mut readers {
                let seen = reader.say("GET k");
                if seen != Reply::bulk(&version.to_string()) {
                    wrong = Some((version, seen));
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
    });
}

/// T21: a write through the proxy leaves the key tracked, or not cached: the next foreign change is seen.
#[test]
fn t21_after_an_own_write_foreign_changes_are_still_seen() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for version in 0..100 {
        client.pipeline(&[&format!("SET k own{version}"), "GET k", "GET k"]);
        direct.say(&format!("SET k foreign{version}"));
        let foreign = Reply::bulk(&format!("foreign{version}"));
        wait::until("the foreign change is seen", || client.say("GET k") == foreign);
    }
}

/// T57: a command that Larder's table does not know is forwarded, and is taken for a write.
#[test]
fn t57_an_unknown_command_is_forwarded_and_taken_for_a_write() {
    let origin = Redis::start_with(&["--rename-command", "SET", "PUT", "--rename-command", "GETDEL", ""]);
    let larder = Larder::start(origin.address());
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    for round in 0..50 {
        assert_eq!(writer.say(&format!("PUT k {round}")), Reply::ok());
        let value = Reply::bulk(&round.to_string());
        wait::until("what it wrote is seen", || reader.say("GET k") == value);
    }
    // Known to the table, not to this server: its own words.
    let unknown = writer.say("SET k v");
    assert_eq!(unknown.error(), Some("ERR unknown command 'SET', with args beginning with: 'k' 'v' "));
    assert!(writer.say("GETDEL k").error().is_some());
    assert_eq!(reader.say("GET k"), Reply::bulk("49"));
}

/// T57: an error of the origin reaches the client as it is.
#[test]
fn t57_errors_of_the_origin_pass_unchanged() {
    let origin = Redis::start_with(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    let filling = "x".repeat(100_000);
    let full = (0..100).any(|number| client.call(&["SET", &format!("k{number}"), &filling]).error().is_some());
    assert!(full, "two megabytes were never full");
    let command = ["SET", "another", &filling];
    assert_eq!(client.call_raw(&command), direct.call_raw(&command));
    assert!(client.call_raw(&command).starts_with(b"-OOM "));
    assert_eq!(client.say("STRLEN k0"), Reply::Integer(100_000), "reads go on");
}
