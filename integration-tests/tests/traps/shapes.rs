//! One cached reply, two protocols: the bytes are the origin's in each.

use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;

/// Keys of every type, with the values whose text form is delicate.
const STATE: [&str; 9] = [
    "SET s value",
    "SET n 10",
    "HSET h a 1 b 2",
    "RPUSH l a b c a",
    "SADD i 1 2 3",
    "ZADD z inf pos -inf neg 1e300 huge 0.1 tenth 3.0000000000000004 precise 17179869184 big 1 one 1 uno",
    "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "XADD x 1-1 f v",
    "SET t ohmytext",
];

/// Every read whose reply has another shape in RESP3, by its options too, and some that have not.
const READS: [&str; 61] = [
    "GET s",
    "GET none",
    "MGET s none n",
    "STRLEN s",
    "EXISTS s none",
    "TYPE s",
    "TYPE none",
    "GETRANGE s 0 1",
    "HGETALL h",
    "HGETALL none",
    "HGET h a",
    "HGET h none",
    "HMGET h a none",
    "HKEYS h",
    "HVALS h",
    "HLEN h",
    "HEXISTS h a",
    "HSTRLEN h a",
    "LRANGE l 0 -1",
    "LRANGE none 0 -1",
    "LINDEX l 0",
    "LINDEX l 99",
    "LLEN l",
    "LPOS l a",
    "LPOS l none",
    "LPOS l a COUNT 0",
    "SMEMBERS i",
    "SMEMBERS none",
    "SISMEMBER i 1",
    "SMISMEMBER i 1 9",
    "SCARD i",
    "ZSCORE z pos",
    "ZSCORE z neg",
    "ZSCORE z huge",
    "ZSCORE z tenth",
    "ZSCORE z precise",
    "ZSCORE z big",
    "ZSCORE z none",
    "ZMSCORE z one none huge",
    "ZRANGE z 0 -1",
    "ZRANGE z 0 -1 WITHSCORES",
    "zrange z 0 -1 rev withscores",
    "ZRANGE z -inf +inf BYSCORE WITHSCORES LIMIT 1 3",
    "ZREVRANGE z 0 -1 WITHSCORES",
    "ZRANGEBYSCORE z 0 2 WITHSCORES",
    "ZREVRANGEBYSCORE z 2 0 withscores",
    "ZRANK z one",
    "ZRANK z none",
    "ZCARD z",
    "ZCOUNT z 0 1",
    "ZUNION 1 z WITHSCORES",
    "ZINTER 1 z WITHSCORES",
    "ZDIFF 1 z WITHSCORES",
    "GEOPOS g Palermo none",
    "GEODIST g Palermo Catania km",
    "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHCOORD WITHDIST",
    "XRANGE x - +",
    "LCS t s IDX",
    "BITCOUNT s",
    "GETBIT s 1",
    "PEXPIRETIME s",
];

/// T28: whichever protocol filled the entry, each client gets its own protocol's bytes.
#[test]
fn t28_an_entry_serves_both_protocols_with_the_origin_s_bytes() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct2, mut direct3) = (origin.connect(), origin.connect());
    direct3.hello(Protocol::Resp3);
    let mut wrong = Vec::new();
    for filled_by in Protocol::BOTH {
        direct2.say("FLUSHALL");
        for command in STATE {
            assert_eq!(direct2.say(command).error(), None, "{command}");
        }
        // FLUSHALL has reached it when these are new entries.
        larder_integration_tests::wait::until("the state is seen", || larder.say("TYPE x") == direct2.say("TYPE x"));
        let (mut two, mut three) = (larder.connect(), larder.connect_with(Protocol::Resp3));
        for read in READS {
            let args: Vec<&str> = read.split(' ').collect();
            let (right2, right3) = (direct2.call_raw(&args), direct3.call_raw(&args));
            match filled_by {
                Protocol::Resp2 => drop((two.call_raw(&args), two.call_raw(&args))),
                Protocol::Resp3 => drop((three.call_raw(&args), three.call_raw(&args))),
            }
            for _ in 0..2 {
                for (got, right, protocol) in [(two.call_raw(&args), &right2, 2), (three.call_raw(&args), &right3, 3)] {
                    if got != *right {
                        let (got, right) = (got.escape_ascii().to_string(), right.escape_ascii().to_string());
                        wrong.push(format!("{read}, RESP{protocol}, filled by {filled_by:?}:\n  {got}\n  {right}"));
                    }
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{} replies differ from the origin's:\n{}", wrong.len(), wrong.join("\n"));
}

/// T28: the same on one connection that switches in between.
#[test]
fn t28_hello_switches_the_shape_from_its_place_on() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.connect().pipeline(&["HSET h a 1", "ZADD z 0.5 m"]);
    let (mut client, mut direct) = (larder.connect(), origin.connect());
    for _ in 0..10 {
        let script = [
            "HGETALL h",
            "HELLO 3",
            "HGETALL h",
            "ZSCORE z m",
            "GET none",
            "HELLO 2",
            "HGETALL h",
            "ZSCORE z m",
            "GET none",
        ];
        let (mut got, mut right) = (client.pipeline(&script), direct.pipeline(&script));
        for replies in [&mut got, &mut right] {
            // HELLO tells the server's own number of the client.
            assert!(replies[1].items().is_some() && replies[5].items().is_some());
            replies.remove(5);
            replies.remove(1);
        }
        assert_eq!(got, right);
    }
}
