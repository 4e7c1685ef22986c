//! Reads under way: what may still change before their answer arrives, and who waits for it.
//!
//! The cutter holds back what the origin says on the tracked connection, so that a read is under way for as long as the
//! test wants.

use std::time::{Duration, Instant};

use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// A heartbeat that the tests here do not meet.
fn start() -> (Larder, Cutter, Redis) {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let settings = Settings::new(cutter.address()).upstream("heartbeat: {interval: 20s, timeout: 20s}");
    let larder = Larder::start_with(&settings);
    // The tracked connection is there.
    let mut client = larder.connect();
    larder.warm(&mut client, "GET warm-up");
    (larder, cutter, origin)
}

/// Until the origin has been asked for that key and its answer is held back.
fn wait_for_read(origin: &Redis, before: i64) {
    wait::until("the read has reached the origin", || reads(origin) > before);
}

fn reads(origin: &Redis) -> i64 {
    let hits: i64 = origin.info("keyspace_hits").parse().expect("a number");
    let misses: i64 = origin.info("keyspace_misses").parse().expect("a number");
    hits + misses
}

/// T3, T4: the answer to a read is under way when the key changes; it must not be kept after the push.
#[test]
fn t3_an_answer_that_was_read_before_a_change_is_not_kept_after_it() {
    let (larder, cutter, origin) = start();
    let mut direct = origin.connect();
    for round in 0..30 {
        let key = format!("k{round}");
        direct.say(&format!("SET {key} old"));
        let (mut reader, mut other) = (larder.connect(), larder.connect());
        let before = reads(&origin);
        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        reader.send(&["GET", &key]).expect("sent");
        wait_for_read(&origin, before);
        direct.say(&format!("SET {key} new"));
        cutter.heal();
        let first = reader.read();
        assert!([Reply::bulk("old"), Reply::bulk("new")].contains(&first), "{first:?}");
        // The answer and the push came together: at most one more read can be between them.
        wait::until_within(Duration::from_secs(1), "the change is seen", || {
            other.say(&format!("GET {key}")) == Reply::bulk("new")
        });
        for _ in 0..5 {
            assert_eq!(reader.say(&format!("GET {key}")), Reply::bulk("new"));
        }
    }
}

/// T5: an answer arrives and right behind it the end of the connection that would have brought the push.
#[test]
fn t5_an_answer_is_not_kept_when_its_connection_is_gone() {
    let (larder, cutter, origin) = start();
    let mut direct = origin.connect();
    for round in 0..20 {
        let key = format!("k{round}");
        direct.say(&format!("SET {key} old"));
        let mut reader = larder.connect();
        wait::until("tracked", || !larder.is_binary() || cutter.open(Scope::Tracked) > 0);
        // A read first: it finds the connection up again.
        wait::until("reads pass", || reader.say("GET warm-up") == Reply::Null);
        let before = reads(&origin);
        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        reader.send(&["GET", &key]).expect("sent");
        wait_for_read(&origin, before);
        cutter.heal();
        let _ = reader.try_read();
        cutter.cut(Scope::Tracked);
        direct.say(&format!("SET {key} new"));
        let cut = Instant::now();
        let mut asked = Duration::ZERO;
        wait::until("the change is seen", || {
            asked = cut.elapsed();
            larder.say(&format!("GET {key}")) == Reply::bulk("new")
        });
        assert!(asked < Duration::from_secs(1), "the older value was shown for {asked:?} after the cut");
    }
}

/// T38: the client that asked first goes away; those who wait for the same key get their answer.
#[test]
fn t38_who_waits_with_a_client_that_leaves_is_answered() {
    let (larder, cutter, origin) = start();
    for round in 0..10 {
        origin.say(&format!("SET k value{round}"));
        let before_last = Reply::bulk(&format!("value{round}"));
        wait::until("the value before is seen", || larder.say("GET k") == before_last);
        origin.say(&format!("SET k {round}"));
        let before = reads(&origin);
        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        let mut leader = larder.connect();
        leader.send(&["GET", "k"]).expect("sent");
        let mut followers: Vec<_> = (0..10).map(|_| larder.connect()).collect();
        followers.iter_mut().for_each(|follower| follower.send(&["GET", "k"]).expect("sent"));
        // The push of the SET is held back too, so all of them may have been answered from the entry.
        wait::holds_within(Duration::from_millis(50), || reads(&origin) > before);
        drop(leader);
        cutter.heal();
        for follower in &mut followers {
            let reply = follower.read();
            let right = [round.to_string(), format!("value{round}")].map(|value| Reply::bulk(&value));
            assert!(right.contains(&reply), "{reply:?}");
        }
        wait::until("the change is seen", || larder.say("GET k") == Reply::bulk(&round.to_string()));
    }
}

/// T38: two clients whose multi-key reads wait for each other's keys must both be answered.
#[test]
fn t38_reads_of_the_same_keys_in_another_order_do_not_wait_for_each_other() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let mut client = larder.connect();
            scope.spawn(move || {
                for round in 0..300 {
                    let keys: Vec<String> =
                        (0..10).map(|number| format!("k{}", (number * (thread + 1) + round) % 11)).collect();
                    let command = format!("MGET {}", keys.join(" "));
                    assert_eq!(client.say(&command).items().map(<[Reply]>::len), Some(10));
                    if round % 7 == thread {
                        client.say(&format!("MSET {} 1 {} 2", keys[0], keys[9]));
                    }
                }
            });
        }
    });
}

/// T39: a read that comes after an acknowledged write must not be given the answer of a read from before it.
#[test]
fn t39_a_read_after_a_write_does_not_join_a_flight_from_before() {
    let (larder, cutter, origin) = start();
    for round in 0..20 {
        let key = format!("k{round}");
        origin.say(&format!("SET {key} old"));
        let (mut early, mut writer, mut late) = (larder.connect(), larder.connect(), larder.connect());
        let before = reads(&origin);
        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        early.send(&["GET", &key]).expect("sent");
        wait_for_read(&origin, before);
        assert_eq!(writer.say(&format!("SET {key} new")), Reply::ok(), "the write takes another connection");
        late.send(&["GET", &key]).expect("sent");
        // Whoever joins the flight has joined it when this has been answered.
        assert_eq!(late_ping(&larder), Reply::Simple("PONG".to_owned()));
        cutter.heal();
        assert_eq!(late.read(), Reply::bulk("new"));
        let early = early.read();
        assert!([Reply::bulk("old"), Reply::bulk("new")].contains(&early), "{early:?}");
        assert_eq!(late.say(&format!("GET {key}")), Reply::bulk("new"), "and nothing older was kept");
    }
}

fn late_ping(larder: &Larder) -> Reply {
    larder.say("PING")
}

/// Many clients ask for the same missing key at once: the origin is asked once, or a few times, and not by each.
#[test]
fn a_crowd_that_asks_for_one_key_is_one_read_at_the_origin() {
    let (larder, cutter, origin) = start();
    if !larder.is_binary() {
        return;
    }
    origin.say("SET crowded value");
    let before = reads(&origin);
    cutter.hold(Scope::Tracked, Direction::FromOrigin);
    let mut crowd: Vec<_> = (0..50).map(|_| larder.connect()).collect();
    crowd.iter_mut().for_each(|client| client.send(&["GET", "crowded"]).expect("sent"));
    wait_for_read(&origin, before);
    assert_eq!(late_ping(&larder), Reply::Simple("PONG".to_owned()));
    cutter.heal();
    for client in &mut crowd {
        assert_eq!(client.read(), Reply::bulk("value"));
    }
    let asked = reads(&origin) - before;
    assert!(asked <= 5, "50 clients caused {asked} reads at the origin");
}
