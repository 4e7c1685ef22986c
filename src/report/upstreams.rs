//! Where each upstream stands as a whole: as bad as the worst of its servers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::{App, Backend};
use crate::clock::Micros;
use crate::ladder::{Rung, Standing};
use crate::memory;
use crate::origin::{Node, Origin};
use crate::upstream::tracked::Mode;

/// An upstream as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// What it is, in the word of the configuration.
    pub kind: String,
    /// Servers that own keys; 0 of kind memory.
    pub primaries: usize,
    /// The worst rung on which one of its servers stands, on whatever ladder.
    pub rung: String,
    /// For how long, in seconds; `None` on rung normal.
    pub rung_since_seconds: Option<f64>,
    /// Whether an operator has set it.
    pub rung_forced: bool,
    /// Whether what was read from every one of its primaries may be served as fresh; `None` of kind memory.
    pub covered: Option<bool>,
    /// How coherence is kept: `tracking`, `ttl`, `disconnected`; `none` of kind memory.
    pub coherence: String,
    /// Kind memory: its keys.
    pub keys: Option<u64>,
    /// Kind memory: bytes of data.
    pub used_bytes: Option<u64>,
}

/// Every upstream, in the order of their names.
pub fn upstreams(app: &App) -> Vec<Upstream> {
    (0..).zip(&app.upstreams).map(|(number, backend)| of_backend(app, number, backend)).collect()
}

fn of_backend(app: &App, number: u16, backend: &Backend) -> Upstream {
    let plain = Upstream {
        name: app.upstream_name(number).to_owned(),
        kind: backend.kind().to_owned(),
        primaries: 0,
        rung: Rung::Normal.name().to_owned(),
        rung_since_seconds: None,
        rung_forced: false,
        covered: None,
        coherence: "none".to_owned(),
        keys: None,
        used_bytes: None,
    };
    match backend {
        Backend::Memory(memory) => {
            let keys = (0..memory::DATABASES).map(|database| memory.keys(database) as u64).sum();
            Upstream { keys: Some(keys), used_bytes: Some(memory.used()), ..plain }
        }
        Backend::Servers(origin) => {
            let (worst, now, map) = (worst(app, origin), Micros::now(), origin.map());
            let degraded = worst.rung != Rung::Normal;
            Upstream {
                primaries: map.primaries().len(),
                rung: worst.rung.name().to_owned(),
                rung_since_seconds: degraded.then(|| now.since(worst.since).duration().as_secs_f64()),
                rung_forced: origin.forced(now).is_some(),
                covered: Some(covered(origin)),
                coherence: coherence(map.any().and_then(|node| node.mode())).to_owned(),
                ..plain
            }
        }
    }
}

/// Whether what was read from every one of its primaries may be served.
pub fn covered(origin: &Origin) -> bool {
    let (map, now) = (origin.map(), Micros::now());
    !map.primaries().is_empty() && map.primaries().iter().all(|primary| primary.node.coverage.holds(now))
}

/// Where the worst of its servers stands, on whatever ladder.
pub fn worst(app: &App, origin: &Origin) -> Standing {
    let (rules, map, now) = (app.rules(), origin.map(), Micros::now());
    let standing = |node: &Arc<Node>| {
        let of = |number| origin.standing(node, rules.ladders.get(number), now);
        rules.routes.ladders().map(of).max_by_key(|standing| standing.rung)
    };
    let nodes = map.nodes().chain((!map.is_complete()).then_some(&origin.vacancy));
    nodes.filter_map(standing).max_by_key(|standing| standing.rung).unwrap_or(Standing::NORMAL)
}

/// How coherence is kept, in a word.
pub fn coherence(mode: Option<Mode>) -> &'static str {
    match mode {
        Some(Mode::Tracking) => "tracking",
        Some(Mode::Ttl) => "ttl",
        None => "disconnected",
    }
}
