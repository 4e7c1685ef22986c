//! A long quarrel with reality: servers are killed, frozen and restarted and links fail at random, under load, and every answer is
//! judged. `LARDER_SOAK_SECONDS` makes it longer.
//!
//! Values are counters that only grow. Each key has one writer, which has one write under way at a time, so it knows what every key
//! must show at least. The servers keep what they acknowledged (an append-only file outlives a SIGKILL). A key whose write met an
//! unknown fate is given up for another name: the write may be carried out at any time later.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::{Cluster, SLOTS, slot_of};
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::dice::Dice;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

use crate::{LEASE, Rig, quick_but_for};

/// Keys written through Larder, and keys written at the origin.
const KEYS: usize = 60;
const WRITERS: usize = 2;
const READERS: usize = 3;
/// In the rung stale-read-only.
const MAX_STALE: Duration = Duration::from_secs(4);
/// Steps short enough to be passed, and lives short enough to end.
const LADDER: &str = "near_cache: {ttl: 3s, ttl_jitter: 10%}
ladders:
  default:
    - {rung: local-only, for: 700ms}
    - {rung: stale-read-only, for: 1500ms, max_stale: 4s}
    - {rung: passthrough, for: 700ms, timeout: 100ms}
    - {rung: reject}";
/// Believes soon in who has come back: most of the time goes into faults, not into waiting after them.
const BREAKER: &str = "breaker: {reset_timeout: 500ms, window: 1s}";
const KEEPS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

fn duration() -> Duration {
    let seconds = std::env::var("LARDER_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

fn some_time(dice: &mut Dice, from: usize, to: usize) -> Duration {
    Duration::from_millis((from + dice.below(to - from)) as u64)
}

#[test]
fn a_server_and_its_link_that_fail_at_random_never_cause_a_wrong_answer() {
    let origin = Redis::start_with(&KEEPS);
    let cutter = Cutter::start(origin.address());
    let larder = Larder::start_with(&quick_but_for(Settings::new(cutter.address()).section(LADDER), BREAKER));
    let mut rig = Rig { larder, cutter, origin };
    let mut dice = Dice::new(7);
    let address = rig.origin.address();
    let soak = Soak::new();
    let beside = Mutex::new(());
    let tally = soak.run(
        &rig.larder,
        |_| Client::try_connect(address),
        &beside,
        || {
            let pause = some_time(&mut dice, 200, 2700);
            match dice.below(8) {
                0 => rig.cutter.refuse(),
                1 => rig.cutter.reset_new(),
                2 => rig.cutter.blackhole_all(),
                3 => _ = rig.cutter.deaden(),
                4 => _ = rig.cutter.reset(Scope::All),
                5 => rig.cutter.delay(Scope::All, Direction::FromOrigin, Duration::from_millis(700)),
                6 => {
                    rig.origin.freeze();
                    thread::sleep(pause);
                    rig.origin.thaw();
                }
                _ => {
                    let _nobody_writes_beside = beside.lock().unwrap_or_else(PoisonError::into_inner);
                    rig.origin.kill();
                    thread::sleep(pause);
                    rig.origin.restart();
                }
            }
            thread::sleep(pause);
            rig.cutter.heal();
            rig.cutter.admit();
            thread::sleep(some_time(&mut dice, 300, 1800));
        },
    );
    standing::wait_for_normal(&rig.larder);
    soak.judge(tally, &rig.larder);
}

#[test]
fn nodes_of_a_cluster_that_fail_at_random_never_cause_a_wrong_answer() {
    let mut cluster = Cluster::start_apart(3, &KEEPS);
    let larder = Larder::start_with(&quick_but_for(Settings::cluster(&cluster).section(LADDER), BREAKER));
    let mut dice = Dice::new(11);
    let owners: Vec<_> = (0..3).map(|node| cluster.address(node)).collect();
    let soak = Soak::new();
    let beside = Mutex::new(());
    let connect = |key: &str| {
        let slot = usize::from(slot_of(key));
        let owner = (0..3).rfind(|node| slot >= node * usize::from(SLOTS) / 3);
        Client::try_connect(owners[owner.expect("the first one begins with slot 0")])
    };
    let tally = soak.run(&larder, connect, &beside, || {
        let (node, pause) = (dice.below(3), some_time(&mut dice, 200, 2700));
        if dice.below(2) == 0 {
            cluster.freeze(node);
            thread::sleep(pause);
            cluster.thaw(node);
        } else {
            let _nobody_writes_beside = beside.lock().unwrap_or_else(PoisonError::into_inner);
            cluster.kill(node);
            thread::sleep(pause);
            cluster.restart(node);
        }
        thread::sleep(some_time(&mut dice, 300, 1800));
    });
    cluster.wait_until_ok();
    standing::wait_for_normal(&larder);
    soak.judge(tally, &larder);
}

/// A key, and what is known of it.
struct Key {
    name: RwLock<String>,
    generation: AtomicU64,
    /// The newest number that was sent, and when each was acknowledged.
    sent: AtomicU64,
    acknowledged: Mutex<Vec<(Instant, u64)>>,
}

struct Soak {
    /// Written through Larder.
    ours: Vec<Key>,
    /// Written at the origin.
    theirs: Vec<Key>,
    stop: AtomicBool,
}

/// What was seen.
#[derive(Default)]
struct Tally {
    reads: u64,
    stale: u64,
    errors: BTreeMap<String, u64>,
    writes: u64,
    foreign_writes: u64,
    faults: u64,
    oldest: Duration,
    wrong: Vec<String>,
    /// Of Larder, once it is warm, and at the end.
    resident: Vec<u64>,
}

impl Key {
    fn new(name: String) -> Self {
        let acknowledged = Mutex::new(vec![(Instant::now(), 0)]);
        Self { name: RwLock::new(name), generation: AtomicU64::new(0), sent: AtomicU64::new(0), acknowledged }
    }

    fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn acknowledged(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, number: u64) {
        let mut all = self.acknowledged();
        all.push((Instant::now(), number));
        // What is older than any bound is not looked at.
        let old = all.partition_point(|(at, _)| at.elapsed() > Duration::from_secs(60)).saturating_sub(1);
        all.drain(..old);
    }

    /// The newest number that had been acknowledged by then.
    fn floor(&self, by: Instant) -> u64 {
        let all = self.acknowledged();
        all.iter().rev().find(|(at, _)| *at <= by).map_or(0, |(_, number)| *number)
    }

    /// Another name, of which nothing is known yet.
    fn give_up(&self) {
        let mut name = self.name.write().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        *name = format!("{stem}.{generation}");
        let mut all = self.acknowledged();
        all.clear();
        all.push((Instant::now(), 0));
        self.sent.store(0, Ordering::SeqCst);
    }
}

impl Soak {
    fn new() -> Self {
        let keys = |kind: &str| (0..KEYS).map(|number| Key::new(format!("{kind}:{number}"))).collect();
        Self { ours: keys("ours"), theirs: keys("theirs"), stop: AtomicBool::new(false) }
    }

    /// Load for as long as the soak lasts, with one fault after the other. `connect` leads to the origin that has a key; nobody
    /// writes there while `beside` is held.
    fn run(
        &self,
        larder: &Larder,
        connect: impl Fn(&str) -> std::io::Result<Client> + Sync,
        beside: &Mutex<()>,
        mut fault: impl FnMut(),
    ) -> Tally {
        let (start, address) = (Instant::now(), larder.address());
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 0..WRITERS {
                threads.push(scope.spawn(move || self.write(address, number)));
            }
            for number in 0..READERS {
                threads.push(scope.spawn(move || self.read(address, number)));
            }
            let connect = &connect;
            threads.push(scope.spawn(move || self.write_beside(connect, beside)));
            while start.elapsed() < duration() {
                thread::sleep(Duration::from_millis(300));
                fault();
                tally.faults += 1;
                if tally.resident.is_empty() && start.elapsed() > duration() / 3 {
                    tally.resident.push(larder.process().resident_bytes());
                }
            }
            tally.resident.push(larder.process().resident_bytes());
            self.stop.store(true, Ordering::SeqCst);
            for thread in threads {
                tally.add(thread.join().expect("it ends"));
            }
        });
        tally
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Writes each of its keys in turn.
    fn write(&self, larder: SocketAddr, number: usize) -> Tally {
        let mut tally = Tally::default();
        let mut link = None;
        for turn in 0usize.. {
            if self.stopped() {
                break;
            }
            let key = &self.ours[(turn * WRITERS + number) % KEYS];
            let (name, value) = (key.name(), key.sent.fetch_add(1, Ordering::SeqCst) + 1);
            match call(&mut link, || Client::try_connect(larder), &["SET", &name, &value.to_string()]) {
                Ok(reply) if reply == Reply::ok() => {
                    key.acknowledge(value);
                    tally.writes += 1;
                }
                Ok(Reply::Error(text)) => {
                    if !text.contains("nothing was") && !text.starts_with("CLUSTERDOWN") {
                        key.give_up();
                    }
                    tally.error(&text);
                }
                Ok(other) => tally.wrong.push(format!("SET {name}: {other:?}")),
                Err(error) => {
                    key.give_up();
                    tally.error(&error.to_string());
                }
            }
            thread::sleep(Duration::from_millis(3));
        }
        tally
    }

    /// Writes at the origin itself, while it is there.
    fn write_beside(&self, connect: impl Fn(&str) -> std::io::Result<Client>, beside: &Mutex<()>) -> Tally {
        let mut tally = Tally::default();
        for turn in 0usize.. {
            if self.stopped() {
                break;
            }
            let key = &self.theirs[turn % KEYS];
            let (name, value) = (key.name(), key.sent.fetch_add(1, Ordering::SeqCst) + 1);
            {
                let _not_killed = beside.lock().unwrap_or_else(PoisonError::into_inner);
                let mut link = None;
                // (A frozen server answers later.)
                match call(&mut link, || connect(&name), &["SET", &name, &value.to_string()]) {
                    Ok(reply) if reply == Reply::ok() => {
                        key.acknowledge(value);
                        tally.foreign_writes += 1;
                    }
                    _ => key.give_up(),
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        tally
    }

    fn read(&self, larder: SocketAddr, number: usize) -> Tally {
        let mut tally = Tally::default();
        let mut link = None;
        let mut dice = Dice::new(number as u64 + 100);
        while !self.stopped() {
            let (ours, at) = (dice.below(2) == 0, dice.below(KEYS));
            let key = if ours { &self.ours[at] } else { &self.theirs[at] };
            let (name, sent) = (key.name(), Instant::now());
            // What binds this read whatever its age.
            let bound = if ours { key.floor(sent) } else { 0 };
            let connect = || {
                let mut client = Client::try_connect(larder)?;
                client.try_call(&["HELLO", Protocol::Resp3.number()])?;
                client.try_call(&["LARDER", "STALENESS", "ON"])?;
                Ok(client)
            };
            let reply = match call(&mut link, connect, &["GET", &name]) {
                Ok(reply) => reply,
                Err(error) => {
                    tally.error(&error.to_string());
                    continue;
                }
            };
            let newest = key.sent.load(Ordering::SeqCst);
            tally.reads += 1;
            let (attributes, plain) = reply.attributes();
            let (mut floor, mut told) = (bound, String::new());
            if attributes.is_empty() {
                floor = floor.max(key.floor(sent - LEASE));
            } else {
                let age = attributes.get(3).and_then(Reply::integer).unwrap_or(-1);
                let age = Duration::from_millis(u64::try_from(age).expect("an age"));
                floor = floor.max(sent.checked_sub(age + Duration::from_millis(2)).map_or(0, |then| key.floor(then)));
                told = format!(" ({:?}, {age:?} old)", attributes.get(1));
                tally.stale += 1;
                tally.oldest = tally.oldest.max(age);
                let bounded = attributes.get(1) == Some(&Reply::bulk("stale-read-only"));
                if bounded && age > MAX_STALE + Duration::from_millis(1) {
                    tally.wrong.push(format!("{name} is older than its budget{told}"));
                }
            }
            let shown = match plain {
                Reply::Error(text) => {
                    tally.error(text);
                    None
                }
                Reply::Null => Some(0),
                other => other.text().and_then(|text| text.parse().ok()).or_else(|| {
                    tally.wrong.push(format!("{name} shows {other:?}"));
                    None
                }),
            };
            // A name that was given up meanwhile binds nobody.
            if let Some(shown) = shown.filter(|_| key.name() == name) {
                if shown < floor {
                    tally.wrong.push(format!("{name} shows {shown}{told}, where {floor} was acknowledged before"));
                } else if shown > newest {
                    tally.wrong.push(format!("{name} shows {shown}{told}, and {newest} is the newest"));
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        tally
    }

    /// No promise was broken, nobody waits for anything, and nothing has been hoarded.
    fn judge(&self, mut tally: Tally, larder: &Larder) {
        // Everything is as it is at the origin.
        let mut client = larder.connect();
        for key in &self.ours {
            let (name, floor) = (key.name(), key.floor(Instant::now()));
            let mut reply = Reply::Null;
            wait::until("it is answered", || {
                reply = client.call(&["GET", &name]);
                reply.error().is_none()
            });
            let shown = reply.text().map_or(0, |text| text.parse::<u64>().unwrap_or(0));
            if shown < floor {
                tally.wrong.push(format!("{name} shows {shown} in the end, where {floor} was acknowledged"));
            }
        }
        eprintln!(
            "{} faults; {} reads, {} of them stale, the oldest {:?}; {} writes, {} at the origin; {:?} MiB resident; errors:",
            tally.faults,
            tally.reads,
            tally.stale,
            tally.oldest,
            tally.writes,
            tally.foreign_writes,
            tally.resident.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>()
        );
        tally.errors.iter().for_each(|(text, count)| eprintln!("  {count:>7} {text}"));
        assert!(
            tally.wrong.is_empty(),
            "{} wrong answers: {:#?}",
            tally.wrong.len(),
            &tally.wrong[..tally.wrong.len().min(10)]
        );
        let [warm, .., end] = tally.resident.as_slice() else { panic!("no figures of memory") };
        assert!(*end < warm + warm / 4 + (24 << 20), "memory has grown from {warm} to {end} bytes");
        assert!(tally.stale > 0 && tally.writes > 0, "nothing was put to the test");
    }
}

impl Tally {
    /// Counts an error by what it says, without what differs from one to the next.
    fn error(&mut self, text: &str) {
        let words: String = text.chars().filter(|c| !c.is_ascii_digit()).take(90).collect();
        *self.errors.entry(words).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.stale += other.stale;
        self.writes += other.writes;
        self.foreign_writes += other.foreign_writes;
        self.oldest = self.oldest.max(other.oldest);
        self.wrong.extend(other.wrong);
        for (text, count) in other.errors {
            *self.errors.entry(text).or_default() += count;
        }
    }
}

/// One command on a connection that is made again when it was lost.
fn call(
    link: &mut Option<Client>,
    connect: impl FnOnce() -> std::io::Result<Client>,
    command: &[&str],
) -> std::io::Result<Reply> {
    let client = match link {
        Some(client) => client,
        None => link.insert(connect()?),
    };
    let reply = client.try_call(command);
    if reply.is_err() {
        *link = None;
    }
    reply
}
