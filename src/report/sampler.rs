//! Takes a sample of the counters once a second, for the [history](crate::history).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::upstreams::worst;
use crate::app::{App, Backend};
use crate::counters::{BUCKETS, Cell};
use crate::history::Sample;
use crate::ladder::Rung;

/// How often.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// What had been counted at a moment.
#[derive(Clone, Debug)]
struct Counted {
    at: Instant,
    commands: u64,
    hits: u64,
    misses: u64,
    stale: u64,
    latency: [u64; BUCKETS],
}

/// Takes samples, for ever.
pub async fn keep(app: Arc<App>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    let mut before = Counted::now(&app);
    loop {
        timer.tick().await;
        let after = Counted::now(&app);
        app.history.add(sample(&app, &before, &after));
        before = after;
    }
}

impl Counted {
    fn now(app: &App) -> Self {
        let mut latency = [0; BUCKETS];
        for (n, sum) in latency.iter_mut().enumerate() {
            *sum = app.total(|counters| counters.latency[n].value());
        }
        Self {
            at: Instant::now(),
            commands: app.total(|counters| counters.commands.value()),
            hits: app.total(|counters| counters.hits.value()),
            misses: app.total(|counters| counters.misses.value()),
            stale: app.total(|counters| counters.stale.iter().map(Cell::value).sum()),
            latency,
        }
    }
}

fn sample(app: &App, before: &Counted, after: &Counted) -> Sample {
    let growth = |before: u64, after: u64| u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
    let mut latency = [0; BUCKETS];
    for (n, count) in latency.iter_mut().enumerate() {
        *count = growth(before.latency[n], after.latency[n]);
    }
    let rung = |backend: &Backend| backend.origin().map_or(Rung::Normal, |origin| worst(app, origin).rung) as u8;
    Sample {
        number: 0,
        at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        seconds: after.at.duration_since(before.at).as_secs_f32(),
        commands: growth(before.commands, after.commands),
        hits: growth(before.hits, after.hits),
        misses: growth(before.misses, after.misses),
        stale: growth(before.stale, after.stale),
        latency,
        cache_bytes: app.near.weight(),
        clients: u32::try_from(app.clients.len()).unwrap_or(u32::MAX),
        runway: app.runway.share().map(|share| share as f32),
        rungs: app.upstreams.iter().map(rung).collect(),
    }
}
