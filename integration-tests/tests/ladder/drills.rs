//! LARDER LADDER: what it shows, FORCE and AUTO, and what it says to arguments that are none.

use std::time::Duration;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

use crate::{Rig, assert_refused};

#[test]
fn the_ladder_shows_every_endpoint_and_ladder_in_use_and_a_drill_is_told_from_an_outage() {
    let rig = Rig::start(
        "ladders:\n  spare:\n    - {rung: stale-read-only, for: 1h}\n    - {rung: reject}\n\
         routes:\n  - {keys: [\"*\"], upstream: main}\n  - {keys: [\"s:*\"], upstream: main, ladder: spare}",
    );
    let shown = standing::standings(&rig.larder);
    let names: Vec<_> = shown.iter().map(standing::Standing::ladder).collect();
    assert_eq!(names, ["default", "spare"]);
    for of in &shown {
        assert!(of.is_normal() && of.why.is_empty(), "{of:?}");
        assert_eq!((of.field("upstream"), of.field("role")), ("main", "primary"));
        assert_eq!(of.endpoint(), rig.address().to_string());
        assert_eq!((of.field("forced"), of.field("next")), ("no", "-"));
    }

    rig.force("passthrough");
    for of in standing::standings(&rig.larder) {
        assert_eq!((of.rung(), of.breaker(), of.field("forced")), ("passthrough", "closed", "yes"), "{of:?}");
        assert!(!of.why.is_empty(), "{of:?}");
    }
    rig.leave();
    standing::wait_for_normal(&rig.larder);

    rig.fail();
    for of in standing::standings(&rig.larder) {
        let (rung, next) =
            if of.ladder() == "spare" { ("stale-read-only", "reject") } else { ("local-only", "stale-read-only") };
        assert_eq!((of.rung(), of.field("forced"), of.field("next")), (rung, "no", next), "{of:?}");
        assert!(of.breaker() != "closed" && !of.why.is_empty() && of.since() < Duration::from_secs(60), "{of:?}");
    }
    let info = rig.larder.say("INFO").text().expect("INFO is text");
    assert!(info.contains("local-only"), "INFO tells of the rung: {info}");
    rig.heal();
}

#[test]
fn a_rung_can_be_forced_for_a_time_and_in_the_place_of_another() {
    let rig = Rig::start("");
    rig.cache("k", "v");
    rig.force("reject 300ms");
    assert_refused(&rig.larder.say("GET k"), "CLUSTERDOWN", "reject");
    standing::wait_for_normal(&rig.larder);
    assert_eq!(rig.larder.say("SET k w"), Reply::ok());
    let shown = standing::standings(&rig.larder);
    assert!(shown.iter().all(|of| of.field("forced") == "no"), "{shown:?}");

    // The word of an operator goes before that of a breaker, and one before the one before it.
    rig.fail();
    assert_refused(&rig.larder.say("SET k w"), "READONLY", "local-only");
    rig.force("reject");
    assert_refused(&rig.larder.say("GET k"), "CLUSTERDOWN", "reject");
    rig.force("normal");
    let reply = rig.larder.say("SET k w");
    assert!(reply.error().is_some_and(|text| !text.contains(" since ")), "tried as if nothing were wrong: {reply:?}");
    assert_eq!(rig.larder.say("LARDER LADDER AUTO main"), Reply::ok());
    assert_refused(&rig.larder.say("SET k w"), "READONLY", "local-only");
    rig.heal();
    assert_eq!(rig.larder.say("SET k w"), Reply::ok());
}

#[test]
fn what_cannot_be_forced_is_said_in_words_and_changes_nothing() {
    let rig = Rig::start("");
    for (words, told) in [
        ("LARDER LADDER FORCE", "LADDER"),
        ("LARDER LADDER FORCE main", "LADDER"),
        ("LARDER LADDER FORCE other reject", "other"),
        ("LARDER LADDER FORCE main lowest", "lowest"),
        ("LARDER LADDER FORCE main reject soon", "soon"),
        ("LARDER LADDER FORCE main reject 5", "5"),
        ("LARDER LADDER FORCE main reject 5s more", "LADDER"),
        ("LARDER LADDER AUTO other", "other"),
        ("LARDER LADDER AUTO main more", "LADDER"),
        ("LARDER LADDER CLIMB", "LADDER"),
        ("LARDER STALENESS SOMETIMES", "STALENESS"),
        ("LARDER STALENESS ON OFF", "larder|staleness"),
    ] {
        let reply = rig.larder.say(words);
        let text = reply.error().unwrap_or_else(|| panic!("{words}: {reply:?}"));
        assert!(text.starts_with("ERR ") && text.contains(told), "{words}: {text}");
    }
    // The words of the rungs are told to who does not know them.
    let reply = rig.larder.say("LARDER LADDER FORCE main lowest");
    for rung in ["normal", "local-only", "stale-read-only", "passthrough", "reject"] {
        assert!(reply.error().is_some_and(|text| text.contains(rung)), "{reply:?}");
    }
    assert!(standing::standings(&rig.larder).iter().all(standing::Standing::is_normal));
    for name in ["LADDER", "STALENESS"] {
        assert!(format!("{:?}", rig.larder.say("LARDER HELP")).contains(&format!("+{name}")), "{name} in HELP");
    }
}

#[test]
fn the_memory_upstream_has_no_ladder() {
    let larder = Larder::start_with(&Settings::memory());
    assert_eq!(larder.say("LARDER LADDER"), Reply::Array(Vec::new()));
    assert!(larder.say("LARDER LADDER FORCE main reject").error().is_some());
    assert_eq!(larder.say("SET k v"), Reply::ok());
}

/// Larder starts before its origin: the ladder holds from the first moment.
#[test]
fn an_origin_that_was_never_there_is_down_and_comes() {
    let mut origin = Redis::start();
    origin.kill();
    let larder = Larder::start_with(&crate::quick(Settings::new(origin.address())));
    standing::wait_for_rung(&larder, "local-only", |_| true);
    assert_refused(&larder.say("SET k v"), "READONLY", "local-only");
    assert_refused(&larder.say("GET k"), "MASTERDOWN", "local-only");
    origin.restart();
    standing::wait_for_normal(&larder);
    wait::until("it is written", || larder.say("SET k v") == Reply::ok());
    assert_eq!(larder.say("GET k"), Reply::bulk("v"));
}
