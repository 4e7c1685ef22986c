//! Metrics of traces.

use super::{Kind, Metric, one_of, value};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "larder_traces_batches_total",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Batches of spans that the collector has taken (sent), and that were lost because it did not; absent without traces.endpoint",
    read: |view| {
        let Some(tracer) = &view.app.tracer else { return Vec::new() };
        let [sent, lost] = &*tracer.sent;
        vec![one_of("sent", value(sent)), one_of("lost", value(lost))]
    },
}];
