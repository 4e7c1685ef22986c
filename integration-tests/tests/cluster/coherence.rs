//! The promises C1 to C8 on a cluster, with writers through Larder and beside it (following redirections themselves): at
//! rest, while slots move, while primaries swap places with their replicas, and while one is killed.
//!
//! One test for one cluster, which takes seconds to form. `LARDER_COHERENCE_SECONDS` lengthens each part.

use std::env;
use std::time::{Duration, Instant};

use larder_integration_tests::cluster::{Cluster, Router, slot_of};
use larder_integration_tests::coherence::run::{Report, Scenario, run};
use larder_integration_tests::coherence::unit::World;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::wait;

/// How long a silent failure may go unnoticed is a matter of the heartbeat; the checker allows a second. Not much less: a
/// server that waits for a core must not be taken for one that is gone.
const HEARTBEAT: &str = "heartbeat: {interval: 100ms, timeout: 800ms}";

/// What a node says that holds one of the others for failed.
const FAILED: &str = "CLUSTERDOWN The cluster is down";

fn duration() -> Duration {
    let seconds = env::var("LARDER_COHERENCE_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("LARDER_COHERENCE_SECONDS is a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(4))
}

fn settings(cluster: &Cluster) -> Settings {
    Settings::cluster(cluster).upstream(HEARTBEAT)
}

fn scenario(proxies: &[&Larder], router: Router) -> Scenario {
    let proxies = proxies.iter().map(|larder| larder.address()).collect();
    Scenario { world: World::Cluster, ..Scenario::new(proxies, router.address(), duration()) }
}

fn assert_coherent(report: &Report, cluster: &Cluster) {
    eprintln!("{report}");
    let history = if report.violations.is_empty() { String::new() } else { cluster.history() };
    assert!(report.violations.is_empty(), "promises were broken:\n{report}\nWhat the nodes noted:\n{history}");
    assert!(report.reads > 1000 && report.writes > 100, "hardly anything happened:\n{report}");
}

fn assert_nothing_refused(report: &Report) {
    assert!(report.write_errors.is_empty() && report.read_errors.is_empty(), "commands were refused:\n{report}");
}

/// The report of a scenario in which primaries are replaced as often as it says, by order. On a machine that is so busy that
/// the nodes hold one of them for failed, they replace it themselves, and writes that it had acknowledged are lost, or they refuse
/// commands for a while: what was seen then proves nothing, and the scenario is played again.
fn undisturbed(cluster: &Cluster, mut play: impl FnMut() -> (Report, usize)) -> Report {
    for _ in 0..3 {
        let before = cluster.elections();
        let (report, ordered) = play();
        let others = cluster.elections() - before - ordered;
        let refused = report.write_errors.iter().chain(&report.read_errors).any(|error| error.contains(FAILED));
        if others == 0 && !refused {
            return report;
        }
        eprintln!("primaries were replaced {others} times without an order, or refused commands: played again");
        cluster.wait_until_ok();
    }
    panic!("the nodes hold each other for failed again and again:\n{}", cluster.history());
}

/// An error by which a client knows that it may repeat the command, or that it has to look whether it was carried out.
fn is_retryable(error: &str) -> bool {
    let codes = ["MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "LOADING ", "READONLY "];
    codes.iter().any(|code| error.contains(code))
        || error.contains("may or may not have been carried out")
        || error.contains("it can be repeated")
}

#[test]
fn no_promise_is_broken_on_a_cluster() {
    let mut cluster = Cluster::start();
    let router = Router::start(&cluster);
    at_rest(&cluster, router);
    while_slots_move(&cluster, router);
    while_primaries_are_replaced_by_order(&cluster, router);
    when_invalidations_are_dropped_the_checker_says_so(&cluster, router);
    while_a_primary_is_killed(&mut cluster, router);
}

fn at_rest(cluster: &Cluster, router: Router) {
    eprintln!("--- at rest");
    let (a, b) = (Larder::start_with(&settings(cluster)), Larder::start_with(&settings(cluster)));
    let report = undisturbed(cluster, || (run(&scenario(&[&a, &b], router), || ()), 0));
    assert_coherent(&report, cluster);
    assert_nothing_refused(&report);
    for larder in [a, b] {
        let (hits, misses) = (larder.hits(), larder.misses());
        assert!(hits > misses, "{hits} hits and {misses} misses are not those of a cache under test");
    }
}

/// The slots of some units go from their primary to the next one and back again, each with a rest half-way.
fn while_slots_move(cluster: &Cluster, router: Router) {
    eprintln!("--- while slots move");
    let larder = Larder::start_with(&settings(cluster));
    let units =
        ["{group:hot:0}", "{single:slow:1}", "{pair:hot:1}", "{hash:hot:2}", "{group:slow:3}", "{counter:hot:0}"];
    let mut moves = 0;
    let primaries = cluster.primaries();
    let next =
        |from| primaries[(primaries.iter().position(|of| *of == from).expect("a primary") + 1) % primaries.len()];
    let scenario = Scenario { flushes: false, in_one: true, duration: 2 * duration(), ..scenario(&[&larder], router) };
    let mut move_one = || {
        let slot = slot_of(units[moves % units.len()]);
        let from = cluster.owner_of_slot(slot);
        let migration = cluster.begin_migration(slot, from, next(from));
        std::thread::sleep(Duration::from_millis(20));
        cluster.move_keys(migration);
        cluster.finish_migration(migration);
        moves += 1;
    };
    let report = undisturbed(cluster, || (run(&scenario, &mut move_one), 0));
    eprintln!("{moves} slots moved");
    assert_coherent(&report, cluster);
    assert!(moves >= 6, "only {moves} slots moved");
    let refused = report.write_errors.iter().chain(&report.read_errors);
    let wrong: Vec<_> = refused.filter(|error| !is_retryable(error)).take(3).collect();
    assert!(wrong.is_empty(), "not to be repeated: {wrong:?}");
    assert!(report.read_errors.len() < report.reads / 100, "reads were refused:\n{report}");
    assert!(report.write_errors.len() < report.writes / 100, "writes were refused:\n{report}");
}

/// CLUSTER FAILOVER: nothing is lost, nobody is refused.
fn while_primaries_are_replaced_by_order(cluster: &Cluster, router: Router) {
    eprintln!("--- while primaries are replaced by order");
    let larder = Larder::start_with(&settings(cluster));
    let report = undisturbed(cluster, || {
        let (mut replaced, mut last) = (0, Instant::now());
        let report = run(&scenario(&[&larder], router), || {
            if replaced < 3 && last.elapsed() > duration() / 8 {
                let primary = cluster.primaries()[replaced % 3];
                cluster.fail_over(primary);
                (replaced, last) = (replaced + 1, Instant::now());
            }
        });
        assert!(replaced > 0, "no primary was replaced");
        (report, replaced)
    });
    assert_coherent(&report, cluster);
    assert_nothing_refused(&report);
}

/// Without this the others would prove nothing.
fn when_invalidations_are_dropped_the_checker_says_so(cluster: &Cluster, router: Router) {
    eprintln!("--- with LARDER_FAULT=drop-invalidations");
    let larder = Larder::start_with(&settings(cluster).environment("LARDER_FAULT", "drop-invalidations"));
    let report = run(&Scenario { duration: Duration::from_secs(2), ..scenario(&[&larder], router) }, || ());
    eprintln!("{report}");
    assert!(
        !report.violations.is_empty(),
        "no violation under LARDER_FAULT=drop-invalidations: was larder built with `--features faults`?"
    );
}

/// What is refused is refused in the window of the failover only, and may be repeated.
fn while_a_primary_is_killed(cluster: &mut Cluster, router: Router) {
    eprintln!("--- while a primary is killed");
    let larder = Larder::start_with(&settings(cluster));
    let scenario = scenario(&[&larder], router);
    let doubt = scenario.doubt.clone();
    let (start, mut killed) = (Instant::now(), false);
    let report = run(&Scenario { duration: Duration::from_secs(6) + duration(), in_one: true, ..scenario }, || {
        if killed || start.elapsed() < Duration::from_secs(2) {
            return;
        }
        killed = true;
        let lost = cluster.owner_of("{group:hot:0}");
        let slot = slot_of("{group:hot:0}");
        doubt.begin();
        cluster.kill_primary(lost);
        cluster.wait_for_takeover(lost, slot);
        // The window ends when the cluster's does, and Larder has a second to notice.
        let mut client = larder.connect();
        wait::until_within(Duration::from_secs(1), "Larder serves again", || {
            (0..30).all(|number| client.call(&["SET", &format!("probe:{number}"), "v"]).error().is_none())
        });
        doubt.end();
    });
    assert_coherent(&report, cluster);
    assert_nothing_refused(&report);
    assert!(!report.errors_in_doubt.is_empty(), "nobody noticed that a primary was gone");
    let wrong: Vec<_> = report.errors_in_doubt.iter().filter(|error| !is_retryable(error)).take(3).collect();
    assert!(wrong.is_empty(), "not to be repeated: {wrong:?}");
}
