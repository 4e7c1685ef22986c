//! Metrics of the process and its configuration.

use super::{Kind, Metric, one_of, single, value};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "larder_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the version is in the label",
        read: |_| vec![one_of(env!("CARGO_PKG_VERSION"), 1)],
    },
    Metric {
        name: "larder_config_reloads_total",
        kind: Kind::Counter,
        labels: &["result"],
        help: "Times that the configuration was read again. loaded: it was right and holds; refused: it was wrong, and what held before \
               still holds",
        read: |view| {
            let [loaded, refused] = &view.app.reloads.counts;
            vec![one_of("loaded", value(loaded)), one_of("refused", value(refused))]
        },
    },
    Metric {
        name: "larder_config_stale",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 when the configuration was read again last and refused: what holds is older than the file",
        read: |view| single(u64::from(view.app.reloads.wrong().is_some())),
    },
    Metric {
        name: "larder_config_loaded_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the present configuration was taken, in seconds since 1970; 0 when it is that of the start",
        read: |view| single(view.app.reloads.loaded_at()),
    },
];
