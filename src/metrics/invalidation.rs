//! Metrics of invalidation channels.

use std::sync::atomic::AtomicU64;

use super::{Kind, Metric, Reading, View, value};
use crate::invalidation::{Channel, Tallies};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "larder_invalidation_up",
        kind: Kind::Gauge,
        labels: &["upstream"],
        help: "1 while the subscription to the upstream's invalidation channel is up and proven; absent without a channel",
        read: |view| {
            let up = |channel: &Channel| vec![(Vec::new(), f64::from(u8::from(channel.is_up(view.now))))];
            by_channel(view, up)
        },
    },
    Metric {
        name: "larder_invalidation_lost_total",
        kind: Kind::Counter,
        labels: &["upstream"],
        help: "Times that the subscription to an invalidation channel was lost, and with it what it covered",
        read: |view| by_channel(view, |channel| vec![(Vec::new(), value(&channel.tallies.lost) as f64)]),
    },
    Metric {
        name: "larder_invalidation_messages_total",
        kind: Kind::Counter,
        labels: &["upstream", "from"],
        help: "Messages heard on an invalidation channel. others: applied; self: told by this Larder, hence left aside; \
               malformed: not understood",
        read: |view| {
            by_kind(view, &[("others", |t| &t.foreign), ("self", |t| &t.own), ("malformed", |t| &t.malformed)])
        },
    },
    Metric {
        name: "larder_invalidation_published_total",
        kind: Kind::Counter,
        labels: &["upstream", "result"],
        help: "Messages about own writes. sent; failed: attempts that are repeated; condensed: too many waited, so that one \
               took their place which says that everything may have changed",
        read: |view| {
            let results: &[(&str, Pick)] =
                &[("sent", |t| &t.published), ("failed", |t| &t.publish_failures), ("condensed", |t| &t.condensed)];
            by_kind(view, results)
        },
    },
    Metric {
        name: "larder_invalidation_deletes_total",
        kind: Kind::Counter,
        labels: &["upstream", "result"],
        help: "Keys deleted at their nodes because a message said so (invalidation.delete), and those that could not be, \
               prefixes among them",
        read: |view| by_kind(view, &[("done", |t| &t.deleted), ("failed", |t| &t.delete_failures)]),
    },
];

type Pick = fn(&Tallies) -> &AtomicU64;

/// What each channel says, with the name of its upstream in front of the labels.
fn by_channel(view: &View<'_>, read: impl Fn(&Channel) -> Vec<Reading>) -> Vec<Reading> {
    let named = |channel: &std::sync::Arc<Channel>| {
        let name = view.app.upstream_name(channel.of).to_owned();
        let readings = read(channel).into_iter();
        readings.map(move |(labels, value)| (std::iter::once(name.clone()).chain(labels).collect(), value)).collect()
    };
    view.app.channels.iter().flat_map(|channel| -> Vec<Reading> { named(channel) }).collect()
}

fn by_kind(view: &View<'_>, kinds: &[(&str, Pick)]) -> Vec<Reading> {
    by_channel(view, |channel| {
        kinds.iter().map(|(name, pick)| (vec![(*name).to_owned()], value(pick(&channel.tallies)) as f64)).collect()
    })
}
