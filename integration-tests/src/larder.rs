//! The larder binary with a configuration of the test's own.
//!
//! `LARDER_BIN` names the binary; without it the one that cargo built beside the tests is taken. With
//! `LARDER_STAND_IN=forwarder` a plain TCP forwarder takes Larder's place: whatever a test demands of
//! Larder's replies must then hold too, since Redis itself answers. That is a check of the tests, not of Larder;
//! tests of Larder's own limits, metrics and faults cannot pass so.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use crate::client::{Client, Protocol};
use crate::cluster::Cluster;
use crate::cutter::Cutter;
use crate::metrics::Metrics;
use crate::port;
use crate::process::{Process, Signal};
use crate::replicated::Replicated;
use crate::reply::Reply;
use crate::scratch::Scratch;
use crate::sentinel::SentinelSet;
use crate::wait;

/// The name under which Larder's tracked connection shows itself in the origin's CLIENT LIST.
pub const TRACKED_NAME: &str = "larder-tracked";

/// What a test wants of its Larder, to be written as YAML.
#[derive(Clone, Debug)]
pub struct Settings {
    origin: Origin,
    listeners: Vec<String>,
    upstream: Vec<String>,
    beside: Vec<String>,
    sections: Vec<String>,
    environment: Vec<(String, String)>,
}

/// What stands behind Larder.
#[derive(Clone, Debug)]
enum Origin {
    Memory,
    Memcached { nodes: Vec<SocketAddr> },
    RedisRing { nodes: Vec<SocketAddr> },
    Redis { primary: SocketAddr, replicas: Vec<SocketAddr> },
    Cluster { seeds: Vec<SocketAddr> },
    Sentinel { sentinels: Vec<SocketAddr>, primary_name: String },
}

impl Settings {
    /// One upstream `main` of kind redis, everything else as a user would have it, but for patience: the tests share
    /// few cores, and a command that waits for a core is not an outage. Tests of outages say their own timeouts.
    pub fn new(origin: SocketAddr) -> Self {
        Self::of(Origin::Redis { primary: origin, replicas: Vec::new() })
    }

    /// The same with replicas, which routes with `read_from: replica-preferred` read.
    pub fn with_replicas(servers: &Replicated) -> Self {
        let (primary, replicas) = (servers.primary.address(), servers.replica_addresses());
        Self::of(Origin::Redis { primary, replicas })
    }

    /// One upstream `main` of kind redis-cluster, every node an endpoint.
    pub fn cluster(cluster: &Cluster) -> Self {
        let settings = Self::of(Origin::Cluster { seeds: cluster.seeds() });
        match cluster.password() {
            Some(password) => settings.upstream(&format!("password: {password}")),
            None => settings,
        }
    }

    /// One upstream `main` of kind redis-sentinel, every Sentinel an endpoint.
    pub fn sentinel(set: &SentinelSet) -> Self {
        let primary_name = set.primary_name().to_owned();
        Self::of(Origin::Sentinel { sentinels: set.sentinel_addresses(), primary_name })
    }

    /// The same with these Sentinels for endpoints.
    pub fn sentinel_at(sentinels: &[SocketAddr], primary_name: &str) -> Self {
        Self::of(Origin::Sentinel { sentinels: sentinels.to_vec(), primary_name: primary_name.to_owned() })
    }

    /// One upstream `main` of kind redis-cluster with these endpoints.
    pub fn cluster_at(seeds: &[SocketAddr]) -> Self {
        Self::of(Origin::Cluster { seeds: seeds.to_vec() })
    }

    /// The upstream in the process itself: no server behind.
    pub fn memory() -> Self {
        Self::of(Origin::Memory)
    }

    /// One upstream `main` of kind memcached with these nodes.
    pub fn memcached(nodes: &[SocketAddr]) -> Self {
        Self::of(Origin::Memcached { nodes: nodes.to_vec() })
    }

    /// One upstream `main` of kind redis-ring with these nodes.
    pub fn redis_ring(nodes: &[SocketAddr]) -> Self {
        Self::of(Origin::RedisRing { nodes: nodes.to_vec() })
    }

    fn of(origin: Origin) -> Self {
        let (listeners, upstream, beside, sections) = Default::default();
        Self { origin, listeners, upstream, beside, sections, environment: Vec::new() }
    }

    /// A further listener, as `"{address: unix:/path}"`.
    #[must_use]
    pub fn listener(mut self, item: &str) -> Self {
        self.listeners.push(item.to_owned());
        self
    }

    /// A line of the upstream's section, as `"heartbeat: {interval: 100ms, timeout: 200ms}"`.
    #[must_use]
    pub fn upstream(mut self, line: &str) -> Self {
        self.upstream.push(line.to_owned());
        self
    }

    /// A further upstream, as `"local: {kind: memory}"`. Then routes say which keys belong where.
    #[must_use]
    pub fn beside(mut self, line: &str) -> Self {
        self.beside.push(line.to_owned());
        self
    }

    /// A top-level section, as `"limits: {max_clients: 10}"`.
    #[must_use]
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push(text.to_owned());
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn yaml(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let mut text = format!("admin: {{address: \"{admin}\"}}\nlisteners:\n  - address: {listen}\n");
        for item in &self.listeners {
            text += &format!("  - {item}\n");
        }
        text += "upstreams:\n  main:\n";
        text += &match &self.origin {
            Origin::Memory => "    kind: memory\n".to_owned(),
            Origin::Memcached { nodes } => format!("    kind: memcached\n    endpoints: {}\n", list(nodes)),
            Origin::RedisRing { nodes } => format!("    kind: redis-ring\n    endpoints: {}\n", list(nodes)),
            Origin::Redis { primary, replicas } if replicas.is_empty() => {
                format!("    kind: redis\n    endpoints: {}\n", list(&[*primary]))
            }
            Origin::Redis { primary, replicas } => {
                format!("    kind: redis\n    endpoints: {}\n    replicas: {}\n", list(&[*primary]), list(replicas))
            }
            Origin::Cluster { seeds } => format!("    kind: redis-cluster\n    endpoints: {}\n", list(seeds)),
            Origin::Sentinel { sentinels, primary_name } => {
                let endpoints = list(sentinels);
                format!("    kind: redis-sentinel\n    endpoints: {endpoints}\n    primary_name: {primary_name}\n")
            }
        };
        let says = |name: &str| self.upstream.iter().any(|line| line.starts_with(name));
        for (name, patient) in [("connect_timeout", "2s"), ("command_timeout", "10s")] {
            if !matches!(self.origin, Origin::Memory) && !says(name) {
                text += &format!("    {name}: {patient}\n");
            }
        }
        for line in &self.upstream {
            text += &format!("    {line}\n");
        }
        for line in &self.beside {
            text += &format!("  {line}\n");
        }
        if !self.sections.iter().any(|section| section.starts_with("drain_timeout")) {
            // A test that ends it does not wait for its own clients.
            text += "drain_timeout: 0s\n";
        }
        for section in &self.sections {
            text += &format!("{section}\n");
        }
        text
    }
}

/// Addresses as a list in YAML.
fn list(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// A running Larder; killed on drop.
#[derive(Debug)]
pub struct Larder {
    address: SocketAddr,
    admin: SocketAddr,
    inner: Inner,
    scratch: Arc<Scratch>,
}

#[derive(Debug)]
enum Inner {
    Binary(Process),
    StandIn(#[expect(dead_code, reason = "held for its drop")] Cutter),
}

impl Larder {
    /// Starts one in front of `origin` with the defaults.
    pub fn start(origin: SocketAddr) -> Self {
        Self::start_with(&Settings::new(origin))
    }

    /// Starts one with these settings and waits until it answers PING.
    pub fn start_with(settings: &Settings) -> Self {
        match env::var("LARDER_STAND_IN").as_deref() {
            Ok("forwarder") => {
                eprintln!("NOT LARDER: a TCP forwarder stands in (LARDER_STAND_IN)");
                let Origin::Redis { primary, .. } = settings.origin else {
                    panic!("a forwarder needs one server behind it");
                };
                Self::forwarder(primary)
            }
            Ok(other) => panic!("LARDER_STAND_IN={other}: only `forwarder` is known"),
            Err(_) => Self::binary(settings),
        }
    }

    /// A TCP forwarder in Larder's place, whatever the environment says: to test the tests.
    pub fn forwarder(origin: SocketAddr) -> Self {
        let cutter = Cutter::start(origin);
        let address = cutter.address();
        Self { address, admin: address, inner: Inner::StandIn(cutter), scratch: Arc::new(Scratch::new("stand-in")) }
    }

    fn binary(settings: &Settings) -> Self {
        let binary = binary_path();
        let scratch = Scratch::new("larder");
        let config = scratch.file("larder.yaml");
        let mut output = String::new();
        for _ in 0..5 {
            let (address, admin) = (port::free(), port::free());
            fs::write(&config, settings.yaml(address, admin)).expect("the scratch directory is writable");
            let mut command = Command::new(&binary);
            command.arg("--config").arg(&config).current_dir(scratch.path());
            command.env_remove("LARDER_FAULT");
            command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
            let mut process = Process::spawn("larder", command, scratch.file("larder.log"));
            if ready(address, &mut process) {
                // The one that asked is counted no longer: tests count clients.
                wait::until("no client is left", || Metrics::scrape(admin).sum("larder_clients") == 0.0);
                return Self { address, admin, inner: Inner::Binary(process), scratch: Arc::new(scratch) };
            }
            output = process.output();
            // Only a port that was taken in between is worth another try.
            if !output.to_lowercase().contains("in use") {
                break;
            }
        }
        let yaml = fs::read_to_string(&config).unwrap_or_default();
        panic!("{} does not start.\nIt said:\n{output}\nIts configuration:\n{yaml}", binary.display());
    }

    /// Starts another one with the same configuration, which must let it take over, and waits until it has.
    pub fn successor(&self) -> Self {
        let mut process = self.another();
        wait::until("the new process serves in place of the old one", || {
            process.output().contains("serving in place of process") || process.exit_status().is_some()
        });
        assert!(process.exit_status().is_none(), "it has ended:\n{}", process.output());
        let inner = Inner::Binary(process);
        Self { address: self.address, admin: self.admin, inner, scratch: Arc::clone(&self.scratch) }
    }

    /// Starts another process with the same configuration.
    pub fn another(&self) -> Process {
        let mut command = Command::new(binary_path());
        command.arg("--config").arg(self.scratch.file("larder.yaml")).current_dir(self.scratch.path());
        command.env_remove("LARDER_FAULT");
        let name = format!("larder-{}.log", port::free().port());
        Process::spawn("larder", command, self.scratch.file(&name))
    }

    /// Where it serves clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves `/metrics`.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A new client connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A new client connection after HELLO.
    pub fn connect_with(&self, protocol: Protocol) -> Client {
        Client::connect_with(self.address, protocol)
    }

    /// One command of plain words on a connection of its own.
    pub fn say(&self, words: &str) -> Reply {
        self.connect().say(words)
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.scratch.file("larder.yaml")
    }

    /// What its configuration file would say with these settings, addresses included.
    pub fn yaml(&self, settings: &Settings) -> String {
        settings.yaml(self.address, self.admin)
    }

    /// Replaces its configuration file as editors and deployments do: another file takes its name.
    pub fn rewrite(&self, text: &str) {
        let beside = self.scratch.file("larder.yaml.new");
        fs::write(&beside, text).expect("the scratch directory is writable");
        fs::rename(&beside, self.config_file()).expect("a file can be renamed in its directory");
    }

    /// Has it read its configuration again by a signal, and waits until it has; whether it took it.
    pub fn reload(&self) -> bool {
        let of = |result: &str| self.metrics().sum_where("larder_config_reloads_total", result);
        let (loaded, refused) = (of("loaded"), of("refused"));
        self.process().signal(Signal::Hangup);
        wait::until("the configuration is read again", || of("loaded") > loaded || of("refused") > refused);
        of("refused") == refused
    }

    /// Its counters now.
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin)
    }

    /// Hits of the near-cache since the start.
    pub fn hits(&self) -> f64 {
        self.metrics().sum("larder_cache_hits_total")
    }

    /// Misses of the near-cache since the start.
    pub fn misses(&self) -> f64 {
        self.metrics().sum("larder_cache_misses_total")
    }

    /// Whether the binary runs, and not a stand-in that has no cache.
    pub fn is_binary(&self) -> bool {
        matches!(self.inner, Inner::Binary(_))
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        match &self.inner {
            Inner::Binary(process) => process,
            Inner::StandIn(_) => panic!("a stand-in has no process"),
        }
    }

    /// Its process, to end it.
    pub fn process_mut(&mut self) -> &mut Process {
        match &mut self.inner {
            Inner::Binary(process) => process,
            Inner::StandIn(_) => panic!("a stand-in has no process"),
        }
    }

    /// Waits until every server behind it is asked again: no breaker is open, no rung but the normal one.
    pub fn until_normal(&self) {
        wait::until("every server is asked again", || {
            let lines = self.say("LARDER LADDER");
            lines.items().is_some_and(|lines| {
                let normal = |line: &Reply| line.text().is_some_and(|line| line.contains(" breaker=closed ladder="));
                !lines.is_empty() && lines.iter().all(normal)
            })
        });
    }

    /// Waits until every primary behind it tells it of changes, which it may do some moments after the first client was served.
    pub fn until_covered(&self) {
        wait::until("every primary tells of changes", || {
            let lines = self.say("LARDER NODES");
            lines.items().is_some_and(|lines| {
                let told = |line: String| !line.contains(" role=primary ") || line.contains(" coverage=tracking ");
                !lines.is_empty() && lines.iter().filter_map(Reply::text).all(told)
            })
        });
    }

    /// Sends the read again and again until the near-cache has answered it, so that the test which follows is
    /// about a cached reply. The value may change meanwhile.
    pub fn warm(&self, client: &mut Client, words: &str) {
        if !self.is_binary() {
            client.say(words);
            return;
        }
        wait::until(&format!("`{words}` answered from the near-cache"), || {
            let before = self.hits();
            client.say(words);
            self.hits() > before
        });
    }
}

/// The binary to test; fails the test with what to do when there is none.
pub fn binary_path() -> PathBuf {
    let named = env::var_os("LARDER_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        // target/debug/deps/outage-0123 -> target/debug/larder
        let test = env::current_exe().expect("a running test knows its own path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("tests are built in target/<profile>/deps");
        profile.join("larder")
    });
    assert!(path.is_file(), "no larder binary at {}: `cargo build` first, or set LARDER_BIN", path.display());
    // The process starts in a directory of its own.
    path.canonicalize().expect("a file that is there has a full path")
}

fn ready(address: SocketAddr, process: &mut Process) -> bool {
    let mut answered = false;
    wait::holds_within(Duration::from_secs(20), || {
        answered = Client::try_connect(address)
            .and_then(|mut client| client.try_call(&["PING"]))
            .is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned()));
        answered || process.exit_status().is_some()
    });
    answered && process.exit_status().is_none()
}
