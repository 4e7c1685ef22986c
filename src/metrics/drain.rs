//! Metrics of the end of the process.

use super::{Kind, Metric, gauge, one_of, single};
use crate::app::Stage;
use crate::counters::Counters;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "larder_draining",
        "1 from the moment that the process was told to end, or another one serves in its place",
        |view| single(u64::from(view.app.stage() >= Stage::Draining)),
    ),
    Metric {
        name: "larder_clients_drained_total",
        kind: Kind::Counter,
        labels: &["how"],
        help: "Clients that the process closed to end itself. closed: between two commands, with every reply sent; cut: whatever they were at",
        read: |view| {
            let total = |pick: fn(&Counters) -> u64| view.app.total(pick);
            vec![
                one_of("closed", total(|c| c.clients_drained.value())),
                one_of("cut", total(|c| c.clients_cut.value())),
            ]
        },
    },
];
