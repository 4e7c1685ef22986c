//! Finding the primary, and following it when it is another one: at once, by the newest word, and never back to the old one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::meddler::Meddler;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::wait;

const HEARTBEAT: &str = "heartbeat: {interval: 100ms, timeout: 400ms}";
/// Larder is not to find out by asking now and then.
const SELDOM: &str = "health_check: {interval: 10m, timeout: 500ms}";

/// Whom Larder holds for the primary.
fn primary(larder: &Larder) -> String {
    let lines = larder.say("LARDER EXPLAIN GET k");
    let lines: Vec<String> = lines.items().expect("lines").iter().filter_map(Reply::text).collect();
    let line = lines.into_iter().find(|line| line.starts_with("upstream: ")).expect("it tells of the upstream");
    line.split(" at ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default().to_owned()
}

fn knows(larder: &Larder, address: SocketAddr) -> bool {
    primary(larder) == address.to_string()
}

fn settings(set: &SentinelSet) -> Settings {
    Settings::sentinel(set).upstream(HEARTBEAT)
}

/// One Sentinel is told of, and it is not there: the two others are found through the one that is left.
#[test]
fn one_sentinel_of_three_is_enough_to_begin_with() {
    let set = SentinelSet::start();
    let sentinels = set.sentinel_addresses();
    let larder = Larder::start_with(&Settings::sentinel_at(&sentinels[1..2], set.primary_name()));
    assert!(knows(&larder, set.primary()));
    let mut client = larder.connect();
    assert_eq!(client.say("SET k v"), Reply::ok());
    larder.warm(&mut client, "GET k");
    set.server(set.primary()).say("SET k new");
    wait::until("the push is seen", || client.say("GET k") == Reply::bulk("new"));
    // The others were found: the one that was named is not needed any more.
    wait::until("the other Sentinels are listened to", || {
        [0, 2].iter().all(|number| {
            let clients = set.connect_to_sentinel(*number).say("CLIENT LIST").text().unwrap_or_default();
            clients.lines().any(|line| line.contains("larder-topology") && line.contains("sub=1"))
        })
    });
    let old = set.primary();
    let new = set.fail_over();
    assert_ne!(old, new);
    wait::until("Larder follows", || knows(&larder, new));
    assert_eq!(client.say("GET k"), Reply::bulk("new"));
}

/// Silent, not closed: no connection tells of it, and Larder asks once in ten minutes.
#[test]
fn a_switch_is_followed_when_it_is_told() {
    let set = SentinelSet::start();
    let larder = Larder::start_with(&settings(&set).upstream(SELDOM));
    let old = set.primary();
    wait::until("every Sentinel is listened to", || {
        (0..3).all(|number| {
            let clients = set.connect_to_sentinel(number).say("CLIENT LIST").text().unwrap_or_default();
            clients.lines().any(|line| line.contains("larder-topology") && line.contains("sub=1"))
        })
    });
    set.server(old).freeze();
    let new = set.wait_for_new_primary(old);
    let switched = Instant::now();
    wait::until_within(Duration::from_secs(2), "Larder knows the new primary", || knows(&larder, new));
    eprintln!("followed {:?} after the last Sentinel agreed", switched.elapsed());
    the_old_primary_is_never_written_to(&set, &larder, old, new);
}

/// It goes on where it stopped, and for a moment believes that it is a primary.
fn the_old_primary_is_never_written_to(set: &SentinelSet, larder: &Larder, old: SocketAddr, new: SocketAddr) {
    let mut client = larder.connect();
    assert_eq!(client.say("SET canary 0"), Reply::ok());
    set.server(old).thaw();
    let mut direct = Client::connect(old);
    let mut seen_alone = 0;
    for number in 0..300 {
        assert_eq!(client.say(&format!("SET canary {number}")), Reply::ok());
        assert_eq!(client.say("GET canary"), Reply::bulk(&number.to_string()));
        // As long as it holds itself for a primary nothing may come in but by Larder.
        let role = direct.try_call(&["ROLE"]).ok().and_then(|role| role.items()?.first()?.text());
        if role.as_deref() == Some("master") {
            assert_eq!(direct.try_call(&["EXISTS", "canary"]).ok().and_then(|reply| reply.integer()), Some(0));
            seen_alone += 1;
        }
    }
    eprintln!("the old primary was looked at {seen_alone} times while it thought that it was one");
    set.wait_until_settled();
    assert_eq!(set.server(new).say("GET canary"), Reply::bulk("299"));
    assert!(knows(larder, new));
}

/// A Sentinel that was cut off names the old primary, of an old epoch.
#[test]
fn a_sentinel_that_repeats_an_old_view_is_not_believed() {
    let set = SentinelSet::start();
    let sentinels = set.sentinel_addresses();
    let behind = Meddler::start(sentinels[0]);
    // What it says now is what it goes on to say.
    let mut sentinel = Client::connect(sentinels[0]);
    let old_view = sentinel.call_raw(&["SENTINEL", "MASTER", set.primary_name()]);
    behind.answer("SENTINEL MASTER", &old_view);
    let old_address = sentinel.call_raw(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", set.primary_name()]);
    behind.answer("SENTINEL GET-MASTER-ADDR-BY-NAME", &old_address);
    let larder = Larder::start_with(
        &Settings::sentinel_at(&[behind.address(), sentinels[1]], set.primary_name()).upstream(HEARTBEAT),
    );
    let old = set.primary();
    assert!(knows(&larder, old));
    let new = set.fail_over();
    wait::until("Larder follows", || knows(&larder, new));
    let mut client = larder.connect();
    for number in 0..50 {
        assert_eq!(client.say(&format!("SET k {number}")), Reply::ok());
        assert!(knows(&larder, new), "back to the old primary");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(set.server(new).say("GET k"), Reply::bulk("49"));

    // In the middle of a failover a Sentinel tells the new epoch beside the old address, and the new one only to those who
    // ask for it by its own command.
    behind.relent();
    let halfway =
        String::from_utf8(old_view).expect("text").replace("config-epoch\r\n$1\r\n0", "config-epoch\r\n$1\r\n9");
    behind.answer("SENTINEL MASTER", halfway.as_bytes());
    for number in 0..50 {
        assert_eq!(client.say(&format!("SET k {number}")), Reply::ok());
        assert!(knows(&larder, new), "the old address beside the new epoch was believed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Killed and started again, empty: it comes back as a replica, and is listed as one.
#[test]
fn a_primary_that_was_killed_comes_back_as_a_replica() {
    let mut set = SentinelSet::start();
    let larder = Larder::start_with(
        &settings(&set).section("routes: [{keys: ['old:*'], read_from: replica-preferred}, {keys: ['*']}]"),
    );
    let mut client = larder.connect();
    assert_eq!(client.say("SET k v"), Reply::ok());
    assert_eq!(client.say("WAIT 2 5000"), Reply::Integer(2));
    larder.warm(&mut client, "GET k");
    let old = set.kill_primary();
    let new = set.wait_for_new_primary(old);
    // (What it has cached is read all the time.)
    wait::until("Larder serves again", || client.say("SET k new") == Reply::ok());
    assert_eq!(set.server(new).say("GET k"), Reply::bulk("new"));
    set.restart_old_primary();
    set.wait_until_settled();
    for number in 0..100 {
        assert_eq!(client.say(&format!("SET k {number}")), Reply::ok());
        assert_eq!(client.say("GET k"), Reply::bulk(&number.to_string()));
    }
    // It takes its share of the reads that may be old.
    client.say("SET old:k v");
    wait::until("the old primary is read from", || {
        larder.say("GET old:k");
        let stats = set.server(old).say("INFO commandstats").text().unwrap_or_default();
        stats.contains("cmdstat_get:")
    });
}
