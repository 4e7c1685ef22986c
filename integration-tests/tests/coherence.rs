//! The promises C1 to C8, by many writers and readers at once. The rules are in the checker's module.
//!
//! `LARDER_COHERENCE_SECONDS` lengthens each scenario.

use std::env;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::coherence::history::FOREIGN_BOUND;
use larder_integration_tests::coherence::run::{Report, Scenario, run};
use larder_integration_tests::larder::{Larder, Settings, TRACKED_NAME};
use larder_integration_tests::port;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// One scenario at a time: each brings its own load.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn duration() -> Duration {
    let seconds = env::var("LARDER_COHERENCE_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("LARDER_COHERENCE_SECONDS is a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(4))
}

/// For runs about the checker itself, which finds what is wrong at once if it does at all.
const GLANCE: Duration = Duration::from_secs(2);

fn scenario(proxies: &[&Larder], origin: &Redis) -> Scenario {
    let proxies = proxies.iter().map(|larder| larder.address()).collect();
    Scenario::new(proxies, origin.address(), duration())
}

fn assert_coherent(report: &Report) {
    eprintln!("{report}");
    assert!(report.violations.is_empty(), "promises were broken:\n{report}");
    assert!(report.write_errors.is_empty(), "writes were refused:\n{report}");
    assert!(report.reads > 1000 && report.writes > 100, "hardly anything happened:\n{report}");
}

/// The cache must have been in use, or the run says nothing.
fn assert_cache_was_used(larder: &Larder) {
    if larder.is_binary() {
        let (hits, misses) = (larder.hits(), larder.misses());
        eprintln!("hits {hits}, misses {misses}");
        assert!(hits > misses, "hit ratio {:.0} %, and that of a cache under test", 100.0 * hits / (hits + misses));
    }
}

#[test]
fn one_proxy_with_writers_through_it_and_beside_it() {
    let _turn = alone();
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let report = run(&scenario(&[&larder], &origin), || ());
    assert_coherent(&report);
    assert!(report.read_errors.is_empty(), "reads were refused:\n{report}");
    assert_cache_was_used(&larder);
}

#[test]
fn two_proxies_on_one_origin() {
    let _turn = alone();
    let origin = Redis::start();
    let (a, b) = (Larder::start(origin.address()), Larder::start(origin.address()));
    let report = run(&scenario(&[&a, &b], &origin), || ());
    assert_coherent(&report);
    assert!(report.read_errors.is_empty(), "reads were refused:\n{report}");
    assert_cache_was_used(&a);
    assert_cache_was_used(&b);
}

/// Every key but a few is pushed out again and again: eviction and refill must not lose a promise.
#[test]
fn a_cache_too_small_for_the_keys() {
    let _turn = alone();
    let origin = Redis::start_with(&["--tracking-table-max-keys", "20"]);
    let larder = Larder::start_with(&Settings::new(origin.address()).section("near_cache: {max_memory: 64kb}"));
    let report = run(&scenario(&[&larder], &origin), || ());
    assert_coherent(&report);
}

/// Coverage is lost and won again all the time. A read may be refused then, but never be wrong.
#[test]
fn the_tracked_connection_is_killed_again_and_again() {
    let _turn = alone();
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut last, mut killed) = (Instant::now(), 0);
    let report = run(&scenario(&[&larder], &origin), || {
        if last.elapsed() > Duration::from_millis(250) {
            killed += origin.kill_clients_named(TRACKED_NAME);
            last = Instant::now();
        }
    });
    assert_coherent(&report);
    assert!(killed > 5 || !larder.is_binary(), "only {killed} tracked connections were there to be killed");
    assert!(report.read_errors.len() < report.reads / 100, "reads were refused:\n{report}");
}

/// A change at the origin shows through the proxy as soon as its push arrives; from then on nobody sees the older value.
#[test]
fn a_foreign_change_is_seen_soon_and_for_good() {
    let _turn = alone();
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut reader, mut other) = (origin.connect(), larder.connect(), larder.connect());
    let version = |reply: Reply| match reply {
        Reply::Null => 0,
        reply => reply.text().and_then(|text| text.parse::<u64>().ok()).expect("a version"),
    };
    for number in 1..=300 {
        let words = format!("SET k {number}");
        assert_eq!(direct.say(&words), Reply::ok());
        wait::until_within(FOREIGN_BOUND, "the foreign change is seen", || version(reader.say("GET k")) == number);
        for client in [&mut other, &mut reader] {
            assert_eq!(version(client.say("GET k")), number, "an older value after a newer one was seen");
            assert_eq!(client.say("MGET k k"), Reply::Array(vec![Reply::bulk(&number.to_string()); 2]));
        }
    }
}

/// Without this the tests above would prove nothing.
#[test]
fn the_checker_finds_a_larder_that_drops_invalidations() {
    let _turn = alone();
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).environment("LARDER_FAULT", "drop-invalidations");
    let larder = Larder::start_with(&settings);
    let report = run(&Scenario { duration: GLANCE, ..scenario(&[&larder], &origin) }, || ());
    eprintln!("{report}");
    assert!(
        !report.violations.is_empty(),
        "no violation under LARDER_FAULT=drop-invalidations: was larder built with `--features faults`?"
    );
}

#[test]
fn the_checker_finds_nothing_wrong_with_redis_itself() {
    let _turn = alone();
    let origin = Redis::start();
    let (a, b) = (Larder::forwarder(origin.address()), Larder::forwarder(origin.address()));
    let report = run(&Scenario { duration: GLANCE, ..scenario(&[&a, &b], &origin) }, || ());
    assert_coherent(&report);
    assert!(report.read_errors.is_empty(), "reads were refused:\n{report}");
}

#[test]
fn the_checker_finds_a_cache_that_hears_no_invalidations() {
    let _turn = alone();
    let origin = Redis::start();
    let deaf = start_deaf_cache(origin.address());
    let scenario = Scenario::new(vec![deaf], origin.address(), GLANCE);
    let report = run(&scenario, || ());
    eprintln!("{report}");
    assert!(report.violations.len() > 10, "a deaf cache passed:\n{report}");
}

/// A wrong proxy: it keeps replies to GET for a while and hears of nobody's writes.
fn start_deaf_cache(origin: SocketAddr) -> SocketAddr {
    const KEPT: Duration = Duration::from_millis(1500);
    type Kept = Mutex<std::collections::HashMap<Vec<u8>, (Instant, Vec<u8>)>>;
    let listener = (0..20).find_map(|_| TcpListener::bind(port::free()).ok()).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let kept = Arc::new(Kept::default());
    let serve = move |mut downstream: Client, kept: Arc<Kept>| {
        let mut upstream = Client::connect(origin);
        let mut answers = downstream.stream().try_clone().expect("a socket can be cloned");
        // A request has the form of a reply: an array of bulk strings.
        while let Ok((request, bytes)) = downstream.try_read() {
            let args: Vec<String> = request.items().unwrap_or_default().iter().filter_map(Reply::text).collect();
            let hit = kept.lock().expect("no panic").get(&bytes).filter(|(at, _)| at.elapsed() < KEPT).cloned();
            let reply = match hit {
                Some((_, reply)) => reply,
                None => {
                    let reply = upstream.call_raw(&args);
                    if args[0] == "GET" {
                        kept.lock().expect("no panic").insert(bytes, (Instant::now(), reply.clone()));
                    }
                    reply
                }
            };
            if answers.write_all(&reply).is_err() {
                return;
            }
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            let client = Client::over(stream).expect("a connected socket takes timeouts");
            thread::spawn(move || serve(client, kept));
        }
    });
    address
}
