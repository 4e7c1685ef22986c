//! What a reload changes, what it leaves, and what it refuses.

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{by_signal, explained, is_cached};

#[test]
fn trap_54_what_was_admitted_under_a_rule_that_has_changed_is_dropped_and_the_rest_stays() {
    let origin = Redis::start();
    let routes = |a: &str| {
        format!("routes:\n  - {{keys: [\"a:*\"], cache: {{{a}}}}}\n  - {{keys: [\"b:*\"], cache: {{ttl: 60s}}}}")
    };
    let larder = Larder::start_with(&by_signal(&origin, &[&routes("ttl: 100s")]));
    let mut client = larder.connect();
    client.pipeline(&["SET a:1 x", "SET b:1 x", "SET c:1 x"]);
    for key in ["a:1", "b:1", "c:1"] {
        larder.warm(&mut client, &format!("GET {key}"));
    }
    larder.rewrite(&larder.yaml(&by_signal(&origin, &[&routes("ttl: 50s")])));
    assert!(larder.reload());
    let cached = ["a:1", "b:1", "c:1"].map(|key| is_cached(&larder, key));
    assert_eq!(cached, [false, true, true], "only the rule of a:* has changed");
    // The same connection, by the new rule.
    larder.warm(&mut client, "GET a:1");
    assert!(explained(&larder, "a:1").iter().any(|line| line.contains("cached for at most 50.000s")));
    // A route that is gone, and one that caches no more.
    larder.rewrite(&larder.yaml(&by_signal(&origin, &[&routes("enabled: false")])));
    assert!(larder.reload());
    let hits = larder.hits();
    (0..5).for_each(|_| assert_eq!(client.say("GET a:1"), Reply::bulk("x")));
    assert_eq!(larder.hits(), hits, "a:* is not cached any more");
    larder.rewrite(&larder.yaml(&by_signal(&origin, &[])));
    assert!(larder.reload());
    assert_eq!(["b:1", "c:1"].map(|key| is_cached(&larder, key)), [false, true], "the route of b:* is gone");
    larder.warm(&mut client, "GET a:1");
}

#[test]
fn trap_54_what_is_being_read_under_the_old_rule_is_answered_and_not_kept() {
    let origin = Redis::start();
    let ttl = |ttl: &str| format!("routes: [{{keys: [\"a:*\"], cache: {{ttl: {ttl}}}}}]");
    let larder = Larder::start_with(&by_signal(&origin, &[&ttl("100s")]));
    origin.say("SET a:1 x");
    origin.say("SET b:1 x");
    let mut clients = [larder.connect(), larder.connect()];
    // Everything stands: the reads are under way across the reload.
    larder.warm(&mut larder.connect(), "GET c");
    origin.freeze();
    for (client, key) in clients.iter_mut().zip(["a:1", "b:1"]) {
        client.send(&["GET", key]).expect("it is taken");
    }
    wait::until("both reads are under way", || larder.metrics().sum("larder_cache_misses_total") >= 3.0);
    larder.rewrite(&larder.yaml(&by_signal(&origin, &[&ttl("50s")])));
    assert!(larder.reload());
    origin.thaw();
    for client in &mut clients {
        assert_eq!(client.read(), Reply::bulk("x"));
    }
    assert!(!is_cached(&larder, "a:1"), "it was read under the rule that holds no more");
    // The next one is.
    larder.warm(&mut clients[0], "GET a:1");
    assert!(is_cached(&larder, "a:1"));
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported_everywhere() {
    let origin = Redis::start();
    let good = by_signal(&origin, &["limits: {max_clients: 77}"]);
    let larder = Larder::start_with(&good);
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    let bad = larder.yaml(&by_signal(&origin, &["limits: {max_clients: 78, max_bulk: 12parsecs}", "routs: []"]));
    larder.rewrite(&bad);
    assert!(!larder.reload());
    let hits = larder.hits();
    assert_eq!(client.say("GET k"), Reply::bulk("v"), "the client is still there");
    assert_eq!(larder.hits(), hits + 1.0, "and the near-cache");
    assert!(
        larder.say("INFO clients").text().is_some_and(|info| info.contains("maxclients:77")),
        "no part of it was taken"
    );
    let info = larder.say("INFO server").text().expect("text");
    assert!(info.contains("config_last_reload:refused: ") && info.contains("max_bulk"), "{info}");
    assert_eq!(larder.metrics().sum("larder_config_stale"), 1.0);
    // Every error, each with its line.
    let log = larder.process().output();
    let line = |what: &str| 1 + bad.lines().position(|line| line.contains(what)).expect("it is there");
    for (key, what) in [("limits.max_bulk", "12parsecs"), ("routs", "routs")] {
        let place = format!("larder.yaml:{}:", line(what));
        assert!(log.lines().any(|line| line.contains(&place) && line.contains(key)), "{key} at {place} in {log}");
    }
    larder.rewrite(&larder.yaml(&good));
    assert!(larder.reload());
    assert_eq!(larder.metrics().sum("larder_config_stale"), 0.0);
    assert!(larder.say("INFO server").text().is_some_and(|info| info.contains("config_last_reload:ok")));
}

#[test]
fn what_needs_a_restart_is_said_by_name_and_the_rest_is_taken() {
    let origin = Redis::start();
    let larder = Larder::start_with(&by_signal(&origin, &["limits: {max_clients: 77}", "workers: 1"]));
    larder.rewrite(
        &larder
            .yaml(&by_signal(&origin, &["limits: {max_clients: 78}", "workers: 2"]).upstream("password: abc-secret")),
    );
    assert!(larder.reload());
    assert!(larder.say("INFO clients").text().is_some_and(|info| info.contains("maxclients:78")));
    let log = larder.process().output();
    assert!(log.contains("changed: limits.max_clients: 77 -> 78"), "{log}");
    assert!(log.contains("not in effect before a restart: workers: 1 -> 2"), "{log}");
    assert!(log.contains("not in effect before a restart: upstreams[main].password"), "{log}");
    assert!(!log.contains("abc-secret"), "{log}");
}

#[test]
fn a_route_to_an_upstream_that_the_process_does_not_have_is_refused_whole() {
    let origin = Redis::start();
    let larder = Larder::start_with(&by_signal(&origin, &["limits: {max_clients: 77}"]));
    let routes = "routes: [{keys: [\"l:*\"], upstream: local}, {keys: [\"*\"], upstream: main}]";
    let next = by_signal(&origin, &["limits: {max_clients: 78}", routes]).beside("local: {kind: memory}");
    larder.rewrite(&larder.yaml(&next));
    assert!(!larder.reload());
    let log = larder.process().output();
    assert!(log.contains("routes[0].upstream") && log.contains("until a restart"), "{log}");
    assert!(larder.say("INFO clients").text().is_some_and(|info| info.contains("maxclients:77")));
}

#[test]
fn keys_that_get_another_upstream_leave_nothing_of_the_old_one() {
    let (origin, other) = (Redis::start(), Redis::start());
    let settings = |of_a: &str| {
        by_signal(
            &origin,
            &[&format!("routes: [{{keys: [\"a:*\"], upstream: {of_a}}}, {{keys: [\"*\"], upstream: main}}]")],
        )
        .beside(&format!("other: {{kind: redis, endpoints: [\"{}\"]}}", other.address()))
    };
    let larder = Larder::start_with(&settings("main"));
    origin.say("SET a:1 main");
    other.say("SET a:1 other");
    let mut client = larder.connect();
    larder.warm(&mut client, "GET a:1");
    larder.rewrite(&larder.yaml(&settings("other")));
    assert!(larder.reload());
    assert_eq!(client.say("GET a:1"), Reply::bulk("other"));
    assert_eq!(client.say("SET a:1 new"), Reply::ok());
    assert_eq!((origin.say("GET a:1"), other.say("GET a:1")), (Reply::bulk("main"), Reply::bulk("new")));
    larder.rewrite(&larder.yaml(&settings("main")));
    assert!(larder.reload());
    assert_eq!(client.say("GET a:1"), Reply::bulk("main"));
}

#[test]
fn the_budget_of_the_near_cache_follows() {
    let origin = Redis::start();
    let budget = |max: &str| format!("near_cache: {{max_memory: {max}, max_entry: 64kb}}");
    let larder = Larder::start_with(&by_signal(&origin, &[&budget("64mb")]));
    let mut client = larder.connect();
    let value = "v".repeat(10_000);
    for n in 0..1000 {
        client.call(&["SET", &format!("k{n}"), &value]);
    }
    for n in 0..1000 {
        larder.connect().call(&["GET", &format!("k{n}")]);
    }
    assert!(larder.metrics().sum("larder_cache_bytes") > 5e6);
    larder.rewrite(&larder.yaml(&by_signal(&origin, &[&budget("1mb")])));
    assert!(larder.reload());
    let metrics = larder.metrics();
    assert!(metrics.sum("larder_cache_bytes") <= f64::from(1 << 20), "{}", metrics.sum("larder_cache_bytes"));
    assert_eq!(metrics.sum("larder_cache_max_bytes"), f64::from(1 << 20));
    // Smaller entries only: those that are over it go.
    assert!(metrics.sum("larder_cache_keys") > 0.0);
    larder.rewrite(&larder.yaml(&by_signal(&origin, &["near_cache: {max_memory: 1mb, max_entry: 4kb}"])));
    assert!(larder.reload());
    assert_eq!(larder.metrics().sum("larder_cache_keys"), 0.0);
}

#[test]
fn a_ladder_that_changes_during_an_outage_holds_at_once() {
    let mut origin = Redis::start();
    let ladder = |rung: &str| format!("ladders: {{default: [{{rung: {rung}}}]}}");
    let settings = |rung: &str| {
        by_signal(&origin, &[&ladder(rung)]).upstream("command_timeout: 500ms").upstream("connect_timeout: 500ms")
    };
    let larder = Larder::start_with(&settings("local-only"));
    let next = larder.yaml(&settings("reject"));
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    origin.kill();
    wait::until("the outage is noticed", || {
        client.say("SET other w").error().is_some_and(|error| error.contains("local-only"))
    });
    assert_eq!(client.say("GET k"), Reply::bulk("v"));
    larder.rewrite(&next);
    assert!(larder.reload());
    let error = client.say("GET k");
    assert!(error.error().is_some_and(|error| error.contains("(reject since")), "{error:?}");
}

#[test]
fn limits_and_permissions_hold_for_clients_that_are_connected() {
    let origin = Redis::start();
    let larder = Larder::start_with(&by_signal(&origin, &["limits: {max_bulk: 1mb}"]));
    let (mut first, mut second) = (larder.connect(), larder.connect());
    let value = "v".repeat(100 << 10);
    assert_eq!(first.call(&["SET", "k", &value]), Reply::ok());
    assert!(first.say("CONFIG SET maxmemory-samples 5").error().is_some_and(|error| error.contains("allow_admin")));
    larder
        .rewrite(&larder.yaml(&by_signal(&origin, &["limits: {max_bulk: 64kb, max_clients: 2}", "allow_admin: true"])));
    assert!(larder.reload());
    assert_eq!(first.say("CONFIG SET maxmemory-samples 5"), Reply::ok());
    let refused = second.call(&["SET", "k", &value]);
    assert!(refused.error().is_some_and(|error| error.contains("invalid bulk length")), "{refused:?}");
}

#[test]
fn values_come_from_the_environment() {
    let origin = Redis::start_with(&["--requirepass", "pa${s}s"]);
    let settings = Settings::new(origin.address())
        .section("limits: {max_clients: \"${MOST_CLIENTS:-55}\", max_pipeline: \"${UNSET_PIPELINE:-1000}\"}")
        .upstream("password: ${REDIS_PASSWORD}")
        .upstream("username: ${REDIS_USER:-}")
        .environment("REDIS_PASSWORD", "pa${s}s")
        .environment("MOST_CLIENTS", "66");
    let larder = Larder::start_with(&settings);
    assert_eq!(larder.say("SET k v"), Reply::ok());
    assert!(larder.say("INFO clients").text().is_some_and(|info| info.contains("maxclients:66")));
    // A file that wants a variable which is not there is refused like any other.
    larder.rewrite(&larder.yaml(&settings.section("workers: ${NUMBER_OF_WORKERS}")));
    assert!(!larder.reload());
    let log = larder.process().output();
    assert!(log.contains("workers: the environment has no variable NUMBER_OF_WORKERS"), "{log}");
}
