//! The configuration: plain data that knows no component. See `config.example.yaml` for the reference.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub listeners: Vec<Listener>,
    pub upstreams: BTreeMap<String, Upstream>,
    pub routes: Vec<Route>,
    pub near_cache: NearCache,
    pub ladders: BTreeMap<String, Vec<LadderStep>>,
    pub admin: Admin,
    pub limits: Limits,
    pub workers: Workers,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub address: Address,
    pub tls: Option<ListenerTls>,
}

/// `host:port`, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls { pub cert: PathBuf, pub key: PathBuf, pub client_ca: Option<PathBuf> }

#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub kind: Kind,
    pub endpoints: Vec<Address>,
    pub replicas: Vec<Address>,
    /// kind redis-sentinel: the name of the primary.
    pub primary_name: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,        // password or the content of password_file
    pub database: u32,
    pub tls: Option<UpstreamTls>,
    pub connect_timeout: Duration,       // 500ms
    pub command_timeout: Duration,       // 500ms
    pub coherence: Coherence,            // auto
    pub heartbeat: Heartbeat,            // {interval: 250ms, timeout: 500ms}: proof of life of the tracked connection
    pub max_memory: u64,                 // kind memory only: 256mb
    pub breaker: Breaker,
    pub health_check: HealthCheck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind { Redis, RedisSentinel, RedisCluster, Memcached, RedisRing, Memory }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence { Auto, Tracking, Ttl }

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heartbeat { pub interval: Duration, pub timeout: Duration }

#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTls { pub ca: Option<PathBuf>, pub server_name: Option<String>, pub cert: Option<PathBuf>, pub key: Option<PathBuf> }

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breaker { pub failure_threshold: u32, pub error_rate: f64 /* 0..=1 */, pub window: Duration, pub min_requests: u32, pub reset_timeout: Duration, pub half_open_probes: u32 }

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthCheck { pub interval: Duration, pub timeout: Duration }

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub keys: Vec<String>,               // patterns: literal text and one or more `*` / `?` as in Redis globs
    pub upstream: String,
    pub cache: RouteCache,
    pub ladder: String,
    pub stale: Stale,
    pub on_miss: OnMiss,
    pub read_from: ReadFrom,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RouteCache {
    pub enabled: bool,                   // true
    pub ttl: Option<Duration>,           // None: near_cache.ttl
    pub negative_ttl: Option<Duration>,  // None: near_cache.negative_ttl
    pub stale_while_revalidate: Duration,// 0s
    pub commands: Option<Vec<String>>,   // None: every cacheable one; upper or lower case names
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale { Allowed, Never }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMiss { Error, Nil }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom { Primary, ReplicaPreferred }

#[derive(Clone, Debug, PartialEq)]
pub struct NearCache {
    pub max_memory: u64,                 // 256mb
    pub max_entry: u64,                  // 1mb
    pub ttl: Duration,                   // 5m
    pub ttl_jitter: f64,                 // 10% -> 0.1
    pub negative_ttl: Duration,          // 5s
    pub untracked_ttl: Duration,         // 1s: the TTL cap where nothing pushes invalidations (coherence: ttl)
}

#[derive(Clone, Debug, PartialEq)]
pub struct LadderStep { pub rung: Rung, pub lasts: Option<Duration> /* `for` */, pub max_stale: Option<Duration>, pub timeout: Option<Duration> }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung { LocalOnly, StaleReadOnly, Passthrough, Reject }

#[derive(Clone, Debug, PartialEq)]
pub struct Admin { pub address: SocketAddr /* 127.0.0.1:9180 */, pub configured: bool /* false: the default; may be given up when taken */ }

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub max_clients: usize,              // 10000
    pub max_clients_per_address: usize,  // 0 = no limit
    pub max_bulk: u64,                   // 512mb: one argument, proto-max-bulk-len in Redis
    pub max_args: usize,                 // 1048576: arguments of one command, as in Redis
    pub max_request: u64,                // 1gb: one whole command, client-query-buffer-limit in Redis
    pub max_pipeline: usize,             // 100000: unanswered commands of one client; reading stops there
    pub max_output: u64,                 // 64mb: unread replies of one client; it is closed there
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers { Auto, Fixed(usize) }

/// A password: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);
