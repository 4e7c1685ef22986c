//! Times to live: memcached counts whole seconds, Redis milliseconds.

use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::wait;

use super::uncached;

/// How late a key may go; the tests share few cores.
const LATE: Duration = Duration::from_millis(400);

fn gone(client: &mut Client, key: &str) -> bool {
    client.call(&["EXISTS", key]).integer() == Some(0)
}

#[test]
fn times_below_and_between_whole_seconds_are_kept_to() {
    let (_node, larder) = uncached();
    let checks =
        [("SET k v PX 300", 300), ("SET k v EX 1", 1000), ("PSETEX k 1500 v", 1500), ("SET k v GET PX 400", 400)];
    for (line, ms) in checks {
        let mut client = larder.connect();
        let begun = Instant::now();
        client.say(line);
        let life = Duration::from_millis(ms);
        let left = client.say("PTTL k").integer().expect("a time");
        assert!((1..=i64::try_from(ms).expect("small")).contains(&left), "{line}: {left}");
        wait::until_within(life + LATE, line, || gone(&mut client, "k"));
        assert!(begun.elapsed() >= life, "{line}: gone after {:?}", begun.elapsed());
    }
}

#[test]
fn a_time_that_is_given_later_is_kept_to_as_well() {
    let (_node, larder) = uncached();
    for line in ["PEXPIRE k 300", "GETEX k PX 300", "PEXPIRE k 300 XX"] {
        let mut client = larder.connect();
        client.say("SET k v EX 100");
        let begun = Instant::now();
        client.say(line);
        wait::until_within(Duration::from_millis(300) + LATE, line, || gone(&mut client, "k"));
        assert!(begun.elapsed() >= Duration::from_millis(300), "{line}: gone after {:?}", begun.elapsed());
    }
}

/// Whoever extends a life, or writes another value, must not lose it to an end that was meant for the one before.
#[test]
fn an_end_does_not_hit_what_has_come_after_it() {
    let (node, larder) = uncached();
    let mut client = larder.connect();
    let mut other = node.connect();
    for key in ["set", "expire", "persist", "foreign", "touched"] {
        client.call(&["SET", key, "v", "PX", "300"]);
    }
    client.say("SET counted 5 PX 300");
    client.say("INCR counted");
    client.say("SET set again");
    client.say("EXPIRE expire 100");
    client.say("PERSIST persist");
    other.set("foreign", 3, 0, "theirs");
    assert_eq!(other.say("mg touched T100"), "HD");
    wait::until_within(Duration::from_millis(300) + LATE, "what was only counted goes", || {
        gone(&mut client, "counted")
    });
    thread::sleep(Duration::from_millis(100));
    for (key, value) in [("set", "again"), ("expire", "v"), ("persist", "v"), ("foreign", "theirs"), ("touched", "v")] {
        assert_eq!(client.call(&["GET", key]).text().as_deref(), Some(value), "{key}");
    }
}

#[test]
fn more_than_thirty_days_are_no_date_in_the_past() {
    let (node, larder) = uncached();
    let mut client = larder.connect();
    // A date is counted from memcached's own clock, which ticks late on a busy machine.
    let about = |seconds: i64| seconds - 3..=seconds + 3;
    for seconds in [2_592_000_i64, 2_592_001, 10_000_000] {
        client.call(&["SET", "k", "v", "EX", &seconds.to_string()]);
        assert_eq!(client.say("GET k").text().as_deref(), Some("v"));
        let left = node.connect().ttl("k").expect("a key");
        assert!(about(seconds).contains(&left), "{seconds}: {left}");
        client.call(&["SET", "e", "v"]);
        client.call(&["EXPIRE", "e", &seconds.to_string()]);
        assert_eq!(client.say("GET e").text().as_deref(), Some("v"));
        client.call(&["SET", "e", "w", "KEEPTTL"]);
        let left = client.say("TTL e").integer().expect("a time");
        assert!(about(seconds).contains(&left), "{seconds}: {left}");
    }
}

/// Each write that keeps the time writes it again, in whole seconds: the errors must not add up.
#[test]
fn a_key_that_is_written_all_the_time_still_expires() {
    let (_node, larder) = uncached();
    let mut client = larder.connect();
    let begun = Instant::now();
    client.say("SET k 10 EX 3");
    client.say("SET n -1 EX 3");
    let mut writes = 0;
    while client.say("SET k 10 KEEPTTL XX").text().is_some() {
        client.say("INCRBYFLOAT n 0.5");
        writes += 1;
        assert!(begun.elapsed() < Duration::from_secs(6), "still there after {writes} writes");
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "gone after {:?}", begun.elapsed());
}

#[test]
fn a_cached_reply_does_not_outlive_its_key() {
    let node = Memcached::start();
    let larder = Larder::start_with(&Settings::memcached(&[node.address()]));
    let mut client = larder.connect();
    for line in ["SET k v PX 400", "SET k v EX 2"] {
        client.say(line);
        let mut other = node.connect();
        while other.get("k").is_some() {
            client.say("GET k");
        }
        // What the node has forgotten is not served for longer than a reply that was on its way.
        wait::until_within(Duration::from_millis(150), line, || client.say("GET k").text().is_none());
    }
}
