//! A whole run: threads, time, judgement, report.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::check::Timeline;
use super::doubt::Doubt;
use super::history::{Promise, Read, Via, Violation, Write};
use super::link::{Clock, Link, Way};
use super::reader::Reader;
use super::sweep;
use super::unit::{self, Unit, World};
use super::writer::{Flushes, Writer};
use crate::client::{Client, Protocol};

/// Who writes and reads where, and how long.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The proxies, which become `Via::Proxy(0)` and so on.
    pub proxies: Vec<SocketAddr>,
    /// The server behind them; for a cluster, a router that finds the right one.
    pub origin: SocketAddr,
    /// What it is.
    pub world: World,
    /// How long writers and readers work. Long runs are cut into rounds, since everything seen is kept until judged.
    pub duration: Duration,
    /// Whether there are FLUSHALLs: not while keys are on their way from one server to another, which may miss them.
    pub flushes: bool,
    /// Not to be cut into rounds: something happens that takes its time.
    pub in_one: bool,
    /// When acknowledged writes may be lost.
    pub doubt: Arc<Doubt>,
    /// Repeats a run's choices, as far as threads can be repeated.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every broken promise.
    pub violations: Vec<Violation>,
    /// Writes that were refused or answered impossibly.
    pub write_errors: Vec<String>,
    /// Reads that were refused.
    pub read_errors: Vec<String>,
    /// Both, within a window of doubt.
    pub errors_in_doubt: Vec<String>,
    /// How many writes there were.
    pub writes: usize,
    /// How many reads were judged.
    pub reads: usize,
}

const WRITERS: usize = 3;
const READERS: usize = 4;

/// Reads are up to 300,000 a second, each of a hundred bytes.
const ROUND: Duration = Duration::from_secs(4);

/// The pause between two FLUSHALLs.
const FLUSH_EVERY: Duration = Duration::from_millis(2700);

/// Carries the scenario out and judges it. `meanwhile` is called again and again on this thread, for faults.
pub fn run(scenario: &Scenario, mut meanwhile: impl FnMut()) -> Report {
    let mut report = Report::default();
    let mut left = scenario.duration;
    let mut seed = scenario.seed;
    while !left.is_zero() {
        let round = if scenario.in_one { left } else { left.min(ROUND) };
        report.absorb(run_round(scenario, round, seed, &mut meanwhile));
        left -= round;
        seed += 1;
    }
    report
}

fn run_round(scenario: &Scenario, duration: Duration, seed: u64, meanwhile: &mut impl FnMut()) -> Report {
    let via = if scenario.world == World::Cluster { Via::Beside } else { Via::Origin };
    let origin = Way { via, address: scenario.origin };
    let proxy = |(number, &address): (usize, &SocketAddr)| Way { via: Via::Proxy(number), address };
    let proxies: Vec<Way> = scenario.proxies.iter().enumerate().map(proxy).collect();
    // Every key is missing at first: what an earlier round left is gone everywhere before this one starts.
    for way in proxies.iter().chain([&origin]) {
        Client::connect(way.address).say("FLUSHALL");
    }
    let world = scenario.world;
    let units = unit::population(world);
    let clock = Clock::default();
    let flushes = Flushes::default();
    let stop = AtomicBool::new(false);
    let links = |protocol: Protocol, ways: &[Way]| ways.iter().map(|&way| Link::new(way, protocol)).collect();
    let writer_ways: Vec<Way> = proxies.iter().copied().chain([origin]).collect();
    // Three of four reads go through a proxy: a cache is only tested by being used.
    let reader_ways: Vec<Way> = (0..3).flat_map(|_| proxies.clone()).chain([origin]).collect();

    let mut report = Report::default();
    let mut timelines: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
    let mut reads: Vec<Read> = Vec::new();
    thread::scope(|scope| {
        let (clock, flushes, stop, units) = (&clock, &flushes, &stop, &units[..]);
        let doubt = &*scenario.doubt;
        let may_flush = scenario.flushes;
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let owned = units.iter().cloned().enumerate().filter(|(unit, _)| unit % WRITERS == number).collect();
                let links = links(Protocol::BOTH[number % 2], &writer_ways);
                let mut writer = Writer::new((clock, world), flushes, doubt, links, owned, seed * 1000 + number as u64);
                scope.spawn(move || {
                    let mut flushed = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        let due = || may_flush && number == 0 && flushed.elapsed() > FLUSH_EVERY;
                        writer.work(|| stop.load(Ordering::Relaxed) || due());
                        if !stop.load(Ordering::Relaxed) {
                            writer.flush_all();
                            flushed = Instant::now();
                        }
                    }
                    writer
                })
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let links = links(Protocol::BOTH[number % 2], &reader_ways);
                let mut reader = Reader::new(clock, (world, units), doubt, links, seed * 1000 + 500 + number as u64);
                scope.spawn(move || {
                    reader.work(|| stop.load(Ordering::Relaxed));
                    reader
                })
            })
            .collect();
        let start = Instant::now();
        while start.elapsed() < duration {
            thread::sleep(Duration::from_millis(10));
            meanwhile();
        }
        stop.store(true, Ordering::Relaxed);
        // All writers first: the last FLUSHALL is then known.
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect();
        for mut writer in writers {
            timelines.extend(writer.finish());
            reads.append(&mut writer.reads);
            report.write_errors.append(&mut writer.errors);
            report.errors_in_doubt.append(&mut writer.errors_in_doubt);
        }
        for reader in readers {
            let mut reader = reader.join().expect("a reader ends");
            reads.append(&mut reader.reads);
            report.read_errors.append(&mut reader.errors);
            report.errors_in_doubt.append(&mut reader.errors_in_doubt);
            report.violations.append(&mut reader.violations);
        }
    });
    report.judge(&units, &timelines, &reads);
    for &proxy in &proxies {
        report.violations.extend(sweep::sweep(proxy, origin, &units));
    }
    report
}

// === impl Scenario ===

impl Scenario {
    /// Writers and readers through these proxies and at the one server behind them.
    pub fn new(proxies: Vec<SocketAddr>, origin: SocketAddr, duration: Duration) -> Self {
        Self {
            proxies,
            origin,
            world: World::Server,
            duration,
            flushes: true,
            in_one: false,
            doubt: Arc::default(),
            seed: 1,
        }
    }
}

// === impl Report ===

impl Report {
    fn judge(&mut self, units: &[Unit], timelines: &BTreeMap<usize, Vec<Write>>, reads: &[Read]) {
        self.reads += reads.len();
        self.writes += timelines.values().map(Vec::len).sum::<usize>();
        for read in reads {
            let unit = read.unit as usize;
            let timeline = Timeline::new(&units[unit].name, &timelines[&unit]);
            self.violations.extend(timeline.judge(read).err());
        }
    }

    fn absorb(&mut self, mut other: Self) {
        self.violations.append(&mut other.violations);
        self.write_errors.append(&mut other.write_errors);
        self.read_errors.append(&mut other.read_errors);
        self.errors_in_doubt.append(&mut other.errors_in_doubt);
        self.writes += other.writes;
        self.reads += other.reads;
    }

    /// How often each promise was broken.
    pub fn broken(&self) -> BTreeMap<Promise, usize> {
        let mut broken = BTreeMap::new();
        for violation in &self.violations {
            *broken.entry(violation.promise).or_default() += 1;
        }
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} writes, {} reads, broken promises: {:?}", self.writes, self.reads, self.broken())?;
        // The first few of each promise.
        for promise in self.broken().keys() {
            for violation in self.violations.iter().filter(|violation| violation.promise == *promise).take(4) {
                writeln!(f, "  {violation}")?;
            }
        }
        let errors =
            [("write", &self.write_errors), ("read", &self.read_errors), ("in doubt, expected", &self.errors_in_doubt)];
        for (kind, errors) in errors {
            for error in errors.iter().take(5) {
                writeln!(f, "  {kind} error (of {}): {error}", errors.len())?;
            }
        }
        Ok(())
    }
}
