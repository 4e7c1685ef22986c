//! Tests of the module as a whole: what a text becomes, and which words it earns where.

mod example;
mod faults;
mod fuzz;
mod reference;
mod upstreams;

use super::*;
use std::time::Duration;

/// A file with nothing but what is required.
const SMALLEST: &str = "\
listeners: [{address: 127.0.0.1:6380}]
upstreams: {main: {kind: redis, endpoints: [127.0.0.1:6379]}}
";

fn good(text: &str) -> Config {
    parse(text, "t.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// Every error as `line:column path: problem | remedy`.
fn faults(text: &str) -> Vec<String> {
    let errors = parse(text, "t.yaml").expect_err("the text should be refused");
    let number = |n: Option<usize>| n.map_or("-".to_owned(), |n| n.to_string());
    errors
        .iter()
        .map(|e| format!("{}:{} {}: {} | {}", number(e.line), number(e.column), e.path, e.problem, e.remedy))
        .collect()
}

/// The faults of the smallest file with these lines behind it.
fn faults_with(lines: &str) -> Vec<String> {
    faults(&format!("{SMALLEST}{lines}"))
}

#[test]
fn the_smallest_file_is_the_defaults() {
    let config = good(SMALLEST);
    assert_eq!(config, Config::for_upstream("redis://127.0.0.1:6379").unwrap());
    assert_eq!(config.routes, [Route::everything_to("main")]);
    assert_eq!(config.ladders["default"].len(), 4);
    assert!(!config.admin.configured);
}

#[test]
fn the_embedded_default_passes_its_own_checks() {
    let config = Draft::embedded().finish().unwrap();
    assert_eq!(config, Config::embedded());
    assert_eq!(config, Config::for_upstream("memory://").unwrap());
    assert_eq!(config.upstreams["memory"].kind, Kind::Memory);
}

#[test]
fn every_key_reaches_its_field() {
    let config = good(
        "
listeners:
  - address: 127.0.0.1:7000
  - address: unix:/run/l.sock
upstreams:
  main:
    kind: redis
    endpoints: ['[::1]:6379']
    replicas: [replica:6379]
    username: app
    password: 'p:ss'
    database: 3
    tls: {server_name: redis.example}
    connect_timeout: 1s
    command_timeout: 2s
    coherence: ttl
    heartbeat: {interval: 1s, timeout: 3s}
    max_leases: 7
    breaker: {failure_threshold: 1, error_rate: 100%, window: 1m, min_requests: 2, reset_timeout: 1h, half_open_probes: 4}
    health_check: {interval: 2s, timeout: 1s}
  mem: {kind: memory, max_memory: 1mb}
  shards: {kind: redis-cluster, endpoints: [c:1], max_redirections: 0}
routes:
  - keys: ['session:*', 'a?\\[b']
    upstream: mem
    cache: {enabled: false, ttl: 1s, negative_ttl: 0s, stale_while_revalidate: 2s, commands: [get, MGET]}
    ladder: mine
    stale: never
    on_miss: nil
  - {keys: ['*'], upstream: main, read_from: replica-preferred}
near_cache: {max_memory: 64kb, ttl: 1m, ttl_jitter: 0%, negative_ttl: 1s, untracked_ttl: 2s, warm_start: true, snapshot: target/s, snapshot_interval: 3s}
ladders:
  mine: [{rung: stale-read-only, for: 1s}, {rung: passthrough}]
admin: {address: 'localhost:9999', token: 't0ken'}
limits: {max_clients: 1, max_clients_per_address: 1, max_bulk: 2gb, max_args: 2, max_pipeline: 3, max_output: 4}
workers: 3
allow_insecure: true
allow_admin: true
cluster_facade: true
",
    );
    assert_eq!(config.listeners[1].address, Address::Unix("/run/l.sock".into()));
    let main = &config.upstreams["main"];
    assert_eq!(main.password.as_ref().unwrap().expose(), "p:ss");
    assert_eq!(main.heartbeat.timeout, Duration::from_secs(3));
    assert_eq!(main.breaker.reset_timeout, Duration::from_secs(3600));
    assert_eq!(main.tls.as_ref().unwrap().server_name.as_deref(), Some("redis.example"));
    assert_eq!((main.coherence, main.database), (Coherence::Ttl, 3));
    let route = &config.routes[0];
    assert_eq!(route.cache.commands, Some(vec!["GET".into(), "MGET".into()]));
    assert_eq!(route.cache.negative_ttl, Some(Duration::ZERO));
    assert_eq!((route.stale, route.on_miss), (Stale::Never, OnMiss::Nil));
    assert_eq!(config.near_cache.max_entry, 64 << 10, "the default shrinks with max_memory");
    assert_eq!(config.near_cache.snapshot, std::path::Path::new("target/s"));
    assert_eq!(config.near_cache.snapshot_interval, Duration::from_secs(3));
    assert_eq!(config.limits.max_request, 2 << 30, "the default grows with max_bulk");
    let ladder = &config.ladders["mine"];
    assert_eq!(ladder[0].max_stale, Some(Duration::from_secs(600)));
    assert_eq!(ladder[1].timeout, Some(Duration::from_secs(1)));
    assert!(config.ladders.contains_key("default"));
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9999");
    assert_eq!(config.admin.token.as_ref().map(Secret::expose), Some("t0ken"));
    assert!(config.admin.configured && config.allow_insecure && config.allow_admin && config.cluster_facade);
    assert_eq!((main.max_leases, config.upstreams["shards"].max_redirections), (7, 0));
    assert_eq!(config.workers, Workers::Fixed(3));
}

#[test]
fn keys_that_no_route_names_go_to_the_only_upstream() {
    let config = good(&format!("{SMALLEST}routes: [{{keys: ['a:*'], stale: never}}]"));
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[0].upstream, "main");
    assert_eq!(config.routes[1], Route::everything_to("main"));
}

#[test]
fn sections_with_nothing_below_them_count_as_left_out() {
    let config = good(&format!("{SMALLEST}routes:\nladders:\nnear_cache:\nlimits:\nadmin:\n"));
    assert_eq!(config, good(SMALLEST));
}

#[test]
fn anchors_and_a_byte_order_mark_are_read() {
    let text = "\u{feff}listeners: [{address: 127.0.0.1:1}]\nupstreams: {main: {kind: redis, endpoints: &e [h:1], replicas: *e}}\n";
    let config = good(text);
    assert_eq!(config.upstreams["main"].replicas, config.upstreams["main"].endpoints);
}

#[test]
fn the_configuration_prints_as_a_file_that_reads_the_same() {
    let text = "
listeners: [{address: '[::1]:1'}]
upstreams: {a-b_c: {kind: redis, endpoints: ['unix:/a \"b\\é'], error: 1}}
routes: [{keys: [\"\\x01\\n'\\\"\\\\\\\\*\", 'é#: *'], cache: {ttl: 7ms, commands: [GET]}}]
near_cache: {ttl_jitter: 7%, warm_start: true, snapshot: \"s n\"}
admin: {address: 127.0.0.1:1}
workers: 2
"
    .replace(", error: 1", "");
    let config = good(&text);
    assert_eq!(good(&config.to_string()), config);
}

#[test]
fn no_rendering_shows_a_password() {
    let mut config = Config::for_upstream("redis://app:hunter2@h").unwrap();
    let secret = config.upstreams["main"].password.clone().unwrap();
    for text in [config.to_string(), format!("{config:?}"), format!("{config:#?}"), secret.to_string()] {
        assert!(!text.contains("hunter2") && text.contains("***"), "{text}");
    }
    config.upstreams.clear();
    config.admin.token = Some(Secret::new("hunter2"));
    let text = config.to_string();
    assert!(!text.contains("hunter2") && text.contains("\n  token: \"***\"\n"), "{text}");
    config.admin.token = None;
    assert!(!config.to_string().contains("***"));
}

#[test]
fn every_kind_and_rung_has_its_word() {
    for (name, kind) in upstream::KINDS {
        assert_eq!(kind.name(), name);
    }
    for (name, rung) in ladder::RUNGS {
        assert_eq!(rung.name(), name);
    }
}

#[test]
fn clusters_sentinels_replicas_and_rings_are_understood_and_shown_as_they_are_written() {
    for upstream in [
        "kind: redis-cluster, endpoints: [h:1, i:1], max_redirections: 16",
        "kind: redis-sentinel, endpoints: [h:1], primary_name: p, database: 3",
        "kind: redis, endpoints: [h:1], replicas: [i:1]",
        "kind: redis-ring, endpoints: [h:1, i:1], database: 3, ring: {hash: fnv1a_64, hash_tag: '{}', weights: {'i:1': 2}}",
    ] {
        let reads = if upstream.contains("-ring") { "primary" } else { "replica-preferred" };
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\nupstreams: {{u: {{{upstream}}}}}\nroutes: [{{keys: ['a:*'], read_from: {reads}}}]\n"
        );
        let config = Draft::read(&text, "t.yaml").unwrap().finish().unwrap();
        assert_eq!(
            good(&config.to_string()),
            Config { admin: Admin { configured: true, ..config.admin.clone() }, ..config }
        );
    }
}
