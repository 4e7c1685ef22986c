//! The configuration is read again while Larder runs: whole or not at all, with clients connected, and nothing that was admitted under
//! a rule outlives it.

mod files;
mod load;
mod rules;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// Settings under which only a signal has the file read again.
fn by_signal(origin: &Redis, sections: &[&str]) -> Settings {
    sections.iter().fold(Settings::new(origin.address()).section("reload_on_change: false"), |settings, section| {
        settings.section(section)
    })
}

/// The lines of LARDER EXPLAIN GET.
fn explained(larder: &Larder, key: &str) -> Vec<String> {
    let reply = larder.connect().call(&["LARDER", "EXPLAIN", "GET", key]);
    reply.items().expect("lines").iter().filter_map(Reply::text).collect()
}

/// Whether a reply to GET of this key is in the near-cache.
fn is_cached(larder: &Larder, key: &str) -> bool {
    explained(larder, key).iter().any(|line| line.starts_with(&format!("entry of {key}: get")))
}
