//! Upstreams: each kind with what it needs and nothing that it would ignore; times and thresholds that can work.

use super::{Findings, readable, rings};
use crate::config::fault::Path;
use crate::config::{Coherence, Config, Kind, Upstream, units};
use std::collections::HashSet;

/// Redis's default, which kind memory has too.
const MEMORY_DATABASES: u32 = 16;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for (name, upstream) in &config.upstreams {
        let path = Path::of(["upstreams", name]);
        endpoints(&path, upstream, findings);
        credentials(&path, upstream, findings);
        times(&path, upstream, findings);
        rings::check(&path, upstream, findings);
        if upstream.max_leases == 0 {
            findings.add(
                path.key("max_leases"),
                "with 0 leases every transaction and every blocking command would be refused",
                "write a number of at least 1",
            );
        }
    }
}

fn endpoints(path: &Path, upstream: &Upstream, findings: &mut Findings) {
    let kind = path.key("kind");
    let name = upstream.kind.name();
    let because = |key: &str| (path.key(key), vec![kind.clone()]);
    let memory = upstream.kind == Kind::Memory;
    if memory {
        for (key, given) in [
            ("endpoints", !upstream.endpoints.is_empty()),
            ("username", upstream.username.is_some()),
            ("password", upstream.password.is_some()),
            ("tls", upstream.tls.is_some()),
        ] {
            if given {
                let (path, because) = because(key);
                findings.because(
                    path,
                    because,
                    format!("kind memory has no {key}"),
                    "remove it; this data lives in the proxy itself",
                );
            }
        }
    } else if upstream.endpoints.is_empty() {
        let (path, because) = because("endpoints");
        findings.because(
            path,
            because,
            format!("kind {name} needs at least one endpoint"),
            if upstream.kind == Kind::Memcached {
                "add endpoints: [127.0.0.1:11211]"
            } else {
                "add endpoints: [127.0.0.1:6379]"
            },
        );
    }
    if upstream.kind == Kind::Memcached {
        for (key, given) in [("username", upstream.username.is_some()), ("password", upstream.password.is_some())] {
            if given {
                let (path, because) = because(key);
                let problem = "kind memcached is spoken to without users and passwords";
                findings.because(
                    path,
                    because,
                    problem,
                    "remove it; keep the nodes on a network of their own, or use tls",
                );
            }
        }
        if upstream.coherence == Coherence::Tracking {
            let (path, because) = because("coherence");
            let problem = "memcached tells nobody of changes";
            findings.because(path, because, problem, "remove it, or write coherence: ttl");
        }
    }
    if upstream.kind == Kind::Redis && upstream.endpoints.len() > 1 {
        let (path, because) = because("endpoints");
        findings.because(
            path,
            because,
            "kind redis has one endpoint, the primary",
            "keep one; list read-only copies under replicas, and a cluster under kind redis-cluster",
        );
    }
    if upstream.kind != Kind::Redis && !upstream.replicas.is_empty() {
        let (path, because) = because("replicas");
        findings.because(
            path,
            because,
            format!("kind {name} takes no replicas"),
            "remove them; only kind redis lists them by hand",
        );
    }
    for (key, list) in [("endpoints", &upstream.endpoints), ("replicas", &upstream.replicas)] {
        let mut seen = HashSet::new();
        for address in list.iter().filter(|address| !seen.insert(*address)) {
            findings.add(path.key(key), format!("{address} is there twice"), "remove one of the two");
        }
    }
    let (primary_name, because) = because("primary_name");
    match (upstream.kind, &upstream.primary_name) {
        (Kind::RedisSentinel, None) => findings.because(
            primary_name,
            because,
            "kind redis-sentinel needs the name of the primary",
            "add primary_name: mymaster, the name in Sentinel's own configuration",
        ),
        (Kind::RedisSentinel, Some(_)) | (_, None) => {}
        (_, Some(_)) => findings.because(
            primary_name,
            because,
            format!("kind {name} has no primary_name"),
            "remove it, or use kind redis-sentinel",
        ),
    }
    if upstream.database > 0 && matches!(upstream.kind, Kind::RedisCluster | Kind::Memcached) {
        findings.because(
            path.key("database"),
            vec![kind.clone()],
            format!("kind {name} has only database 0"),
            "remove it",
        );
    }
    if memory && upstream.database >= MEMORY_DATABASES {
        findings.because(
            path.key("database"),
            vec![kind.clone()],
            format!("kind memory has the databases 0 to {}", MEMORY_DATABASES - 1),
            "write one of them",
        );
    }
    if memory {
        findings.at_least_one(path.key("max_memory"), upstream.max_memory);
    }
}

fn credentials(path: &Path, upstream: &Upstream, findings: &mut Findings) {
    if upstream.username.is_some()
        && upstream.password.is_none()
        && !matches!(upstream.kind, Kind::Memory | Kind::Memcached)
    {
        findings.because(
            path.key("username"),
            vec![path.key("password"), path.key("password_file")],
            "there is a username and no password",
            "add password_file or password, or remove the username",
        );
    }
    let Some(tls) = &upstream.tls else { return };
    if upstream.endpoints.iter().any(|endpoint| endpoint.unix_path().is_some()) {
        findings.because(
            path.key("tls"),
            vec![path.key("endpoints")],
            "a Unix socket is spoken to without TLS",
            "remove tls: the connection never leaves this machine",
        );
    }
    let path = path.key("tls");
    for (key, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        readable(path.key(key), file.as_ref(), findings);
    }
    for (key, file, other, partner) in [("cert", &tls.cert, "key", &tls.key), ("key", &tls.key, "cert", &tls.cert)] {
        if file.is_some() && partner.is_none() {
            findings.because(
                path.key(key),
                vec![path.key(other)],
                format!("{key} is given without {other}"),
                format!("add {other}, or remove {key}"),
            );
        }
    }
}

fn times(path: &Path, upstream: &Upstream, findings: &mut Findings) {
    findings.positive(path.key("connect_timeout"), upstream.connect_timeout);
    findings.positive(path.key("command_timeout"), upstream.command_timeout);

    let heartbeat = path.key("heartbeat");
    let (interval, timeout) = (upstream.heartbeat.interval, upstream.heartbeat.timeout);
    findings.positive(heartbeat.key("interval"), interval);
    findings.positive(heartbeat.key("timeout"), timeout);
    if timeout < interval && !timeout.is_zero() {
        let show = units::show_duration;
        findings.because(
            heartbeat.key("timeout"),
            vec![heartbeat.key("interval")],
            format!("{} is shorter than the interval of {}", show(timeout), show(interval)),
            "write a timeout of at least the interval; twice of it forgives one late answer",
        );
    }

    let check = path.key("health_check");
    findings.positive(check.key("interval"), upstream.health_check.interval);
    findings.positive(check.key("timeout"), upstream.health_check.timeout);

    let (path, breaker) = (path.key("breaker"), &upstream.breaker);
    findings.at_least_one(path.key("failure_threshold"), breaker.failure_threshold.into());
    findings.at_least_one(path.key("min_requests"), breaker.min_requests.into());
    findings.at_least_one(path.key("half_open_probes"), breaker.half_open_probes.into());
    findings.positive(path.key("window"), breaker.window);
    findings.positive(path.key("reset_timeout"), breaker.reset_timeout);
    if breaker.error_rate <= 0.0 {
        findings.add(
            path.key("error_rate"),
            "0% would open the breaker without a single failure",
            "write a share above 0% and up to 100%",
        );
    }
}
