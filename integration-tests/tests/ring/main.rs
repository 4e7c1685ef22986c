//! Nodes on a ring: which node a key lies on, and what happens when nodes go and come back.

mod agreement;
mod nodes;
mod redis;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use larder_integration_tests::memcached::Memcached;

/// Several nodes.
fn start_many(count: usize) -> Vec<Memcached> {
    (0..count).map(|_| Memcached::start()).collect()
}

fn addresses(nodes: &[Memcached]) -> Vec<SocketAddr> {
    nodes.iter().map(Memcached::address).collect()
}

/// The value of a key on that node, if it is there.
fn value(node: &Memcached, key: &str) -> Option<String> {
    node.connect().get(key).map(|(_, value)| value)
}

/// How many of the keys each node has; fails the test when one is on two.
#[track_caller]
fn on_each(nodes: &[Memcached], keys: &[String]) -> Vec<usize> {
    let mut seen = BTreeMap::new();
    let mut shares = Vec::new();
    for node in nodes {
        let mut text = node.connect();
        let here: Vec<_> = keys.iter().filter(|key| text.get(key).is_some()).collect();
        shares.push(here.len());
        for key in here {
            let other = seen.insert(key, node.address());
            assert!(other.is_none(), "{key} is on {other:?} and {}", node.address());
        }
    }
    shares
}
