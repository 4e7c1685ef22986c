//! The servers behind Larder.

use super::fault::{Faults, Wrong};
use super::invalidation::Invalidation;
use super::listener::{Address, endpoint, path};
use super::ring::Ring;
use super::secret::{Secret, secret};
use super::section::{Item, Section};
use super::units;
use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

/// A named group of endpoints that requests are forwarded to.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What stands there. Required.
    pub kind: Kind,
    /// Where it stands; for sentinel and cluster the addresses to start from. Required for all kinds but memory.
    pub endpoints: Vec<Address>,
    /// Kind redis: read-only copies of the primary. Default: none.
    pub replicas: Vec<Address>,
    /// Kind redis-sentinel: the name of the primary in Sentinel's configuration. Required there.
    pub primary_name: Option<String>,
    /// User to log in as. Default: none, the server's `default` user.
    pub username: Option<String>,
    /// Password to log in with, from `password` or the content of `password_file`. Default: none.
    pub password: Option<Secret>,
    /// Database that new client connections start in. Default: 0.
    pub database: u32,
    /// TLS towards the endpoints. Default: none.
    pub tls: Option<UpstreamTls>,
    /// Longest wait for a connection with its handshake. Default: 500ms, several round trips across a continent.
    pub connect_timeout: Duration,
    /// Longest wait for a reply before the endpoint counts as hung. Default: 500ms. Raise it where slow commands are normal.
    pub command_timeout: Duration,
    /// How changes made by others are noticed. Default: auto.
    pub coherence: Coherence,
    /// A channel on which changes are told, where the servers themselves tell of none. Default: none.
    pub invalidation: Option<Invalidation>,
    /// Proof of life of the connection that carries invalidations.
    pub heartbeat: Heartbeat,
    /// Most connections at a time that belong to one client for a while (MULTI, WATCH, blocking commands, MONITOR). Default: 2000,
    /// a fifth of the clients that a Redis server admits by default.
    pub max_leases: u32,
    /// Kind redis-cluster: most times that one command is sent on because its keys are elsewhere (MOVED, ASK, TRYAGAIN). Default: 5, as client
    /// libraries have it. 0: the redirection reaches the client.
    pub max_redirections: u32,
    /// Kinds memcached and redis-ring: which node a key lies on.
    pub ring: Ring,
    /// Kind memory: bytes of data kept. Default: 256mb.
    pub max_memory: u64,
    /// When an endpoint counts as down.
    pub breaker: Breaker,
    /// How an endpoint is probed.
    pub health_check: HealthCheck,
}

/// What an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One Redis primary, optionally with replicas.
    Redis,
    /// A primary found through Redis Sentinel.
    RedisSentinel,
    /// A Redis Cluster.
    RedisCluster,
    /// Memcached nodes on a hash ring.
    Memcached,
    /// Redis servers that know nothing of each other, on a hash ring.
    RedisRing,
    /// In this process, gone when it ends.
    Memory,
}

/// How the near-cache learns of changes made by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence {
    /// `Tracking` where the server can, else `Ttl`, and the choice is logged.
    Auto,
    /// The server pushes invalidations (CLIENT TRACKING); refuse to cache without.
    Tracking,
    /// Nothing is pushed: entries live at most `near_cache.untracked_ttl`.
    Ttl,
}

/// Proof of life of the tracked connection. It bounds how long a silently lost connection can go unnoticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heartbeat {
    /// Time between two pings. Default: 250ms.
    pub interval: Duration,
    /// Silence after which nothing from this connection is fresh any more. Default: 500ms, at least `interval`.
    pub timeout: Duration,
}

/// TLS towards an upstream. Relative paths start at the working directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamTls {
    /// PEM file with the authorities to trust. Default: those of the operating system.
    pub ca: Option<PathBuf>,
    /// Name that the certificate must carry. Default: the endpoint's host.
    pub server_name: Option<String>,
    /// PEM file with Larder's own certificate, where the server asks for one. Default: none. Needs `key`.
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert`.
    pub key: Option<PathBuf>,
}

/// When an endpoint counts as down, and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breaker {
    /// Failures in a row that open it. Default: 5.
    pub failure_threshold: u32,
    /// Share of failures in `window` that opens it, above 0 and up to 1. Default: 0.5 (50%).
    pub error_rate: f64,
    /// Time over which the share is taken. Default: 10s.
    pub window: Duration,
    /// Fewest requests in `window` for the share to count. Default: 20.
    pub min_requests: u32,
    /// Longest time for which an endpoint that keeps coming back and failing has to stay well before it is asked again. Default: 5s.
    pub reset_timeout: Duration,
    /// Health checks in a row that must succeed to close it again. Default: 3.
    pub half_open_probes: u32,
}

/// How an endpoint is probed beside the user traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthCheck {
    /// Time between two probes. Default: 1s.
    pub interval: Duration,
    /// Longest wait for the answer. Default: 500ms.
    pub timeout: Duration,
}

/// The words of the file for each kind.
pub(super) const KINDS: [(&str, Kind); 6] = [
    ("redis", Kind::Redis),
    ("redis-sentinel", Kind::RedisSentinel),
    ("redis-cluster", Kind::RedisCluster),
    ("memcached", Kind::Memcached),
    ("redis-ring", Kind::RedisRing),
    ("memory", Kind::Memory),
];

pub(super) const COHERENCES: [(&str, Coherence); 3] =
    [("auto", Coherence::Auto), ("tracking", Coherence::Tracking), ("ttl", Coherence::Ttl)];

// === impl Kind ===

impl Kind {
    /// Whether a hash ring decides on which endpoint a key lies.
    pub fn has_ring(self) -> bool {
        matches!(self, Self::Memcached | Self::RedisRing)
    }
}

// === impl Upstream ===

impl Upstream {
    /// An upstream with the defaults of everything else.
    pub fn new(kind: Kind, endpoints: Vec<Address>) -> Upstream {
        Upstream {
            kind,
            endpoints,
            replicas: Vec::new(),
            primary_name: None,
            username: None,
            password: None,
            database: 0,
            tls: None,
            connect_timeout: Duration::from_millis(500),
            command_timeout: Duration::from_millis(500),
            coherence: Coherence::Auto,
            invalidation: None,
            heartbeat: Heartbeat::default(),
            max_leases: 2000,
            max_redirections: 5,
            ring: Ring::default(),
            max_memory: 256 << 20,
            breaker: Breaker::default(),
            health_check: HealthCheck::default(),
        }
    }

    pub(super) fn read(item: Item<'_>, faults: &Faults) -> Upstream {
        const ENDPOINTS: &str = "write a list such as [127.0.0.1:6379]";
        let mut section = Section::open(item.node, item.path, item.mark, faults);
        let kind = section.required("kind", "add kind: redis", |value| units::choice(value, &KINDS));
        let default = Upstream::new(kind.unwrap_or(Kind::Redis), Vec::new());
        let upstream = Upstream {
            endpoints: section.values("endpoints", ENDPOINTS, endpoint).unwrap_or_default(),
            replicas: section.values("replicas", ENDPOINTS, endpoint).unwrap_or_default(),
            primary_name: section.optional("primary_name", units::text),
            username: section.optional("username", units::text),
            password: secret(&mut section, ["password", "password_file"]),
            database: section.value("database", default.database, units::count),
            tls: section.optional_section("tls").map(UpstreamTls::read),
            connect_timeout: section.value("connect_timeout", default.connect_timeout, units::duration),
            command_timeout: section.value("command_timeout", default.command_timeout, units::duration),
            coherence: section.value("coherence", default.coherence, |value| units::choice(value, &COHERENCES)),
            invalidation: section.optional_section("invalidation").map(Invalidation::read),
            heartbeat: Heartbeat::read(section.section("heartbeat")),
            max_leases: section.value("max_leases", default.max_leases, units::count),
            max_redirections: section.value("max_redirections", default.max_redirections, units::count),
            ring: Ring::read(section.section("ring")),
            max_memory: section.value("max_memory", default.max_memory, units::size),
            breaker: Breaker::read(section.section("breaker")),
            health_check: HealthCheck::read(section.section("health_check")),
            ..default
        };
        let misplaced = |key: &str, out_of_place: bool, problem: &str, remedy: &str| {
            if out_of_place && section.has(key) {
                section.report(key, Wrong::new(problem, remedy));
            }
        };
        if let Some(kind) = kind {
            let (memory, cluster) = (kind == Kind::Memory, kind == Kind::RedisCluster);
            let remedy = "remove it; the near-cache has its own near_cache.max_memory";
            misplaced("max_memory", !memory, "max_memory belongs to kind memory", remedy);
            let remedy = "remove it; this data lives in the proxy itself";
            misplaced("max_leases", memory, "kind memory has no connections to lease", remedy);
            let remedy = "remove it; where the keys of this kind lie is not decided by a ring";
            misplaced("ring", !kind.has_ring(), "ring belongs to the kinds memcached and redis-ring", remedy);
            let remedy = "remove it; transactions and blocking commands are not served there";
            misplaced("max_leases", kind == Kind::Memcached, "kind memcached has no connections to lease", remedy);
            let remedy = "remove it; only the nodes of a cluster send a command elsewhere";
            misplaced("max_redirections", !cluster, "max_redirections belongs to kind redis-cluster", remedy);
        }
        section.finish();
        upstream
    }
}

/// Opens a regular file; anything else (a directory, a pipe that nobody writes to) is refused before it can block.
pub(super) fn open_file(path: &FilePath) -> Result<File, Wrong> {
    let remedy = "write the path of a file that this user may read";
    let cannot =
        |error: std::io::Error| Wrong::new(format!("{} cannot be read: {}", shown_path(path), reason(&error)), remedy);
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Wrong::new(format!("{} is not a regular file", shown_path(path)), remedy));
    }
    File::open(path).map_err(cannot)
}

/// An I/O error in plain words, without the number of the system call.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

pub(super) fn shown_path(path: &FilePath) -> String {
    super::fault::shown(&path.to_string_lossy())
}

// === impl of the parts ===

impl UpstreamTls {
    fn read(mut section: Section<'_>) -> UpstreamTls {
        let tls = UpstreamTls {
            ca: section.optional("ca", path),
            server_name: section.optional("server_name", units::text),
            cert: section.optional("cert", path),
            key: section.optional("key", path),
        };
        section.finish();
        tls
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        // With half a second of silence a lost connection is noticed before a person could notice stale data.
        Heartbeat { interval: Duration::from_millis(250), timeout: Duration::from_millis(500) }
    }
}

impl Heartbeat {
    fn read(mut section: Section<'_>) -> Heartbeat {
        let default = Heartbeat::default();
        let heartbeat = Heartbeat {
            interval: section.value("interval", default.interval, units::duration),
            timeout: section.value("timeout", default.timeout, units::duration),
        };
        section.finish();
        heartbeat
    }
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            failure_threshold: 5,
            error_rate: 0.5,
            window: Duration::from_secs(10),
            min_requests: 20,
            reset_timeout: Duration::from_secs(5),
            half_open_probes: 3,
        }
    }
}

impl Breaker {
    fn read(mut section: Section<'_>) -> Breaker {
        let default = Breaker::default();
        let breaker = Breaker {
            failure_threshold: section.value("failure_threshold", default.failure_threshold, units::count),
            error_rate: section.value("error_rate", default.error_rate, units::share),
            window: section.value("window", default.window, units::duration),
            min_requests: section.value("min_requests", default.min_requests, units::count),
            reset_timeout: section.value("reset_timeout", default.reset_timeout, units::duration),
            half_open_probes: section.value("half_open_probes", default.half_open_probes, units::count),
        };
        section.finish();
        breaker
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck { interval: Duration::from_secs(1), timeout: Duration::from_millis(500) }
    }
}

impl HealthCheck {
    fn read(mut section: Section<'_>) -> HealthCheck {
        let default = HealthCheck::default();
        let health_check = HealthCheck {
            interval: section.value("interval", default.interval, units::duration),
            timeout: section.value("timeout", default.timeout, units::duration),
        };
        section.finish();
        health_check
    }
}
