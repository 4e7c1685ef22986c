//! INFO: Larder's own, in the sections and under the names that monitoring tools know from Redis.

use std::fmt::{Arguments, Display, Write};
use std::fs;

use super::Request;
use super::config::{listening, max_memory};
use super::hello::version;
use crate::app::{App, Backend};
use crate::clock::Micros;
use crate::ladder::Rung;
use crate::memory;
use crate::origin::Origin;
use crate::report::figures::{digits, figures, value};
use crate::report::upstreams::{coherence, covered, worst};
use crate::resp::encode;

/// Writes the lines of a section.
type Fill = fn(&App, &mut String);

/// The sections, in their order: all of them are shown unless some are named.
const SECTIONS: &[(&str, Fill)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Larder", larder),
    ("Keyspace", keyspace),
];

/// `INFO [section ...]`
pub(super) fn info(request: &mut Request<'_>) {
    let command = request.command;
    let named = |section: &str| (1..command.len()).any(|at| command.is(at, section));
    let everything = command.len() == 1 || ["all", "default", "everything"].into_iter().any(named);
    let mut text = String::new();
    for (name, fill) in SECTIONS {
        if !everything && !named(name) {
            continue;
        }
        let mut body = String::new();
        fill(request.app(), &mut body);
        if body.is_empty() {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\r\n" };
        line(&mut text, format_args!("{gap}# {name}"));
        text.push_str(&body);
    }
    let proto = request.proto();
    encode::verbatim(request.out(), proto, "txt", text.as_bytes());
}

fn line(out: &mut String, text: Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{text}\r\n");
}

fn field(out: &mut String, name: &str, value: impl Display) {
    line(out, format_args!("{name}:{value}"));
}

fn server(app: &App, out: &mut String) {
    let told = app.home_origin().map(|origin| origin.learned.load().arch_bits.clone());
    let bits = told.filter(|bits| !bits.is_empty()).unwrap_or_else(|| usize::BITS.to_string());
    let uptime = app.started.0.elapsed().as_secs();
    let (_, port) = listening(app);
    field(out, "redis_version", version(app));
    field(out, "redis_mode", super::hello::mode(app));
    field(out, "os", operating_system());
    field(out, "arch_bits", bits);
    field(out, "process_id", std::process::id());
    field(out, "run_id", &app.run_id);
    field(out, "tcp_port", port);
    field(out, "uptime_in_seconds", uptime);
    field(out, "uptime_in_days", uptime / 86_400);
    field(out, "larder_version", env!("CARGO_PKG_VERSION"));
    field(out, "executable", std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default());
    // In Redis's field there is a path or nothing; what else it can be is said in the section of Larder.
    let file = fs::exists(&app.source).unwrap_or(false);
    field(out, "config_file", if file { app.source.as_str() } else { "" });
    let reloads = &app.reloads;
    let last = reloads.wrong().map_or("ok".to_owned(), |wrong| format!("refused: {}", wrong.replace('\n', " ")));
    field(out, "config_last_reload", last);
}

fn operating_system() -> String {
    let kernel =
        |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let (name, release) = (kernel("ostype"), kernel("osrelease"));
    let name = if name.is_empty() { std::env::consts::OS.to_owned() } else { name };
    [name, release, std::env::consts::ARCH.to_owned()].join(" ").replace("  ", " ")
}

fn clients(app: &App, out: &mut String) {
    field(out, "connected_clients", app.clients.len());
    field(out, "cluster_connections", 0);
    field(out, "maxclients", app.rules().config.limits.max_clients);
    field(out, "blocked_clients", app.clients.blocked());
    field(out, "tracking_clients", 0);
}

fn memory(app: &App, out: &mut String) {
    let used = app.near.weight() + app.memories().map(|(_, memory)| memory.used()).sum::<u64>();
    let most = max_memory(app);
    field(out, "used_memory", used);
    field(out, "used_memory_human", human(used));
    if let Some(resident) = resident() {
        field(out, "used_memory_rss", resident);
        field(out, "used_memory_rss_human", human(resident));
    }
    field(out, "maxmemory", most);
    field(out, "maxmemory_human", human(most));
    if let Backend::Memory(_) = app.home() {
        field(out, "maxmemory_policy", "noeviction");
    }
}

/// Resident memory of the process in bytes, where the system tells.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A size as Redis writes it for people: `1.42M`.
fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.2}{name}", bytes as f64 / *unit as f64),
        None => format!("{bytes}B"),
    }
}

fn stats(app: &App, out: &mut String) {
    let figures = figures(app);
    // Redis's name, and Larder's.
    for (redis, larder) in [
        ("total_connections_received", "clients_accepted_total"),
        ("total_commands_processed", "commands_total"),
        ("total_net_input_bytes", "client_input_bytes_total"),
        ("total_net_output_bytes", "client_output_bytes_total"),
        ("rejected_connections", "clients_refused_total"),
        ("evicted_keys", "cache_evictions_total"),
        ("keyspace_hits", "cache_hits_total"),
        ("keyspace_misses", "cache_misses_total"),
        ("total_error_replies", "command_errors_total"),
    ] {
        line(out, format_args!("{redis}:{}", digits(value(&figures, larder))));
    }
    let [channels, patterns, shards] = app.hub.figures().names;
    field(out, "pubsub_channels", channels);
    field(out, "pubsub_patterns", patterns);
    field(out, "pubsubshard_channels", shards);
}

fn replication(_: &App, out: &mut String) {
    field(out, "role", "master");
    field(out, "connected_slaves", 0);
}

fn cluster(app: &App, out: &mut String) {
    field(out, "cluster_enabled", u8::from(app.rules().config.cluster_facade));
}

fn larder(app: &App, out: &mut String) {
    field(out, "config_source", &app.source);
    match app.home() {
        Backend::Memory(_) => field(out, "upstream", app.upstream_name(app.home)),
        Backend::Servers(origin) => home(app, origin, out),
    }
    if app.several {
        for (name, backend) in app.names.iter().zip(&app.upstreams) {
            field(out, &format!("upstream_{name}"), summary(app, backend));
        }
    }
    for (name, value) in figures(app) {
        line(out, format_args!("{name}:{}", digits(value)));
    }
}

/// The upstream for what concerns no key.
fn home(app: &App, origin: &Origin, out: &mut String) {
    let map = origin.map();
    let address = map.any().map_or(&origin.model.address, |node| &node.endpoint.address);
    field(out, "upstream", &origin.name);
    field(out, "upstream_kind", origin.kind.name());
    field(out, "upstream_address", address);
    field(out, "upstream_protocol", super::hello::digit(origin.proto()));
    field(out, "upstream_primaries", map.primaries().len());
    field(out, "coherence", coherence(map.any().and_then(|node| node.mode())));
    field(out, "covered", if covered(origin) { "yes" } else { "no" });
    let (worst, now) = (worst(app, origin), Micros::now());
    let degraded = worst.rung != Rung::Normal;
    field(out, "rung", worst.rung.name());
    field(out, "rung_since_seconds", if degraded { now.since(worst.since).duration().as_secs() } else { 0 });
    field(out, "rung_forced", if origin.forced(now).is_some() { "yes" } else { "no" });
}

/// One upstream of several, in the manner of Redis's lines about databases.
fn summary(app: &App, backend: &Backend) -> String {
    match backend {
        Backend::Memory(memory) => {
            let keys: usize = (0..memory::DATABASES).map(|database| memory.keys(database)).sum();
            format!("kind={},keys={keys},used_memory={}", backend.kind(), memory.used())
        }
        Backend::Servers(origin) => {
            let covered = if covered(origin) { "yes" } else { "no" };
            let (primaries, rung) = (origin.map().primaries().len(), worst(app, origin).rung.name());
            format!("kind={},primaries={primaries},covered={covered},rung={rung}", backend.kind())
        }
    }
}

/// The databases of the memory upstream. A Redis upstream is asked for its own (DBSIZE), so nothing is said of them.
fn keyspace(app: &App, out: &mut String) {
    let Backend::Memory(memory) = app.home() else {
        return;
    };
    for database in 0..memory::DATABASES {
        let (keys, expires) = (memory.keys(database), memory.expiring(database));
        if keys > 0 {
            line(out, format_args!("db{database}:keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_redis() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_486_624, "1.42M"), (268_435_456, "256.00M")]
        {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn the_system_and_the_memory_of_the_process_are_known() {
        assert!(operating_system().ends_with(std::env::consts::ARCH));
        assert!(resident().is_none_or(|bytes| bytes > 1 << 16));
    }
}
