//! How old an answer may be, that it says so, and who gets none.

use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cutter::Scope;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

use crate::{LEASE, Rig, assert_refused};

/// Reads on and on until `last`, and gives the moments of the answers from the cache, told from when the reads were sent.
fn served_until(client: &mut Client, key: &str, last: Instant) -> Vec<(Instant, Reply)> {
    let mut served = Vec::new();
    while Instant::now() < last {
        let sent = Instant::now();
        let reply = client.call(&["GET", key]);
        if reply.error().is_none() {
            served.push((sent, reply));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    served
}

const BUDGETS: &str = "near_cache: {ttl_jitter: 0%, negative_ttl: 400ms}
ladders:
  default: [{rung: stale-read-only, max_stale: 1500ms}]
  local: [{rung: local-only}]
routes:
  - {keys: [\"*\"], upstream: main}
  - {keys: [\"short:*\"], upstream: main, cache: {ttl: 200ms}}
  - {keys: [\"past:*\"], upstream: main, stale: past-expiry}
  - {keys: [\"local:*\"], upstream: main, ladder: local}";

/// The budget counts from the last proof that the reply was true, which was before the fault.
#[test]
fn nothing_is_served_beyond_its_stale_budget_nor_beyond_the_expiry_of_its_key() {
    let rig = Rig::start(BUDGETS);
    let (budget, negative) = (Duration::from_millis(1500), Duration::from_millis(400));
    for key in ["long", "short:k"] {
        rig.cache(key, "v");
    }
    let mut origin = rig.origin.connect();
    let before = Instant::now();
    for key in ["ends", "past:ends", "local:ends"] {
        assert_eq!(origin.call(&["SET", key, "v", "PX", "1000"]), Reply::ok());
    }
    // (Redis counts in whole milliseconds.)
    let ends = Instant::now() + Duration::from_millis(1002);
    for words in ["GET ends", "GET past:ends", "GET local:ends", "GET missing", "GET short:k"] {
        // (Once more for the short one, whose life may be over.)
        assert!(rig.larder.say(words).error().is_none());
    }
    rig.cutter.refuse();
    let fault = Instant::now();
    let last = fault + budget + Duration::from_millis(700);
    let keys = ["long", "short:k", "missing", "ends", "past:ends", "local:ends"];
    let served = std::thread::scope(|scope| {
        let threads = keys.map(|key| {
            let rig = &rig;
            scope.spawn(move || served_until(&mut rig.connect(), key, last))
        });
        threads.map(|thread| thread.join().expect("it ends"))
    });
    let after = |moments: &[(Instant, Reply)]| moments.last().map(|(sent, _)| sent.saturating_duration_since(fault));
    for (key, moments) in keys.iter().zip(&served) {
        eprintln!("{key}: {} answers, the last {:?} after the fault", moments.len(), after(moments));
    }
    let [long, short, missing, ended, past, local] = &served;
    for of in [long, short] {
        assert!(after(of).is_some_and(|last| last > LEASE), "nothing stale was served");
        assert!(after(of).is_some_and(|last| last <= budget), "beyond the budget");
    }
    assert!(after(missing).is_none_or(|last| last <= negative.max(LEASE)), "what is not there has a shorter budget");
    let is_stale = |of: &(Instant, Reply)| !of.1.attributes().0.is_empty();
    for of in [ended, local] {
        assert!(of.iter().any(is_stale), "nothing stale was served");
        assert!(of.iter().all(|(sent, _)| *sent <= ends), "beyond the key's own expiry");
    }
    assert!(past.iter().any(|(sent, _)| *sent > ends), "its route wants it past the expiry");
    assert!(after(past).is_some_and(|last| last <= budget));
    assert!(before < ends);
    rig.heal();
}

#[test]
fn an_answer_that_is_not_fresh_tells_its_age_to_who_wants_to_know() {
    let rig = Rig::start("near_cache: {ttl_jitter: 0%}");
    rig.cache("k", "value");
    rig.cache("l", "other");
    let mut told = rig.connect();
    let mut plain = [rig.larder.connect(), rig.larder.connect_with(Protocol::Resp3)];
    assert_eq!(told.call_raw(&["GET", "k"]), b"$5\r\nvalue\r\n", "fresh: nothing is told");
    let before = Instant::now();
    rig.fail();
    let failed = Instant::now();
    std::thread::sleep(LEASE);
    let sent = Instant::now();
    let bytes = told.call_raw(&["GET", "k"]);
    let answered = Instant::now();
    let text = String::from_utf8(bytes).expect("text");
    let rest = text.strip_prefix("|2\r\n$4\r\nrung\r\n$10\r\nlocal-only\r\n$6\r\nage-ms\r\n:");
    let (age, value) = rest.and_then(|rest| rest.split_once("\r\n")).unwrap_or_else(|| panic!("{text:?}"));
    assert_eq!(value, "$5\r\nvalue\r\n");
    // The last proof was before the fault; at worst as long before it as the heartbeat waits, on a machine with time for it.
    let age = Duration::from_millis(age.parse().expect("a number"));
    assert!(age >= sent - failed, "it says {age:?}, and the origin was away for {:?}", sent - failed);
    assert!(age <= answered - before + Duration::from_secs(5), "it says {age:?}");
    let many = told.call_raw(&["MGET", "k", "l"]);
    assert!(
        many.starts_with(b"|2\r\n") && many.ends_with(b"*2\r\n$5\r\nvalue\r\n$5\r\nother\r\n"),
        "once, before the whole"
    );
    // Nobody else gets what he did not ask for.
    for client in &mut plain {
        assert_eq!(client.call_raw(&["GET", "k"]), b"$5\r\nvalue\r\n");
    }
    // A refusal is no stale answer.
    assert!(told.call_raw(&["GET", "none"]).starts_with(b"-MASTERDOWN"));
    // RESP2 has no attributes.
    let refused = plain[0].say("LARDER STALENESS ON");
    assert!(refused.error().is_some_and(|text| text.contains("RESP3")), "{refused:?}");
    told.hello(Protocol::Resp2);
    assert_eq!(told.call_raw(&["GET", "k"]), b"$5\r\nvalue\r\n");
    rig.heal();
}

#[test]
fn a_connection_that_refuses_stale_answers_gets_none_until_it_says_otherwise() {
    let rig = Rig::start("");
    rig.cache("k", "v");
    let mut client = rig.larder.connect_with(Protocol::Resp3);
    let mode = |client: &mut Client| client.say("LARDER STALENESS").text().expect("a mode").to_lowercase();
    assert_eq!(mode(&mut client), "off");
    assert_eq!(client.say("LARDER STALENESS REFUSE"), Reply::ok());
    assert_eq!(mode(&mut client), "refuse");
    assert_eq!(client.say("GET k"), Reply::bulk("v"), "fresh");
    rig.fail();
    std::thread::sleep(LEASE);
    assert_refused(&client.say("GET k"), "MASTERDOWN", "local-only");
    assert_eq!(rig.larder.say("GET k"), Reply::bulk("v"), "it is one connection's wish");
    assert_eq!(client.say("LARDER STALENESS OFF"), Reply::ok());
    assert_eq!(client.say("GET k"), Reply::bulk("v"));
    assert_eq!(client.say("LARDER STALENESS REFUSE"), Reply::ok());
    assert_refused(&client.say("GET k"), "MASTERDOWN", "local-only");
    client.say("RESET");
    assert_eq!(mode(&mut client), "off");
    assert_eq!(client.say("GET k"), Reply::bulk("v"));
    client.hello(Protocol::Resp3);
    assert_eq!(client.say("LARDER STALENESS ON"), Reply::ok());
    assert_eq!(mode(&mut client), "on");
    rig.heal();
}

/// T43: once somebody has tried to write a key, what it held before is not shown any more, in no form, to nobody.
#[test]
fn what_was_written_or_changed_in_the_outage_never_shows_its_older_value() {
    let rig = Rig::start("ladders:\n  default: [{rung: local-only, for: 1h}, {rung: reject}]");
    for key in ["set", "del", "expire", "a", "b", "other"] {
        rig.cache(key, "old");
        rig.warm(&format!("STRLEN {key}"));
    }
    rig.origin.say("HSET h f old");
    rig.warm("HGETALL h");
    rig.warm("HGET h f");
    rig.fail();
    let (mut writer, mut reader) = (rig.larder.connect(), rig.larder.connect());
    for words in ["SET set new", "DEL del", "EXPIRE expire 10", "MSET a new b new", "HSET h f new"] {
        assert_refused(&writer.say(words), "READONLY", "local-only");
    }
    for words in
        ["GET set", "STRLEN set", "GET del", "GET expire", "GET a", "GET b", "MGET other b", "HGET h f", "HGETALL h"]
    {
        assert_refused(&reader.say(words), "MASTERDOWN", "local-only");
    }
    assert_eq!(reader.say("GET other"), Reply::bulk("old"));
    // Meanwhile others change things at the origin, which they do reach.
    rig.origin.say("SET set theirs");
    rig.origin.say("DEL other");
    rig.heal();
    assert_eq!(reader.say("GET set"), Reply::bulk("theirs"));
    assert_eq!(reader.say("GET other"), Reply::Null);
    assert_eq!(reader.say("GET del"), Reply::bulk("old"), "it was refused, and nobody else has deleted it");
}

/// A write that was under way when the origin went: nobody knows its fate, so nobody is shown what was before it.
#[test]
fn a_write_of_unknown_fate_hides_the_older_value_for_the_outage() {
    let rig = Rig::start("");
    rig.cache("k", "old");
    rig.cache("other", "v");
    rig.cutter.blackhole_all();
    let reply = rig.larder.say("SET k new");
    assert!(reply.error().is_some(), "{reply:?}");
    standing::wait_for_rung(&rig.larder, "local-only", |_| true);
    assert_refused(&rig.larder.say("GET k"), "MASTERDOWN", "local-only");
    assert_eq!(rig.larder.say("GET other"), Reply::bulk("v"));
    rig.heal();
    wait::until("it is read anew", || rig.larder.say("GET k") == Reply::bulk("old"));
}

/// C7: what was read over two connections was never seen to be true at one instant.
#[test]
fn keys_that_were_read_over_different_connections_are_not_put_together() {
    let rig = Rig::start("");
    rig.cache("a", "1");
    rig.warm("EXISTS a");
    rig.cutter.cut(Scope::Tracked);
    wait::until("there is another", || rig.cutter.open(Scope::Tracked) == 1);
    // Nobody tells of this one, and nobody has asked for it since.
    assert_eq!(rig.origin.say("MSET a 2 b 2"), Reply::ok());
    for key in ["b", "c"] {
        rig.cache(key, "2");
        rig.warm(&format!("EXISTS {key}"));
    }
    rig.fail();
    let mut client = rig.larder.connect();
    assert_eq!(client.say("MGET b c"), Reply::Array(vec![Reply::bulk("2"), Reply::bulk("2")]));
    assert_eq!(client.say("EXISTS b c"), Reply::Integer(2));
    for words in ["MGET a b", "EXISTS a b"] {
        assert_refused(&client.say(words), "MASTERDOWN", "local-only");
    }
    assert_eq!(client.say("GET a"), Reply::bulk("1"), "alone it is stale and no more");
    rig.heal();
    assert_eq!(client.say("MGET a b"), Reply::Array(vec![Reply::bulk("2"), Reply::bulk("2")]));
}
