//! Upstream connections that one client has to itself for a while: transactions, blocking commands, WAIT, MONITOR.
//!
//! What the replies are is the business of `conformance.rs`; here is what a connection in between could spoil.

use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::wait;

mod blocking;
mod crowds;
mod failover;
mod lost;
mod reuse;
mod shards;
mod silence;
mod streams;
mod transactions;

/// The name of leased connections in the origin's CLIENT LIST.
const LEASED_NAME: &str = "larder-lease";

/// How many leases are out.
fn leases(larder: &Larder) -> f64 {
    larder.metrics().sum("larder_leases")
}

fn until_no_lease_is_out(larder: &Larder) {
    wait::until("no lease is out", || leases(larder) == 0.0);
}

/// Waits until so many clients are blocked at the origin.
fn until_blocked(origin: &Redis, count: usize) {
    wait::until(&format!("{count} blocked clients"), || blocked(origin) == count);
}

fn blocked(origin: &Redis) -> usize {
    origin.info("blocked_clients").parse().expect("a number of clients")
}
