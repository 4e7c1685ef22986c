//! The origin is back: at once, without a stampede, with nothing older than it has; and a link that comes and goes is not followed up
//! and down.

use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::encode;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

use crate::{LEASE, Rig, assert_refused};

/// What was changed in the outage is shown as soon as anything is shown as fresh, or read from the origin.
#[test]
fn after_the_return_nothing_older_than_the_origins_value_is_shown() {
    let rig = Rig::start("");
    for round in 0..3 {
        let keys: Vec<_> = (0..50).map(|number| format!("k{number}")).collect();
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        keys.iter().for_each(|key| rig.cache(key, &old));
        rig.fail();
        let mut origin = rig.origin.connect();
        for (number, key) in keys.iter().enumerate() {
            match number % 2 {
                0 => assert_eq!(origin.call(&["SET", key, &new]), Reply::ok()),
                _ => assert_eq!(origin.call(&["DEL", key]), Reply::Integer(1)),
            }
        }
        thread::sleep(LEASE);
        rig.cutter.admit();
        let mut client = rig.connect();
        let back = wait::holds_within(wait::PATIENCE, || {
            for (number, key) in keys.iter().enumerate() {
                let reply = client.call(&["GET", key]);
                let present = if number % 2 == 0 { Reply::bulk(&new) } else { Reply::Null };
                match reply.attributes() {
                    // It says that it is not as of now.
                    ([_, ..], _) => return false,
                    (_, reply) if reply.error().is_some() => return false,
                    (_, reply) => assert_eq!(reply, &present, "{key} in round {round}"),
                }
            }
            true
        });
        assert!(back, "not answered from the origin again");
        // And it is tracked again.
        rig.heal();
        rig.warm("GET k0");
        assert_eq!(origin.say("SET k0 last"), Reply::ok());
        wait::until("the push is seen", || client.say("GET k0") == Reply::bulk("last"));
    }
}

/// Everybody wants everything anew at the same moment.
#[test]
fn the_return_is_no_stampede() {
    const KEYS: usize = 2000;
    const CLIENTS: usize = 10;
    let rig = Rig::start("");
    let keys: Vec<_> = (0..KEYS).map(|number| format!("k{number}")).collect();
    let mut origin = rig.origin.connect();
    keys.iter().for_each(|key| assert_eq!(origin.call(&["SET", key, key]), Reply::ok()));
    let all: Vec<u8> = keys.iter().flat_map(|key| encode(&["GET", key])).collect();
    let mut client = rig.larder.connect();
    client.send_raw(&all).expect("sent");
    keys.iter().for_each(|key| assert_eq!(client.read(), Reply::bulk(key)));
    rig.fail();
    let calls = rig.calls("get");
    client.send_raw(&all).expect("sent");
    keys.iter().for_each(|key| assert_eq!(client.read(), Reply::bulk(key)));
    assert_eq!(rig.calls("get"), calls);
    rig.cutter.admit();
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (rig, keys) = (&rig, &keys);
            scope.spawn(move || {
                let mut client = rig.larder.connect();
                // Each in an order of its own, and until it was read while everything was well.
                for round in 0.. {
                    let normal = standing::standings(&rig.larder).iter().all(standing::Standing::is_normal);
                    for at in 0..KEYS {
                        let key = &keys[(at + number * KEYS / CLIENTS) % KEYS];
                        let reply = client.call(&["GET", key]);
                        assert!(reply == Reply::bulk(key), "{reply:?} for {key} in round {round}");
                    }
                    if normal {
                        return;
                    }
                }
            });
        }
    });
    let reads = rig.calls("get") - calls;
    eprintln!(
        "{CLIENTS} clients wanted {KEYS} keys: {reads} reads at the origin, {:?} after the return",
        start.elapsed()
    );
    assert!(reads <= 2 * KEYS as u64, "{reads} reads of {KEYS} keys");
}

/// Up and down, and up and down: the ladder goes on where it was, and does not return to normal with every flap.
#[test]
fn a_link_that_comes_and_goes_does_not_flap_the_ladder() {
    const FLAPS: usize = 12;
    let rig = Rig::start("ladders:\n  default: [{rung: local-only, for: 1s}, {rung: stale-read-only}]");
    rig.cache("k", "v");
    let entered =
        |rung: &str| rig.larder.metrics().sum_where("larder_rung_transitions_total", &format!("rung=\"{rung}\""));
    let before = entered("normal");
    for _ in 0..FLAPS {
        rig.cutter.refuse();
        thread::sleep(Duration::from_millis(150));
        rig.cutter.admit();
        // Long enough for the first return, which nobody has reason to doubt.
        thread::sleep(Duration::from_millis(350));
        let reply = rig.larder.say("GET k");
        assert_eq!(reply, Reply::bulk("v"), "a cached key is answered all the time");
    }
    let returns = entered("normal") - before;
    eprintln!("{returns} returns to normal in {FLAPS} flaps, {} times local-only", entered("local-only"));
    assert!(returns <= FLAPS as f64 / 2.0, "{returns} returns in {FLAPS} flaps");
    assert!(entered("stale-read-only") >= 1.0, "the outage as a whole is longer than the first step");
    // It is believed in the end.
    standing::wait_for_normal(&rig.larder);
    assert_eq!(rig.larder.say("SET k w"), Reply::ok());
}

/// It is the same outage, and the time in between, when all was well, is no part of it.
#[test]
fn an_outage_that_comes_back_goes_on_where_it_was() {
    let rig = Rig::start("");
    let since = || standing::standings(&rig.larder)[0].since();
    rig.cutter.refuse();
    let began = Instant::now();
    wait::until("it is known", || standing::standings(&rig.larder)[0].rung() == "local-only");
    thread::sleep(Duration::from_millis(500));
    let first = since();
    rig.heal();
    let well = Duration::from_secs(1);
    thread::sleep(well);
    rig.fail();
    let (second, all) = (since(), began.elapsed());
    eprintln!("down for {first:?}, and after a second of rest for {second:?}, {all:?} after the beginning");
    assert!(second >= first, "it begins anew");
    // (It is told to a tenth of a second.)
    assert!(second + well <= all + Duration::from_millis(100), "the rest counts as well");
    rig.heal();
}

/// T56: writes in the rung that leaves the cache aside invalidate all the same, those of others too.
#[test]
fn writes_during_passthrough_are_seen_after_it() {
    let rig = Rig::start("");
    for key in ["mine", "theirs", "deleted"] {
        rig.cache(key, "old");
    }
    rig.force("passthrough");
    let mut client = rig.larder.connect();
    assert_eq!(client.say("SET mine new"), Reply::ok());
    assert_eq!(client.say("DEL deleted"), Reply::Integer(1));
    assert_eq!(rig.origin.say("SET theirs new"), Reply::ok());
    assert_eq!(
        client.pipeline(&["GET mine", "GET theirs", "GET deleted"]),
        [Reply::bulk("new"), Reply::bulk("new"), Reply::Null]
    );
    rig.leave();
    assert_eq!(client.say("GET mine"), Reply::bulk("new"));
    assert_eq!(client.say("GET deleted"), Reply::Null);
    wait::until("the push is seen", || rig.larder.say("GET theirs") == Reply::bulk("new"));
    // And what passthrough reads is not kept as if it had been covered.
    rig.force("passthrough");
    assert_eq!(client.say("GET theirs"), Reply::bulk("new"));
    rig.force("local-only");
    assert_refused(&client.say("GET unread"), "MASTERDOWN", "local-only");
}
