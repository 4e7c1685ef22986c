//! The configuration: plain data that knows no component. The reference is `config.example.yaml`.
//!
//! From a file to a [`Config`]:
//!
//! ```text
//! tree      YAML text -> a tree whose every part knows its line and column
//! section   the tree -> the structs below, key by key; units for what stands at the leaves
//! check     what types cannot say: names that must exist, values that must fit, files that must be readable
//! ```
//!
//! Each step reports all of its faults, and [`Errors`] holds them with their places. `--upstream` (`url`), `--listen` and
//! `--admin` end in the same structs and pass the same checks.

mod changes;
mod check;
mod display;
mod error;
mod fault;
mod invalidation;
mod ladder;
mod limits;
mod listener;
mod log;
mod near_cache;
mod pattern;
mod ring;
mod route;
mod secret;
mod section;
mod source;
mod traces;
mod tree;
mod units;
mod upstream;
mod url;
mod variables;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Errors};
pub use invalidation::Invalidation;
pub use ladder::{LadderStep, Rung};
pub use limits::{Limits, Workers};
pub use listener::{Address, Admin, Listener, ListenerTls};
pub use log::{Format as LogFormat, Level, Levels, Log};
pub use near_cache::NearCache;
pub use pattern::Pattern;
#[cfg(test)]
pub(crate) use ring::{DISTRIBUTIONS, HASHES};
pub use ring::{Distribution, KeyHash, Ring};
pub use route::{OnMiss, ReadFrom, Route, RouteCache, Stale};
pub use secret::Secret;
pub(crate) use source::Draft;
pub use traces::Traces;
pub use upstream::{Breaker, Coherence, HealthCheck, Heartbeat, Kind, Upstream, UpstreamTls};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect. Required, at least one.
    pub listeners: Vec<Listener>,
    /// What stands behind, by name. Required, at least one.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which keys go where. Where there is one upstream, the list always ends with a route for `*`: keys that no route of the
    /// file names go to that upstream with the default policy.
    pub routes: Vec<Route>,
    /// The near-cache of the process.
    pub near_cache: NearCache,
    /// What is answered while an upstream is down, by name. `default` always exists.
    pub ladders: BTreeMap<String, Vec<LadderStep>>,
    /// The HTTP address for metrics and state.
    pub admin: Admin,
    /// Bounds on clients.
    pub limits: Limits,
    /// Traces of some commands.
    pub traces: Traces,
    /// Read the file again when it, or a certificate that it names, has changed. Default: true. Clear it where another program writes the
    /// file and says when it is done (SIGHUP, `POST /reload`).
    pub reload_on_change: bool,
    /// Threads that serve clients. Default: auto. Set it to leave cores to the application beside.
    pub workers: Workers,
    /// How long the process goes on accepting after it has said that it is not ready any more. Default: 0s. Set it where a load
    /// balancer asks `/readyz` and sends clients until it has heard.
    pub drain_delay: Duration,
    /// How long clients may stay when the process ends. Default: 10s. Keep it some seconds below what the supervisor waits before it
    /// kills (systemd's `TimeoutStopSec`, Kubernetes' `terminationGracePeriodSeconds`).
    pub drain_timeout: Duration,
    /// The path of a Unix socket (`unix:/path`) at which a new process is given the listening sockets of the one that runs. Default:
    /// none. Set it to replace Larder without a refused connection where systemd does not hold the sockets.
    pub handover: Option<PathBuf>,
    /// What is written to the log.
    pub log: Log,
    /// Accept listeners and an admin address that other machines reach without TLS. Default: false. Set it where the network
    /// itself is trusted, such as inside a container that publishes no port.
    pub allow_insecure: bool,
    /// Forward the commands that Redis counts as administration (CONFIG SET, SHUTDOWN, DEBUG, REPLICAOF, ...) to whoever may
    /// send them upstream. Default: false. Set it where every client is trusted with the servers themselves.
    pub allow_admin: bool,
    /// Show Larder to clients as a Redis Cluster of one node that owns every slot. Default: false. Set it for applications whose
    /// client library insists on a cluster.
    pub cluster_facade: bool,
}

/// Default of [`Config::drain_timeout`]: a third of what Kubernetes waits by default, a ninth of what systemd does.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a configuration file's text. `place` is the file name for messages. Files that it names (passwords, certificates) are
/// opened to see that they can be read.
///
/// # Errors
/// Every fault of the text at once. Never panics, and takes bounded time on any text.
pub fn parse(text: &str, place: &str) -> Result<Config, Errors> {
    Draft::read(text, place)?.finish()
}

/// A span of time as the file writes it: `250ms`, `5s`, `5m`, `1h`.
///
/// # Errors
/// What is wrong with the text and how it is to be written, in words.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let value = tree::Value::Text(text.to_owned());
    units::duration(&value).map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))
}

impl Config {
    /// What runs without a file: 127.0.0.1:6380 in front of data in memory.
    pub fn embedded() -> Config {
        Config::with("memory", Upstream::new(Kind::Memory, Vec::new()))
    }

    /// The configuration of `--upstream URL`: 127.0.0.1:6380 in front of what the URL names. The forms are in `docs/configuration.md`.
    ///
    /// # Errors
    /// One fault, in words that never repeat a password.
    pub fn for_upstream(url: &str) -> Result<Config, Errors> {
        Draft::for_upstream(url)?.finish()
    }

    /// The defaults around one upstream.
    fn with(name: &str, upstream: Upstream) -> Config {
        Config {
            listeners: vec![Listener::plain(Address::Tcp { host: "127.0.0.1".to_owned(), port: 6380 })],
            upstreams: BTreeMap::from([(name.to_owned(), upstream)]),
            routes: vec![Route::everything_to(name)],
            near_cache: NearCache::default(),
            ladders: BTreeMap::from([("default".to_owned(), LadderStep::default_ladder())]),
            admin: Admin::default(),
            limits: Limits::default(),
            traces: Traces::default(),
            reload_on_change: true,
            workers: Workers::Auto,
            drain_delay: Duration::ZERO,
            drain_timeout: DRAIN_TIMEOUT,
            handover: None,
            log: Log::default(),
            allow_insecure: false,
            allow_admin: false,
            cluster_facade: false,
        }
    }
}
