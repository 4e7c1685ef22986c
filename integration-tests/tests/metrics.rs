//! `/metrics`: everything that the documentation lists is there, moves when it should, and agrees with what INFO and
//! LARDER STATS say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use larder_integration_tests::client::Client;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings, TRACKED_NAME};
use larder_integration_tests::metrics::{Metrics, http};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// What `name` was before and by how much it has grown since.
struct Watch<'a> {
    larder: &'a Larder,
    before: Metrics,
}

impl<'a> Watch<'a> {
    fn on(larder: &'a Larder) -> Self {
        Self { larder, before: larder.metrics() }
    }

    fn growth(&self, name: &str) -> f64 {
        self.larder.metrics().sum(name) - self.before.sum(name)
    }

    fn growth_where(&self, name: &str, label: &str) -> f64 {
        self.larder.metrics().sum_where(name, label) - self.before.sum_where(name, label)
    }

    fn refused(&self, reason: &str) -> f64 {
        self.growth_where("larder_cache_fills_refused_total", &format!("reason=\"{reason}\""))
    }
}

/// The rows of the table in `docs/metrics.md`: name, type and labels.
fn documented() -> Vec<(String, String, Vec<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).expect("the documentation is there");
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        Some((cells[0].trim_matches('`').to_owned(), cells[1].to_owned(), labels.filter(|l| !l.is_empty()).collect()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn every_documented_metric_is_on_the_page_with_its_type_and_labels() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("near_cache: {warm_start: true}").upstream("coherence: ttl");
    // (Nobody listens there; that is no concern of this test.)
    let settings = settings.section("traces: {endpoint: \"http://127.0.0.1:1\"}");
    let redis = Larder::start_with(&settings.upstream("invalidation: {channel: changes, upstream: main}"));
    let memory = Larder::start_with(&Settings::memory());
    let rows = documented();
    assert!(rows.len() > 30, "{rows:?}");
    // Each kind of upstream has some that the other has not.
    let of_memory: &[&str] = &["larder_memory_upstream_"];
    let of_servers: &[&str] = &[
        "larder_cache_covered",
        "larder_upstream_nodes",
        "larder_node_covered",
        "larder_topology_changes_total",
        "larder_snapshot_",
        "larder_breaker_",
        "larder_rung",
        "larder_runway_ratio",
        "larder_health_checks_total",
        "larder_retries_",
        "larder_invalidation_",
        "larder_traces_",
    ];
    for (larder, others) in [(&redis, of_memory), (&memory, of_servers)] {
        let (status, page) = http(larder.admin(), "GET", "/metrics");
        assert_eq!(status, 200);
        for (name, kind, labels) in &rows {
            let there = page.contains(&format!("# TYPE {name} {kind}\n"));
            assert_eq!(there, !others.iter().any(|other| name.starts_with(other)), "{name} {kind}");
            assert_eq!(page.contains(&format!("# HELP {name} ")), there, "{name}");
            for sample in page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name)) {
                assert!(labels.iter().all(|label| sample.contains(&format!("{label}=\""))), "{sample}");
            }
        }
        let undocumented: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .filter(|name| !rows.iter().any(|row| row.0 == *name))
            .collect();
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }
}

#[test]
fn a_path_that_is_not_there_says_where_the_list_is() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (status, body) = http(larder.admin(), "GET", "/metric");
    assert_eq!(status, 404);
    assert!(body.contains("/metric") && body.contains("GET /"), "{body}");
    assert!(body.contains("/metrics") && body.contains("/livez"), "{body}");
    assert_eq!(http(larder.admin(), "POST", "/metrics").0, 405);
    assert_eq!(http(larder.admin(), "GET", "/livez").0, 200);
}

#[test]
fn reads_count_as_hits_misses_and_fills_by_key() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["MSET a 1 b 2 c 3", "HSET h f v"]);
    larder.warm(&mut client, "GET probe");
    let watch = Watch::on(&larder);
    let moved =
        |watch: &Watch<'_>| ["hits", "misses", "fills"].map(|name| watch.growth(&format!("larder_cache_{name}_total")));
    client.say("GET a");
    assert_eq!(moved(&watch), [0.0, 1.0, 1.0]);
    client.pipeline(&["GET a", "GET a", "HGETALL h"]);
    assert_eq!(moved(&watch), [2.0, 2.0, 2.0]);
    client.say("MGET a b c");
    assert_eq!(moved(&watch), [3.0, 4.0, 4.0], "one of three was there, two were read for the cache");
    client.say("MGET a b c");
    assert_eq!(moved(&watch), [6.0, 4.0, 4.0]);
    client.say("GET missing");
    assert_eq!(moved(&watch), [6.0, 5.0, 5.0], "that nothing is there is kept too");
    // What is no cacheable read is none of these.
    client.pipeline(&["TTL a", "SET x 1", "PING", "INFO", "SRANDMEMBER s"]);
    assert_eq!(moved(&watch), [6.0, 5.0, 5.0]);
    assert_eq!(watch.growth("larder_cache_keys"), 5.0);
    assert!(watch.growth("larder_cache_bytes") > 0.0);
}

#[test]
fn a_fill_that_is_refused_is_counted_with_its_reason() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = Larder::start_with(
        &Settings::new(cutter.address())
            .upstream("heartbeat: {interval: 30s, timeout: 30s}")
            .section("near_cache: {max_entry: 1kb, negative_ttl: 0s}"),
    );
    let mut client = larder.connect();
    client.pipeline(&["SET k v", "SET slow old", "RPUSH list a"]);
    client.call(&[b"SET".as_slice(), b"large", &[b'x'; 3000]]);
    larder.warm(&mut client, "GET k");
    let watch = Watch::on(&larder);
    client.say("GET large");
    assert_eq!(watch.refused("large"), 1.0);
    assert!(client.say("GET list").error().is_some());
    assert_eq!(watch.refused("error"), 1.0);
    assert_eq!(client.say("GET missing"), Reply::Null);
    assert_eq!(watch.refused("expired"), 1.0);
    // While the reply is on its way the key is written, or everything is flushed.
    for (reason, meanwhile) in [("moved", "SET slow new"), ("uncovered", "LARDER FLUSH")] {
        let before = watch.growth("larder_cache_misses_total");
        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        client.send(&["GET", "slow"]).expect("sent");
        wait::until("the read is under way", || watch.growth("larder_cache_misses_total") > before);
        assert_eq!(larder.say(meanwhile), Reply::ok());
        cutter.heal();
        client.read();
        assert_eq!(watch.refused(reason), 1.0, "{meanwhile}");
    }
    assert_eq!(watch.growth("larder_cache_fills_total"), 0.0);
}

#[test]
fn those_who_wait_for_the_same_read_are_counted() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder =
        Larder::start_with(&Settings::new(cutter.address()).upstream("heartbeat: {interval: 30s, timeout: 30s}"));
    larder.warm(&mut larder.connect(), "GET probe");
    origin.say("SET k v");
    let watch = Watch::on(&larder);
    cutter.hold(Scope::Tracked, Direction::FromOrigin);
    let mut clients: Vec<Client> = (0..5).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.send(&["GET", "k"]).expect("sent");
    }
    wait::until("four have joined the first", || watch.growth("larder_cache_joined_total") == 4.0);
    cutter.heal();
    assert!(clients.iter_mut().all(|client| client.read() == Reply::bulk("v")));
    assert_eq!((watch.growth("larder_cache_misses_total"), watch.growth("larder_cache_fills_total")), (5.0, 1.0));
}

#[test]
fn invalidations_are_counted_by_their_cause() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let watch = Watch::on(&larder);
    let caused = |cause: &str| watch.growth_where("larder_cache_invalidations_total", &format!("cause=\"{cause}\""));
    for _ in 0..3 {
        larder.warm(&mut client, "GET k");
        client.say("SET k own");
    }
    assert_eq!(caused("write"), 3.0);
    larder.warm(&mut client, "GET k");
    origin.say("SET k foreign");
    wait::until("the push", || caused("push") == 1.0);
    larder.warm(&mut client, "GET k");
    client.say("LARDER INVALIDATE k");
    assert_eq!((caused("operator"), caused("push"), caused("write")), (1.0, 1.0, 3.0));
    // Flushes are no invalidations: they void without looking.
    for (flushes, flush) in [(1.0, "LARDER FLUSH"), (2.0, "FLUSHALL")] {
        client.say(flush);
        wait::until(flush, || watch.growth("larder_cache_flushes_total") >= flushes);
    }
}

#[test]
fn evictions_keep_the_bytes_within_the_budget_and_are_counted() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("near_cache: {max_memory: 1mb}"));
    assert_eq!(larder.metrics().sum("larder_cache_max_bytes"), 1_048_576.0);
    let mut client = larder.connect();
    let value = [b'v'; 4000];
    for n in 0..600 {
        let key = format!("key:{n}");
        client.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
        client.call(&["GET", &key]);
        assert!(n % 50 != 0 || larder.metrics().sum("larder_cache_bytes") <= 1_048_576.0);
    }
    let metrics = larder.metrics();
    assert!(metrics.sum("larder_cache_evictions_total") > 200.0, "{}", metrics.sum("larder_cache_evictions_total"));
    assert!((100.0..300.0).contains(&metrics.sum("larder_cache_keys")), "{}", metrics.sum("larder_cache_keys"));
}

#[test]
fn what_goes_to_the_upstream_is_counted_with_its_latency() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let watch = Watch::on(&larder);
    for _ in 0..20 {
        client.say("INCR n");
    }
    assert_eq!(watch.growth("larder_commands_forwarded_total"), 20.0);
    assert_eq!(watch.growth("larder_upstream_replies_total"), 20.0);
    assert_eq!(watch.growth("larder_upstream_latency_seconds_count"), 20.0);
    assert_eq!(watch.growth_where("larder_upstream_latency_seconds_bucket", "le=\"+Inf\""), 20.0);
    let sum = watch.growth("larder_upstream_latency_seconds_sum");
    assert!(sum > 0.0 && sum < 20.0, "{sum}");
    // A slow one falls into a high bucket.
    let slow = "local start = redis.call('TIME'); repeat local now = redis.call('TIME'); local passed = \
         (now[1] - start[1]) * 1000000 + now[2] - start[2] until passed > 150000 return 1";
    assert_eq!(client.call(&["EVAL", slow, "0"]), Reply::Integer(1));
    let quick = watch.growth_where("larder_upstream_latency_seconds_bucket", "le=\"0.131072\"");
    let count = watch.growth("larder_upstream_latency_seconds_count");
    assert!(quick < count, "{quick} of {count} within 131 ms");
    assert!(watch.growth("larder_upstream_latency_seconds_sum") - sum >= 0.15);
}

#[test]
fn reads_that_pass_the_cache_are_counted_apart() {
    let origin = Redis::start();
    let larder = Larder::start_with(
        &Settings::new(origin.address()).section("routes:\n  - {keys: [\"raw:*\"], cache: {enabled: false}}"),
    );
    let mut client = larder.connect();
    larder.warm(&mut client, "GET k");
    let watch = Watch::on(&larder);
    client.pipeline(&["GET raw:1", "GET raw:1", "MGET k raw:1"]);
    assert_eq!(watch.growth("larder_cache_bypassed_total"), 3.0);
    assert_eq!((watch.growth("larder_cache_hits_total"), watch.growth("larder_cache_misses_total")), (0.0, 0.0));
}

#[test]
fn a_lost_coverage_and_failures_of_the_upstream_are_counted() {
    let mut origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    let covered = || larder.metrics().sum_where("larder_cache_covered", "mode=\"tracking\"");
    assert_eq!(covered(), 1.0);
    let watch = Watch::on(&larder);
    assert_eq!(origin.kill_clients_named(TRACKED_NAME), 1);
    wait::until("the loss is counted", || watch.growth("larder_coverage_lost_total") == 1.0);
    wait::until("and made good", || covered() == 1.0);
    origin.kill();
    wait::until("not covered", || covered() == 0.0);
    assert!(client.say("INCR n").error().is_some());
    assert!(watch.growth("larder_upstream_failures_total") >= 1.0);
}

#[test]
fn clients_and_their_bytes_are_counted() {
    let origin = Redis::start();
    let larder =
        Larder::start_with(&Settings::new(origin.address()).section("limits: {max_clients: 3, max_output: 1mb}"));
    let watch = Watch::on(&larder);
    let mut clients: Vec<Client> = (0..3).map(|_| larder.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    }
    assert_eq!((larder.metrics().sum("larder_clients"), watch.growth("larder_clients_accepted_total")), (3.0, 3.0));
    assert!(larder.connect().read().error().is_some_and(|error| error.contains("max number of clients")));
    assert_eq!(watch.growth("larder_clients_refused_total"), 1.0);
    let bytes = |watch: &Watch<'_>| {
        (watch.growth("larder_client_input_bytes_total"), watch.growth("larder_client_output_bytes_total"))
    };
    let before = bytes(&watch);
    clients[0].call(&["ECHO", "0123456789"]);
    let after = bytes(&watch);
    assert_eq!((after.0 - before.0, after.1 - before.1), (31.0, 17.0));
    // One that never reads is closed at its limit.
    clients[1].call(&[b"SET".as_slice(), b"big", &vec![b'x'; 300_000]]);
    let _ = clients[2].send_raw(&b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(200));
    wait::until("it is closed", || watch.growth("larder_clients_closed_by_limit_total") == 1.0);
    drop(clients);
    wait::until("all have left", || larder.metrics().sum("larder_clients") == 0.0);
    let commands = Watch::on(&larder);
    let mut client = larder.connect();
    client.pipeline(&["PING", "NOSUCH", "GET", "PSYNC a b", "GET k"]);
    assert_eq!(commands.growth("larder_commands_total"), 5.0);
    assert_eq!(commands.growth("larder_commands_local_total"), 1.0);
    assert_eq!(commands.growth("larder_command_errors_total"), 2.0, "the upstream judged NOSUCH");
}

#[test]
fn info_stats_and_metrics_agree() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["MSET a 1 b 2 c 3", "GET a", "GET a", "GET b", "MGET a b c", "SET a 2", "GET a", "GET missing"]);
    larder.warm(&mut client, "GET c");
    client.pipeline(&["LARDER INVALIDATE c", "LARDER FLUSH", "NOSUCH", "GET"]);
    let metrics = larder.metrics();
    let stats = client.say("LARDER STATS");
    let stats: BTreeMap<String, f64> = stats
        .items()
        .expect("a map")
        .chunks(2)
        .map(|pair| {
            let value = pair[1].integer().map(|value| value as f64);
            let value = value.or_else(|| pair[1].text()?.parse().ok()).expect("a number");
            (pair[0].text().expect("a name"), value)
        })
        .collect();
    let text = client.say("INFO larder").text().expect("text");
    let info: BTreeMap<String, f64> = text
        .lines()
        .filter_map(|line| line.rsplit_once(':'))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect();
    // What looking itself moves: the time, and the commands and bytes of the one who looks.
    let unsteady = [
        "uptime_seconds",
        "commands_total",
        "commands_local_total",
        "client_input_bytes_total",
        "client_output_bytes_total",
    ];
    let mut compared = 0;
    for (name, value) in stats.iter().filter(|(name, _)| !unsteady.contains(&name.as_str())) {
        assert_eq!(info.get(name), Some(value), "{name} in INFO");
        if name == "cache_hit_ratio" {
            continue;
        }
        let (plain, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels.trim_end_matches('}').replace('=', "=\"").replace(',', "\",");
        let shown = metrics.sum_where(&format!("larder_{plain}"), &labels);
        assert!((shown - value).abs() < 1e-6, "{name}: {value} in STATS, {shown} in /metrics");
        compared += 1;
    }
    assert!(compared > 25, "{compared}");
    let hits = metrics.sum("larder_cache_hits_total");
    let stats_of_redis = client.say("INFO stats").text().expect("text");
    assert!(stats_of_redis.contains(&format!("keyspace_hits:{hits}\r\n")), "{stats_of_redis}");
    let ratio = hits / (hits + metrics.sum("larder_cache_misses_total"));
    assert!((stats["cache_hit_ratio"] - ratio).abs() < 1e-6);
}
