//! A writer: it owns some units and is the only one that changes them.

use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Cell, MEMBERS, Read, Seen, Via, Write};
use super::link::{Clock, Link};
use super::unit::{self, FIELDS, Kind, Pace, Unit};
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
}

/// One writer thread's state.
#[derive(Debug)]
pub struct Writer<'a> {
    clock: &'a Clock,
    flushes: &'a Flushes,
    flushes_known: usize,
    links: Vec<Link>,
    owned: Vec<Owned>,
    dice: Dice,
    last_stamp: u64,
    /// What its own pipelined reads showed.
    pub reads: Vec<Read>,
    /// Replies that no write should get.
    pub errors: Vec<String>,
}

/// A command and the states that its reply leaves; `Err` says that the reply is impossible.
type After = Box<dyn Fn(&Reply, u64, u64) -> Result<[Cell; MEMBERS], String>>;

impl<'a> Writer<'a> {
    /// A writer of these units, which have no keys yet.
    pub fn new(
        clock: &'a Clock,
        flushes: &'a Flushes,
        links: Vec<Link>,
        units: Vec<(usize, Unit)>,
        seed: u64,
    ) -> Self {
        let own = |(number, unit)| {
            let first = Write {
                start: 0,
                ack: 0,
                via: Via::Origin,
                cells: unit::NOTHING,
            };
            Owned {
                number,
                unit,
                cells: unit::NOTHING,
                writes: vec![first],
                due: Instant::now(),
            }
        };
        let owned = units.into_iter().map(own).collect();
        let dice = Dice::new(seed);
        let (reads, errors) = (Vec::new(), Vec::new());
        Self {
            clock,
            flushes,
            flushes_known: 0,
            links,
            owned,
            dice,
            last_stamp: 0,
            reads,
            errors,
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
        let link = self.dice.below(self.links.len());
        let start = self.stamp();
        match self.exchange(link, 0, &[words(&["FLUSHALL"])]) {
            Ok((replies, ack)) if replies == [Reply::ok()] => {
                all.push(Write {
                    start,
                    ack,
                    via: self.links[link].via(),
                    cells: unit::NOTHING,
                });
            }
            Ok((replies, _)) => self.errors.push(format!("FLUSHALL: {replies:?}")),
            Err(error) => self.errors.push(format!("FLUSHALL: {error}")),
        }
    }

    /// The writes of each unit by the unit's number, with the FLUSHALLs among them.
    pub fn finish(&mut self) -> Vec<(usize, Vec<Write>)> {
        let flushes = self.flushes;
        self.catch_up(&flushes.read().unwrap_or_else(PoisonError::into_inner));
        self.owned
            .iter_mut()
            .map(|owned| (owned.number, std::mem::take(&mut owned.writes)))
            .collect()
    }

    fn write_one(&mut self) {
        let flushes = self.flushes;
        let gate = flushes.read().unwrap_or_else(PoisonError::into_inner);
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
        let done = match self.owned[chosen].unit.kind {
            Kind::Single if self.dice.chance(1, 4) => self.write_pipelined(chosen, link),
            Kind::Single => self.write_single(chosen, link),
            Kind::Counter => self.write_counter(chosen, link),
            Kind::Hash => self.write_hash(chosen, link),
            Kind::Pair => self.write_pair(chosen, link),
            Kind::Group => self.write_group(chosen, link),
        };
        if let Err(error) = done {
            self.errors
                .push(format!("{}: {error}", self.owned[chosen].unit.name));
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
        self.last_stamp = self
            .last_stamp
            .max(flushes.last().map_or(0, |flush| flush.ack));
    }

    // --- the kinds of units ---

    fn write_single(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let was = self.owned[chosen].cells[0];
        let version = self.clock.version();
        let value = unit::value(version);
        let span = self.dice.roll() % 280 + 20;
        let ttl = span.to_string();
        let set = Cell::holding(version);
        let script = "return redis.call('SET', KEYS[1], ARGV[1])";
        let undeclared = "return redis.call('SET', ARGV[1], ARGV[2])";
        match self.dice.below(12) {
            0 => self.write(
                chosen,
                link,
                words(&["SET", &key, &value, "PX", &ttl]),
                expects(ok, set, Some(span)),
            ),
            1 => self.write(
                chosen,
                link,
                words(&["PSETEX", &key, &ttl, &value]),
                expects(ok, set, Some(span)),
            ),
            2 => self.write(
                chosen,
                link,
                words(&["DEL", &key]),
                expects(number, Cell::MISSING, None),
            ),
            3 => self.write(
                chosen,
                link,
                words(&["UNLINK", &key]),
                expects(number, Cell::MISSING, None),
            ),
            4 => self.write(
                chosen,
                link,
                words(&["PEXPIRE", &key, &ttl]),
                retimed(was, Some(span)),
            ),
            5 => self.write(chosen, link, words(&["PERSIST", &key]), retimed(was, None)),
            6 => self.write(
                chosen,
                link,
                words(&["EVAL", script, "1", &key, &value]),
                expects(ok, set, None),
            ),
            7 => {
                let via = match self.links[link].via() {
                    Via::Origin => Via::Origin,
                    _ => Via::Unseen,
                };
                let command = words(&["EVAL", undeclared, "0", &key, &value]);
                self.write_via(chosen, link, via, &[command], expects(ok, set, None))
            }
            8 => self.write(
                chosen,
                link,
                words(&["GETSET", &key, &value]),
                expects(any_value, set, None),
            ),
            9 => self.write(
                chosen,
                link,
                words(&["GETDEL", &key]),
                expects(any_value, Cell::MISSING, None),
            ),
            10 => {
                let link = self.origin(link);
                let transaction = [
                    words(&["MULTI"]),
                    words(&["DEL", &key]),
                    words(&["SET", &key, &value]),
                ];
                self.write_transaction(
                    chosen,
                    link,
                    &transaction,
                    [set, Cell::MISSING, Cell::MISSING],
                )
            }
            _ => self.write(
                chosen,
                link,
                words(&["SET", &key, &value]),
                expects(ok, set, None),
            ),
        }
    }

    fn write_counter(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let was = self.owned[chosen].cells[0].version;
        let version = self.clock.version();
        let step = (version - was).to_string();
        if self.dice.chance(1, 12) {
            return self.write(
                chosen,
                link,
                words(&["DEL", &key]),
                expects(number, Cell::MISSING, None),
            );
        }
        let after: After = Box::new(move |reply, _, _| match reply.integer() {
            Some(sum) if u64::try_from(sum) == Ok(version) => {
                Ok([Cell::holding(version), Cell::MISSING, Cell::MISSING])
            }
            _ => Err(format!(
                "INCRBY from {was} to {version} gave {reply:?}: another value was there"
            )),
        });
        self.write(chosen, link, words(&["INCRBY", &key, &step]), after)
    }

    fn write_hash(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let was = self.owned[chosen].cells[0];
        let version = self.clock.version();
        let value = unit::value(version);
        let [a, b, c] = FIELDS;
        let span = self.dice.roll() % 280 + 20;
        let ttl = span.to_string();
        let set = Cell::holding(version);
        let script = "redis.call('DEL', KEYS[1]); for i, f in ipairs({'a', 'b', 'c'}) do \
                      redis.call('HSET', KEYS[1], f, ARGV[1]) end; return redis.status_reply('OK')";
        let whole = words(&["HSET", &key, a, &value, b, &value, c, &value]);
        match self.dice.below(8) {
            0 => self.write(
                chosen,
                link,
                words(&["DEL", &key]),
                expects(number, Cell::MISSING, None),
            ),
            1 => self.write(
                chosen,
                link,
                words(&["HDEL", &key, a, b, c]),
                expects(number, Cell::MISSING, None),
            ),
            2 => self.write(
                chosen,
                link,
                words(&["PEXPIRE", &key, &ttl]),
                retimed(was, Some(span)),
            ),
            3 => self.write(
                chosen,
                link,
                words(&["EVAL", script, "1", &key, &value]),
                expects(ok, set, None),
            ),
            4 => {
                let link = self.origin(link);
                let transaction = [words(&["MULTI"]), words(&["DEL", &key]), whole];
                self.write_transaction(
                    chosen,
                    link,
                    &transaction,
                    [set, Cell::MISSING, Cell::MISSING],
                )
            }
            // HSET would keep the old expiry, or not, if it was over just then.
            _ if was.expires() => self.write(
                chosen,
                link,
                words(&["DEL", &key]),
                expects(number, Cell::MISSING, None),
            ),
            _ => self.write(chosen, link, whole, expects(number, set, None)),
        }
    }

    fn write_pair(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let (x, y) = (
            self.owned[chosen].unit.keys[0].clone(),
            self.owned[chosen].unit.keys[1].clone(),
        );
        let [was_x, was_y, _] = self.owned[chosen].cells;
        let version = self.clock.version();
        let value = unit::value(version);
        let set = Cell::holding(version);
        let state = |x: Cell, y: Cell| [x, y, Cell::MISSING];
        match self.dice.below(8) {
            0 => self.write(
                chosen,
                link,
                words(&["DEL", &x]),
                becomes(number, state(Cell::MISSING, was_y)),
            ),
            1 => self.write(
                chosen,
                link,
                words(&["DEL", &y, &x]),
                becomes(number, unit::NOTHING),
            ),
            2 => self.write(
                chosen,
                link,
                words(&["SET", &y, &value]),
                becomes(ok, state(was_x, set)),
            ),
            3 => self.write(
                chosen,
                link,
                words(&["MSET", &y, &value, &x, &value]),
                becomes(ok, state(set, set)),
            ),
            4 | 5 if was_x.version != 0 => self.write(
                chosen,
                link,
                words(&["RENAME", &x, &y]),
                becomes(ok, state(Cell::MISSING, was_x)),
            ),
            6 if was_x.version != 0 => self.write(
                chosen,
                link,
                words(&["COPY", &x, &y, "REPLACE"]),
                becomes(number, state(was_x, was_x)),
            ),
            _ => self.write(
                chosen,
                link,
                words(&["SET", &x, &value]),
                becomes(ok, state(set, was_y)),
            ),
        }
    }

    fn write_group(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let keys = self.owned[chosen].unit.keys.clone();
        let [one, two, three] = [&keys[0], &keys[1], &keys[2]];
        let version = self.clock.version();
        let value = unit::value(version);
        let all = [Cell::holding(version); MEMBERS];
        let script = "for i, k in ipairs(KEYS) do redis.call('SET', k, ARGV[1]) end; return redis.status_reply('OK')";
        match self.dice.below(6) {
            0 => self.write(
                chosen,
                link,
                words(&["DEL", three, one, two]),
                becomes(number, unit::NOTHING),
            ),
            1 => self.write(
                chosen,
                link,
                words(&["EVAL", script, "3", two, one, three, &value]),
                becomes(ok, all),
            ),
            2 | 3 => {
                let link = self.origin(link);
                let set = |key: &str| words(&["SET", key, &value]);
                let transaction = [words(&["MULTI"]), set(three), set(one), set(two)];
                self.write_transaction(chosen, link, &transaction, all)
            }
            _ => {
                let command = words(&["MSET", one, &value, two, &value, three, &value]);
                self.write(chosen, link, command, becomes(ok, all))
            }
        }
    }

    /// Writes and reads of one key in one pipeline on one connection.
    fn write_pipelined(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let mut commands = Vec::new();
        let mut writes: Vec<(u64, Cell)> = Vec::new();
        for _ in 0..2 + self.dice.below(3) {
            let version = self.clock.version();
            match self.dice.below(4) {
                0 => {
                    commands.push(words(&["DEL", &key]));
                    writes.push((self.stamp(), Cell::MISSING));
                }
                _ => {
                    commands.push(words(&["SET", &key, &unit::value(version)]));
                    writes.push((self.stamp(), Cell::holding(version)));
                }
            }
            commands.push(match self.dice.below(3) {
                0 => words(&["GETRANGE", &key, "0", "-1"]),
                _ => words(&["GET", &key]),
            });
        }
        let via = self.links[link].via();
        let database = self.owned[chosen].unit.database;
        self.links[link].send(database, &commands)?;
        for &(start, cell) in &writes {
            let reply = self.links[link].read()?;
            if !ok(&reply) && !number(&reply) {
                return Err(format!("a pipelined write gave {reply:?}"));
            }
            let cells = [cell, Cell::MISSING, Cell::MISSING];
            self.owned[chosen].cells = cells;
            self.owned[chosen].writes.push(Write {
                start,
                ack: self.clock.now(),
                via,
                cells,
            });
            let reply = self.links[link].read()?;
            let seen =
                unit::seen(&reply).ok_or_else(|| format!("a pipelined read gave {reply:?}"))?;
            self.reads.push(Read {
                unit: u32::try_from(self.owned[chosen].number).expect("there are a hundred units"),
                via,
                start: writes[0].0,
                end: self.clock.now(),
                after: start,
                seen: [seen, Seen::NotAsked, Seen::NotAsked],
                form: "pipelined GET",
            });
        }
        Ok(())
    }

    // --- sending ---

    fn write(
        &mut self,
        chosen: usize,
        link: usize,
        command: Vec<String>,
        after: After,
    ) -> Result<(), String> {
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
        self.write_via(
            chosen,
            link,
            Via::Origin,
            &commands,
            becomes(executed, cells),
        )
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
        owned.cells = cells;
        owned.writes.push(Write {
            start,
            ack,
            via,
            cells,
        });
        Ok(())
    }

    fn exchange(
        &mut self,
        link: usize,
        database: u8,
        commands: &[Vec<String>],
    ) -> Result<(Vec<Reply>, u64), String> {
        let link = &mut self.links[link];
        link.send(database, commands)?;
        let replies = commands
            .iter()
            .map(|_| link.read())
            .collect::<Result<_, _>>()?;
        Ok((replies, self.clock.now()))
    }

    /// The link to the origin; transactions go there.
    fn origin(&self, otherwise: usize) -> usize {
        self.links
            .iter()
            .position(|link| link.via() == Via::Origin)
            .unwrap_or(otherwise)
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

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

// --- what a reply leaves ---

fn ok(reply: &Reply) -> bool {
    *reply == Reply::ok()
}

fn number(reply: &Reply) -> bool {
    reply.integer().is_some()
}

fn any_value(reply: &Reply) -> bool {
    unit::seen(reply).is_some()
}

/// The first key becomes `cell`, with an expiry of `span` milliseconds from when the command was carried out.
fn expects(right: fn(&Reply) -> bool, cell: Cell, span: Option<u64>) -> After {
    Box::new(move |reply, start, ack| {
        let cell = match span {
            Some(span) => cell.expiring(start + span * 1_000_000, ack + span * 1_000_000),
            None => cell,
        };
        right(reply)
            .then_some([cell, Cell::MISSING, Cell::MISSING])
            .ok_or_else(|| format!("{reply:?}"))
    })
}

/// The unit becomes `cells`.
fn becomes(right: fn(&Reply) -> bool, cells: [Cell; MEMBERS]) -> After {
    Box::new(move |reply, _, _| {
        right(reply)
            .then_some(cells)
            .ok_or_else(|| format!("{reply:?}"))
    })
}

/// PEXPIRE and PERSIST: the value stays, its expiry is new. The answer 0 says that it did not exist, or to
/// PERSIST that it had no expiry.
fn retimed(was: Cell, span: Option<u64>) -> After {
    Box::new(move |reply, start, ack| {
        let kept = Cell::holding(was.version);
        let cell = match (reply.integer(), span) {
            (Some(1), Some(span)) if was.version != 0 => {
                kept.expiring(start + span * 1_000_000, ack + span * 1_000_000)
            }
            (Some(1), None) if was.expires() => kept,
            (Some(0), None) if !was.expires() => was,
            (Some(0), _) if was.expires() || was.version == 0 => Cell::MISSING,
            _ => return Err(format!("{reply:?} where {was:?} was")),
        };
        Ok([cell, Cell::MISSING, Cell::MISSING])
    })
}
