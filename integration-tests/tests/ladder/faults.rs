//! Every way in which a server or the link to it fails, with a steady client before it: how soon it is noticed, what the client sees,
//! when it is over. A line is printed for each; `cargo test -- --nocapture` shows it.

use std::time::{Duration, Instant};

use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::standing::{self, Standing};
use larder_integration_tests::steady::report::Report;
use larder_integration_tests::steady::{Keys, Kind, Steady};
use larder_integration_tests::wait;

use crate::{LEASE, Rig, quick};

/// How long nothing but the steady client happens before and after a fault.
const QUIET: Duration = Duration::from_millis(150);
/// How long a fault lasts after it was noticed.
const LASTS: Duration = Duration::from_millis(600);
/// Any machine has managed by then.
const GENEROUS: Duration = Duration::from_secs(10);

/// How a fault begins and ends.
struct Fault {
    name: &'static str,
    begin: fn(&mut Rig),
    end: fn(&mut Rig),
    /// What the origin had is gone.
    loses: bool,
    /// The origin can be spoken to behind the cutter.
    lives: bool,
    /// It goes by itself: whoever connects anew is served.
    passes: bool,
}

const LINK: Fault =
    Fault { name: "", begin: |_| (), end: |rig| rig.cutter.heal(), loses: false, lives: true, passes: false };

#[test]
fn a_link_that_fails_in_any_way_costs_cached_keys_nothing_once_it_is_noticed() {
    let admit = |rig: &mut Rig| rig.cutter.admit();
    all(&[
        Fault { name: "refuse", begin: |rig| rig.cutter.refuse(), end: admit, ..LINK },
        Fault { name: "reset", begin: |rig| rig.cutter.reset_new(), end: admit, ..LINK },
        Fault { name: "blackhole", begin: |rig| rig.cutter.blackhole_all(), ..LINK },
        Fault {
            name: "half-open, new ones silent",
            begin: |rig| {
                rig.cutter.deaden();
                rig.cutter.blackhole_all();
            },
            ..LINK
        },
    ]);
}

#[test]
fn a_link_that_is_slow_or_half_dead_costs_cached_keys_nothing_once_it_is_noticed() {
    let late = |rig: &mut Rig| rig.cutter.delay(Scope::All, Direction::FromOrigin, Duration::from_millis(1500));
    let drip = |rig: &mut Rig| rig.cutter.drip(Scope::All, Direction::FromOrigin, 1, Duration::from_millis(150));
    let deaden = |rig: &mut Rig| _ = rig.cutter.deaden();
    all(&[
        Fault { name: "delay", begin: late, ..LINK },
        Fault { name: "slow drip", begin: drip, ..LINK },
        Fault { name: "half-open, new ones well", begin: deaden, passes: true, ..LINK },
    ]);
}

#[test]
fn a_server_that_is_stopped_or_killed_costs_cached_keys_nothing_once_it_is_noticed() {
    all(&[
        Fault { name: "SIGSTOP", begin: |rig| rig.origin.freeze(), end: |rig| rig.origin.thaw(), lives: false, ..LINK },
        Fault {
            name: "SIGKILL",
            begin: |rig| rig.origin.kill(),
            end: |rig| rig.origin.restart(),
            loses: true,
            lives: false,
            ..LINK
        },
    ]);
}

fn all(faults: &[Fault]) {
    // Each a Larder of its own: who has failed before is not believed so soon.
    let reports: Vec<_> = faults.iter().map(|fault| suffer(&mut Rig::start(""), fault)).collect();
    eprintln!("{}", Report::heading());
    for report in &reports {
        eprintln!("{report}");
        report.early_errors.iter().for_each(|text| eprintln!("    {text}"));
    }
    for (report, fault) in reports.iter().zip(faults) {
        judge(report, fault.passes);
    }
}

/// What holds for each of them.
fn judge(report: &Report, passes: bool) {
    assert_eq!(report.wrong, Vec::<String>::new(), "{report}");
    // Where only connections died and the server is well, there may be nothing to notice: what was on its way on them is lost.
    if report.noticed.is_some() {
        assert_eq!(
            report.cached_errors,
            Vec::<String>::new(),
            "cached keys got errors after the fault was noticed: {report}"
        );
    }
    assert!(passes || report.noticed.is_some_and(|time| time < GENEROUS), "not noticed in time: {report}");
    assert!(report.recovered.is_some_and(|time| time < GENEROUS), "not back in time: {report}");
    assert!(passes || report.stale > 0, "nothing was answered from the cache: {report}");
}

fn suffer(rig: &mut Rig, fault: &Fault) -> Report {
    let keys = Keys::plain(&fault.name.replace([' ', ','], "-"));
    keys.write(&mut rig.origin.connect(), 1);
    keys.cached.iter().for_each(|key| rig.warm(&format!("GET {key}")));
    let steady = Steady::start(rig.larder.address(), keys.clone(), LEASE);
    std::thread::sleep(QUIET);

    let began = Instant::now();
    (fault.begin)(rig);
    if fault.loses {
        steady.lose();
    }
    let change = |rig: &Rig| {
        keys.write(&mut rig.origin.connect(), 2);
        steady.changed(2);
    };
    let mut ended = began;
    let noticed = || standing::standings(&rig.larder).iter().any(|of| of.breaker() == "open");
    wait::holds_within(GENEROUS, noticed);
    if fault.lives {
        // Not before: a push that still came through would rightly cost a key its entry.
        change(rig);
    }
    if !fault.passes {
        std::thread::sleep(LASTS);
        if fault.loses {
            steady.lose();
        }
        ended = Instant::now();
        (fault.end)(rig);
    }
    if !fault.lives {
        change(rig);
    }
    let mut client = rig.connect();
    wait::holds_within(GENEROUS, || {
        let fine = |reply: std::io::Result<Reply>| {
            reply.is_ok_and(|reply| reply.error().is_none() && reply.attributes().0.is_empty())
        };
        keys.cached.iter().all(|key| fine(client.try_call(&["GET", key])))
            && fine(client.try_call(&["TTL", &keys.uncached]))
            && standing::standings(&rig.larder).iter().all(Standing::is_normal)
    });
    std::thread::sleep(QUIET);
    Report::of(fault.name, &steady.finish(), (began, ended), |_| true)
}

// === a shard of a cluster with replicas ===

/// A shard is stopped and replaced, then another is killed and replaced. Its keys go on from the cache, the others' as if nothing were.
#[test]
fn a_shard_that_is_stopped_or_killed_and_replaced_costs_its_cached_keys_nothing_once_it_is_noticed() {
    // Redis's own default stops every shard while one is without an owner.
    let mut cluster = Cluster::start_with(&["--cluster-require-full-coverage", "no"]);
    let larder = Larder::start_with(&quick(Settings::cluster(&cluster)));
    let mut reports = Vec::new();
    for (name, lost) in [("SIGSTOP of a shard", 0), ("SIGKILL of a shard", 1)] {
        let keys_of = |shard: usize, prefix: &str| Keys {
            cached: cluster.keys_on(shard, &format!("{prefix}:cached:"), 20),
            uncached: cluster.key_on(shard, &format!("{prefix}:uncached:")),
            counter: cluster.key_on(shard, &format!("{prefix}:counter:")),
        };
        let both = [keys_of(lost, &format!("lost{lost}")), keys_of(2, &format!("live{lost}"))];
        let mut client = larder.connect();
        for keys in &both {
            keys.write(&mut client, 1);
            keys.cached.iter().for_each(|key| larder.warm(&mut client, &format!("GET {key}")));
        }
        let [of_lost, of_live] = both.map(|keys| Steady::start(larder.address(), keys, LEASE));
        std::thread::sleep(QUIET);
        let address = cluster.address(lost).to_string();
        let slot = cluster.slot_of(&cluster.key_on(lost, "any:"));
        let began = Instant::now();
        if name.starts_with("SIGSTOP") {
            cluster.freeze(lost);
        } else {
            cluster.kill(lost);
        }
        // What was acknowledged and not replicated yet may be gone.
        of_lost.lose();
        cluster.wait_for_takeover(lost, slot);
        let ended = Instant::now();
        of_lost.lose();
        wait::holds_within(GENEROUS, || {
            standing::standings(&larder).iter().filter(|of| of.endpoint() != address).all(Standing::is_normal)
                && client.say(&format!("SET any:{lost} v")).error().is_none()
        });
        std::thread::sleep(QUIET * 2);
        let there = Report::of(name, &of_lost.finish(), (began, ended), |of| of.endpoint() == address);
        let elsewhere =
            Report::of("  the other shards", &of_live.finish(), (began, ended), |of| of.endpoint() != address);
        if name.starts_with("SIGSTOP") {
            cluster.thaw(lost);
        } else {
            cluster.restart(lost);
        }
        cluster.wait_until_ok();
        reports.push((there, elsewhere));
    }
    eprintln!("{}", Report::heading());
    for (there, elsewhere) in &reports {
        eprintln!("{there}\n{elsewhere}");
    }
    for (there, elsewhere) in &reports {
        judge(there, false);
        assert_eq!(elsewhere.wrong, Vec::<String>::new(), "{elsewhere}");
        for kind in Kind::ALL {
            let errors = elsewhere.errors(kind);
            assert_eq!(errors.before + errors.noticed + errors.after, 0, "{kind:?} of a shard that lives: {elsewhere}");
        }
    }
}

/// The cutter's own servers are not needed here, and a standalone server is its own witness.
#[test]
fn without_a_fault_the_steady_client_sees_nothing_but_right_answers() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    // As patient as a user's: a busy machine is no fault.
    let larder =
        Larder::start_with(&Settings::new(cutter.address()).upstream("heartbeat: {interval: 100ms, timeout: 200ms}"));
    let rig = Rig { larder, cutter, origin };
    let keys = Keys::plain("none");
    keys.write(&mut rig.origin.connect(), 1);
    let steady = Steady::start(rig.larder.address(), keys.clone(), LEASE);
    let began = Instant::now();
    std::thread::sleep(QUIET * 2);
    keys.write(&mut rig.origin.connect(), 2);
    steady.changed(2);
    std::thread::sleep(LEASE + QUIET);
    let report = Report::of("none", &steady.finish(), (began, Instant::now()), |_| true);
    eprintln!("{}\n{report}", Report::heading());
    assert_eq!((report.wrong.len(), report.noticed, report.stale), (0, None, 0));
    assert!(Kind::ALL.into_iter().all(|kind| report.errors(kind).before == 0), "{report}");
}
