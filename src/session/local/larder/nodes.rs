//! LARDER NODES: the servers behind Larder as it sees them now, one line for each.
//!
//! ```text
//! upstream=main address=10.0.0.1:6379 role=primary slots=5461 coverage=tracking lanes=2
//! upstream=api address=10.0.0.2:11211 role=primary points=160 coverage=ttl lanes=2
//! ```

use super::super::Request;
use super::super::info::coherence;
use crate::clock::Micros;
use crate::origin::{Map, Node, Origin};
use crate::resp::encode;
use crate::upstream::slots::SLOTS;

/// `LARDER NODES`
pub(super) fn nodes(request: &mut Request<'_>) {
    let lines = request.app().origins().flat_map(lines).collect::<Vec<_>>();
    let out = request.out();
    encode::array(out, lines.len());
    lines.iter().for_each(|line| encode::bulk(out, line.as_bytes()));
}

fn lines(origin: &Origin) -> Vec<String> {
    let (map, now) = (origin.map(), Micros::now());
    let mut lines = Vec::new();
    for (number, primary) in map.primaries().iter().enumerate() {
        let node = &primary.node;
        let coverage = match node.coverage.holds(now) {
            true => coherence(node.mode()),
            false => "none",
        };
        lines.push(line(origin, node, "primary", &share(&map, number), coverage));
        for replica in &primary.replicas {
            // What is read from a replica is never kept.
            lines.push(line(origin, replica, "replica", "slots=0", "none"));
        }
    }
    lines
}

fn line(origin: &Origin, node: &Node, role: &str, share: &str, coverage: &str) -> String {
    let (name, address, lanes) = (&origin.name, &node.endpoint.address, node.lanes());
    format!("upstream={name} address={address} role={role} {share} coverage={coverage} lanes={lanes}")
}

/// How many slots a primary owns, or points on a ring; one that owns every key does not count them.
fn share(map: &Map, primary: usize) -> String {
    match map.ring() {
        Some(ring) => format!("points={}", ring.points_of(primary)),
        None if map.is_split() => {
            let owned = |slot: &u16| map.owner_number(*slot) == Some(primary);
            format!("slots={}", (0..SLOTS as u16).filter(owned).count())
        }
        None => "slots=all".to_owned(),
    }
}
