//! The writes of each kind of unit, and what their replies leave.

use super::{After, Writer};
use crate::coherence::history::{ALL, Cell, MEMBERS, Read, Seen, Via, Write};
use crate::coherence::unit::{self, FIELDS, Kind, World};
use crate::reply::Reply;

impl Writer<'_> {
    /// One write of a string.
    pub(super) fn write_single(&mut self, chosen: usize, link: usize) -> Result<(), String> {
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
            0 => self.write(chosen, link, words(&["SET", &key, &value, "PX", &ttl]), expects(ok, set, Some(span))),
            1 => self.write(chosen, link, words(&["PSETEX", &key, &ttl, &value]), expects(ok, set, Some(span))),
            2 => self.write(chosen, link, words(&["DEL", &key]), expects(number, Cell::MISSING, None)),
            3 => self.write(chosen, link, words(&["UNLINK", &key]), expects(number, Cell::MISSING, None)),
            4 => self.write(chosen, link, words(&["PEXPIRE", &key, &ttl]), retimed(was, Some(span))),
            5 => self.write(chosen, link, words(&["PERSIST", &key]), retimed(was, None)),
            6 => self.write(chosen, link, words(&["EVAL", script, "1", &key, &value]), expects(ok, set, None)),
            7 => {
                let via = match self.links[link].via() {
                    Via::Origin => Via::Origin,
                    _ => Via::Unseen,
                };
                let command = match self.world {
                    World::Server => words(&["EVAL", undeclared, "0", &key, &value]),
                    // Another key of the slot says which node it is for.
                    World::Cluster => words(&["EVAL", undeclared, "1", &format!("{key}:door"), &key, &value]),
                };
                self.write_via(chosen, link, via, &[command], expects(ok, set, None))
            }
            8 => self.write(chosen, link, words(&["GETSET", &key, &value]), expects(any_value, set, None)),
            9 => self.write(chosen, link, words(&["GETDEL", &key]), expects(any_value, Cell::MISSING, None)),
            10 => {
                let link = self.origin(link);
                let transaction = [words(&["MULTI"]), words(&["DEL", &key]), words(&["SET", &key, &value])];
                self.write_transaction(chosen, link, &transaction, [set, Cell::MISSING, Cell::MISSING])
            }
            _ => self.write(chosen, link, words(&["SET", &key, &value]), expects(ok, set, None)),
        }
    }

    /// One INCRBY to the next version, or a DEL.
    pub(super) fn write_counter(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let was = self.owned[chosen].cells[0].version;
        let version = self.clock.version();
        let step = (version - was).to_string();
        if self.dice.chance(1, 12) {
            return self.write(chosen, link, words(&["DEL", &key]), expects(number, Cell::MISSING, None));
        }
        let after: After = Box::new(move |reply, _, _| match reply.integer() {
            Some(sum) if u64::try_from(sum) == Ok(version) => {
                Ok([Cell::holding(version), Cell::MISSING, Cell::MISSING])
            }
            _ => Err(format!("INCRBY from {was} to {version} gave {reply:?}: another value was there")),
        });
        self.write(chosen, link, words(&["INCRBY", &key, &step]), after)
    }

    /// One write of all fields, or the end of the hash.
    pub(super) fn write_hash(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let key = self.owned[chosen].unit.keys[0].clone();
        let was = self.owned[chosen].cells[0];
        let version = self.clock.version();
        let value = unit::value(version);
        let [a, b, c] = FIELDS;
        let span = self.dice.roll() % 280 + 20;
        let ttl = span.to_string();
        let set = Cell::holding(version);
        let whole = words(&["HSET", &key, a, &value, b, &value, c, &value]);
        match self.dice.below(8) {
            0 => self.write(chosen, link, words(&["DEL", &key]), expects(number, Cell::MISSING, None)),
            1 => self.write(chosen, link, words(&["HDEL", &key, a, b, c]), expects(number, Cell::MISSING, None)),
            2 => self.write(chosen, link, words(&["PEXPIRE", &key, &ttl]), retimed(was, Some(span))),
            3 => self.write(chosen, link, words(&["EVAL", WHOLE_HASH, "1", &key, &value]), expects(ok, set, None)),
            4 => {
                let link = self.origin(link);
                let transaction = [words(&["MULTI"]), words(&["DEL", &key]), whole];
                self.write_transaction(chosen, link, &transaction, [set, Cell::MISSING, Cell::MISSING])
            }
            // HSET would keep the old expiry, or not, if it was over just then.
            _ if was.expires() => self.write(chosen, link, words(&["DEL", &key]), expects(number, Cell::MISSING, None)),
            _ => self.write(chosen, link, whole, expects(number, set, None)),
        }
    }

    /// One write, rename or copy.
    pub(super) fn write_pair(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let (x, y) = (self.owned[chosen].unit.keys[0].clone(), self.owned[chosen].unit.keys[1].clone());
        let [was_x, was_y, _] = self.owned[chosen].cells;
        let version = self.clock.version();
        let value = unit::value(version);
        let set = Cell::holding(version);
        let state = |x: Cell, y: Cell| [x, y, Cell::MISSING];
        match self.dice.below(8) {
            0 => self.write(chosen, link, words(&["DEL", &x]), becomes(number, state(Cell::MISSING, was_y))),
            1 => self.write(chosen, link, words(&["DEL", &y, &x]), becomes(number, unit::NOTHING)),
            2 => self.write(chosen, link, words(&["SET", &y, &value]), becomes(ok, state(was_x, set))),
            3 => self.write(chosen, link, words(&["MSET", &y, &value, &x, &value]), becomes(ok, state(set, set))),
            4 | 5 if was_x.version != 0 => {
                self.write(chosen, link, words(&["RENAME", &x, &y]), becomes(ok, state(Cell::MISSING, was_x)))
            }
            6 if was_x.version != 0 => {
                self.write(chosen, link, words(&["COPY", &x, &y, "REPLACE"]), becomes(number, state(was_x, was_x)))
            }
            _ => self.write(chosen, link, words(&["SET", &x, &value]), becomes(ok, state(set, was_y))),
        }
    }

    /// One write of all three keys.
    pub(super) fn write_group(&mut self, chosen: usize, link: usize) -> Result<(), String> {
        let keys = self.owned[chosen].unit.keys.clone();
        let [one, two, three] = [&keys[0], &keys[1], &keys[2]];
        let version = self.clock.version();
        let value = unit::value(version);
        let all = [Cell::holding(version); MEMBERS];
        let script = "for i, k in ipairs(KEYS) do redis.call('SET', k, ARGV[1]) end; return redis.status_reply('OK')";
        match self.dice.below(6) {
            0 => self.write(chosen, link, words(&["DEL", three, one, two]), becomes(number, unit::NOTHING)),
            1 => self.write(chosen, link, words(&["EVAL", script, "3", two, one, three, &value]), becomes(ok, all)),
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
    pub(super) fn write_pipelined(&mut self, chosen: usize, link: usize) -> Result<(), String> {
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
            self.owned[chosen].writes.push(Write { start, ack: self.clock.now(), via, keys: ALL, cells });
            let reply = self.links[link].read()?;
            let seen = unit::seen(&reply).ok_or_else(|| format!("a pipelined read gave {reply:?}"))?;
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
}

impl Writer<'_> {
    /// A write that does not depend on what is there, and the state that it leaves.
    pub(super) fn anew(&mut self, chosen: usize) -> (Vec<String>, [Cell; MEMBERS]) {
        let (kind, keys) = (self.owned[chosen].unit.kind, self.owned[chosen].unit.keys.clone());
        let version = self.clock.version();
        let value = unit::value(version);
        let all: [Cell; MEMBERS] =
            std::array::from_fn(|at| if at < keys.len() { Cell::holding(version) } else { Cell::MISSING });
        if self.dice.chance(1, 4) {
            return (["DEL".to_owned()].into_iter().chain(keys).collect(), unit::NOTHING);
        }
        let command = match kind {
            Kind::Single => words(&["SET", &keys[0], &value]),
            Kind::Counter => words(&["SET", &keys[0], &version.to_string()]),
            Kind::Hash => words(&["EVAL", WHOLE_HASH, "1", &keys[0], &value]),
            Kind::Pair | Kind::Group => {
                let pairs = keys.into_iter().flat_map(|key| [key, value.clone()]);
                ["MSET".to_owned()].into_iter().chain(pairs).collect()
            }
        };
        (command, all)
    }
}

/// Writes a hash with its three fields and without an expiry. (With a DEL before it, a script fails half-way in a slot on the
/// move: what it has deleted it may not make again.)
const WHOLE_HASH: &str = "for i, f in ipairs({'a', 'b', 'c'}) do redis.call('HSET', KEYS[1], f, ARGV[1]) end; \
                          redis.call('PERSIST', KEYS[1]); return redis.status_reply('OK')";

pub(super) fn words(words: &[&str]) -> Vec<String> {
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
        right(reply).then_some([cell, Cell::MISSING, Cell::MISSING]).ok_or_else(|| format!("{reply:?}"))
    })
}

/// The unit becomes `cells`.
pub(super) fn becomes(right: fn(&Reply) -> bool, cells: [Cell; MEMBERS]) -> After {
    Box::new(move |reply, _, _| right(reply).then_some(cells).ok_or_else(|| format!("{reply:?}")))
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
