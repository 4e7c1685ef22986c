//! The origin or the link to it fails: what was covered by pushes is not served as fresh any more.
//!
//! Every route says `stale: never`, so a read shows what the origin has or is an error; an older value is wrong in
//! any rung. Where Larder must first notice a silent loss, the heartbeat bounds how long that takes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings, TRACKED_NAME};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// `interval` plus `timeout` of the heartbeat below.
const HEARTBEAT: Duration = Duration::from_millis(300);

/// From the moment when a silent loss must have been noticed, with some time for a busy machine.
const NOTICED: Duration = HEARTBEAT.saturating_add(Duration::from_millis(300));

/// How long a reset connection may take to be noticed: it says so itself.
const RESET_NOTICED: Duration = Duration::from_millis(300);

fn start_larder(upstream: &Cutter) -> Larder {
    let settings = Settings::new(upstream.address())
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}")
        .upstream("connect_timeout: 500ms")
        .upstream("command_timeout: 500ms")
        .upstream("breaker: {reset_timeout: 200ms}")
        .upstream("health_check: {interval: 100ms, timeout: 500ms}")
        .section("routes:\n  - {keys: [\"*\"], upstream: main, stale: never}");
    Larder::start_with(&settings)
}

/// A client whose connection is made again when it was closed.
struct Reader<'a> {
    larder: &'a Larder,
    client: Option<Client>,
}

impl<'a> Reader<'a> {
    fn new(larder: &'a Larder) -> Self {
        Self { larder, client: None }
    }

    /// The value of `k`, or `None` for an error or a closed connection.
    fn value(&mut self) -> Option<Reply> {
        let client = self.client.get_or_insert_with(|| self.larder.connect());
        match client.try_call(&["GET", "k"]) {
            Ok(Reply::Error(_)) => None,
            Ok(reply) => Some(reply),
            Err(_) => {
                self.client = None;
                None
            }
        }
    }
}

/// Reads on and on: from `grace` after now on no read may show `old`, and in the end `new` is shown and stays.
fn assert_old_is_gone(larder: &Larder, old: &str, new: &str, grace: Duration) {
    assert_old_is_gone_for(larder, old, grace, grace + Duration::from_millis(700));
    assert_new_comes(larder, old, new);
}

fn assert_old_is_gone_for(larder: &Larder, old: &str, grace: Duration, span: Duration) {
    let (old, mut reader, start) = (Reply::bulk(old), Reader::new(larder), Instant::now());
    while start.elapsed() < span {
        let asked = start.elapsed();
        if reader.value().as_ref() == Some(&old) {
            assert!(asked <= grace, "the older value was shown {asked:?} after the loss, allowed were {grace:?}");
        }
        // The other processes need the cores too.
        thread::sleep(Duration::from_millis(1));
    }
}

fn assert_new_comes(larder: &Larder, old: &str, new: &str) {
    let (old, new, mut reader) = (Reply::bulk(old), Reply::bulk(new), Reader::new(larder));
    wait::until("the newer value is shown", || {
        let value = reader.value();
        assert_ne!(value.as_ref(), Some(&old), "the older value came back");
        value.as_ref() == Some(&new)
    });
    let stays = wait::stays_for(Duration::from_millis(200), || reader.value().is_none_or(|value| value == new));
    assert!(stays, "the newer value did not stay");
}

/// `k` holds `old` and has been answered from the cache.
fn warm_old(larder: &Larder, origin: &Redis) {
    assert_eq!(origin.say("SET k old"), Reply::ok());
    let mut client = larder.connect();
    wait::until("the value is there", || client.say("GET k") == Reply::bulk("old"));
    larder.warm(&mut client, "GET k");
}

#[test]
fn an_origin_that_comes_back_with_other_data_is_believed() {
    let mut origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    for round in 0..3 {
        warm_old(&larder, &origin);
        origin.kill();
        // The value is gone with the process: an error is the only right answer, once the resets have arrived.
        assert_old_is_gone_for(&larder, "old", RESET_NOTICED, Duration::from_millis(500));
        origin.restart();
        assert_eq!(origin.say("SET k new"), Reply::ok(), "round {round}");
        assert_old_is_gone_for(&larder, "old", Duration::ZERO, Duration::from_millis(300));
        assert_new_comes(&larder, "old", "new");
    }
}

#[test]
fn an_origin_that_comes_back_empty_has_nothing() {
    let mut origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    warm_old(&larder, &origin);
    origin.restart();
    let mut reader = Reader::new(&larder);
    wait::until("the key is missing", || reader.value() == Some(Reply::Null));
    assert!(wait::stays_for(Duration::from_millis(300), || reader.value() == Some(Reply::Null)));
}

#[test]
fn a_cut_tracked_connection_ends_what_it_covered() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    for _ in 0..5 {
        warm_old(&larder, &origin);
        let cut = cutter.cut(Scope::Tracked);
        assert!(cut > 0 || !larder.is_binary(), "no connection said that it is {TRACKED_NAME}");
        assert_eq!(origin.say("SET k new"), Reply::ok());
        assert_old_is_gone(&larder, "old", "new", RESET_NOTICED);
    }
}

#[test]
fn every_connection_cut_at_once_is_survived() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    for _ in 0..5 {
        warm_old(&larder, &origin);
        cutter.refuse();
        assert_eq!(origin.say("SET k new"), Reply::ok());
        assert_old_is_gone_for(&larder, "old", RESET_NOTICED, Duration::from_millis(600));
        cutter.admit();
        assert_new_comes(&larder, "old", "new");
    }
}

#[test]
fn a_tracked_connection_killed_at_the_origin_is_made_anew() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    for round in 0..5 {
        warm_old(&larder, &origin);
        let killed = origin.kill_clients_named(TRACKED_NAME);
        assert!(killed > 0 || !larder.is_binary(), "round {round}: nobody in CLIENT LIST is {TRACKED_NAME}");
        assert_eq!(origin.say("SET k new"), Reply::ok());
        assert_old_is_gone(&larder, "old", "new", RESET_NOTICED);
        // And it tracks again: a change is pushed to the new connection.
        let mut client = larder.connect();
        larder.warm(&mut client, "GET k");
        assert_eq!(origin.say("SET k newer"), Reply::ok());
        assert_new_comes(&larder, "never", "newer");
    }
}

/// The link is silent, nobody says that it is broken: the heartbeat must find out.
#[test]
fn t60_pushes_that_are_held_back_do_not_keep_a_value_fresh() {
    silent_loss(|cutter| cutter.hold(Scope::Tracked, Direction::FromOrigin));
}

#[test]
fn pushes_that_are_lost_do_not_keep_a_value_fresh() {
    silent_loss(|cutter| cutter.blackhole(Scope::Tracked, Direction::FromOrigin));
}

#[test]
fn a_tracked_connection_that_hears_but_is_not_heard_does_not_keep_a_value_fresh() {
    let fault = |cutter: &Cutter| {
        // Its pushes would still come: they are what must not be relied on.
        cutter.blackhole(Scope::Tracked, Direction::ToOrigin);
        cutter.blackhole(Scope::Tracked, Direction::FromOrigin);
    };
    silent_loss(fault);
}

#[test]
fn a_link_that_swallows_everything_does_not_keep_a_value_fresh() {
    silent_loss(|cutter| {
        cutter.blackhole(Scope::All, Direction::ToOrigin);
        cutter.blackhole(Scope::All, Direction::FromOrigin);
    });
}

fn silent_loss(fault: impl Fn(&Cutter)) {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    if !larder.is_binary() {
        // A forwarder has no heartbeat: its clients would only wait.
        return;
    }
    for _ in 0..3 {
        warm_old(&larder, &origin);
        fault(&cutter);
        assert_eq!(origin.say("SET k new"), Reply::ok());
        assert_old_is_gone_for(&larder, "old", NOTICED, NOTICED + Duration::from_millis(700));
        cutter.heal();
        assert_new_comes(&larder, "old", "new");
    }
}

/// A frozen origin cannot change its data, but Larder cannot know that: past the heartbeat nothing is fresh, and
/// nobody waits for ever.
#[test]
fn a_frozen_origin_gives_errors_in_time_and_no_fresh_answers() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    if !larder.is_binary() {
        return;
    }
    for _ in 0..2 {
        warm_old(&larder, &origin);
        origin.freeze();
        let mut reader = Reader::new(&larder);
        let frozen = Instant::now();
        while frozen.elapsed() < NOTICED + Duration::from_millis(500) {
            let asked = Instant::now();
            let late = frozen.elapsed() > NOTICED;
            let value = reader.value();
            assert!(value.is_none() || !late, "{value:?} was served as fresh {:?} after the freeze", frozen.elapsed());
            // connect_timeout plus command_timeout are 1 s.
            assert!(asked.elapsed() < Duration::from_secs(5), "a read took {:?}", asked.elapsed());
        }
        let mut other = larder.connect();
        assert_eq!(other.say("PING"), Reply::Simple("PONG".to_owned()), "what needs no origin is answered");
        origin.thaw();
        assert_new_comes(&larder, "never", "old");
        assert_eq!(origin.say("SET k new"), Reply::ok());
        // Everything is as before: the push arrives.
        wait::until("the change is seen", || Reader::new(&larder).value() == Some(Reply::bulk("new")));
    }
}

#[test]
fn t47_a_write_whose_answer_is_lost_is_not_sent_again() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    for round in 1..=5 {
        let mut client = larder.connect();
        wait::until("commands pass", || {
            client
                .try_call(&["TTL", "other"]) // never cached: its connection is the one that INCR will take
                .is_ok_and(|reply| reply == Reply::Integer(-2))
        });
        cutter.hold(Scope::All, Direction::FromOrigin);
        client.send(&["INCR", "counter"]).expect("sent");
        wait::until("the origin has carried it out", || origin.say("GET counter") != Reply::Null);
        wait::until("once", || origin.say("GET counter") == Reply::bulk(&round.to_string()));
        cutter.cut(Scope::All);
        cutter.heal();
        let answer = client.try_read();
        assert!(!matches!(answer, Ok((Reply::Integer(_), _))), "nobody can know the answer: {answer:?}");
        wait::until("commands pass again", || {
            let client = Client::try_connect(larder.address());
            client.and_then(|mut client| client.try_call(&["GET", "other"])).is_ok_and(|reply| reply == Reply::Null)
        });
        assert_eq!(origin.say("GET counter"), Reply::bulk(&round.to_string()), "carried out twice");
    }
}

/// A timeout does not mean that the write was not carried out: it may be still, later.
#[test]
fn a_write_that_timed_out_may_come_late_and_is_then_seen() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = start_larder(&cutter);
    if !larder.is_binary() {
        return;
    }
    for _ in 0..3 {
        warm_old(&larder, &origin);
        cutter.hold(Scope::All, Direction::ToOrigin);
        let answer = larder.connect().try_call(&["SET", "k", "new"]);
        assert!(!matches!(&answer, Ok(Reply::Simple(_))), "acknowledged without the origin: {answer:?}");
        assert_eq!(origin.say("GET k"), Reply::bulk("old"));
        cutter.heal();
        // What was under way arrives now, or has been given up with its connection.
        wait::until("the origin and Larder agree", || {
            let there = origin.say("GET k");
            let stays = wait::stays_for(Duration::from_millis(300), || {
                Reader::new(&larder).value() == Some(there.clone()) && origin.say("GET k") == there
            });
            stays && cutter.open(Scope::Tracked) == 1
        });
    }
}

#[test]
fn larder_starts_before_its_origin() {
    let mut origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    origin.kill();
    let larder = start_larder(&cutter);
    let mut client = larder.connect();
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    let answer = client.call(&["GET", "k"]);
    assert!(answer.error().is_some(), "there is no origin yet: {answer:?}");
    origin.restart();
    assert_eq!(origin.say("SET k new"), Reply::ok());
    assert_new_comes(&larder, "never", "new");
    let mut client = larder.connect();
    larder.warm(&mut client, "GET k");
}

/// An origin without tracking is cached for a short time only, and that is bounded.
#[test]
fn without_pushes_a_value_is_kept_for_the_short_cap_only() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address())
        .upstream("coherence: ttl")
        .section("near_cache: {ttl: 1h, ttl_jitter: 50%, untracked_ttl: 300ms}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    for round in 0..3 {
        assert_eq!(origin.say(&format!("SET k {round}")), Reply::ok());
        let changed = Instant::now();
        let new = Reply::bulk(&round.to_string());
        loop {
            let asked = changed.elapsed();
            if client.say("GET k") == new {
                break;
            }
            assert!(asked < Duration::from_millis(325), "an older value after {asked:?} under a cap of 300ms");
        }
        larder.warm(&mut client, "GET k");
    }
    assert_eq!(origin.clients_named(TRACKED_NAME), 0, "coherence: ttl asked for no tracking");
}

/// A connection that cannot be made takes longer than a command may: whoever waited is told, and the next one gets a
/// connection of its own, once the origin is there again.
#[test]
fn an_origin_that_hangs_while_it_is_connected_to_hangs_nobody_for_ever() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address())
        .upstream("connect_timeout: 600ms")
        .upstream("command_timeout: 100ms")
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    assert_eq!(client.say("SET k 1"), Reply::ok());
    origin.freeze();
    let errors = wait::stays_for(Duration::from_secs(2), || {
        let error = client.try_call(&["INCR", "k"]).expect("an answer").error().is_some();
        thread::sleep(Duration::from_millis(50));
        error || !larder.is_binary()
    });
    origin.thaw();
    assert!(errors, "a frozen origin has incremented");
    wait::until("it increments again", || client.try_call(&["INCR", "k"]).expect("an answer").error().is_none());
}

/// As does a server whose queue of new connections is full. Nothing has been sent to it, and the client is told so.
#[test]
fn a_server_that_ends_new_connections_was_sent_nothing() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("bound");
    let greeter = thread::spawn(move || {
        // The handshake arrives, so its end is a reset and no orderly close. An empty line from the test is the last.
        for link in server.incoming() {
            let mut first = [0; 1];
            // (A Larder that ends at this moment sends nothing, or a reset.)
            let sent = link.expect("a connection").read(&mut first);
            if sent.is_ok_and(|count| count == 1) && first == *b"\n" {
                return;
            }
        }
    });
    let larder = Larder::start(address);
    let mut client = larder.connect();
    for command in ["SET k 1", "BLPOP q 0", "GET k"] {
        let error = client.say(command).error().unwrap_or_default().to_owned();
        assert!(
            error.contains("DOWN upstream 'main'") || error.contains("READONLY upstream 'main'"),
            "{command}: {error}"
        );
        assert!(!error.contains("may or may not"), "{command}: {error}");
    }
    drop(larder);
    TcpStream::connect(address).and_then(|mut link| link.write_all(b"\n")).expect("it listens");
    greeter.join().expect("no fault");
}
