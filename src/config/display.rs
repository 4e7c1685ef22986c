//! The configuration in effect as YAML, for the admin page: every value written out, passwords as `***`.

use super::ladder::{RUNGS, Rung};
use super::limits::Workers;
use super::listener::Address;
use super::log::FORMATS;
use super::ring::{DISTRIBUTIONS, HASHES, Ring};
use super::route::{ON_MISSES, READ_FROMS, Route, STALES};
use super::units::{show_duration, show_share, show_size};
use super::upstream::{COHERENCES, KINDS, Kind, Upstream};
use super::{Config, LadderStep};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

impl Kind {
    /// The word of the file, such as `redis-cluster`.
    pub fn name(self) -> &'static str {
        word(self, &KINDS)
    }
}

impl Rung {
    /// The word of the file, such as `local-only`.
    pub fn name(self) -> &'static str {
        word(self, &RUNGS)
    }
}

/// The word for a value; every value of these enums has one, which a test sees to.
fn word<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    let found = names.iter().find(|(_, named)| *named == value);
    found.map_or("unnamed", |(name, _)| name)
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "listeners:")?;
        for listener in &self.listeners {
            writeln!(f, "  - address: {}", Quoted(&listener.address.to_string()))?;
            if let Some(tls) = &listener.tls {
                writeln!(f, "    tls:")?;
                writeln!(f, "      cert: {}", quoted_path(&tls.cert))?;
                writeln!(f, "      key: {}", quoted_path(&tls.key))?;
                path(f, 6, "client_ca", tls.client_ca.as_deref())?;
            }
        }
        writeln!(f, "upstreams:")?;
        for (name, upstream) in &self.upstreams {
            writeln!(f, "  {}:", Quoted(name))?;
            write_upstream(f, upstream)?;
        }
        writeln!(f, "routes:")?;
        for route in &self.routes {
            write_route(f, route)?;
        }
        let cache = &self.near_cache;
        writeln!(f, "near_cache:")?;
        writeln!(f, "  max_memory: {}", show_size(cache.max_memory))?;
        writeln!(f, "  max_entry: {}", show_size(cache.max_entry))?;
        writeln!(f, "  ttl: {}", show_duration(cache.ttl))?;
        writeln!(f, "  ttl_jitter: {}", show_share(cache.ttl_jitter))?;
        writeln!(f, "  negative_ttl: {}", show_duration(cache.negative_ttl))?;
        writeln!(f, "  untracked_ttl: {}", show_duration(cache.untracked_ttl))?;
        writeln!(f, "  warm_start: {}", cache.warm_start)?;
        if cache.warm_start {
            path(f, 2, "snapshot", Some(&cache.snapshot))?;
            writeln!(f, "  snapshot_interval: {}", show_duration(cache.snapshot_interval))?;
        }
        writeln!(f, "ladders:")?;
        for (name, steps) in &self.ladders {
            writeln!(f, "  {}:", Quoted(name))?;
            for step in steps {
                write_step(f, step)?;
            }
        }
        let note = if self.admin.configured { "" } else { "  # the default: given up when it is taken" };
        writeln!(f, "admin:\n  address: {}{note}", Quoted(&self.admin.address.to_string()))?;
        if let Some(token) = &self.admin.token {
            writeln!(f, "  token: \"{token}\"")?;
        }
        let limits = &self.limits;
        writeln!(f, "limits:")?;
        writeln!(f, "  max_clients: {}", limits.max_clients)?;
        writeln!(f, "  max_clients_per_address: {}", limits.max_clients_per_address)?;
        writeln!(f, "  max_bulk: {}", show_size(limits.max_bulk))?;
        writeln!(f, "  max_args: {}", limits.max_args)?;
        writeln!(f, "  max_request: {}", show_size(limits.max_request))?;
        writeln!(f, "  max_pipeline: {}", limits.max_pipeline)?;
        writeln!(f, "  max_output: {}", show_size(limits.max_output))?;
        writeln!(f, "  max_subscriptions: {}", limits.max_subscriptions)?;
        if let Some(endpoint) = &self.traces.endpoint {
            writeln!(f, "traces:")?;
            text(f, 2, "endpoint", Some(endpoint))?;
            writeln!(f, "  sample: {}", show_share(self.traces.sample))?;
            text(f, 2, "service_name", Some(&self.traces.service_name))?;
        }
        writeln!(f, "reload_on_change: {}", self.reload_on_change)?;
        match self.workers {
            Workers::Auto => writeln!(f, "workers: auto")?,
            Workers::Fixed(number) => writeln!(f, "workers: {number}")?,
        }
        writeln!(f, "drain_delay: {}", show_duration(self.drain_delay))?;
        writeln!(f, "drain_timeout: {}", show_duration(self.drain_timeout))?;
        writeln!(f, "log:")?;
        writeln!(f, "  format: {}", word(self.log.format, &FORMATS))?;
        writeln!(f, "  level: {}", Quoted(&self.log.level.to_string()))?;
        if let Some(path) = &self.handover {
            writeln!(f, "handover: {}", Quoted(&format!("unix:{}", path.to_string_lossy())))?;
        }
        writeln!(f, "allow_insecure: {}", self.allow_insecure)?;
        writeln!(f, "allow_admin: {}", self.allow_admin)?;
        writeln!(f, "cluster_facade: {}", self.cluster_facade)
    }
}

fn write_upstream(f: &mut Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    writeln!(f, "    kind: {}", upstream.kind.name())?;
    addresses(f, "endpoints", &upstream.endpoints)?;
    addresses(f, "replicas", &upstream.replicas)?;
    text(f, 4, "primary_name", upstream.primary_name.as_deref())?;
    text(f, 4, "username", upstream.username.as_deref())?;
    if let Some(password) = &upstream.password {
        writeln!(f, "    password: \"{password}\"")?;
    }
    writeln!(f, "    database: {}", upstream.database)?;
    if let Some(tls) = &upstream.tls {
        // Not "tls:" alone with nothing below it, which would read as no TLS at all.
        let brackets = if *tls == super::UpstreamTls::default() { " {}" } else { "" };
        writeln!(f, "    tls:{brackets}")?;
        path(f, 6, "ca", tls.ca.as_deref())?;
        text(f, 6, "server_name", tls.server_name.as_deref())?;
        path(f, 6, "cert", tls.cert.as_deref())?;
        path(f, 6, "key", tls.key.as_deref())?;
    }
    writeln!(f, "    connect_timeout: {}", show_duration(upstream.connect_timeout))?;
    writeln!(f, "    command_timeout: {}", show_duration(upstream.command_timeout))?;
    writeln!(f, "    coherence: {}", word(upstream.coherence, &COHERENCES))?;
    if let Some(invalidation) = &upstream.invalidation {
        writeln!(f, "    invalidation:")?;
        text(f, 6, "channel", Some(&invalidation.channel))?;
        text(f, 6, "upstream", Some(&invalidation.upstream))?;
        writeln!(f, "      delete: {}", invalidation.delete)?;
    }
    writeln!(f, "    heartbeat:")?;
    writeln!(f, "      interval: {}", show_duration(upstream.heartbeat.interval))?;
    writeln!(f, "      timeout: {}", show_duration(upstream.heartbeat.timeout))?;
    if !matches!(upstream.kind, Kind::Memory | Kind::Memcached) {
        writeln!(f, "    max_leases: {}", upstream.max_leases)?;
    }
    if upstream.kind == Kind::RedisCluster {
        writeln!(f, "    max_redirections: {}", upstream.max_redirections)?;
    }
    if upstream.kind.has_ring() {
        write_ring(f, &upstream.ring)?;
    }
    if upstream.kind == Kind::Memory {
        writeln!(f, "    max_memory: {}", show_size(upstream.max_memory))?;
    }
    let breaker = &upstream.breaker;
    writeln!(f, "    breaker:")?;
    writeln!(f, "      failure_threshold: {}", breaker.failure_threshold)?;
    writeln!(f, "      error_rate: {}", show_share(breaker.error_rate))?;
    writeln!(f, "      window: {}", show_duration(breaker.window))?;
    writeln!(f, "      min_requests: {}", breaker.min_requests)?;
    writeln!(f, "      reset_timeout: {}", show_duration(breaker.reset_timeout))?;
    writeln!(f, "      half_open_probes: {}", breaker.half_open_probes)?;
    writeln!(f, "    health_check:")?;
    writeln!(f, "      interval: {}", show_duration(upstream.health_check.interval))?;
    writeln!(f, "      timeout: {}", show_duration(upstream.health_check.timeout))
}

fn write_ring(f: &mut Formatter<'_>, ring: &Ring) -> fmt::Result {
    writeln!(f, "    ring:")?;
    writeln!(f, "      distribution: {}", word(ring.distribution, &DISTRIBUTIONS))?;
    writeln!(f, "      hash: {}", word(ring.hash, &HASHES))?;
    let tag = ring.hash_tag.map(|tag| tag.map(char::from).iter().collect::<String>());
    text(f, 6, "hash_tag", tag.as_deref())?;
    if !ring.weights.is_empty() {
        writeln!(f, "      weights:")?;
    }
    for (address, weight) in &ring.weights {
        writeln!(f, "        {}: {weight}", Quoted(&address.to_string()))?;
    }
    if !ring.names.is_empty() {
        writeln!(f, "      names:")?;
    }
    for (address, name) in &ring.names {
        writeln!(f, "        {}: {}", Quoted(&address.to_string()), Quoted(name))?;
    }
    Ok(())
}

fn write_route(f: &mut Formatter<'_>, route: &Route) -> fmt::Result {
    writeln!(f, "  - keys: [{}]", quoted_list(&route.keys))?;
    writeln!(f, "    upstream: {}", Quoted(&route.upstream))?;
    writeln!(f, "    cache:")?;
    writeln!(f, "      enabled: {}", route.cache.enabled)?;
    for (key, ttl) in [("ttl", route.cache.ttl), ("negative_ttl", route.cache.negative_ttl)] {
        if let Some(ttl) = ttl {
            writeln!(f, "      {key}: {}", show_duration(ttl))?;
        }
    }
    writeln!(f, "      stale_while_revalidate: {}", show_duration(route.cache.stale_while_revalidate))?;
    if let Some(commands) = &route.cache.commands {
        writeln!(f, "      commands: [{}]", quoted_list(commands))?;
    }
    writeln!(f, "    ladder: {}", Quoted(&route.ladder))?;
    writeln!(f, "    stale: {}", word(route.stale, &STALES))?;
    writeln!(f, "    on_miss: {}", word(route.on_miss, &ON_MISSES))?;
    writeln!(f, "    read_from: {}", word(route.read_from, &READ_FROMS))
}

fn write_step(f: &mut Formatter<'_>, step: &LadderStep) -> fmt::Result {
    write!(f, "    - {{rung: {}", step.rung.name())?;
    for (key, duration) in [("for", step.lasts), ("max_stale", step.max_stale), ("timeout", step.timeout)] {
        if let Some(duration) = duration {
            write!(f, ", {key}: {}", show_duration(duration))?;
        }
    }
    writeln!(f, "}}")
}

fn addresses(f: &mut Formatter<'_>, key: &str, addresses: &[Address]) -> fmt::Result {
    if addresses.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = addresses.iter().map(Address::to_string).collect();
    writeln!(f, "    {key}: [{}]", quoted_list(&list))
}

fn text(f: &mut Formatter<'_>, indent: usize, key: &str, text: Option<&str>) -> fmt::Result {
    match text {
        Some(text) => writeln!(f, "{:indent$}{key}: {}", "", Quoted(text)),
        None => Ok(()),
    }
}

fn path(f: &mut Formatter<'_>, indent: usize, key: &str, path: Option<&Path>) -> fmt::Result {
    match path {
        Some(path) => writeln!(f, "{:indent$}{key}: {}", "", quoted_path(path)),
        None => Ok(()),
    }
}

fn quoted_path(path: &Path) -> String {
    Quoted(&path.to_string_lossy()).to_string()
}

fn quoted_list(texts: &[String]) -> String {
    let list: Vec<_> = texts.iter().map(|text| Quoted(text).to_string()).collect();
    list.join(", ")
}

/// Text in YAML's double quotes, so that it means the same whatever stands in it.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                ' '..='~' => write!(f, "{c}")?,
                _ => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_str("\"")
    }
}
