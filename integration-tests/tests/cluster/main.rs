//! Larder in front of a real Redis Cluster: what it promises of one server holds for several that share the keys.

mod coherence;
mod commands;
mod conformance;
mod failover;
mod moving;
mod redirections;
mod scan;

use std::panic::{AssertUnwindSafe, catch_unwind};

use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::Larder;

/// What is shown on a cluster that others use too; it leaves every slot with its owner.
type Case = (&'static str, fn(&Cluster, &Larder));

/// Shows one case after the other on one cluster, which takes seconds to form, each beginning without a key. All are tried,
/// and those that failed are named.
fn show(cluster: &Cluster, larder: &Larder, cases: &[Case]) {
    let failed = cases.iter().filter(|(name, case)| {
        for primary in cluster.primaries() {
            cluster.say_on(primary, "FLUSHALL");
        }
        eprintln!("case {name}");
        catch_unwind(AssertUnwindSafe(|| case(cluster, larder))).is_err()
    });
    let failed: Vec<_> = failed.map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}
