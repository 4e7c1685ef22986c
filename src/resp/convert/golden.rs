//! Replies of redis-server 7.0.15, asked in both protocol versions.
//!
//! How they were captured: two connections to one server, one after `HELLO 2` and one after `HELLO 3`, and each command
//! sent on both as an array of bulk strings. The data: `HSET h f v n 1`, `SADD s a`,
//! `ZADD z 1.5 a inf b -inf c 1e300 d 3 e 0.1 f`, `ZADD one 1.5 a`,
//! `GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania`, `RPUSH l a b c b`, `SET k v`.

use crate::command::{Nulls, Shape};

const PLAIN: Shape = Shape { nulls: Nulls::Bulk, pairs: false };
const PAIRS: Shape = Shape { nulls: Nulls::Bulk, pairs: true };
const ARRAY_NULLS: Shape = Shape { nulls: Nulls::Array, pairs: false };

/// What was asked, the command's shape, and the reply in RESP3 and in RESP2.
pub(super) const REPLIES: &[(&str, Shape, &[u8], &[u8])] = &[
    ("HGETALL h", PLAIN, b"%2\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\nn\r\n$1\r\n1\r\n", b"*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\nn\r\n$1\r\n1\r\n"),
    ("HGETALL none", PLAIN, b"%0\r\n", b"*0\r\n"),
    ("SMEMBERS s", PLAIN, b"~1\r\n$1\r\na\r\n", b"*1\r\n$1\r\na\r\n"),
    ("SMEMBERS none", PLAIN, b"~0\r\n", b"*0\r\n"),
    ("ZSCORE z a", PLAIN, b",1.5\r\n", b"$3\r\n1.5\r\n"),
    ("ZSCORE z b", PLAIN, b",inf\r\n", b"$3\r\ninf\r\n"),
    ("ZSCORE z c", PLAIN, b",-inf\r\n", b"$4\r\n-inf\r\n"),
    ("ZSCORE z d", PLAIN, b",1.0000000000000001e+300\r\n", b"$23\r\n1.0000000000000001e+300\r\n"),
    ("ZSCORE z e", PLAIN, b",3\r\n", b"$1\r\n3\r\n"),
    ("ZSCORE z f", PLAIN, b",0.10000000000000001\r\n", b"$19\r\n0.10000000000000001\r\n"),
    ("ZSCORE z none", PLAIN, b"_\r\n", b"$-1\r\n"),
    ("ZRANGE z 0 -1", PAIRS, b"*6\r\n$1\r\nc\r\n$1\r\nf\r\n$1\r\na\r\n$1\r\ne\r\n$1\r\nd\r\n$1\r\nb\r\n", b"*6\r\n$1\r\nc\r\n$1\r\nf\r\n$1\r\na\r\n$1\r\ne\r\n$1\r\nd\r\n$1\r\nb\r\n"),
    ("ZRANGE z 0 -1 WITHSCORES", PAIRS, b"*6\r\n*2\r\n$1\r\nc\r\n,-inf\r\n*2\r\n$1\r\nf\r\n,0.10000000000000001\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\ne\r\n,3\r\n*2\r\n$1\r\nd\r\n,1.0000000000000001e+300\r\n*2\r\n$1\r\nb\r\n,inf\r\n", b"*12\r\n$1\r\nc\r\n$4\r\n-inf\r\n$1\r\nf\r\n$19\r\n0.10000000000000001\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\ne\r\n$1\r\n3\r\n$1\r\nd\r\n$23\r\n1.0000000000000001e+300\r\n$1\r\nb\r\n$3\r\ninf\r\n"),
    ("ZRANGE none 0 -1 WITHSCORES", PAIRS, b"*0\r\n", b"*0\r\n"),
    ("ZRANGEBYSCORE z -inf +inf WITHSCORES", PAIRS, b"*6\r\n*2\r\n$1\r\nc\r\n,-inf\r\n*2\r\n$1\r\nf\r\n,0.10000000000000001\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\ne\r\n,3\r\n*2\r\n$1\r\nd\r\n,1.0000000000000001e+300\r\n*2\r\n$1\r\nb\r\n,inf\r\n", b"*12\r\n$1\r\nc\r\n$4\r\n-inf\r\n$1\r\nf\r\n$19\r\n0.10000000000000001\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\ne\r\n$1\r\n3\r\n$1\r\nd\r\n$23\r\n1.0000000000000001e+300\r\n$1\r\nb\r\n$3\r\ninf\r\n"),
    ("ZRANGEBYSCORE z 1 2", PAIRS, b"*1\r\n$1\r\na\r\n", b"*1\r\n$1\r\na\r\n"),
    ("ZREVRANGE one 0 -1 WITHSCORES", PAIRS, b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n", b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
    ("ZMSCORE z a none e", PLAIN, b"*3\r\n,1.5\r\n_\r\n,3\r\n", b"*3\r\n$3\r\n1.5\r\n$-1\r\n$1\r\n3\r\n"),
    ("HMGET h f none n", PLAIN, b"*3\r\n$1\r\nv\r\n_\r\n$1\r\n1\r\n", b"*3\r\n$1\r\nv\r\n$-1\r\n$1\r\n1\r\n"),
    ("GEOPOS g Palermo none", ARRAY_NULLS, b"*2\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n_\r\n", b"*2\r\n*2\r\n$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n*-1\r\n"),
    ("GEOPOS none a", ARRAY_NULLS, b"*1\r\n_\r\n", b"*1\r\n*-1\r\n"),
    ("GEODIST g Palermo Catania", PLAIN, b"$11\r\n166274.1516\r\n", b"$11\r\n166274.1516\r\n"),
    ("GEODIST g Palermo none", PLAIN, b"_\r\n", b"$-1\r\n"),
    ("LRANGE l 0 -1", PLAIN, b"*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nb\r\n", b"*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nb\r\n"),
    ("LRANGE none 0 -1", PLAIN, b"*0\r\n", b"*0\r\n"),
    ("ZRANK z none", PLAIN, b"_\r\n", b"$-1\r\n"),
    ("ZRANK z a", PLAIN, b":2\r\n", b":2\r\n"),
    ("LPOS l b", PLAIN, b":1\r\n", b":1\r\n"),
    ("LPOS l z", PLAIN, b"_\r\n", b"$-1\r\n"),
    ("LPOS l b COUNT 0", PLAIN, b"*2\r\n:1\r\n:3\r\n", b"*2\r\n:1\r\n:3\r\n"),
    ("LPOS l z COUNT 0", PLAIN, b"*0\r\n", b"*0\r\n"),
    ("GET k", PLAIN, b"$1\r\nv\r\n", b"$1\r\nv\r\n"),
    ("GET none", PLAIN, b"_\r\n", b"$-1\r\n"),
    ("GET l", PLAIN, b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ("TYPE k", PLAIN, b"+string\r\n", b"+string\r\n"),
    ("MGET k none", PLAIN, b"*2\r\n$1\r\nv\r\n_\r\n", b"*2\r\n$1\r\nv\r\n$-1\r\n"),
    ("SISMEMBER s a", PLAIN, b":1\r\n", b":1\r\n"),
    ("HKEYS h", PLAIN, b"*2\r\n$1\r\nf\r\n$1\r\nn\r\n", b"*2\r\n$1\r\nf\r\n$1\r\nn\r\n"),
    ("SMISMEMBER s a b", PLAIN, b"*2\r\n:1\r\n:0\r\n", b"*2\r\n:1\r\n:0\r\n"),
];
