//! A primary that Sentinels replace: its cached keys go on from the cache until the new one serves.

use std::time::{Duration, Instant};

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::standing::{self, Standing};
use larder_integration_tests::steady::report::Report;
use larder_integration_tests::steady::{Keys, Steady};
use larder_integration_tests::wait;

use crate::{LEASE, quick};

const QUIET: Duration = Duration::from_millis(200);
const GENEROUS: Duration = Duration::from_secs(10);

#[test]
fn a_primary_that_is_stopped_or_killed_and_replaced_costs_cached_keys_nothing_once_it_is_noticed() {
    let mut set = SentinelSet::start();
    let larder = Larder::start_with(&quick(Settings::sentinel(&set)));
    let mut reports = Vec::new();
    for name in ["SIGSTOP of a primary", "SIGKILL of a primary"] {
        let keys = Keys::plain(&name.replace(' ', "-"));
        let mut client = larder.connect();
        keys.write(&mut client, 1);
        keys.cached.iter().for_each(|key| larder.warm(&mut client, &format!("GET {key}")));
        let steady = Steady::start(larder.address(), keys, LEASE);
        std::thread::sleep(QUIET);
        let old = set.primary();
        let began = Instant::now();
        if name.starts_with("SIGSTOP") {
            set.server(old).freeze();
        } else {
            set.kill_primary();
        }
        steady.lose();
        let new = set.wait_for_new_primary(old).to_string();
        let ended = Instant::now();
        steady.lose();
        wait::holds_within(GENEROUS, || {
            let standings = standing::standings(&larder);
            let primary = standings.iter().find(|of| of.field("role") == "primary");
            primary.is_some_and(|of| of.is_normal() && of.endpoint() == new)
                && larder.say("SET any v").error().is_none()
        });
        std::thread::sleep(QUIET * 2);
        let of_primary = |of: &Standing| of.field("role") != "replica";
        reports.push(Report::of(name, &steady.finish(), (began, ended), of_primary));
        if name.starts_with("SIGSTOP") {
            set.server(old).thaw();
            set.wait_until_settled();
        }
    }
    eprintln!("{}", Report::heading());
    reports.iter().for_each(|report| eprintln!("{report}"));
    for report in &reports {
        assert_eq!(report.wrong, Vec::<String>::new(), "{report}");
        assert_eq!(report.cached_errors, Vec::<String>::new(), "{report}");
        assert!(report.noticed.is_some_and(|time| time < GENEROUS), "{report}");
        assert!(report.stale > 0, "{report}");
    }
}
