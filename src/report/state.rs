//! All that is told of the process, in one: `/state`. The dashboard and `larder top` show nothing else.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::figures::{figures, whole};
use super::latency::Percentiles;
use super::readiness::{Readiness, readiness};
use super::{hotkeys, ladder, nodes, sampler, upstreams};
use crate::app::App;
use crate::counters::BUCKETS;
use crate::events::Event;
use crate::history::Sample;

/// Keys that are listed.
const HOTTEST: usize = 20;
/// Samples that make up what [`Recent`] tells: the last minute.
const RECENT: usize = 60;

/// Which events and samples are asked for: those with a higher number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Since {
    /// The last event that is known already; 0: all that are kept.
    pub events_after: u64,
    /// The last sample that is known already; 0: all that are kept.
    pub history_after: u64,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Larder's version.
    pub version: String,
    /// 40 hex digits that differ from run to run.
    pub run_id: String,
    /// `starting`, `serving`, `draining`, `ending`.
    pub stage: String,
    /// Whether clients should be sent here.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// The time by its clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Time since its start.
    pub uptime_seconds: f64,
    /// Its process id.
    pub process_id: u32,
    /// Where its configuration came from.
    pub config_source: String,
    /// Addresses for clients.
    pub listeners: Vec<String>,
    /// The admin address.
    pub admin: Option<String>,
    /// Threads that serve clients.
    pub workers: usize,
    /// Every figure of LARDER STATS under its name.
    pub stats: BTreeMap<String, Value>,
    /// The last minute.
    pub recent: Recent,
    /// Every upstream as a whole.
    pub upstreams: Vec<upstreams::Upstream>,
    /// LARDER LADDER.
    pub ladder: Vec<ladder::Line>,
    /// LARDER NODES.
    pub nodes: Vec<nodes::Line>,
    /// LARDER HOTKEYS.
    pub hot_keys: Vec<hotkeys::Line>,
    /// What has happened of late, the oldest first.
    pub events: Vec<Told>,
    /// The numbers of the last quarter of an hour.
    pub history: Columns,
}

/// How things went lately: rates over the last five seconds, ratios and percentiles over the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Commands received each second.
    pub requests_per_second: f64,
    /// Replies that were not fresh, each second.
    pub stale_per_second: f64,
    /// Share of cacheable reads that the near-cache answered; `None` where there was none.
    pub hit_ratio: Option<f64>,
    /// How long upstreams took.
    #[serde(flatten)]
    pub latency: Percentiles,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its number, from 1.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// `process`, `reload`, `rung`, `breaker`, `coverage`.
    pub kind: String,
    /// Whether somebody should look.
    pub warning: bool,
    /// The upstream that it is about.
    pub upstream: Option<String>,
    /// In words.
    pub text: String,
}

/// Samples as columns of equal length, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Time between two samples.
    pub interval_seconds: f64,
    /// The samples' numbers.
    pub number: Vec<u64>,
    /// When they were taken, in milliseconds since 1970.
    pub at_ms: Vec<u64>,
    /// Commands received each second.
    pub requests_per_second: Vec<f64>,
    /// Share of cacheable reads that the near-cache answered.
    pub hit_ratio: Vec<Option<f64>>,
    /// Replies that were not fresh, each second.
    pub stale_per_second: Vec<f64>,
    /// How long upstreams took, in seconds.
    pub p50_seconds: Vec<Option<f64>>,
    /// The same for 99 of 100 replies.
    pub p99_seconds: Vec<Option<f64>>,
    /// The same for 999 of 1000.
    pub p999_seconds: Vec<Option<f64>>,
    /// Bytes held by the near-cache.
    pub cache_bytes: Vec<u64>,
    /// Connected clients.
    pub clients: Vec<u32>,
    /// Share of recent reads that the cache could answer.
    pub runway: Vec<Option<f64>>,
    /// The worst rung of each upstream, 0 (normal) to 4 (reject).
    pub rungs: BTreeMap<String, Vec<u8>>,
}

/// Tells all of it.
pub fn state(app: &App, since: Since) -> State {
    let number = |value: f64| match whole(value) {
        Some(whole) => Value::from(whole),
        None => Number::from_f64(value).map_or(Value::Null, Value::Number),
    };
    let names: Vec<&str> = (0..app.upstreams.len()).map(|number| app.upstream_name(number as u16)).collect();
    State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: app.run_id.clone(),
        stage: app.stage().name().to_owned(),
        readiness: readiness(app),
        now_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        uptime_seconds: rounded(app.started.0.elapsed().as_secs_f64(), 1e3),
        process_id: std::process::id(),
        config_source: app.source.clone(),
        listeners: app.listening.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        admin: app.admin.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        workers: app.inboxes.len(),
        stats: figures(app).into_iter().map(|(name, value)| (name, number(value))).collect(),
        recent: recent(&app.history.last(RECENT)),
        upstreams: upstreams::upstreams(app),
        ladder: ladder::lines(app),
        nodes: nodes::lines(app),
        hot_keys: hotkeys::lines(app, HOTTEST),
        events: app.events.after(since.events_after).into_iter().map(Told::from).collect(),
        history: columns(&app.history.after(since.history_after), &names),
    }
}

fn recent(samples: &[Sample]) -> Recent {
    let newest = &samples[samples.len().saturating_sub(5)..];
    let seconds: f32 = newest.iter().map(|sample| sample.seconds).sum();
    let rate = |pick: fn(&Sample) -> u32| {
        let count: u64 = newest.iter().map(|sample| u64::from(pick(sample))).sum();
        if seconds > 0.0 { rounded(count as f64 / f64::from(seconds), 10.0) } else { 0.0 }
    };
    let mut latency = [0; BUCKETS];
    for sample in samples {
        latency.iter_mut().zip(sample.latency).for_each(|(sum, count)| *sum += u64::from(count));
    }
    let total = |pick: fn(&Sample) -> u32| samples.iter().map(|sample| u64::from(pick(sample))).sum();
    Recent {
        requests_per_second: rate(|sample| sample.commands),
        stale_per_second: rate(|sample| sample.stale),
        hit_ratio: share(total(|sample| sample.hits), total(|sample| sample.misses)),
        latency: Percentiles::of(&latency),
    }
}

fn columns(samples: &[Sample], upstreams: &[&str]) -> Columns {
    let per_second = |sample: &Sample, count: u32| match sample.seconds {
        seconds if seconds > 0.0 => rounded(f64::from(count) / f64::from(seconds), 10.0),
        _ => 0.0,
    };
    let mut columns = Columns { interval_seconds: sampler::INTERVAL.as_secs_f64(), ..Columns::default() };
    for sample in samples {
        let latency = Percentiles::of(&sample.latency.map(u64::from));
        let micros = |seconds: Option<f64>| seconds.map(|seconds| rounded(seconds, 1e6));
        columns.number.push(sample.number);
        columns.at_ms.push(sample.at_ms);
        columns.requests_per_second.push(per_second(sample, sample.commands));
        columns.hit_ratio.push(share(sample.hits.into(), sample.misses.into()));
        columns.stale_per_second.push(per_second(sample, sample.stale));
        columns.p50_seconds.push(micros(latency.p50_seconds));
        columns.p99_seconds.push(micros(latency.p99_seconds));
        columns.p999_seconds.push(micros(latency.p999_seconds));
        columns.cache_bytes.push(sample.cache_bytes);
        columns.clients.push(sample.clients);
        columns.runway.push(sample.runway.map(|share| rounded(share.into(), 1e3)));
    }
    for (at, name) in upstreams.iter().enumerate() {
        let of = |sample: &Sample| sample.rungs.get(at).copied().unwrap_or_default();
        columns.rungs.insert((*name).to_owned(), samples.iter().map(of).collect());
    }
    columns
}

fn share(hits: u64, misses: u64) -> Option<f64> {
    (hits + misses > 0).then(|| rounded(hits as f64 / (hits + misses) as f64, 1e4))
}

/// To so many parts of one: what is shown needs no more digits, and a page of history is shorter without.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        let Event { number, at_ms, kind, warning, upstream, text } = event;
        Self { number, at_ms, kind: kind.name().to_owned(), warning, upstream, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::process::assemble;

    #[test]
    fn what_is_told_survives_json_and_can_be_asked_for_in_parts() {
        let app = assemble(Config::embedded(), "test".to_owned()).expect("the embedded configuration is good");
        for commands in 1..=8 {
            let latency = std::array::from_fn(|n| u32::from(n == 10));
            app.history.add(Sample { seconds: 2.0, commands, hits: 3, misses: 1, latency, ..Sample::default() });
        }
        let all = state(&app, Since::default());
        let json = serde_json::to_string(&all).expect("it can be written");
        assert_eq!(serde_json::from_str::<State>(&json).expect("and read again"), all);
        assert_eq!(all.history.requests_per_second, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]);
        assert_eq!(all.history.rungs["memory"], [0; 8]);
        // 4 to 8 in five times two seconds.
        assert_eq!((all.recent.requests_per_second, all.recent.hit_ratio), (3.0, Some(0.75)));
        assert!(all.recent.latency.p50_seconds.is_some());
        let rest = state(&app, Since { history_after: 6, events_after: 0 });
        assert_eq!(rest.history.number, [7, 8]);
    }
}
