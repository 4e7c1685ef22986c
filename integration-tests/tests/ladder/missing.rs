//! `on_miss: nil`: what is not cached is answered like a key that does not exist.

use larder_integration_tests::client::{Client, Protocol};

use crate::Rig;

/// Reads of one key that may be cached, but for those whose reply for a missing key depends on their options.
const READS: &[&str] = &[
    "BITCOUNT k",
    "EXISTS k",
    "EXPIRETIME k",
    "GEODIST k a b",
    "GEOHASH k a b",
    "GEOPOS k a b",
    "GEORADIUS_RO k 1 2 3 m",
    "GEORADIUSBYMEMBER_RO k a 3 m",
    "GEOSEARCH k FROMLONLAT 1 2 BYRADIUS 3 m",
    "GET k",
    "GETBIT k 7",
    "GETRANGE k 0 -1",
    "HEXISTS k f",
    "HGET k f",
    "HGETALL k",
    "HKEYS k",
    "HLEN k",
    "HMGET k f g",
    "HSTRLEN k f",
    "HVALS k",
    "LINDEX k 0",
    "LLEN k",
    "LRANGE k 0 -1",
    "PEXPIRETIME k",
    "SCARD k",
    "SISMEMBER k m",
    "SMEMBERS k",
    "SMISMEMBER k m n",
    "STRLEN k",
    "SUBSTR k 0 -1",
    "TYPE k",
    "XLEN k",
    "XRANGE k - +",
    "XREVRANGE k + -",
    "ZCARD k",
    "ZCOUNT k 0 1",
    "ZLEXCOUNT k - +",
    "ZMSCORE k a b",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZRANGEBYLEX k - +",
    "ZRANGEBYSCORE k 0 1",
    "ZRANK k m",
    "ZREVRANGE k 0 -1",
    "ZREVRANGEBYLEX k + -",
    "ZREVRANGEBYSCORE k 1 0",
    "ZREVRANK k m",
    "ZSCORE k m",
    "MGET k l",
    "EXISTS k l",
];

#[test]
fn with_on_miss_nil_a_read_of_what_is_not_cached_gets_the_bytes_that_redis_has_for_a_missing_key() {
    let rig = Rig::start("routes:\n  - {keys: [\"*\"], upstream: main, on_miss: nil}");
    rig.force("local-only");
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut larder = rig.larder.connect_with(protocol);
        let mut origin = Client::connect_with(rig.origin.address(), protocol);
        for read in READS {
            let words: Vec<&str> = read.split(' ').collect();
            let (said, expected) = (larder.call_raw(&words), origin.call_raw(&words));
            assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{read} in {protocol:?}");
        }
    }
    // What depends on its options is not guessed.
    let error = rig.larder.say("BITPOS k 1");
    assert!(error.error().is_some_and(|text| text.starts_with("MASTERDOWN ")), "{error:?}");
}
