//! Metrics of breakers, rungs and stale answers.

use super::{Kind, Metric, Reading, View, by_origin, cells, counter, gauge, seconds, value};
use crate::counters::{AGES, Cell};
use crate::ladder::{RUNGS, Rung};
use crate::origin::{Node, Origin};
use crate::upstream::breaker::State;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "larder_breaker_state",
        kind: Kind::Gauge,
        labels: &["upstream", "node"],
        help: "0: commands are sent to the server; 1: it has answered health checks again; 2: it is not asked",
        read: |view| {
            by_node(view, |_, node| match node.breaker.state() {
                State::Closed => 0.0,
                State::HalfOpen => 1.0,
                State::Open => 2.0,
            })
        },
    },
    Metric {
        name: "larder_breaker_transitions_total",
        kind: Kind::Counter,
        labels: &["upstream", "to"],
        help: "Times that a server's breaker closed, became half-open, or opened; of the servers that are known now",
        read: breaker_transitions,
    },
    Metric {
        name: "larder_rung",
        kind: Kind::Gauge,
        labels: &["upstream", "node", "ladder"],
        help: "0: normal, 1: local-only, 2: stale-read-only, 3: passthrough, 4: reject",
        read: rungs,
    },
    Metric {
        name: "larder_rung_transitions_total",
        kind: Kind::Counter,
        labels: &["upstream", "rung"],
        help: "Times that a rung was entered by a server on a ladder",
        read: rung_transitions,
    },
    Metric {
        name: "larder_rung_answers_total",
        kind: Kind::Counter,
        labels: &["rung", "answer"],
        help: "Commands served in degraded rungs: from the cache, by the origin all the same, or refused",
        read: rung_answers,
    },
    counter("larder_stale_answers_total", "Replies served in degraded rungs that were not fresh", stale_answers),
    Metric {
        name: "larder_stale_age_seconds_bucket",
        kind: Kind::Counter,
        labels: &["le"],
        help: "Replies that were not fresh and were known to be true no longer than le seconds ago",
        read: ages,
    },
    gauge("larder_stale_age_seconds_sum", "Sum of those ages; only grows", |view| {
        vec![(Vec::new(), seconds(view.app.total(|counters| counters.stale_micros.value())))]
    }),
    counter("larder_stale_age_seconds_count", "Number of those replies", stale_answers),
    counter(
        "larder_revalidations_total",
        "Replies served once more past their life while they were fetched anew (stale_while_revalidate)",
        |view| cells(view, |c| c.revalidations.value()),
    ),
    gauge(
        "larder_runway_ratio",
        "Share of recent reads that the cache could answer if the origin were away; 1 before the first read",
        |view| match view.app.origins().next() {
            Some(_) => vec![(Vec::new(), view.app.runway.share().unwrap_or(1.0))],
            None => Vec::new(),
        },
    ),
    Metric {
        name: "larder_health_checks_total",
        kind: Kind::Counter,
        labels: &["upstream", "result"],
        help: "Health checks of servers that were answered well (ok) or not (failed)",
        read: |view| {
            by_origin(view, |origin| {
                let reading = |result: &str, at: usize| {
                    (vec![origin.name.clone(), result.to_owned()], value(&origin.checks[at]) as f64)
                };
                vec![reading("ok", 0), reading("failed", 1)]
            })
        },
    },
    Metric {
        name: "larder_retries_total",
        kind: Kind::Counter,
        labels: &["upstream"],
        help: "Reads that were sent again because the connection they were sent on was lost",
        read: |view| by_origin(view, |origin| vec![(vec![origin.name.clone()], value(&origin.budget.taken) as f64)]),
    },
    Metric {
        name: "larder_retries_refused_total",
        kind: Kind::Counter,
        labels: &["upstream"],
        help: "Reads that were not sent again because too many were",
        read: |view| by_origin(view, |origin| vec![(vec![origin.name.clone()], value(&origin.budget.refused) as f64)]),
    },
];

fn by_node(view: &View<'_>, read: impl Fn(&Origin, &Node) -> f64) -> Vec<Reading> {
    by_origin(view, |origin| {
        let labels = |node: &Node| vec![origin.name.clone(), node.endpoint.address.to_string()];
        origin.map().nodes().map(|node| (labels(node), read(origin, node))).collect()
    })
}

fn breaker_transitions(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let map = origin.map();
        let total = |to: State| map.nodes().map(|node| value(&node.breaker.transitions[to as usize])).sum::<u64>();
        [("closed", State::Closed), ("half-open", State::HalfOpen), ("open", State::Open)]
            .map(|(name, to)| (vec![origin.name.clone(), name.to_owned()], total(to) as f64))
            .to_vec()
    })
}

fn rungs(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let mut readings = Vec::new();
        for node in origin.map().nodes() {
            for number in view.rules.routes.ladders() {
                let ladder = view.rules.ladders.get(number);
                let rung = origin.standing(node, ladder, view.now).rung;
                let labels = vec![origin.name.clone(), node.endpoint.address.to_string(), ladder.name.clone()];
                readings.push((labels, f64::from(rung as u8)));
            }
        }
        readings
    })
}

fn rung_transitions(view: &View<'_>) -> Vec<Reading> {
    by_origin(view, |origin| {
        let reading = |rung: Rung| {
            (vec![origin.name.clone(), rung.name().to_owned()], value(&origin.rungs[rung as usize]) as f64)
        };
        RUNGS.map(reading).to_vec()
    })
}

fn rung_answers(view: &View<'_>) -> Vec<Reading> {
    let mut readings = Vec::new();
    if view.app.origins().next().is_none() {
        return readings;
    }
    for rung in RUNGS.into_iter().filter(|rung| *rung != Rung::Normal) {
        for (at, answer) in ["cache", "origin", "refused"].into_iter().enumerate() {
            let total: u64 =
                view.app.counters.iter().map(|counters| counters.degraded[rung as usize][at].value()).sum();
            readings.push((vec![rung.name().to_owned(), answer.to_owned()], total as f64));
        }
    }
    readings
}

fn stale_answers(view: &View<'_>) -> Vec<Reading> {
    cells(view, |counters| counters.stale.iter().map(Cell::value).sum())
}

fn ages(view: &View<'_>) -> Vec<Reading> {
    let mut sum = 0;
    let mut readings = Vec::new();
    for at in 0..=AGES.len() {
        sum += view.app.counters.iter().map(|counters| counters.stale[at].value()).sum::<u64>();
        let le = AGES.get(at).map_or("+Inf".to_owned(), u64::to_string);
        readings.push((vec![le], sum as f64));
    }
    readings
}
