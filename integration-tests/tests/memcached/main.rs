//! Larder in front of memcached: Redis's commands, and what other clients of the same node see.

mod commands;
mod failures;
mod hostile;
mod oracle;
mod ring;
mod times;
mod tls;
mod values;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;

/// A node and a Larder in front of it, which caches nothing: what is asked reaches the node.
fn uncached() -> (Memcached, Larder) {
    let node = Memcached::start();
    let settings = Settings::memcached(&[node.address()]).section(NO_CACHE);
    let larder = Larder::start_with(&settings);
    (node, larder)
}

const NO_CACHE: &str = "routes: [{keys: [\"*\"], upstream: main, cache: {enabled: false}}]";
