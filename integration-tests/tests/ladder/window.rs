//! The time between a fault and its notice, and the time in which nothing covers what is cached: what lies there must be neither lost
//! nor taken for more than it is.

use std::time::{Duration, Instant};

use larder_integration_tests::cutter::{Direction, Scope};
use larder_integration_tests::metrics::Metrics;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::{Rig, assert_refused};

#[test]
fn a_read_that_is_on_its_way_when_its_server_falls_silent_is_answered_from_the_cache() {
    let rig = Rig::start("");
    rig.cache("k", "v");
    let mut client = rig.larder.connect();
    rig.cutter.blackhole_all();
    let began = Instant::now();
    // Fresh at first, then sent and lost, then from the cache: never an error.
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(client.say("GET k"), Reply::bulk("v"), "{:?} after the server fell silent", began.elapsed());
        assert_eq!(client.say("MGET k"), Reply::Array(vec![Reply::bulk("v")]), "{:?}", began.elapsed());
    }
    let answers = Metrics::scrape(rig.larder.admin()).sum_where("larder_rung_answers_total", "answer=\"cache\"");
    assert!(answers > 0.0);
}

#[test]
fn what_was_read_anew_past_the_cache_is_not_followed_by_what_was_cached_before() {
    let rig = Rig::start("");
    for (key, other) in [("a", "GET a"), ("b", "MGET b")] {
        rig.cache(key, "old");
        // Only the tracked connection falls silent: nothing covers the key, and its server is well.
        rig.cutter.blackhole(Scope::Tracked, Direction::FromOrigin);
        let covered = || Metrics::scrape(rig.larder.admin()).sum_where("larder_cache_covered", "tracking");
        wait::until("nothing is covered", || covered() == 0.0);
        assert_eq!(rig.origin.say(&format!("SET {key} new")), Reply::ok());
        let seen = rig.larder.say(other);
        assert!(format!("{seen:?}").contains("new"), "{seen:?}");
        rig.fail();
        assert_refused(&rig.larder.say(&format!("GET {key}")), "MASTERDOWN", "local-only");
        rig.heal();
    }
}
