//! What types cannot say: names that must exist, values that must fit each other, files that must be readable.
//!
//! Works on the finished configuration, wherever it came from (file, URL, flags), and yields findings by key path. A finding
//! rests on its own path and on those in `because`; it is dropped where one of them was already reported.

use super::fault::{Path, Wrong, nearest};
use super::ladder::Rung;
use super::limits::Workers;
use super::listener::Address;
use super::route::{ReadFrom, Route};
use super::upstream::{Kind, Upstream, open_file};
use super::{Config, units};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A fault of the finished configuration.
pub(super) struct Finding {
    pub path: Path,
    pub because: Vec<Path>,
    pub wrong: Wrong,
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, path: Path, problem: impl Into<String>, remedy: impl Into<String>) {
        self.because(path, Vec::new(), problem, remedy);
    }

    pub fn because(
        &mut self,
        path: Path,
        because: Vec<Path>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
            path,
            because,
            wrong: Wrong::new(problem, remedy),
        });
    }

    fn positive(&mut self, path: Path, duration: Duration) {
        if duration.is_zero() {
            self.add(
                path,
                "0s is no time at all",
                "write a duration such as 250ms, 5s, 1m",
            );
        }
    }

    fn at_least_one(&mut self, path: Path, number: u64) {
        if number == 0 {
            self.add(
                path,
                "0 would stop everything",
                "write a number of at least 1",
            );
        }
    }
}

/// Every finding, section by section.
pub(super) fn findings(config: &Config) -> Findings {
    let mut findings = Findings::default();
    listeners(config, &mut findings);
    for (name, upstream) in &config.upstreams {
        let path = Path::of(["upstreams", name]);
        endpoints(&path, upstream, &mut findings);
        credentials(&path, upstream, &mut findings);
        times(&path, upstream, &mut findings);
    }
    routes(config, &mut findings);
    ladders(config, &mut findings);
    near_cache(config, &mut findings);
    limits(config, &mut findings);
    findings
}

fn listeners(config: &Config, findings: &mut Findings) {
    const INSECURE: &str = "add tls, listen on 127.0.0.1, or accept the risk with allow_insecure: true at the top of the file";
    let mut seen = HashMap::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let path = Path::of(["listeners"]).index(index);
        let address = &listener.address;
        if !address.is_local() && listener.tls.is_none() && !config.allow_insecure {
            findings.because(
                path.key("address"),
                vec![path.key("tls"), Path::of(["allow_insecure"])],
                format!("{address} can be reached from other machines and has no TLS"),
                INSECURE,
            );
        }
        if let Some(tls) = &listener.tls {
            readable(path.key("tls").key("cert"), Some(&tls.cert), findings);
            readable(path.key("tls").key("key"), Some(&tls.key), findings);
            readable(
                path.key("tls").key("client_ca"),
                tls.client_ca.as_ref(),
                findings,
            );
        }
        if matches!(address, Address::Tcp { port: 0, .. }) {
            continue;
        }
        if let Some(first) = seen.insert(address, index) {
            findings.add(
                path.key("address"),
                format!("{address} is already listeners[{first}]"),
                "remove one of the two",
            );
        }
        if *address == admin_address(config) {
            findings.because(
                path.key("address"),
                vec![Path::of(["admin"])],
                format!("{address} is also the admin address"),
                "choose another port for one of the two",
            );
        }
    }
    let admin = config.admin.address;
    if !admin.ip().to_canonical().is_loopback() && !config.allow_insecure {
        findings.because(
            Path::of(["admin", "address"]),
            vec![Path::of(["allow_insecure"])],
            format!("{admin} can be reached from other machines, and whoever reaches it steers the proxy"),
            "use 127.0.0.1, or accept the risk with allow_insecure: true at the top of the file",
        );
    }
}

fn admin_address(config: &Config) -> Address {
    Address::Tcp {
        host: config.admin.address.ip().to_string(),
        port: config.admin.address.port(),
    }
}

fn readable(path: Path, file: Option<&std::path::PathBuf>, findings: &mut Findings) {
    // An empty path stands for one that was missing and has been reported.
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else {
        return;
    };
    if let Err(wrong) = open_file(file) {
        findings.add(path, wrong.problem, wrong.remedy);
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
            "add endpoints: [127.0.0.1:6379]",
        );
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
    for (key, list) in [
        ("endpoints", &upstream.endpoints),
        ("replicas", &upstream.replicas),
    ] {
        let mut seen = HashSet::new();
        for address in list.iter().filter(|address| !seen.insert(*address)) {
            findings.add(
                path.key(key),
                format!("{address} is there twice"),
                "remove one of the two",
            );
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
    if memory {
        findings.at_least_one(path.key("max_memory"), upstream.max_memory);
    }
}

fn credentials(path: &Path, upstream: &Upstream, findings: &mut Findings) {
    if upstream.username.is_some() && upstream.password.is_none() && upstream.kind != Kind::Memory {
        findings.because(
            path.key("username"),
            vec![path.key("password"), path.key("password_file")],
            "there is a username and no password",
            "add password_file or password, or remove the username",
        );
    }
    let Some(tls) = &upstream.tls else { return };
    let path = path.key("tls");
    for (key, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        readable(path.key(key), file.as_ref(), findings);
    }
    for (key, file, other, partner) in [
        ("cert", &tls.cert, "key", &tls.key),
        ("key", &tls.key, "cert", &tls.cert),
    ] {
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
            format!(
                "{} is shorter than the interval of {}",
                show(timeout),
                show(interval)
            ),
            "write a timeout of at least the interval; twice of it forgives one late answer",
        );
    }

    let check = path.key("health_check");
    findings.positive(check.key("interval"), upstream.health_check.interval);
    findings.positive(check.key("timeout"), upstream.health_check.timeout);

    let (path, breaker) = (path.key("breaker"), &upstream.breaker);
    findings.at_least_one(
        path.key("failure_threshold"),
        breaker.failure_threshold.into(),
    );
    findings.at_least_one(path.key("min_requests"), breaker.min_requests.into());
    findings.at_least_one(
        path.key("half_open_probes"),
        breaker.half_open_probes.into(),
    );
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

fn routes(config: &Config, findings: &mut Findings) {
    let upstreams = Path::of(["upstreams"]);
    if config.routes.is_empty() && config.upstreams.len() > 1 {
        let names: Vec<_> = config.upstreams.keys().map(String::as_str).collect();
        findings.add(
            Path::of(["routes"]),
            format!(
                "there are {} upstreams ({}) and no routes",
                names.len(),
                short_list(&names)
            ),
            "add routes that say which keys go where, the last one with keys: [\"*\"]",
        );
    }
    let mut seen = HashMap::new();
    for (index, route) in config.routes.iter().enumerate() {
        let path = Path::of(["routes"]).index(index);
        if !config.upstreams.contains_key(&route.upstream) {
            // With faulty upstreams the name may be one that was refused above.
            let because = if config.upstreams.is_empty() {
                vec![upstreams.clone()]
            } else {
                Vec::new()
            };
            let (problem, remedy) = unknown("upstream", &route.upstream, config.upstreams.keys());
            findings.because(path.key("upstream"), because, problem, remedy);
        }
        if !config.ladders.contains_key(&route.ladder) {
            let (problem, remedy) = unknown("ladder", &route.ladder, config.ladders.keys());
            findings.add(path.key("ladder"), problem, remedy);
        }
        for (number, pattern) in route.keys.iter().enumerate() {
            let place = Route::pattern_path(index, number);
            if let Some(first) = seen.insert(pattern, place.clone()) {
                findings.add(
                    place,
                    format!("the pattern \"{pattern}\" is already {first}"),
                    "remove one of the two; a key can have but one route",
                );
            }
        }
        if let Some(ttl) = route.cache.ttl {
            findings.positive(path.key("cache").key("ttl"), ttl);
        }
        if route.cache.commands.as_ref().is_some_and(Vec::is_empty) {
            findings.add(
                path.key("cache").key("commands"),
                "the list is empty, so nothing would be cached",
                "write enabled: false, or leave commands out to cache all of them",
            );
        }
        let upstream = config.upstreams.get(&route.upstream);
        if route.read_from == ReadFrom::ReplicaPreferred
            && upstream.is_some_and(|upstream| {
                upstream.kind == Kind::Redis && upstream.replicas.is_empty()
            })
        {
            findings.because(
                path.key("read_from"),
                vec![
                    upstreams.key(&route.upstream).key("replicas"),
                    upstreams.key(&route.upstream).key("kind"),
                ],
                format!("upstream {} has no replicas", route.upstream),
                "add replicas: [host:port] to the upstream, or write read_from: primary",
            );
        }
    }
}

/// The words for a name that leads nowhere.
fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a String> + Clone,
) -> (String, String) {
    let names: Vec<&str> = known.map(String::as_str).collect();
    let problem = format!("there is no {what} named \"{}\"", super::fault::shown(name));
    let remedy = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the {what}s are {}", short_list(&names)),
    };
    (problem, remedy)
}

fn short_list(names: &[&str]) -> String {
    const MOST: usize = 8;
    let mut list = names
        .iter()
        .take(MOST)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MOST {
        list.push_str(", ...");
    }
    list
}

fn ladders(config: &Config, findings: &mut Findings) {
    for (name, steps) in &config.ladders {
        let path = Path::of(["ladders", name]);
        if steps.is_empty() {
            findings.add(
                path.clone(),
                "the ladder has no steps",
                "add a step such as - {rung: reject}",
            );
        }
        let mut seen = HashMap::new();
        for (index, step) in steps.iter().enumerate() {
            let path = path.index(index);
            let rung = step.rung.name();
            let because = vec![path.key("rung")];
            if let Some(first) = seen.insert(rung, index) {
                findings.add(
                    path.key("rung"),
                    format!("{rung} is already step [{first}]"),
                    "name each rung once",
                );
            }
            match step.lasts {
                Some(lasts) => findings.positive(path.key("for"), lasts),
                None if index + 1 < steps.len() => findings.because(
                    path.key("for"),
                    because.clone(),
                    format!("{rung} does not say how long it lasts, and steps follow it"),
                    "add for: 30s; only the last step goes on without end",
                ),
                None => {}
            }
            if step.max_stale.is_some() && step.rung != Rung::StaleReadOnly {
                findings.because(
                    path.key("max_stale"),
                    because.clone(),
                    format!("max_stale says nothing about {rung}"),
                    "remove it; it belongs to stale-read-only",
                );
            }
            match step.timeout {
                Some(timeout) if step.rung == Rung::Passthrough => {
                    findings.positive(path.key("timeout"), timeout)
                }
                Some(_) => findings.because(
                    path.key("timeout"),
                    because,
                    format!("timeout says nothing about {rung}"),
                    "remove it; it belongs to passthrough",
                ),
                None => {}
            }
        }
    }
}

fn near_cache(config: &Config, findings: &mut Findings) {
    let path = Path::of(["near_cache"]);
    let cache = &config.near_cache;
    findings.at_least_one(path.key("max_memory"), cache.max_memory);
    findings.positive(path.key("ttl"), cache.ttl);
    findings.positive(path.key("untracked_ttl"), cache.untracked_ttl);
    if cache.ttl_jitter > 0.9 {
        findings.add(
            path.key("ttl_jitter"),
            format!(
                "{} would let entries end at once",
                units::show_share(cache.ttl_jitter)
            ),
            "write a share between 0% and 90%",
        );
    }
    if cache.max_entry > cache.max_memory {
        findings.because(
            path.key("max_entry"),
            vec![path.key("max_memory")],
            format!(
                "one entry of {} would not fit into max_memory, {}",
                units::show_size(cache.max_entry),
                units::show_size(cache.max_memory)
            ),
            "write a max_entry of at most max_memory; a hundredth of it is usual",
        );
    } else if cache.max_memory > 0 {
        findings.at_least_one(path.key("max_entry"), cache.max_entry);
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let path = Path::of(["limits"]);
    let limits = &config.limits;
    for (key, number) in [
        ("max_clients", limits.max_clients as u64),
        ("max_bulk", limits.max_bulk),
        ("max_args", limits.max_args as u64),
        ("max_request", limits.max_request),
        ("max_pipeline", limits.max_pipeline as u64),
        ("max_output", limits.max_output),
    ] {
        findings.at_least_one(path.key(key), number);
    }
    // The cap of Redis itself, and what keeps every length inside the decoder's integers.
    const MOST_BYTES: u64 = 1 << 46;
    for (key, number) in [
        ("max_bulk", limits.max_bulk),
        ("max_request", limits.max_request),
        ("max_output", limits.max_output),
    ] {
        if number > MOST_BYTES {
            findings.add(
                path.key(key),
                format!("{number} bytes are more than any machine has"),
                "write a size such as 512mb",
            );
        }
    }
    if limits.max_request < limits.max_bulk {
        findings.because(
            path.key("max_request"),
            vec![path.key("max_bulk")],
            format!(
                "a command of {} could not hold one argument of max_bulk, {}",
                units::show_size(limits.max_request),
                units::show_size(limits.max_bulk)
            ),
            "write a max_request of at least max_bulk",
        );
    }
    const MOST_WORKERS: usize = 1024;
    match config.workers {
        Workers::Fixed(0) => findings.add(
            Path::of(["workers"]),
            "0 workers would serve nobody",
            "write workers: auto, or a number of at least 1",
        ),
        Workers::Fixed(number) if number > MOST_WORKERS => findings.add(
            Path::of(["workers"]),
            format!("{number} workers are more than the {MOST_WORKERS} that make sense"),
            "write workers: auto for one on each core",
        ),
        Workers::Fixed(_) | Workers::Auto => {}
    }
}
