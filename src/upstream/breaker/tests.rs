use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000;

fn settings() -> config::Breaker {
    config::Breaker {
        failure_threshold: 5,
        error_rate: 0.5,
        window: Duration::from_secs(10),
        min_requests: 20,
        reset_timeout: Duration::from_secs(5),
        half_open_probes: 3,
    }
}

fn supervised() -> (Breaker, Arc<AtomicU32>) {
    let trouble = Arc::<AtomicU32>::default();
    let breaker = Breaker::new(settings(), Arc::clone(&trouble));
    breaker.supervise();
    (breaker, trouble)
}

/// Fails in a way that says nothing of the endpoint's other connections.
fn fail(breaker: &Breaker, now: u64) {
    breaker.failed(Micros(now), 1, None, || format!("reset at {now}"));
}

/// Fails without a sign of life since `asked_at`.
fn die(breaker: &Breaker, now: u64, asked_at: u64) {
    breaker.failed(Micros(now), 1, Some(Micros(asked_at)), || "silence".to_owned());
}

/// Recovers by as many health checks as it takes from `now` on, one every tenth of a second; when it closed.
fn recover(breaker: &Breaker, now: u64) -> u64 {
    let mut at = now;
    loop {
        breaker.probe_succeeded(Micros(at));
        if breaker.flows() {
            return at;
        }
        at += SECOND / 10;
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not_let_them_add_up() {
    let (breaker, trouble) = supervised();
    (0..4).for_each(|n| fail(&breaker, n));
    breaker.succeeded();
    (4..8).for_each(|n| fail(&breaker, n));
    assert!(breaker.flows());
    fail(&breaker, 8);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(trouble.load(Ordering::Relaxed), 1);
    assert_eq!(breaker.outage(), Some(Outage { since: Micros(8), why: "reset at 8".into() }));
}

#[test]
fn one_failure_without_any_sign_of_life_opens_it() {
    let (breaker, _) = supervised();
    breaker.heard(Micros(20 * SECOND));
    die(&breaker, 21 * SECOND, 20 * SECOND - 1);
    assert!(breaker.flows(), "something was heard since");
    die(&breaker, 22 * SECOND, 21 * SECOND);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_share_of_failures_in_the_window_opens_it() {
    let (breaker, _) = supervised();
    let turn = |n: u64, fails: bool| {
        let now = n * SECOND / 10;
        if fails {
            fail(&breaker, now);
        } else {
            breaker.note_answered(1);
            breaker.succeeded();
            breaker.probe_succeeded(Micros(now));
        }
    };
    // One in three, for long.
    (0..300).for_each(|n| turn(n, n % 3 == 0));
    assert!(breaker.flows());
    // Two in three.
    let opened = (300..600).find(|n| {
        turn(*n, n % 3 != 0);
        !breaker.flows()
    });
    assert!(opened.is_some_and(|n| n < 400), "{opened:?}");
}

#[test]
fn few_requests_have_no_share() {
    let (breaker, _) = supervised();
    for n in 0..9 {
        fail(&breaker, n);
        breaker.succeeded();
    }
    assert!(breaker.flows());
}

#[test]
fn it_closes_when_enough_health_checks_in_a_row_have_succeeded() {
    let (breaker, trouble) = supervised();
    die(&breaker, 10, 5);
    breaker.probe_succeeded(Micros(20));
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.probe_succeeded(Micros(30));
    breaker.probe_failed(Micros(40), Micros(35), "not yet");
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.outage().map(|outage| outage.since), Some(Micros(10)));
    (0..2).for_each(|n| breaker.probe_succeeded(Micros(50 + n)));
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.probe_succeeded(Micros(60));
    assert!(breaker.flows() && breaker.outage().is_none());
    assert_eq!(trouble.load(Ordering::Relaxed), 0);
}

#[test]
fn an_endpoint_that_fails_again_and_again_has_to_stay_well_longer_each_time_and_its_outage_is_one() {
    let (breaker, _) = supervised();
    let mut now = SECOND;
    let mut down = 0;
    let mut kept_open = Vec::new();
    for _ in 0..6 {
        die(&breaker, now, now - 1);
        // The second between two of them, when it was well, is no part of it.
        assert_eq!(breaker.outage().map(|outage| outage.since), Some(Micros(now - down)));
        let back = recover(&breaker, now);
        down += back - now;
        kept_open.push((back - now) / (SECOND / 10));
        now = back + SECOND;
    }
    // Three probes; then half a second, one, two, four, and never more than reset_timeout.
    assert_eq!(kept_open, [2, 5, 10, 20, 40, 50]);
    // Well for as long as the window: what was is forgotten.
    now += 20 * SECOND;
    die(&breaker, now, now - 1);
    assert_eq!(breaker.outage().map(|outage| outage.since), Some(Micros(now)));
    assert_eq!(recover(&breaker, now) - now, 2 * SECOND / 10);
}

#[test]
fn without_health_checks_it_never_opens() {
    let breaker = Breaker::new(settings(), Arc::default());
    die(&breaker, 10, 5);
    (0..100).for_each(|n| fail(&breaker, n));
    assert!(breaker.flows());
}

#[test]
fn what_is_forgotten_while_it_is_open_counts_no_more() {
    let trouble = Arc::<AtomicU32>::default();
    let breaker = Breaker::new(settings(), Arc::clone(&trouble));
    breaker.supervise();
    die(&breaker, 10, 5);
    assert_eq!(trouble.load(Ordering::Relaxed), 1);
    drop(breaker);
    assert_eq!(trouble.load(Ordering::Relaxed), 0);
}
