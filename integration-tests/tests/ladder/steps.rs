//! The steps of a ladder in a real outage: in the order of the file, each for its time, each route on its own.

use std::time::Duration;

use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

use crate::{LEASE, Rig, assert_refused};

/// A ladder of one step for each rung, and a route on each.
const ONE_EACH: &str = "near_cache: {ttl_jitter: 0%}
ladders:
  local: [{rung: local-only}]
  stale: [{rung: stale-read-only, max_stale: 1h}]
  through: [{rung: passthrough, timeout: 200ms}]
  refuse: [{rung: reject}]
routes:
  - {keys: [\"lo:*\"], upstream: main, ladder: local}
  - {keys: [\"lo:short:*\"], upstream: main, ladder: local, cache: {ttl: 300ms}}
  - {keys: [\"st:*\"], upstream: main, ladder: stale}
  - {keys: [\"st:short:*\"], upstream: main, ladder: stale, cache: {ttl: 300ms}}
  - {keys: [\"st:never:*\"], upstream: main, ladder: stale, stale: never}
  - {keys: [\"pa:*\"], upstream: main, ladder: through}
  - {keys: [\"re:*\"], upstream: main, ladder: refuse}";

#[test]
fn each_route_follows_its_own_ladder_with_what_the_cache_holds_when_the_origin_goes() {
    let rig = Rig::start(ONE_EACH);
    for key in ["lo:k", "lo:w", "lo:short:k", "st:k", "st:w", "st:short:k", "st:never:k", "pa:k", "re:k"] {
        rig.cache(key, key);
    }
    rig.fail();
    std::thread::sleep(LEASE);
    let mut client = rig.connect();
    let mut ask = |words: &str| client.say(words);
    // Suspect: nobody would tell of a change.
    for (words, key, rung) in [("GET lo:k", "lo:k", "local-only"), ("GET st:k", "st:k", "stale-read-only")] {
        let reply = ask(words);
        let (attributes, reply) = reply.attributes();
        assert_eq!(reply, &Reply::bulk(key));
        assert_eq!(attributes[..2], [Reply::bulk("rung"), Reply::bulk(rung)]);
    }
    assert_refused(&ask("GET st:never:k"), "MASTERDOWN", "stale-read-only");
    let tried = ask("GET pa:k");
    assert!(tried.error().is_some(), "the cache is left aside, and the origin refuses: {tried:?}");
    assert_refused(&ask("GET re:k"), "CLUSTERDOWN", "reject");
    // Expired.
    wait::until("its life is over", || {
        let reply = ask("GET lo:short:k");
        reply.error().inspect(|_| assert_refused(&reply, "MASTERDOWN", "local-only")).is_some()
    });
    assert_eq!(ask("GET st:short:k").attributes().1, &Reply::bulk("st:short:k"));
    // Misses and writes.
    assert_refused(&ask("GET lo:none"), "MASTERDOWN", "local-only");
    assert_refused(&ask("GET st:none"), "MASTERDOWN", "stale-read-only");
    assert_refused(&ask("SET lo:w new"), "READONLY", "local-only");
    assert_refused(&ask("SET st:w new"), "READONLY", "stale-read-only");
    assert_refused(&ask("SET re:k new"), "CLUSTERDOWN", "reject");
    assert!(ask("SET pa:k new").error().is_some());
    assert_refused(&ask("GET lo:w"), "MASTERDOWN", "local-only");
    assert_refused(&ask("GET st:w"), "MASTERDOWN", "stale-read-only");
    // Keys on several ladders: the worst rung that one of them is in.
    assert_refused(&ask("MGET lo:k st:k re:k"), "CLUSTERDOWN", "reject");
    let both = ask("MGET lo:k st:k");
    assert_eq!(both.attributes().1, &Reply::Array(vec![Reply::bulk("lo:k"), Reply::bulk("st:k")]));

    // What a passthrough tries succeeds as soon as the origin is there, whatever the breaker believes.
    rig.cutter.admit();
    wait::until("it passes", || ask("GET pa:k") == Reply::bulk("pa:k"));
    rig.heal();
    for key in ["lo:k", "lo:w", "st:k", "st:w", "st:never:k", "pa:k", "re:k"] {
        assert_eq!(ask(&format!("GET {key}")), Reply::bulk(key), "as it was: nothing was written");
    }
}

/// A step left out, another order, the last one holds.
#[test]
fn steps_are_taken_in_the_order_of_the_file_and_the_return_is_to_normal_at_once() {
    let rig = Rig::start(
        "ladders:\n  default:\n    - {rung: stale-read-only, for: 700ms}\n    - {rung: reject, for: 700ms}\n    \
         - {rung: local-only}",
    );
    rig.cache("k", "v");
    let before = rig.larder.metrics();
    let watcher = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut client = rig.larder.connect();
            let mut seen: Vec<String> = Vec::new();
            wait::until("all of them were seen", || {
                let of = standing::try_standings(&mut client).expect("a ladder").remove(0);
                if seen.last().is_none_or(|last| last != of.rung()) {
                    seen.push(of.rung().to_owned());
                }
                of.rung() == "local-only"
            });
            seen
        });
        rig.cutter.refuse();
        seen.join().expect("it was seen")
    });
    assert_eq!(watcher, ["normal", "stale-read-only", "reject", "local-only"]);
    assert_eq!(rig.larder.say("GET k"), Reply::bulk("v"));
    // The last one holds.
    assert!(wait::stays_for(Duration::from_millis(800), || standing::standings(&rig.larder)[0].rung() == "local-only"));
    rig.heal();
    assert_eq!(rig.larder.say("SET k w"), Reply::ok());
    let (after, total) = (rig.larder.metrics(), "larder_rung_transitions_total");
    for rung in ["stale-read-only", "reject", "local-only"] {
        let label = format!("rung=\"{rung}\"");
        assert_eq!(after.sum_where(total, &label) - before.sum_where(total, &label), 1.0, "{rung}");
    }
    assert_eq!(after.sum_where(total, "rung=\"passthrough\""), 0.0);
    // Each was told once, with its reason.
    let log = rig.larder.process().output();
    for line in [
        "normal -> stale-read-only (",
        "stale-read-only -> reject (",
        "reject -> local-only (",
        "local-only -> normal (",
    ] {
        let count = log.lines().filter(|of| of.contains("upstream 'main' at ") && of.contains(line)).count();
        assert_eq!(count, 1, "{line} in the log:\n{log}");
    }
}

/// The rungs count what they answered.
#[test]
fn answers_are_counted_by_rung_and_by_age() {
    let rig = Rig::start("");
    rig.cache("k", "v");
    rig.fail();
    std::thread::sleep(LEASE);
    let mut client = rig.larder.connect();
    for _ in 0..5 {
        assert_eq!(client.say("GET k"), Reply::bulk("v"));
    }
    for _ in 0..3 {
        client.say("GET none");
    }
    let metrics = rig.larder.metrics();
    let answers = |answer: &str| {
        metrics.sum_where("larder_rung_answers_total", &format!("rung=\"local-only\",answer=\"{answer}\""))
    };
    assert_eq!((answers("cache"), answers("refused"), answers("origin")), (5.0, 3.0, 0.0));
    assert_eq!(metrics.sum("larder_stale_answers_total"), 5.0);
    assert_eq!(metrics.sum("larder_stale_age_seconds_count"), 5.0);
    assert_eq!(metrics.sum_where("larder_stale_age_seconds_bucket", "+Inf"), 5.0);
    assert!(metrics.sum("larder_stale_age_seconds_sum") > 0.0);
    assert_eq!((metrics.sum("larder_breaker_state"), metrics.sum("larder_rung")), (2.0, 1.0));
    assert!(metrics.sum_where("larder_health_checks_total", "failed") > 0.0);
    let runway = metrics.sum("larder_runway_ratio");
    assert!((0.0..=1.0).contains(&runway), "{runway}");
    rig.heal();
    let metrics = rig.larder.metrics();
    assert_eq!((metrics.sum("larder_breaker_state"), metrics.sum("larder_rung")), (0.0, 0.0));
}

/// Subscribers of a channel stay, and get what is sent after the return; a new channel cannot be had meanwhile.
#[test]
fn subscribers_outlive_an_outage_and_new_channels_are_refused_in_it() {
    let rig = Rig::start("");
    let mut subscriber = rig.larder.connect();
    assert_eq!(subscriber.say("SUBSCRIBE news").items().map(<[Reply]>::len), Some(3));
    rig.fail();
    let new = rig.larder.connect().say("SUBSCRIBE other");
    assert!(new.error().is_some(), "{new:?}");
    assert_refused(&rig.larder.say("PUBLISH news lost"), "MASTERDOWN", "local-only");
    rig.heal();
    wait::until("it is subscribed again", || rig.larder.say("PUBLISH news again") == Reply::Integer(1));
    let expected = Reply::Array(["message", "news", "again"].map(Reply::bulk).to_vec());
    assert_eq!(subscriber.read(), expected);
}
