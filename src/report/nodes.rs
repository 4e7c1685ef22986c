//! The servers behind Larder as it sees them now, one line for each.
//!
//! ```text
//! upstream=main address=10.0.0.1:6379 role=primary slots=5461 coverage=tracking lanes=2
//! upstream=api address=10.0.0.2:11211 role=primary points=160 coverage=ttl lanes=2
//! ```

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::upstreams::coherence;
use crate::app::App;
use crate::clock::Micros;
use crate::origin::{Map, Node, Origin};
use crate::upstream::slots::SLOTS;

/// A server. Its `Display` is the line above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The upstream.
    pub upstream: String,
    /// The server's address.
    pub address: String,
    /// `primary` or `replica`.
    pub role: String,
    /// What it owns: `slots=5461`, `points=160` of a ring, `slots=all`.
    pub share: String,
    /// How what was read from it is covered: `tracking`, `ttl`, `disconnected`, or `none` while it is not.
    pub coverage: String,
    /// Connections that clients share.
    pub lanes: u32,
}

/// Every server.
pub fn lines(app: &App) -> Vec<Line> {
    app.origins().flat_map(of_origin).collect()
}

fn of_origin(origin: &Origin) -> Vec<Line> {
    let (map, now) = (origin.map(), Micros::now());
    let mut lines = Vec::new();
    for (primary, share) in map.primaries().iter().zip(shares(&map)) {
        let node = &primary.node;
        let coverage = match node.coverage.holds(now) {
            true => coherence(node.mode()),
            false => "none",
        };
        lines.push(line(origin, node, "primary", share, coverage));
        for replica in &primary.replicas {
            // What is read from a replica is never kept.
            lines.push(line(origin, replica, "replica", "slots=0".to_owned(), "none"));
        }
    }
    lines
}

fn line(origin: &Origin, node: &Node, role: &str, share: String, coverage: &str) -> Line {
    Line {
        upstream: origin.name.clone(),
        address: node.endpoint.address.to_string(),
        role: role.to_owned(),
        share,
        coverage: coverage.to_owned(),
        lanes: node.lanes(),
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { upstream, address, role, share, coverage, lanes } = self;
        write!(f, "upstream={upstream} address={address} role={role} {share} coverage={coverage} lanes={lanes}")
    }
}

/// How many slots each primary owns, or points on a ring; one that owns every key does not count them.
fn shares(map: &Map) -> Vec<String> {
    let primaries = 0..map.primaries().len();
    match map.ring() {
        Some(ring) => primaries.map(|primary| format!("points={}", ring.points_of(primary))).collect(),
        None if map.is_split() => {
            // Once over the slots, not once for each primary: this is asked for every second.
            let mut owned = vec![0u32; map.primaries().len()];
            for owner in (0..SLOTS as u16).filter_map(|slot| map.owner_number(slot)) {
                owned[owner] += 1;
            }
            owned.into_iter().map(|slots| format!("slots={slots}")).collect()
        }
        None => primaries.map(|_| "slots=all".to_owned()).collect(),
    }
}
