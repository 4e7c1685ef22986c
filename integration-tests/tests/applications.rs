//! Applications and libraries on top of Redis, unchanged, each with one real job through Larder.
//!
//! The scripts are in `clients/`; each prints `fine` against Redis itself as well.

use larder_integration_tests::client_script;
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;

/// Runs a script against a Larder of its own.
fn run(script: &str) {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    client_script::run(script, larder.address());
}

/// The same where three primaries stand behind Larder, of which the library knows nothing.
fn run_on_cluster(script: &str) {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    client_script::run(script, larder.address());
}

/// The same where Larder shows itself as a cluster of one node.
fn run_on_facade(script: &str) {
    let redis = Redis::start();
    let larder = Larder::start_with(&Settings::new(redis.address()).section("cluster_facade: true"));
    client_script::run(script, larder.address());
}

#[test]
fn redis_py_transactions_scripts_messages_streams_locks_and_queues_work() {
    run("redis_py_everyday.py");
}

#[test]
fn the_same_of_redis_py_works_on_a_cluster() {
    run_on_cluster("redis_py_everyday.py");
}

#[test]
fn ioredis_transactions_scripts_messages_streams_and_queues_work() {
    run("ioredis_everyday.mjs");
}

#[test]
fn the_same_of_ioredis_works_on_a_cluster() {
    run_on_cluster("ioredis_everyday.mjs");
}

#[test]
fn rq_workers_do_their_jobs() {
    run("rq_jobs.py");
}

#[test]
fn celery_workers_do_their_tasks() {
    run("celery_tasks.py");
}

#[test]
fn bullmq_workers_do_their_jobs() {
    run("bullmq_jobs.mjs");
}

#[test]
fn bullmq_workers_do_their_jobs_on_a_cluster() {
    run_on_cluster("bullmq_jobs.mjs");
}

#[test]
fn django_keeps_its_cache_and_its_sessions() {
    run("django_cache.py");
}

#[test]
fn socket_io_servers_hear_each_other() {
    run("socket_io.mjs");
}

#[test]
fn socket_io_servers_hear_each_other_on_a_cluster() {
    run_on_cluster("socket_io.mjs");
}

#[test]
fn node_redis_keeps_a_cache_of_its_own_behind_larder() {
    run("node_redis_tracking.mjs");
}

#[test]
fn redis_py_keeps_a_cache_of_its_own_behind_larder() {
    run("redis_py_tracking.py");
}

#[test]
fn node_redis_keeps_a_cache_of_its_own_on_a_cluster() {
    run_on_cluster("node_redis_tracking.mjs");
}

#[test]
fn redis_py_takes_larder_for_a_cluster_of_one_node() {
    run_on_facade("redis_py_cluster.py");
}

#[test]
fn ioredis_takes_larder_for_a_cluster_of_one_node() {
    run_on_facade("ioredis_cluster.mjs");
}
