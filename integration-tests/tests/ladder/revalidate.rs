//! stale-while-revalidate in the normal rung: the old reply at once, one read at the origin, and only where the route wants it.

use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::Rig;

const LIFE: Duration = Duration::from_millis(150);
/// How late the origin's answers are on the tracked connection: long against what an answer from memory takes.
const LATE: Duration = Duration::from_millis(700);

/// A heartbeat that bears answers which are late.
fn start() -> Rig {
    let origin = Redis::start_with(&["--enable-debug-command", "yes"]);
    let cutter = Cutter::start(origin.address());
    let settings = Settings::new(cutter.address()).upstream("heartbeat: {interval: 1s, timeout: 10s}").section(
        "near_cache: {ttl_jitter: 0%}
routes:
  - {keys: [\"*\"], upstream: main, cache: {ttl: 150ms, stale_while_revalidate: 1h}}
  - {keys: [\"brief:*\"], upstream: main, cache: {ttl: 150ms, stale_while_revalidate: 200ms}}
  - {keys: [\"never:*\"], upstream: main, stale: never, cache: {ttl: 150ms, stale_while_revalidate: 1h}}
  - {keys: [\"plain:*\"], upstream: main, cache: {ttl: 150ms}}",
    );
    Rig { larder: Larder::start_with(&settings), cutter, origin }
}

/// How long the answer took.
fn timed(client: &mut Client, words: &str) -> (Reply, Duration) {
    let start = Instant::now();
    let reply = client.say(words);
    (reply, start.elapsed())
}

fn let_it_expire(rig: &Rig, keys: &[&str]) {
    keys.iter().for_each(|key| rig.cache(key, "v"));
    std::thread::sleep(LIFE + Duration::from_millis(10));
}

#[test]
fn a_reply_past_its_life_is_served_at_once_while_one_read_fetches_it() {
    let rig = start();
    let_it_expire(&rig, &["k"]);
    let calls = rig.calls("get");
    let served = rig.larder.metrics().sum("larder_revalidations_total");
    rig.cutter.delay(Scope::Tracked, Direction::FromOrigin, LATE);
    let mut clients: Vec<_> = (0..20).map(|_| rig.connect()).collect();
    let start = Instant::now();
    for client in &mut clients {
        let reply = client.say("GET k");
        let (attributes, reply) = reply.attributes();
        assert_eq!(reply, &Reply::bulk("v"));
        assert_eq!(attributes.get(1), Some(&Reply::bulk("normal")), "it says that it is not as of now");
    }
    let took = start.elapsed();
    eprintln!("twenty reads in {took:?}, the origin answers after {LATE:?}");
    assert!(took < LATE, "somebody has waited for the origin");
    assert_eq!(rig.larder.metrics().sum("larder_revalidations_total") - served, 20.0);
    // (Its answer is held up, the read itself is not. Later ones would count reads of a value that has expired again.)
    wait::until("the read is at the origin", || rig.calls("get") > calls);
    assert!(wait::stays_for(Duration::from_millis(100), || rig.calls("get") == calls + 1), "one read for all of them");
    rig.cutter.heal();
    wait::until("it is fresh again", || clients[0].say("GET k") == Reply::bulk("v"));
}

/// Whoever must not see what is stale waits: by the word of the route, or by his own.
#[test]
fn nobody_who_may_not_see_it_is_served_what_is_past_its_life() {
    let rig = start();
    let_it_expire(&rig, &["never:k", "plain:k", "k"]);
    rig.cutter.delay(Scope::Tracked, Direction::FromOrigin, LATE);
    let mut client = rig.connect();
    for key in ["never:k", "plain:k"] {
        let (reply, took) = timed(&mut client, &format!("GET {key}"));
        assert_eq!(reply, Reply::bulk("v"));
        assert!(took >= LATE, "{key} was answered after {took:?}, hence not by the origin");
    }
    client.say("LARDER STALENESS REFUSE");
    let (reply, took) = timed(&mut client, "GET k");
    assert_eq!(reply, Reply::bulk("v"));
    assert!(took >= LATE, "answered after {took:?}, hence not by the origin");
}

#[test]
fn the_window_and_the_expiry_of_the_key_end_it() {
    let rig = start();
    let_it_expire(&rig, &["brief:k"]);
    // Past the window as well.
    std::thread::sleep(Duration::from_millis(200));
    rig.cutter.delay(Scope::Tracked, Direction::FromOrigin, LATE);
    let (reply, took) = timed(&mut rig.connect(), "GET brief:k");
    assert_eq!(reply, Reply::bulk("v"));
    assert!(took >= LATE, "answered after {took:?}, hence not by the origin");
    rig.cutter.heal();

    // Nobody but a reader finds out that this key is gone, and so nobody tells.
    assert_eq!(rig.origin.say("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
    rig.origin.say("SET ends v PX 600");
    let ends = Instant::now() + Duration::from_millis(600);
    assert_eq!(rig.larder.say("GET ends"), Reply::bulk("v"));
    // (Redis counts in whole milliseconds.)
    std::thread::sleep(ends.saturating_duration_since(Instant::now()) + Duration::from_millis(5));
    assert_eq!(rig.larder.say("GET ends"), Reply::Null, "beyond the key's own end");
}

/// What others change is pushed: nothing that has been changed is served once more.
#[test]
fn what_has_been_changed_is_not_served_once_more() {
    let rig = start();
    let_it_expire(&rig, &["k"]);
    rig.origin.say("SET k new");
    // The push is seen before anything that the origin says later on that connection.
    rig.warm("GET another");
    assert_eq!(rig.larder.say("GET k"), Reply::bulk("new"));
    let_it_expire(&rig, &["k"]);
    assert_eq!(rig.larder.say("SET k newer"), Reply::ok());
    assert_eq!(rig.larder.say("GET k"), Reply::bulk("newer"));
}
