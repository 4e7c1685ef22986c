//! One upstream is away: its own keys degrade, the others' do not notice.

use std::time::{Duration, Instant};

use larder_integration_tests::larder::Larder;
use larder_integration_tests::process::Signal;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

use super::{REST, ROUTES, Three, keys, refused_with};

const QUICK: &str = ", health_check: {interval: 100ms, timeout: 200ms}";

#[test]
fn an_upstream_that_is_away_degrades_its_own_keys_alone() {
    let mut three = Three::start_with(QUICK, REST, |settings| settings);
    let mut client = three.larder.connect();
    client.pipeline(&["MSET a 1 other:a 1 other:b 2 local:a 3"]);
    three.larder.warm(&mut client, "GET other:a");
    three.other.kill();
    wait::until("its ladder acts", || {
        client.say("GET other:b").error().is_some_and(|error| error.starts_with("MASTERDOWN upstream 'other'"))
    });
    for _ in 0..20 {
        assert_eq!(client.say("GET other:a"), Reply::bulk("1"), "from the cache");
        assert_eq!(client.pipeline(&["SET a 1", "GET a", "SET local:a 3", "GET local:a"])[3], Reply::bulk("3"));
    }
    refused_with(&mut client, "SET other:a 2", "READONLY upstream 'other'");
    let lines = three.larder.say("LARDER LADDER");
    let lines: Vec<String> = lines.items().expect("lines").iter().filter_map(Reply::text).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("upstream=other ") && line.contains("rung=local-only")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("upstream=main ") && line.contains("rung=normal")), "{lines:?}");
    three.other.restart();
    three.larder.until_normal();
    assert_eq!(client.say("SET other:a 2"), Reply::ok());
}

#[test]
fn a_command_over_an_upstream_that_is_away_says_which_and_nothing_of_a_write_is_done() {
    let mut three = Three::start_with(QUICK, REST, |settings| settings);
    let mut client = three.larder.connect();
    client.pipeline(&["MSET a 1 other:a 2 local:a 3"]);
    three.larder.warm(&mut client, "GET other:a");
    three.other.kill();
    wait::until("its ladder acts", || client.say("GET other:none").error().is_some());
    // What the cache has of it is part of the answer.
    let all = client.say("MGET a other:a local:a");
    assert_eq!(all.items().map(|items| items.iter().filter_map(Reply::text).collect::<String>()), Some("123".into()));
    refused_with(&mut client, "MGET a other:none local:a", "MASTERDOWN upstream 'other'");
    refused_with(&mut client, "MSET b 1 other:a 9 local:a 9", "READONLY upstream 'other'");
    refused_with(&mut client, "DEL a local:a other:a", "READONLY upstream 'other'");
    assert_eq!(keys(&three.main), ["a"]);
    assert_eq!(client.say("GET local:a"), Reply::bulk("3"));
    // Its older value is not shown to those who have tried to write it (T43).
    refused_with(&mut client, "GET other:a", "MASTERDOWN");
    assert!(client.say("FLUSHALL").error().is_some());
    assert_eq!(client.say("MGET a local:a").items().map(<[Reply]>::len), Some(2));
}

#[test]
fn a_hung_upstream_holds_nobody_up_who_asks_another() {
    let three = Three::start_with(QUICK, REST, |settings| settings);
    let mut client = three.larder.connect();
    client.pipeline(&["MSET a 1 other:a 2"]);
    three.other.freeze();
    let start = Instant::now();
    let mut stuck = three.larder.connect();
    stuck.send(&["SET", "other:a", "3"]).expect("it is sent");
    for round in 0..200 {
        let value = round.to_string();
        assert_eq!(client.call(&["SET", "a", &value]), Reply::ok());
        assert_eq!(client.call(&["GET", "a"]), Reply::bulk(&value));
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    three.other.thaw();
    three.larder.until_normal();
}

#[test]
fn a_drill_concerns_the_upstream_that_it_names() {
    let three = Three::start();
    let mut client = three.larder.connect();
    assert_eq!(client.say("LARDER LADDER FORCE other reject"), Reply::ok());
    refused_with(&mut client, "GET other:a", "CLUSTERDOWN upstream 'other'");
    assert_eq!(client.say("SET a 1"), Reply::ok());
    refused_with(&mut client, "LARDER LADDER FORCE local reject", "no upstream 'local' with servers");
    refused_with(&mut client, "LARDER LADDER AUTO nobody", "no upstream 'nobody'");
    assert_eq!(client.say("LARDER LADDER AUTO"), Reply::ok());
    assert_eq!(client.say("SET other:a 1"), Reply::ok());
}

#[test]
fn a_larder_that_starts_while_all_are_away_knows_what_the_one_before_had_of_each() {
    let scratch = Scratch::new("snapshot");
    let section = format!("near_cache: {{warm_start: true, snapshot: \"{}\"}}", scratch.file("snapshot").display());
    let mut three = Three::start_with(QUICK, REST, |settings| settings.section(&section));
    let mut client = three.larder.connect();
    client.pipeline(&["SET a 1", "SET other:a 2"]);
    three.larder.warm(&mut client, "GET a");
    three.larder.warm(&mut client, "GET other:a");
    three.larder.process().signal(Signal::Terminate);
    wait::until("the end", || three.larder.process_mut().exit_status().is_some());
    let settings = Three::settings(&three.main, &three.other, QUICK, REST).section(&section);
    three.main.kill();
    three.other.kill();
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    for (key, value) in [("a", "1"), ("other:a", "2")] {
        wait::until("the outage is noticed", || client.call(&["GET", key]) == Reply::bulk(value));
    }
    drop(larder);
    // A key that has another upstream now is not looked for in what the former one had.
    let routes = ROUTES.replace("'other:*'", "'else:*'");
    let larder = Larder::start_with(
        &Three::servers(&three.main, &three.other, QUICK).section(&section).section(&format!("{routes}{REST}")),
    );
    let mut client = larder.connect();
    wait::until("the outage is noticed", || {
        client.say("GET other:a").error().is_some_and(|error| error.starts_with("MASTERDOWN upstream 'main'"))
    });
    assert!(client.say("GET other:a").error().is_some());
}

#[test]
fn transactions_of_the_others_go_on_while_the_home_upstream_is_away() {
    let mut three = Three::start_with(QUICK, REST, |settings| settings);
    let mut client = three.larder.connect();
    three.main.kill();
    wait::until("its ladder acts", || {
        client.say("GET none").error().is_some_and(|error| error.starts_with("MASTERDOWN upstream 'main'"))
    });
    let replies = client.pipeline(&["MULTI", "SET other:a 1", "INCR other:a", "EXEC"]);
    assert_eq!(replies[3].items().map(<[Reply]>::len), Some(2), "{replies:?}");
    assert_eq!(three.other.say("GET other:a"), Reply::bulk("2"));
    for transaction in [vec!["MULTI", "SET a 1", "EXEC"], vec!["MULTI", "PING", "EXEC"]] {
        let replies = client.pipeline(&transaction);
        assert!(replies[2].error().is_some_and(|error| error.starts_with("EXECABORT")), "{replies:?}");
    }
    // And none is under way any more.
    assert_eq!(client.say("GET other:a"), Reply::bulk("2"));
}
