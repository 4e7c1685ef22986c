//! Every metric, declared once: name, kind, labels, meaning, and where its value is read.
//!
//! Nothing here runs while commands are served. The hot path counts in plain cells of its worker
//! ([`crate::counters`]); only when somebody asks ([`crate::admin`]) are they read, published into a recorder of the
//! `metrics` facade, and written out by metrics-exporter-prometheus. A facade macro per command would cost more than
//! looking a reply up (`docs/decisions/0006-metrics.md`).
//!
//! Upstream latency is counted in buckets by the workers and published as counters named as Prometheus names the parts
//! of a histogram, so that `histogram_quantile` works on them. It is no histogram of the facade: the exporter keeps
//! every raw sample of one until it is asked, which is no bound on memory.

mod degradation;
mod drain;
mod invalidation;
pub mod openmetrics;
mod process;
mod traces;

use std::sync::Arc;

use ::metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::app::App;
use crate::cache::near::Tallies;
use crate::clock::Micros;
use crate::counters::{BUCKETS, Counters};
use crate::memory;
use crate::origin::{Node, Origin};
use crate::rules::Rules;
use crate::upstream::tracked::Mode;

/// How a metric's value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number that only grows.
    Counter,
    /// Goes up and down, or has a fraction.
    Gauge,
}

/// A declared metric.
#[derive(Debug)]
pub struct Metric {
    /// `larder_*`, unit last.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
    read: fn(&View<'_>) -> Vec<Reading>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value; for a counter a whole number.
    pub value: f64,
}

/// What is looked at: taken once, so that numbers that belong together agree.
struct View<'a> {
    app: &'a App,
    rules: Arc<Rules>,
    now: Micros,
    /// Replies per latency bucket, of all workers.
    latency: [u64; BUCKETS],
}

/// Values of a metric's labels, in their order, and the number.
type Reading = (Vec<String>, f64);

/// The metrics, in the order in which they are written.
static METRICS: &[Metric] = &[
    // --- The near-cache ---
    counter("larder_cache_hits_total", "Keys of reads answered from the near-cache", |view| {
        cells(view, |c| c.hits.value())
    }),
    counter(
        "larder_cache_misses_total",
        "Keys of cacheable reads that the near-cache had no fresh reply for",
        |view| cells(view, |c| c.misses.value()),
    ),
    counter(
        "larder_cache_joined_total",
        "Misses that waited for a read already under way for another client",
        |view| cells(view, |c| c.joined.value()),
    ),
    counter(
        "larder_cache_bypassed_total",
        "Cacheable reads sent past the near-cache: no coverage, a write of the key under way, or \
         a route that does not cache",
        |view| cells(view, |c| c.bypassed.value()),
    ),
    counter("larder_cache_fills_total", "Replies stored in the near-cache", |view| tallies(view, |t| &t.fills)),
    Metric {
        name: "larder_cache_fills_refused_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Replies read for the near-cache and not stored. moved: the key was written or \
         invalidated meanwhile; uncovered: coverage ended or a flush passed; large: over \
         near_cache.max_entry; expired: no time left to live; error: an error",
        read: |view| {
            let tallies = &view.app.near.tallies;
            vec![
                one_of("moved", value(&tallies.refused_moved)),
                one_of("uncovered", value(&tallies.refused_uncovered)),
                one_of("large", value(&tallies.refused_large)),
                one_of("expired", value(&tallies.refused_expired)),
                one_of("error", value(&tallies.refused_error)),
            ]
        },
    },
    Metric {
        name: "larder_cache_invalidations_total",
        kind: Kind::Counter,
        labels: &["cause"],
        help: "Cached keys removed. push: the upstream told of a change; write: a write passed through \
         here; operator: LARDER INVALIDATE or POST /purge",
        read: |view| {
            let tallies = &view.app.near.tallies;
            vec![
                one_of("push", value(&tallies.invalidated_by_push)),
                one_of("write", value(&tallies.invalidated_by_write)),
                one_of("operator", value(&tallies.invalidated_by_operator)),
            ]
        },
    },
    counter(
        "larder_cache_flushes_total",
        "Times that the upstream or an operator voided the whole near-cache",
        |view| tallies(view, |t| &t.flushes),
    ),
    counter("larder_cache_evictions_total", "Cached keys that had to make room for others", |view| {
        single(view.app.near.evictions())
    }),
    gauge("larder_cache_bytes", "Bytes held by the near-cache, overhead included", |view| {
        single(view.app.near.weight())
    }),
    gauge("larder_cache_max_bytes", "near_cache.max_memory", |view| single(view.rules.config.near_cache.max_memory)),
    gauge("larder_cache_keys", "Keys in the near-cache", |view| single(view.app.near.len() as u64)),
    gauge(
        "larder_snapshot_entries",
        "Replies in the snapshot of the near-cache when it was last loaded or written; absent without near_cache.warm_start",
        |view| snapshot(view, |t| &t.snapshot_entries),
    ),
    gauge(
        "larder_snapshot_written_seconds",
        "When that snapshot was written, in seconds since 1970; absent without near_cache.warm_start",
        |view| snapshot(view, |t| &t.snapshot_written_at),
    ),
    counter(
        "larder_snapshot_failures_total",
        "Snapshots that could not be written, and one that was refused at the start; absent without near_cache.warm_start",
        |view| snapshot(view, |t| &t.snapshot_failures),
    ),
    Metric {
        name: "larder_cache_covered",
        kind: Kind::Gauge,
        labels: &["upstream", "mode"],
        help: "1 while cached replies of the upstream may be served as fresh, under the mode that \
         allows it. tracking: the upstream pushes invalidations and the last heartbeat is recent; \
         ttl: only near_cache.untracked_ttl bounds their age",
        read: covered,
    },
    counter(
        "larder_coverage_lost_total",
        "Times that a tracked connection was lost, and with it the freshness of every entry",
        |view| tallies(view, |t| &t.coverage_lost),
    ),
    // --- Commands ---
    counter("larder_commands_total", "Commands received", |view| cells(view, |c| c.commands.value())),
    counter("larder_commands_local_total", "Commands that Larder answered itself (HELLO, CLIENT, INFO, ...)", |view| {
        cells(view, |c| c.local.value())
    }),
    counter(
        "larder_commands_forwarded_total",
        "Commands sent to the upstream on shared connections; reads for the near-cache not \
         counted",
        |view| cells(view, |c| c.forwarded.value()),
    ),
    counter(
        "larder_command_errors_total",
        "Commands that Larder refused (unknown, wrong arity, not served); the upstream's errors \
         not counted",
        |view| cells(view, |c| c.errors.value()),
    ),
    // --- Clients ---
    gauge("larder_clients", "Connected clients", |view| single(view.app.clients.len() as u64)),
    counter("larder_clients_accepted_total", "Clients admitted", |view| cells(view, |c| c.clients_accepted.value())),
    counter(
        "larder_clients_refused_total",
        "Clients turned away at limits.max_clients or limits.max_clients_per_address",
        |view| single(value(&view.app.refused)),
    ),
    counter(
        "larder_clients_closed_by_limit_total",
        "Clients closed because limits.max_output of replies lay unread",
        |view| cells(view, |c| c.clients_closed_by_limit.value()),
    ),
    counter("larder_client_input_bytes_total", "Bytes read from clients", |view| {
        cells(view, |c| c.input_bytes.value())
    }),
    counter("larder_client_output_bytes_total", "Bytes sent to clients", |view| {
        cells(view, |c| c.output_bytes.value())
    }),
    // --- Publish, subscribe ---
    gauge("larder_tracking_clients", "Clients that want to hear of changes (CLIENT TRACKING)", |view| {
        single(view.app.register.figures().0 as u64)
    }),
    gauge("larder_tracking_keys", "Keys that they have read and whose changes they are told of", |view| {
        single(view.app.register.figures().1 as u64)
    }),
    gauge("larder_subscriptions", "Channels, patterns and shard channels that clients are subscribed to", |view| {
        single(view.app.hub.figures().members as u64)
    }),
    gauge(
        "larder_upstream_subscriptions",
        "Different ones of them: each is one subscription upstream, whatever the number of clients",
        |view| single(view.app.hub.figures().names.iter().sum::<usize>() as u64),
    ),
    counter("larder_messages_received_total", "Messages that came for them from the upstream", |view| {
        single(value(&view.app.hub.received))
    }),
    counter("larder_pushes_total", "Messages handed to clients", |view| cells(view, |c| c.pushes.value())),
    counter(
        "larder_subscriptions_lost_total",
        "Times that a subscription connection was lost; what is published until it is back is lost too",
        |view| single(value(&view.app.hub.lost)),
    ),
    // --- The upstream ---
    counter("larder_upstream_replies_total", "Replies to forwarded commands", |view| {
        cells(view, |c| c.upstream_replies.value())
    }),
    counter(
        "larder_upstream_failures_total",
        "Forwarded commands without a reply: not reachable, connection lost, or too late",
        |view| cells(view, |c| c.upstream_failures.value()),
    ),
    counter(
        "larder_redirections_total",
        "Commands that a node of a cluster sent on to another one (MOVED, ASK) or had sent again (TRYAGAIN)",
        |view| cells(view, |c| c.redirections.value()),
    ),
    gauge(
        "larder_leases",
        "Upstream connections that belong to one client each now: MULTI, WATCH, blocking commands, WAIT, MONITOR",
        |view| single(view.app.origins().map(|origin| origin.leases.out() as u64).sum()),
    ),
    gauge(
        "larder_leases_waiting",
        "Clients that wait for an upstream connection of their own because max_leases are out",
        |view| single(view.app.origins().map(|origin| origin.leases.waiting() as u64).sum()),
    ),
    counter("larder_leases_taken_total", "Times that a client was given an upstream connection of its own", |view| {
        cells(view, |c| c.leases.value())
    }),
    counter(
        "larder_leases_refused_total",
        "Commands refused because max_leases connections were out until command_timeout was over",
        |view| cells(view, |c| c.leases_refused.value()),
    ),
    Metric {
        name: "larder_upstream_nodes",
        kind: Kind::Gauge,
        labels: &["upstream", "role"],
        help: "Servers behind Larder: primaries own keys, replicas follow them",
        read: nodes,
    },
    Metric {
        name: "larder_node_covered",
        kind: Kind::Gauge,
        labels: &["upstream", "node"],
        help: "1 while cached replies of this primary may be served as fresh",
        read: nodes_covered,
    },
    counter(
        "larder_topology_changes_total",
        "Times that keys got another owner: a failover, or slots that moved",
        |view| match view.app.origins().next() {
            Some(_) => single(view.app.origins().map(|origin| value(&origin.changes)).sum()),
            None => Vec::new(),
        },
    ),
    Metric {
        name: "larder_upstream_latency_seconds_bucket",
        kind: Kind::Counter,
        labels: &["le"],
        help: "Replies to forwarded commands that came within le seconds of their being sent; commands \
         sent together count with the first",
        read: latency_buckets,
    },
    gauge("larder_upstream_latency_seconds_sum", "Sum of those times; only grows", |view| {
        let micros = view.app.total(|counters| counters.latency_micros.value());
        vec![(Vec::new(), seconds(micros))]
    }),
    counter("larder_upstream_latency_seconds_count", "Number of those replies", |view| {
        single(view.latency.iter().sum())
    }),
    // --- The memory upstream ---
    gauge(
        "larder_memory_upstream_keys",
        "Keys of the memory upstream, all databases; absent with other upstreams",
        |view| memory(view, |store| (0..memory::DATABASES).map(|database| store.keys(database) as u64).sum()),
    ),
    gauge("larder_memory_upstream_bytes", "Bytes held by the memory upstream; absent with other upstreams", |view| {
        memory(view, memory::Memory::used)
    }),
    // --- The process ---
    gauge("larder_uptime_seconds", "Time since the process started", |view| {
        vec![(Vec::new(), view.app.started.0.elapsed().as_secs_f64())]
    }),
];

/// Every metric, in the order of the page.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    METRICS
        .iter()
        .chain(degradation::METRICS)
        .chain(invalidation::METRICS)
        .chain(drain::METRICS)
        .chain(process::METRICS)
        .chain(traces::METRICS)
}

/// Reads every metric.
pub fn samples(app: &App) -> Vec<Sample> {
    let mut latency = [0; BUCKETS];
    for counters in &app.counters {
        for (sum, cell) in latency.iter_mut().zip(&counters.latency) {
            *sum += cell.value();
        }
    }
    let view = View { app, rules: app.rules(), now: Micros::now(), latency };
    let mut samples = Vec::new();
    for metric in all() {
        for (values, value) in (metric.read)(&view) {
            let labels = metric.labels.iter().copied().zip(values).collect();
            samples.push(Sample { name: metric.name, help: metric.help, kind: metric.kind, labels, value });
        }
    }
    samples
}

/// The samples in the text format of Prometheus (version 0.0.4), in their order.
pub fn render(samples: &[Sample]) -> String {
    // A recorder of its own for each page: nothing is kept between two scrapes, and no code elsewhere can record into it.
    let recorder = PrometheusBuilder::new().build_recorder();
    let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    for sample in samples {
        let labels: Vec<Label> = sample.labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
        let key = Key::from_parts(sample.name, labels);
        match sample.kind {
            Kind::Counter => {
                recorder.describe_counter(sample.name.into(), None, sample.help.into());
                recorder.register_counter(&key, &metadata).absolute(sample.value as u64);
            }
            Kind::Gauge => {
                recorder.describe_gauge(sample.name.into(), None, sample.help.into());
                recorder.register_gauge(&key, &metadata).set(sample.value);
            }
        }
    }
    in_order(&recorder.handle().render(), samples)
}

/// The exporter writes in the order of a hash map, which differs from page to page; people read and compare them.
fn in_order(page: &str, samples: &[Sample]) -> String {
    let place = |line: &str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        samples.iter().position(|sample| sample.name == name)
    };
    let mut families: Vec<_> = page
        .split("\n\n")
        .map(|family| {
            let (mut comments, mut lines): (Vec<&str>, Vec<&str>) =
                family.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
            lines.sort_by_key(|line| (line.contains("\"+Inf\""), *line));
            let place = lines.first().and_then(|line| place(line));
            comments.append(&mut lines);
            (place, comments)
        })
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    families.sort_by_key(|(place, _)| *place);
    families.iter().map(|(_, lines)| lines.join("\n") + "\n").collect()
}

// === rows ===

const fn counter(name: &'static str, help: &'static str, read: fn(&View<'_>) -> Vec<Reading>) -> Metric {
    Metric { name, kind: Kind::Counter, labels: &[], help, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&View<'_>) -> Vec<Reading>) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help, read }
}

fn single(value: u64) -> Vec<Reading> {
    vec![(Vec::new(), value as f64)]
}

fn one_of(label: &str, value: u64) -> Reading {
    (vec![label.to_owned()], value as f64)
}

fn cells(view: &View<'_>, pick: fn(&Counters) -> u64) -> Vec<Reading> {
    single(view.app.total(pick))
}

fn value(tally: &std::sync::atomic::AtomicU64) -> u64 {
    tally.load(std::sync::atomic::Ordering::Relaxed)
}

fn tallies(view: &View<'_>, pick: fn(&Tallies) -> &std::sync::atomic::AtomicU64) -> Vec<Reading> {
    single(value(pick(&view.app.near.tallies)))
}

fn snapshot(view: &View<'_>, pick: fn(&Tallies) -> &std::sync::atomic::AtomicU64) -> Vec<Reading> {
    if view.rules.config.near_cache.warm_start { tallies(view, pick) } else { Vec::new() }
}

/// What each upstream that has servers says.
fn by_origin(view: &View<'_>, read: impl Fn(&Origin) -> Vec<Reading>) -> Vec<Reading> {
    view.app.origins().flat_map(read).collect()
}

fn covered(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let map = origin.map();
        let primaries = map.primaries();
        // As weak as the weakest: what one of several nodes lacks is not covered.
        let holds = !primaries.is_empty() && primaries.iter().all(|primary| primary.node.coverage.holds(view.now));
        // Without tracking, coverage outlives the connection: nothing depends on it.
        let tracking = primaries.iter().all(|primary| primary.node.mode() == Some(Mode::Tracking));
        let reading = |mode: &str, state: bool| (vec![origin.name.clone(), mode.to_owned()], f64::from(state));
        vec![reading("tracking", holds && tracking), reading("ttl", holds && !tracking)]
    })
}

fn nodes(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let map = origin.map();
        let replicas: usize = map.primaries().iter().map(|primary| primary.replicas.len()).sum();
        let reading = |role: &str, count: usize| (vec![origin.name.clone(), role.to_owned()], count as f64);
        vec![reading("primary", map.primaries().len()), reading("replica", replicas)]
    })
}

fn nodes_covered(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let reading = |node: &Node| {
            let labels = vec![origin.name.clone(), node.endpoint.address.to_string()];
            (labels, f64::from(node.coverage.holds(view.now)))
        };
        origin.map().primaries().iter().map(|primary| reading(&primary.node)).collect()
    })
}

fn memory(view: &View<'_>, pick: fn(&memory::Memory) -> u64) -> Vec<Reading> {
    match view.app.memories().next() {
        Some(_) => single(view.app.memories().map(|(_, memory)| pick(memory)).sum()),
        None => Vec::new(),
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Bucket `n` holds latencies below 2^n microseconds and not below half of that; the last one everything longer.
fn latency_buckets(view: &View<'_>) -> Vec<Reading> {
    let mut sum = 0;
    let mut readings = Vec::with_capacity(BUCKETS);
    for (n, count) in view.latency.iter().enumerate() {
        sum += count;
        let le = if n + 1 == BUCKETS { "+Inf".to_owned() } else { format!("{:.6}", seconds(1 << n)) };
        readings.push((vec![le], sum as f64));
    }
    readings
}

#[cfg(test)]
mod tests;
