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
//! * `REFUSED`: changes a connection that clients share, or takes it out of the protocol, with no answer of our own.

use super::{Cacheable, Form, Local, Nulls, Options, Row, Shape, Way};
use crate::command::effect::{Effect, Reach};

const PLAIN: Row = Row {
    way: Way::Forward,
    cacheable: None,
    effect: None,
    options: Options::Plain,
};
const INERT: Row = Row {
    effect: Some(Effect::Inert),
    ..PLAIN
};
const EVERYTHING: Row = Row {
    effect: Some(Effect::Everything),
    ..PLAIN
};
const PINNED: Row = Row {
    way: Way::Pinned,
    ..PLAIN
};
const PINNED_INERT: Row = Row {
    way: Way::Pinned,
    ..INERT
};
const REFUSED: Row = Row {
    way: Way::Refused,
    ..PLAIN
};

const CACHED: Row = cached(Form::Key, Nulls::Bulk);
const CACHED_NULL_ARRAY: Row = cached(Form::Key, Nulls::Array);
const CACHED_SCORES: Row = Row {
    options: Options::Scores,
    ..CACHED
};
const CACHED_MGET: Row = cached(Form::Mget, Nulls::Bulk);
const CACHED_EXISTS: Row = cached(Form::Exists, Nulls::Bulk);
const CACHED_HASH: Row = Row {
    cacheable: Some(Cacheable {
        form: Form::Key,
        shape: shape(Nulls::Bulk),
        hash_fields: true,
    }),
    ..PLAIN
};

const fn shape(nulls: Nulls) -> Shape {
    Shape {
        nulls,
        pairs: false,
    }
}

const fn cached(form: Form, nulls: Nulls) -> Row {
    Row {
        cacheable: Some(Cacheable {
            form,
            shape: shape(nulls),
            hash_fields: false,
        }),
        ..PLAIN
    }
}

const fn local(local: Local) -> Row {
    Row {
        way: Way::Local(local),
        ..INERT
    }
}

const fn options(options: Options) -> Row {
    Row { options, ..PLAIN }
}

const fn writes(reach: Reach) -> Row {
    Row {
        effect: Some(Effect::Write(reach)),
        ..PLAIN
    }
}

/// Sorted by name, in bytes.
pub static ROWS: &[(&str, Row)] = &[
    ("acl|cat", INERT),
    ("acl|dryrun", INERT),
    ("acl|genpass", INERT),
    ("acl|getuser", INERT),
    ("acl|help", INERT),
    ("acl|list", INERT),
    ("acl|log", INERT),
    ("acl|save", INERT),
    ("acl|users", INERT),
    ("acl|whoami", INERT),
    ("asking", REFUSED),
    ("auth", local(Local::Auth)),
    ("bgrewriteaof", INERT),
    ("bgsave", INERT),
    ("bitcount", CACHED),
    ("bitfield", options(Options::Bitfield)),
    ("bitfield_ro", CACHED),
    ("bitpos", CACHED),
    ("blmove", PINNED),
    ("blmpop", PINNED),
    ("blpop", PINNED),
    ("brpop", PINNED),
    ("brpoplpush", PINNED),
    ("bzmpop", PINNED),
    ("bzpopmax", PINNED),
    ("bzpopmin", PINNED),
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
    ("cluster|addslots", EVERYTHING),
    ("cluster|addslotsrange", EVERYTHING),
    ("cluster|count-failure-reports", INERT),
    ("cluster|countkeysinslot", INERT),
    ("cluster|delslots", EVERYTHING),
    ("cluster|delslotsrange", EVERYTHING),
    ("cluster|failover", EVERYTHING),
    ("cluster|flushslots", EVERYTHING),
    ("cluster|forget", EVERYTHING),
    ("cluster|getkeysinslot", INERT),
    ("cluster|help", INERT),
    ("cluster|info", INERT),
    ("cluster|keyslot", INERT),
    ("cluster|links", INERT),
    ("cluster|meet", EVERYTHING),
    ("cluster|myid", INERT),
    ("cluster|nodes", INERT),
    ("cluster|replicas", INERT),
    ("cluster|replicate", EVERYTHING),
    ("cluster|reset", EVERYTHING),
    ("cluster|saveconfig", INERT),
    ("cluster|setslot", EVERYTHING),
    ("cluster|shards", INERT),
    ("cluster|slaves", INERT),
    ("cluster|slots", INERT),
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
    ("config|resetstat", INERT),
    ("config|rewrite", INERT),
    ("config|set", INERT),
    ("debug", EVERYTHING),
    ("discard", PINNED_INERT),
    ("echo", local(Local::Echo)),
    ("exec", PINNED),
    ("exists", CACHED_EXISTS),
    ("expiretime", CACHED),
    ("failover", EVERYTHING),
    ("flushall", EVERYTHING),
    ("flushdb", EVERYTHING),
    ("function|dump", INERT),
    ("function|help", INERT),
    ("function|kill", INERT),
    ("function|list", INERT),
    ("function|stats", INERT),
    ("geodist", CACHED),
    ("geohash", CACHED),
    ("geopos", CACHED_NULL_ARRAY),
    ("georadius", options(Options::Georadius)),
    ("georadius_ro", CACHED),
    ("georadiusbymember", options(Options::Georadius)),
    ("georadiusbymember_ro", CACHED),
    ("geosearch", CACHED),
    ("get", CACHED),
    ("getbit", CACHED),
    ("getrange", CACHED),
    ("hello", local(Local::Hello)),
    ("hexists", CACHED_HASH),
    ("hget", CACHED_HASH),
    ("hgetall", CACHED_HASH),
    ("hkeys", CACHED_HASH),
    ("hlen", CACHED_HASH),
    ("hmget", CACHED_HASH),
    ("hstrlen", CACHED_HASH),
    ("hvals", CACHED_HASH),
    ("info", local(Local::Info)),
    ("larder", local(Local::Larder)),
    ("larder|explain", local(Local::Larder)),
    ("larder|flush", local(Local::Larder)),
    ("larder|help", local(Local::Larder)),
    ("larder|hotkeys", local(Local::Larder)),
    ("larder|invalidate", local(Local::Larder)),
    ("larder|stats", local(Local::Larder)),
    ("lastsave", INERT),
    ("latency|doctor", INERT),
    ("latency|graph", INERT),
    ("latency|help", INERT),
    ("latency|histogram", INERT),
    ("latency|history", INERT),
    ("latency|latest", INERT),
    ("latency|reset", INERT),
    ("lindex", CACHED),
    ("llen", CACHED),
    ("lolwut", INERT),
    ("lpos", CACHED),
    ("lrange", CACHED),
    ("memory|doctor", INERT),
    ("memory|help", INERT),
    ("memory|malloc-stats", INERT),
    ("memory|purge", INERT),
    ("memory|stats", INERT),
    ("mget", CACHED_MGET),
    ("migrate", options(Options::Migrate)),
    ("module|help", INERT),
    ("module|list", INERT),
    ("module|load", EVERYTHING),
    ("module|loadex", EVERYTHING),
    ("module|unload", EVERYTHING),
    ("monitor", PINNED_INERT),
    ("multi", PINNED_INERT),
    ("object|help", INERT),
    ("pexpiretime", CACHED),
    ("pfcount", writes(Reach::Named)),
    ("ping", local(Local::Ping)),
    ("psubscribe", PINNED_INERT),
    ("psync", REFUSED),
    ("publish", INERT),
    ("pubsub|channels", INERT),
    ("pubsub|help", INERT),
    ("pubsub|numpat", INERT),
    ("pubsub|numsub", INERT),
    ("pubsub|shardchannels", INERT),
    ("pubsub|shardnumsub", INERT),
    ("punsubscribe", PINNED_INERT),
    ("quit", local(Local::Quit)),
    ("readonly", REFUSED),
    ("readwrite", REFUSED),
    ("replconf", REFUSED),
    ("replicaof", EVERYTHING),
    ("reset", local(Local::Reset)),
    ("role", INERT),
    ("save", INERT),
    ("scard", CACHED),
    ("script|debug", REFUSED),
    ("script|exists", INERT),
    ("script|flush", INERT),
    ("script|help", INERT),
    ("script|kill", INERT),
    ("script|load", INERT),
    ("select", local(Local::Select)),
    ("set", options(Options::Set)),
    ("shutdown", EVERYTHING),
    ("sismember", CACHED),
    ("slaveof", EVERYTHING),
    ("slowlog|get", INERT),
    ("slowlog|help", INERT),
    ("slowlog|len", INERT),
    ("slowlog|reset", INERT),
    ("smembers", CACHED),
    ("smismember", CACHED),
    ("sort", options(Options::Sort)),
    ("sort_ro", options(Options::Sort)),
    ("spublish", INERT),
    ("ssubscribe", PINNED_INERT),
    ("strlen", CACHED),
    ("subscribe", PINNED_INERT),
    ("substr", CACHED),
    ("sunsubscribe", PINNED_INERT),
    ("swapdb", EVERYTHING),
    ("sync", REFUSED),
    ("time", INERT),
    ("type", CACHED),
    ("unsubscribe", PINNED_INERT),
    ("unwatch", PINNED_INERT),
    ("wait", PINNED_INERT),
    ("watch", PINNED_INERT),
    ("xgroup|help", INERT),
    ("xinfo|help", INERT),
    ("xlen", CACHED),
    ("xrange", CACHED_NULL_ARRAY),
    ("xread", options(Options::Streams)),
    ("xreadgroup", options(Options::Streams)),
    ("xrevrange", CACHED_NULL_ARRAY),
    ("zcard", CACHED),
    ("zcount", CACHED),
    ("zlexcount", CACHED),
    ("zmscore", CACHED),
    ("zrange", CACHED_SCORES),
    ("zrangebylex", CACHED),
    ("zrangebyscore", CACHED_SCORES),
    ("zrank", CACHED),
    ("zrevrange", CACHED_SCORES),
    ("zrevrangebylex", CACHED),
    ("zrevrangebyscore", CACHED_SCORES),
    ("zrevrank", CACHED),
    ("zscore", CACHED),
];
