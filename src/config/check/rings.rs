//! Rings: every weight and name belongs to a node, and every node owns some keys.

use super::Findings;
use crate::config::fault::Path;
use crate::config::{Distribution, Upstream};
use std::collections::HashMap;

/// Most nodes on one ring, far more than anybody has: each adds 160 points.
const MOST_NODES: usize = 1000;

pub(super) fn check(path: &Path, upstream: &Upstream, findings: &mut Findings) {
    if !upstream.kind.has_ring() {
        return;
    }
    let (endpoints, ring) = (&upstream.endpoints, &upstream.ring);
    let nodes = path.key("endpoints");
    if endpoints.len() > MOST_NODES {
        let problem = format!("{} endpoints are more than one ring takes", endpoints.len());
        findings.add(nodes, problem, format!("keep at most {MOST_NODES}"));
        return;
    }
    let path = path.key("ring");
    let strangers = ring.weights.iter().map(|(address, _)| ("weights", address));
    for (key, address) in strangers.chain(ring.names.iter().map(|(address, _)| ("names", address))) {
        if !endpoints.contains(address) {
            let there = path.key(key).key(&address.to_string());
            let problem = format!("{address} is not one of the endpoints");
            findings.because(
                there,
                vec![nodes.clone()],
                problem,
                "write it as it stands under endpoints, or remove it",
            );
        }
    }
    if ring.distribution == Distribution::KetamaUnweighted && !ring.weights.is_empty() {
        findings.because(
            path.key("weights"),
            vec![path.key("distribution")],
            "distribution ketama-unweighted knows no weights",
            "remove them, or use distribution: ketama, which libmemcached changes to by itself once there are weights",
        );
        return;
    }
    let total = endpoints.iter().map(|endpoint| u64::from(ring.weight_of(endpoint))).sum();
    let mut names = HashMap::new();
    for endpoint in endpoints {
        let weight = ring.weight_of(endpoint);
        if ring.groups(weight, total, endpoints.len()) == 0 {
            findings.because(
                path.key("weights"),
                vec![nodes.clone()],
                format!("with weight {weight} of {total} in all, {endpoint} would own no key"),
                "write weights that are nearer to each other",
            );
        }
        let name = ring.name_of(endpoint);
        if let Some(other) = names.insert(name.clone(), endpoint).filter(|other| *other != endpoint) {
            findings.because(
                path.key("names"),
                vec![nodes.clone()],
                format!("{other} and {endpoint} have the same name, {name}"),
                "give each node a name of its own: from a name all of its keys follow",
            );
        }
    }
}
