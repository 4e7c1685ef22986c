//! The one list of the proxy's own columns, sorted by name.
//!
//! Judged one by one, and wrong on the safe side:
//! * `CACHED`: the reply depends on the one key in argument 1 and on nothing else. Left out although Redis calls them
//!   reads: what is relative to the clock (TTL, OBJECT IDLETIME), random or a cursor, what has a side effect (TOUCH),
//!   what reads keys that it does not name (SORT_RO, scripts), what reads several keys at once (SINTER, LCS), and what
//!   describes the server rather than the value (MEMORY USAGE, OBJECT ENCODING, XINFO, DUMP).
//! * `INERT`: neither reads nor changes any key. What changes users, functions or slots is left out: it does not touch
//!   keys either, but it is rare, and taking it for a write costs nothing.
//! * `EVERYTHING`: replaces keys wholesale, or changes who owns them, perhaps without telling anyone.
//! * `everywhere`, `every_shard`, `report` and the other words about nodes: where COMMAND has no tips that a proxy can use.
//!   Users, passwords and settings are those of each node, and newer versions say so. Several reports are shown one
//!   below the other. MSETNX is all or nothing, which several nodes cannot be: its keys must lie together. RANDOMKEY
//!   is a key of any node that has one; LASTSAVE is the oldest. `undivided`: figures that cannot be added up are those of
//!   one node. `of_a_node`: makes sense only for a node that is meant, and nobody can say which.
//! * `public`: MODULE LIST, which libraries ask to learn what they may use; it changes nothing and gives nothing away.
//! * `REFUSED`: changes a connection that clients share, or takes it out of the protocol, with no answer of our own.

use super::{Cacheable, Form, Lease, Local, Missing, Nulls, Options, Row, Shape, Timeout, Way};
use crate::command::effect::{Effect, Reach};
use crate::command::policy::{RequestPolicy, ResponsePolicy};

const PLAIN: Row = Row {
    way: Way::Forward,
    cacheable: None,
    effect: None,
    options: Options::Plain,
    request: None,
    response: None,
    public: false,
};
const INERT: Row = Row { effect: Some(Effect::Inert), ..PLAIN };
const EVERYTHING: Row = Row { effect: Some(Effect::Everything), ..PLAIN };
const TRANSACTION: Row = Row { way: Way::Leased(Lease::Transaction), ..INERT };
const BLOCKS_FIRST: Row = Row { way: Way::Leased(Lease::Block(Timeout::First)), ..PLAIN };
const BLOCKS_LAST: Row = Row { way: Way::Leased(Lease::Block(Timeout::Last)), ..PLAIN };
const AUDIENCE: Row = Row { options: Options::Audience, ..INERT };
const REFUSED: Row = Row { way: Way::Refused, ..PLAIN };

const CACHED: Row = cached(Form::Key, Nulls::Bulk);
const CACHED_NULL_ARRAY: Row = cached(Form::Key, Nulls::Array);
const CACHED_SCORES: Row = Row { options: Options::Scores, ..CACHED };
const CACHED_MGET: Row = cached(Form::Mget, Nulls::Bulk);
const CACHED_EXISTS: Row = cached(Form::Exists, Nulls::Bulk);
const CACHED_HASH: Row = match CACHED.cacheable {
    Some(cacheable) => Row { cacheable: Some(Cacheable { hash_fields: true, ..cacheable }), ..CACHED },
    None => CACHED,
};

const fn shape(nulls: Nulls) -> Shape {
    Shape { nulls, pairs: false }
}

const fn cached(form: Form, nulls: Nulls) -> Row {
    let cacheable = Cacheable { form, shape: shape(nulls), hash_fields: false, missing: Missing::Unknown };
    Row { cacheable: Some(cacheable), ..PLAIN }
}

/// With what a key gets that does not exist.
const fn absent(row: Row, missing: Missing) -> Row {
    match row.cacheable {
        Some(cacheable) => Row { cacheable: Some(Cacheable { missing, ..cacheable }), ..row },
        None => row,
    }
}

const fn local(local: Local) -> Row {
    Row { way: Way::Local(local), ..INERT }
}

const fn options(options: Options) -> Row {
    Row { options, ..PLAIN }
}

const fn writes(reach: Reach) -> Row {
    Row { effect: Some(Effect::Write(reach)), ..PLAIN }
}

const fn everywhere(row: Row) -> Row {
    Row { request: Some(RequestPolicy::AllNodes), response: Some(ResponsePolicy::AllSucceeded), ..row }
}

const fn every_shard(row: Row, response: ResponsePolicy) -> Row {
    Row { request: Some(RequestPolicy::AllShards), response: Some(response), ..row }
}

/// To the nodes that Redis's tips say, joined in another way.
const fn joined(row: Row, response: ResponsePolicy) -> Row {
    Row { response: Some(response), ..row }
}

const fn report(row: Row) -> Row {
    joined(row, ResponsePolicy::Texts)
}

const fn undivided(row: Row) -> Row {
    Row { request: Some(RequestPolicy::Default), ..row }
}

const fn of_a_node(row: Row) -> Row {
    Row { request: Some(RequestPolicy::Special), ..row }
}

/// Sorted by name, in bytes.
pub static ROWS: &[(&str, Row)] = &[
    ("acl|cat", INERT),
    ("acl|deluser", everywhere(PLAIN)),
    ("acl|dryrun", INERT),
    ("acl|genpass", INERT),
    ("acl|getuser", INERT),
    ("acl|help", INERT),
    ("acl|list", INERT),
    ("acl|load", everywhere(PLAIN)),
    ("acl|log", INERT),
    ("acl|save", everywhere(INERT)),
    ("acl|setuser", everywhere(PLAIN)),
    ("acl|users", INERT),
    ("acl|whoami", INERT),
    ("asking", local(Local::Cluster)),
    ("auth", local(Local::Auth)),
    ("bgrewriteaof", every_shard(INERT, ResponsePolicy::AllSucceeded)),
    ("bgsave", every_shard(INERT, ResponsePolicy::AllSucceeded)),
    ("bitcount", absent(CACHED, Missing::Zero)),
    ("bitfield", options(Options::Bitfield)),
    ("bitfield_ro", CACHED),
    ("bitpos", CACHED),
    ("blmove", BLOCKS_LAST),
    ("blmpop", BLOCKS_FIRST),
    ("blpop", BLOCKS_LAST),
    ("brpop", BLOCKS_LAST),
    ("brpoplpush", BLOCKS_LAST),
    ("bzmpop", BLOCKS_FIRST),
    ("bzpopmax", BLOCKS_LAST),
    ("bzpopmin", BLOCKS_LAST),
    ("client", local(Local::Client)),
    ("client|caching", local(Local::Client)),
    ("client|getname", local(Local::Client)),
    ("client|getredir", local(Local::Client)),
    ("client|help", local(Local::Client)),
    ("client|id", local(Local::Client)),
    ("client|info", local(Local::Client)),
    ("client|kill", local(Local::Client)),
    ("client|list", local(Local::Client)),
    ("client|no-evict", local(Local::Client)),
    ("client|no-touch", local(Local::Client)),
    ("client|pause", local(Local::Client)),
    ("client|reply", local(Local::Client)),
    ("client|setinfo", local(Local::Client)),
    ("client|setname", local(Local::Client)),
    ("client|tracking", local(Local::Client)),
    ("client|trackinginfo", local(Local::Client)),
    ("client|unblock", local(Local::Client)),
    ("client|unpause", local(Local::Client)),
    ("cluster", local(Local::Cluster)),
    ("cluster|addslots", local(Local::Cluster)),
    ("cluster|addslotsrange", local(Local::Cluster)),
    ("cluster|bumpepoch", local(Local::Cluster)),
    ("cluster|count-failure-reports", local(Local::Cluster)),
    ("cluster|countkeysinslot", local(Local::Cluster)),
    ("cluster|delslots", local(Local::Cluster)),
    ("cluster|delslotsrange", local(Local::Cluster)),
    ("cluster|failover", local(Local::Cluster)),
    ("cluster|flushslots", local(Local::Cluster)),
    ("cluster|forget", local(Local::Cluster)),
    ("cluster|getkeysinslot", local(Local::Cluster)),
    ("cluster|help", local(Local::Cluster)),
    ("cluster|info", local(Local::Cluster)),
    ("cluster|keyslot", local(Local::Cluster)),
    ("cluster|links", local(Local::Cluster)),
    ("cluster|meet", local(Local::Cluster)),
    ("cluster|myid", local(Local::Cluster)),
    ("cluster|nodes", local(Local::Cluster)),
    ("cluster|replicas", local(Local::Cluster)),
    ("cluster|replicate", local(Local::Cluster)),
    ("cluster|reset", local(Local::Cluster)),
    ("cluster|saveconfig", local(Local::Cluster)),
    ("cluster|set-config-epoch", local(Local::Cluster)),
    ("cluster|setslot", local(Local::Cluster)),
    ("cluster|shards", local(Local::Cluster)),
    ("cluster|slaves", local(Local::Cluster)),
    ("cluster|slots", local(Local::Cluster)),
    ("command", local(Local::Command)),
    ("command|count", local(Local::Command)),
    ("command|docs", local(Local::Command)),
    ("command|getkeys", local(Local::Command)),
    ("command|getkeysandflags", local(Local::Command)),
    ("command|help", local(Local::Command)),
    ("command|info", local(Local::Command)),
    ("command|list", local(Local::Command)),
    ("config|get", local(Local::ConfigGet)),
    ("config|help", INERT),
    ("config|resetstat", everywhere(INERT)),
    ("config|rewrite", everywhere(INERT)),
    ("config|set", INERT),
    ("debug", of_a_node(EVERYTHING)),
    ("discard", TRANSACTION),
    ("echo", local(Local::Echo)),
    ("exec", TRANSACTION),
    ("exists", absent(CACHED_EXISTS, Missing::Zero)),
    ("expiretime", absent(CACHED, Missing::MinusTwo)),
    ("failover", of_a_node(EVERYTHING)),
    ("flushall", EVERYTHING),
    ("flushdb", EVERYTHING),
    ("function|dump", INERT),
    ("function|help", INERT),
    ("function|kill", INERT),
    ("function|list", INERT),
    ("function|stats", undivided(INERT)),
    ("geodist", absent(CACHED, Missing::Null)),
    ("geohash", absent(CACHED, Missing::NullEach)),
    ("geopos", absent(CACHED_NULL_ARRAY, Missing::NullArrayEach)),
    ("georadius", options(Options::Georadius)),
    ("georadius_ro", absent(CACHED, Missing::Array)),
    ("georadiusbymember", options(Options::Georadius)),
    ("georadiusbymember_ro", absent(CACHED, Missing::Array)),
    ("geosearch", absent(CACHED, Missing::Array)),
    ("get", absent(CACHED, Missing::Null)),
    ("getbit", absent(CACHED, Missing::Zero)),
    ("getrange", absent(CACHED, Missing::Text)),
    ("hello", local(Local::Hello)),
    ("hexists", absent(CACHED_HASH, Missing::Zero)),
    ("hget", absent(CACHED_HASH, Missing::Null)),
    ("hgetall", absent(CACHED_HASH, Missing::Map)),
    ("hkeys", absent(CACHED_HASH, Missing::Array)),
    ("hlen", absent(CACHED_HASH, Missing::Zero)),
    ("hmget", absent(CACHED_HASH, Missing::NullEach)),
    ("hstrlen", absent(CACHED_HASH, Missing::Zero)),
    ("hvals", absent(CACHED_HASH, Missing::Array)),
    ("info", local(Local::Info)),
    ("larder", local(Local::Larder)),
    ("larder|explain", local(Local::Larder)),
    ("larder|flush", local(Local::Larder)),
    ("larder|help", local(Local::Larder)),
    ("larder|hotkeys", local(Local::Larder)),
    ("larder|invalidate", local(Local::Larder)),
    ("larder|ladder", local(Local::Larder)),
    ("larder|nodes", local(Local::Larder)),
    ("larder|staleness", local(Local::Larder)),
    ("larder|stats", local(Local::Larder)),
    ("lastsave", every_shard(INERT, ResponsePolicy::AggMin)),
    ("latency|doctor", report(INERT)),
    ("latency|graph", report(INERT)),
    ("latency|help", INERT),
    ("latency|histogram", undivided(INERT)),
    ("latency|history", joined(INERT, ResponsePolicy::Default)),
    ("latency|latest", joined(INERT, ResponsePolicy::Default)),
    ("latency|reset", INERT),
    ("lindex", absent(CACHED, Missing::Null)),
    ("llen", absent(CACHED, Missing::Zero)),
    ("lolwut", INERT),
    ("lpos", CACHED),
    ("lrange", absent(CACHED, Missing::Array)),
    ("memory|doctor", report(INERT)),
    ("memory|help", INERT),
    ("memory|malloc-stats", report(INERT)),
    ("memory|purge", INERT),
    ("memory|stats", undivided(INERT)),
    ("mget", absent(CACHED_MGET, Missing::Null)),
    ("migrate", options(Options::Migrate)),
    ("module|help", INERT),
    ("module|list", Row { public: true, ..INERT }),
    ("module|load", of_a_node(EVERYTHING)),
    ("module|loadex", of_a_node(EVERYTHING)),
    ("module|unload", of_a_node(EVERYTHING)),
    ("monitor", Row { way: Way::Leased(Lease::Monitor), ..INERT }),
    ("msetnx", undivided(PLAIN)),
    ("multi", TRANSACTION),
    ("object|help", INERT),
    ("pexpiretime", absent(CACHED, Missing::MinusTwo)),
    ("pfcount", writes(Reach::Named)),
    ("ping", local(Local::Ping)),
    ("psubscribe", local(Local::Subscribe)),
    ("psync", REFUSED),
    ("publish", INERT),
    ("pubsub|channels", INERT),
    ("pubsub|help", INERT),
    ("pubsub|numpat", INERT),
    ("pubsub|numsub", AUDIENCE),
    ("pubsub|shardchannels", INERT),
    ("pubsub|shardnumsub", AUDIENCE),
    ("punsubscribe", local(Local::Unsubscribe)),
    ("quit", local(Local::Quit)),
    ("randomkey", every_shard(PLAIN, ResponsePolicy::OneNotNull)),
    ("readonly", local(Local::Cluster)),
    ("readwrite", local(Local::Cluster)),
    ("replconf", REFUSED),
    ("replicaof", of_a_node(EVERYTHING)),
    ("reset", local(Local::Reset)),
    ("role", INERT),
    ("save", every_shard(INERT, ResponsePolicy::AllSucceeded)),
    ("scard", absent(CACHED, Missing::Zero)),
    ("script|debug", REFUSED),
    ("script|exists", INERT),
    ("script|flush", INERT),
    ("script|help", INERT),
    ("script|kill", INERT),
    ("script|load", INERT),
    ("select", local(Local::Select)),
    ("set", options(Options::Set)),
    ("shutdown", of_a_node(EVERYTHING)),
    ("sismember", absent(CACHED, Missing::Zero)),
    ("slaveof", of_a_node(EVERYTHING)),
    ("slowlog|get", INERT),
    ("slowlog|help", INERT),
    ("slowlog|len", INERT),
    ("slowlog|reset", INERT),
    ("smembers", absent(CACHED, Missing::Set)),
    ("smismember", absent(CACHED, Missing::ZeroEach)),
    ("sort", options(Options::Sort)),
    ("sort_ro", options(Options::Sort)),
    ("spublish", INERT),
    ("ssubscribe", local(Local::Subscribe)),
    ("strlen", absent(CACHED, Missing::Zero)),
    ("subscribe", local(Local::Subscribe)),
    ("substr", absent(CACHED, Missing::Text)),
    ("sunsubscribe", local(Local::Unsubscribe)),
    ("swapdb", of_a_node(EVERYTHING)),
    ("sync", REFUSED),
    ("time", INERT),
    ("type", absent(CACHED, Missing::None)),
    ("unsubscribe", local(Local::Unsubscribe)),
    ("unwatch", TRANSACTION),
    ("wait", Row { way: Way::Leased(Lease::Wait), ..INERT }),
    ("watch", TRANSACTION),
    ("xgroup|help", INERT),
    ("xinfo|help", INERT),
    ("xlen", absent(CACHED, Missing::Zero)),
    ("xrange", absent(CACHED_NULL_ARRAY, Missing::Array)),
    ("xread", options(Options::Streams)),
    ("xreadgroup", options(Options::Streams)),
    ("xrevrange", absent(CACHED_NULL_ARRAY, Missing::Array)),
    ("zcard", absent(CACHED, Missing::Zero)),
    ("zcount", absent(CACHED, Missing::Zero)),
    ("zlexcount", absent(CACHED, Missing::Zero)),
    ("zmscore", absent(CACHED, Missing::NullEach)),
    ("zrange", absent(CACHED_SCORES, Missing::Array)),
    ("zrangebylex", absent(CACHED, Missing::Array)),
    ("zrangebyscore", absent(CACHED_SCORES, Missing::Array)),
    ("zrank", absent(CACHED, Missing::Null)),
    ("zrevrange", absent(CACHED_SCORES, Missing::Array)),
    ("zrevrangebylex", absent(CACHED, Missing::Array)),
    ("zrevrangebyscore", absent(CACHED_SCORES, Missing::Array)),
    ("zrevrank", absent(CACHED, Missing::Null)),
    ("zscore", absent(CACHED, Missing::Null)),
];
