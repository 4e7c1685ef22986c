//! Two Larders in front of one upstream, under load: what one has acknowledged the other shows within the push delay.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_integration_tests::larder::Larder;
use larder_integration_tests::wait;

use super::{Setup, larder};

/// Far more than the push takes on loopback, and far less than entries live.
const PUSH_DELAY: Duration = Duration::from_secs(1);
const SPAN: Duration = Duration::from_secs(4);
const KEYS: usize = 8;

#[test]
fn two_larders_stay_coherent_under_load() {
    let setup = Setup::start();
    let beside = larder(&setup.main, &setup.api);
    load(&[&setup.larder, &beside], "api:");
}

/// What was acknowledged of a key, and when.
type Log = Mutex<Vec<(Instant, u64)>>;

/// One client writes each key through one Larder; clients of both read all keys.
pub(super) fn load(larders: &[&Larder; 2], prefix: &str) {
    let names: Vec<String> = (0..KEYS).map(|n| format!("{prefix}load:{n}")).collect();
    let logs: Vec<Log> = names.iter().map(|_| Log::default()).collect();
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (half, larder) in larders.iter().enumerate() {
            let (names, logs, done) = (&names, &logs, &done);
            scope.spawn(move || {
                let mut client = larder.connect();
                for version in 1u64.. {
                    if begun.elapsed() > SPAN {
                        break;
                    }
                    // Often enough to disturb, seldom enough for entries to be made and read.
                    let key = version as usize % (KEYS / 2) * 2 + half;
                    let reply = client.call(&["SET", &names[key], &version.to_string()]);
                    assert_eq!(reply.error(), None);
                    logs[key].lock().expect("no reader panics with it").push((Instant::now(), version));
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                done.store(true, Ordering::Release);
            });
        }
        for reader in 0..4 {
            let (names, logs, done) = (&names, &logs, &done);
            scope.spawn(move || {
                let mut client = larders[reader % 2].connect();
                let mut reads = 0;
                while !done.load(Ordering::Acquire) {
                    let key = reads % KEYS;
                    // Written through the same Larder: at once. Through the other: within the push delay.
                    let own = key % 2 == reader % 2;
                    let asked = Instant::now();
                    let until = if own { asked } else { asked.checked_sub(PUSH_DELAY).unwrap_or(begun) };
                    let floor = {
                        let log = logs[key].lock().expect("no writer panics with it");
                        log.iter().rev().find(|(at, _)| *at < until).map_or(0, |(_, version)| *version)
                    };
                    let reply = client.call(&["GET", &names[key]]);
                    let seen = reply.text().map_or(0, |text| text.parse().expect("a number"));
                    assert!(seen >= floor, "{}: {seen} is older than {floor}, own: {own}", names[key]);
                    reads += 1;
                }
            });
        }
    });
    for (name, log) in names.iter().zip(&logs) {
        let last = log.lock().expect("nobody panicked").last().map_or(0, |(_, version)| *version);
        for larder in larders {
            let mut client = larder.connect();
            let latest = || client.call(&["GET", name]).text().is_some_and(|text| text == last.to_string());
            wait::until(&format!("{name} is {last}"), latest);
        }
    }
    for larder in larders {
        assert!(larder.hits() > larder.misses(), "{} hits, {} misses", larder.hits(), larder.misses());
        assert!(larder.metrics().sum_where("larder_invalidation_messages_total", "others") > 100.0);
    }
}
