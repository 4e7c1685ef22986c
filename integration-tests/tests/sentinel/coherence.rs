//! The promises C1 to C8 while the primary is replaced: by order, and because it was killed.

use std::time::{Duration, Instant};

use larder_integration_tests::coherence::run::{Report, Scenario, run};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::sentinel::{Router, SentinelSet};
use larder_integration_tests::wait;

/// An error by which a client knows that it may repeat the command, or that it has to look whether it was carried out.
fn is_retryable(error: &str) -> bool {
    let codes = ["MASTERDOWN ", "READONLY ", "LOADING ", "UNBLOCKED "];
    // The router beside Larder closes the connection instead.
    codes.iter().any(|code| error.contains(code))
        || error.contains("may or may not have been carried out")
        || error.contains("it can be repeated")
        || error.contains("Origin: ")
}

fn assert_coherent(report: &Report) {
    eprintln!("{report}");
    assert!(report.violations.is_empty(), "promises were broken:\n{report}");
    // The router beside Larder closes a connection to the former primary when it is next used, however late that is.
    let mut refused = report.write_errors.iter().chain(&report.read_errors);
    assert!(refused.all(|error| error.contains("Origin: closed")), "commands were refused:\n{report}");
    assert!(report.reads > 1000 && report.writes > 100, "hardly anything happened:\n{report}");
    let wrong: Vec<_> = report.errors_in_doubt.iter().filter(|error| !is_retryable(error)).take(3).collect();
    assert!(wrong.is_empty(), "not to be repeated: {wrong:?}");
}

#[test]
fn no_promise_is_broken_while_the_primary_is_replaced() {
    let mut set = SentinelSet::start();
    let router = Router::start(&set);
    let settings = Settings::sentinel(&set).upstream("heartbeat: {interval: 100ms, timeout: 400ms}");
    let larder = Larder::start_with(&settings);
    for killed in [false, true] {
        eprintln!("--- {}", if killed { "killed" } else { "by order" });
        let scenario = Scenario::new(vec![larder.address()], router.address(), Duration::from_secs(4));
        let doubt = scenario.doubt.clone();
        let (start, mut done) = (Instant::now(), false);
        let report = run(&Scenario { in_one: true, ..scenario }, || {
            if done || start.elapsed() < Duration::from_millis(1500) {
                return;
            }
            done = true;
            // Either way what was acknowledged last may be lost: a Sentinel waits for nobody.
            doubt.begin();
            if killed {
                let old = set.kill_primary();
                set.wait_for_new_primary(old);
            } else {
                set.fail_over();
            }
            let mut client = larder.connect();
            wait::until_within(Duration::from_secs(2), "Larder serves again", || {
                client.say("SET probe v").error().is_none()
            });
            set.wait_until_settled();
            doubt.end();
        });
        assert_coherent(&report);
        assert!(larder.hits() > larder.misses(), "the cache was hardly used");
    }
}
