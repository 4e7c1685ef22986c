//! A writer: it owns some units and is the only one that changes them.

mod kinds;

use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use self::kinds::{becomes, words};
use super::doubt::{Doubt, LAG, Windows};
use super::history::{ALL, Cell, MEMBERS, Read, Via, Write};
use super::link::{Clock, Link};
use super::unit::{self, Kind, Pace, Unit, World};
use crate::dice::Dice;
use crate::reply::Reply;

/// The FLUSHALLs of a run. Who holds it for writing is the only writer of all.
pub type Flushes = RwLock<Vec<Write>>;

/// The shortest and the longest pause of a slow unit in milliseconds: longer than the foreign bound.
const SLOW_PAUSE_MS: (u64, u64) = (1400, 2200);

/// The pause between two writes in microseconds, so that reads are the greater part.
const PAUSE_MICROS: (u64, u64) = (500, 4500);

/// A unit as its only writer knows it.
#[derive(Debug)]
struct Owned {
    number: usize,
    unit: Unit,
    cells: [Cell; MEMBERS],
    writes: Vec<Write>,
    due: Instant,
    /// How many windows of doubt had been closed when its state was last certain.
    certain_since: usize,
}

/// One writer thread's state.
#[derive(Debug)]
pub struct Writer<'a> {
    clock: &'a Clock,
    world: World,
    flushes: &'a Flushes,
    doubt: &'a Doubt,
    flushes_known: usize,
    links: Vec<Link>,
    owned: Vec<Owned>,
    dice: Dice,
    last_stamp: u64,
    /// What its own pipelined reads showed.
    pub reads: Vec<Read>,
    /// Replies that no write should get.
    pub errors: Vec<String>,
    /// The same within a window of doubt.
    pub errors_in_doubt: Vec<String>,
}

/// A command and the states that its reply leaves; `Err` says that the reply is impossible.
type After = Box<dyn Fn(&Reply, u64, u64) -> Result<[Cell; MEMBERS], String>>;

impl<'a> Writer<'a> {
    /// A writer of these units, which have no keys yet.
    pub fn new(
        (clock, world): (&'a Clock, World),
        flushes: &'a Flushes,
        doubt: &'a Doubt,
        links: Vec<Link>,
        units: Vec<(usize, Unit)>,
        seed: u64,
    ) -> Self {
        let certain_since = doubt.windows().closed();
        let own = |(number, unit)| {
            let first = Write { start: 0, ack: 0, via: Via::Origin, keys: ALL, cells: unit::NOTHING };
            let due = Instant::now();
            Owned { number, unit, cells: unit::NOTHING, writes: vec![first], due, certain_since }
        };
        let owned = units.into_iter().map(own).collect();
        let dice = Dice::new(seed);
        let (reads, errors, errors_in_doubt) = (Vec::new(), Vec::new(), Vec::new());
        let (flushes_known, last_stamp) = (0, 0);
        Self {
            clock,
            world,
            flushes,
            doubt,
            flushes_known,
            links,
            owned,
            dice,
            last_stamp,
            reads,
            errors,
            errors_in_doubt,
        }
    }

    /// Writes until `stop` says so.
    pub fn work(&mut self, stop: impl Fn() -> bool) {
        while !stop() {
            self.write_one();
            let pause = self.between(PAUSE_MICROS);
            thread::sleep(Duration::from_micros(pause));
        }
    }

    /// FLUSHALL while nobody else writes.
    pub fn flush_all(&mut self) {
        let flushes = self.flushes;
        let mut all = flushes.write().unwrap_or_else(PoisonError::into_inner);
        let windows = self.doubt.windows();
        if windows.open() {
            return;
        }
        let link = self.dice.below(self.links.len());
        let start = self.stamp();
        match self.exchange(link, 0, &[words(&["FLUSHALL"])]) {
            Ok((replies, ack)) if replies == [Reply::ok()] => {
                let via = self.links[link].via();
                all.push(Write { start, ack, via, keys: ALL, cells: unit::NOTHING });
            }
            Ok((replies, _)) => self.errors.push(format!("FLUSHALL: {replies:?}")),
            Err(error) => self.errors.push(format!("FLUSHALL: {error}")),
        }
    }

    /// The writes of each unit by the unit's number, with the FLUSHALLs among them.
    pub fn finish(&mut self) -> Vec<(usize, Vec<Write>)> {
        let flushes = self.flushes;
        self.catch_up(&flushes.read().unwrap_or_else(PoisonError::into_inner));
        self.owned.iter_mut().map(|owned| (owned.number, std::mem::take(&mut owned.writes))).collect()
    }

    fn write_one(&mut self) {
        let (flushes, doubt) = (self.flushes, self.doubt);
        let gate = flushes.read().unwrap_or_else(PoisonError::into_inner);
        let windows = doubt.windows();
        self.catch_up(&gate);
        let chosen = self.dice.below(self.owned.len());
        if self.owned[chosen].due > Instant::now() {
            return;
        }
        if self.owned[chosen].unit.pace == Pace::Slow {
            let pause = Duration::from_millis(self.between(SLOW_PAUSE_MS));
            self.owned[chosen].due = Instant::now() + pause;
        }
        let link = self.dice.below(self.links.len());
        if windows.open() {
            return self.write_in_doubt(chosen, link);
        }
        if self.owned[chosen].certain_since < windows.closed() {
            return self.begin_anew(chosen, link, &windows);
        }
        let done = match self.owned[chosen].unit.kind {
            Kind::Single if self.dice.chance(1, 4) => self.write_pipelined(chosen, link),
            Kind::Single => self.write_single(chosen, link),
            Kind::Counter => self.write_counter(chosen, link),
            Kind::Hash => self.write_hash(chosen, link),
            Kind::Pair => self.write_pair(chosen, link),
            Kind::Group => self.write_group(chosen, link),
        };
        if let Err(error) = done {
            self.errors.push(format!("{}: {error}", self.owned[chosen].unit.name));
        }
    }

    /// A write whose fate and whose being kept nobody knows: it binds nothing.
    fn write_in_doubt(&mut self, chosen: usize, link: usize) {
        let (command, cells) = self.anew(chosen);
        let database = self.owned[chosen].unit.database;
        let start = self.stamp();
        let done = self.exchange(link, database, &[command]);
        self.owned[chosen].writes.push(Write { start, ack: u64::MAX, via: Via::Unseen, keys: ALL, cells });
        let error = match done {
            Ok((replies, _)) => replies.first().and_then(|reply| reply.error().map(str::to_owned)),
            Err(error) => Some(error),
        };
        let (name, via) = (&self.owned[chosen].unit.name, self.links[link].via());
        self.errors_in_doubt.extend(error.map(|error| format!("write of {name} via {via:?}: {error}")));
    }

    /// The first write behind a window of doubt: the unit's state is known again.
    fn begin_anew(&mut self, chosen: usize, link: usize, windows: &Windows) {
        let since = self.owned[chosen].certain_since;
        let begun = windows.begun(since).map_or(0, |moment| self.clock.at(moment));
        let certain = begun.saturating_sub(u64::try_from(LAG.as_nanos()).expect("a lag of seconds"));
        let doubtful = self.owned[chosen].writes.iter().rposition(|write| write.ack < certain).map_or(0, |at| at + 1);
        let keys = self.owned[chosen].unit.keys.clone();
        let command = ["DEL".to_owned()].into_iter().chain(keys).collect();
        let number = |reply: &Reply| reply.integer().is_some();
        if let Err(error) = self.write(chosen, link, command, becomes(number, unit::NOTHING)) {
            self.errors.push(format!("{}: {error}", self.owned[chosen].unit.name));
            return;
        }
        let owned = &mut self.owned[chosen];
        owned.certain_since = windows.closed();
        // Until now each of them may have been, or not.
        let ack = owned.writes.last().map_or(0, |write| write.ack);
        let last = owned.writes.len() - 1;
        for write in &mut owned.writes[doubtful.max(1).min(last)..last] {
            (write.ack, write.via) = (ack, Via::Unseen);
        }
    }

    fn catch_up(&mut self, flushes: &[Write]) {
        for flush in &flushes[self.flushes_known..] {
            for owned in &mut self.owned {
                owned.cells = flush.cells;
                owned.writes.push(*flush);
            }
        }
        self.flushes_known = flushes.len();
        // The next stamp comes after the flush, which another thread may have stamped.
        self.last_stamp = self.last_stamp.max(flushes.last().map_or(0, |flush| flush.ack));
    }

    // --- sending ---

    fn write(&mut self, chosen: usize, link: usize, command: Vec<String>, after: After) -> Result<(), String> {
        let via = self.links[link].via();
        self.write_via(chosen, link, via, &[command], after)
    }

    fn write_transaction(
        &mut self,
        chosen: usize,
        link: usize,
        commands: &[Vec<String>],
        cells: [Cell; MEMBERS],
    ) -> Result<(), String> {
        let mut commands = commands.to_vec();
        commands.push(words(&["EXEC"]));
        let executed = |reply: &Reply| matches!(reply, Reply::Array(_));
        let via = self.links[link].via();
        self.write_via(chosen, link, via, &commands, becomes(executed, cells))
    }

    /// Sends the commands; the last reply is the answer.
    fn write_via(
        &mut self,
        chosen: usize,
        link: usize,
        via: Via,
        commands: &[Vec<String>],
        after: After,
    ) -> Result<(), String> {
        let database = self.owned[chosen].unit.database;
        let start = self.stamp();
        let (replies, ack) = self.exchange(link, database, commands)?;
        let reply = replies.last().ok_or("no command")?;
        let cells = after(reply, start, ack).map_err(|error| format!("{commands:?}: {error}"))?;
        let owned = &mut self.owned[chosen];
        let keys = written(&owned.unit.keys, commands);
        owned.cells = cells;
        owned.writes.push(Write { start, ack, via, keys, cells });
        Ok(())
    }

    fn exchange(&mut self, link: usize, database: u8, commands: &[Vec<String>]) -> Result<(Vec<Reply>, u64), String> {
        let link = &mut self.links[link];
        link.send(database, commands)?;
        let replies = commands.iter().map(|_| link.read()).collect::<Result<_, _>>()?;
        Ok((replies, self.clock.now()))
    }

    /// The link to the origin; transactions go there.
    fn origin(&self, otherwise: usize) -> usize {
        self.links.iter().position(|link| matches!(link.via(), Via::Origin | Via::Beside)).unwrap_or(otherwise)
    }

    /// Now, and later than any stamp before.
    fn stamp(&mut self) -> u64 {
        self.last_stamp = self.clock.now().max(self.last_stamp + 1);
        self.last_stamp
    }

    fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.dice.roll() % (high - low)
    }
}

/// Which keys of a unit these commands write: those that they name, but for the one that COPY reads.
fn written(keys: &[String], commands: &[Vec<String>]) -> [bool; MEMBERS] {
    let writes = |command: &Vec<String>, key| {
        command.iter().skip(if command[0] == "COPY" { 2 } else { 1 }).any(|word| word == key)
    };
    std::array::from_fn(|member| {
        keys.get(member).is_some_and(|key| commands.iter().any(|command| writes(command, key)))
    })
}
