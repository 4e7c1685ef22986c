//! A reader: batches of reads in every cacheable form, over every way and in every database.

use super::doubt::Doubt;
use super::history::{MEMBERS, Promise, Read, Seen, Violation};
use super::link::{Clock, Link};
use super::unit::{self, FIELDS, Kind, Unit, World};
use crate::dice::Dice;
use crate::reply::Reply;

/// How many reads go out before their replies are taken.
const BATCHES: [usize; 3] = [1, 4, 16];

/// One reader thread's state.
#[derive(Debug)]
pub struct Reader<'a> {
    clock: &'a Clock,
    units: &'a [Unit],
    world: World,
    doubt: &'a Doubt,
    links: Vec<Link>,
    dice: Dice,
    database: u8,
    /// What it saw.
    pub reads: Vec<Read>,
    /// Replies that are wrong in themselves.
    pub violations: Vec<Violation>,
    /// Replies that were errors, and broken connections.
    pub errors: Vec<String>,
    /// The same within a window of doubt.
    pub errors_in_doubt: Vec<String>,
}

/// A read of one unit before it is sent.
#[derive(Debug)]
struct Question {
    unit: usize,
    form: &'static str,
    args: Vec<String>,
    /// The members that it asks for, in the order of the reply.
    members: Vec<usize>,
}

impl<'a> Reader<'a> {
    /// A reader of all units.
    pub fn new(
        clock: &'a Clock,
        (world, units): (World, &'a [Unit]),
        doubt: &'a Doubt,
        links: Vec<Link>,
        seed: u64,
    ) -> Self {
        let (reads, violations, errors, errors_in_doubt) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (dice, database) = (Dice::new(seed), world.databases()[0]);
        Self { clock, units, world, doubt, links, dice, database, reads, violations, errors, errors_in_doubt }
    }

    /// Reads until `stop` says so.
    pub fn work(&mut self, stop: impl Fn() -> bool) {
        while !stop() {
            if self.dice.chance(1, 10) {
                let databases = self.world.databases();
                self.database = databases[self.dice.below(databases.len())];
            }
            let size = BATCHES[self.dice.below(BATCHES.len())];
            let questions: Vec<Question> = (0..size).map(|_| self.question()).collect();
            let link = self.dice.below(self.links.len());
            let windows = self.doubt.windows().opened();
            let errors = self.ask(link, &questions);
            let now = self.doubt.windows();
            let in_doubt = now.open() || now.opened() > windows;
            let list = if in_doubt { &mut self.errors_in_doubt } else { &mut self.errors };
            list.extend(errors);
        }
    }

    /// Asks and notes what was seen; which errors there were.
    fn ask(&mut self, link: usize, questions: &[Question]) -> Vec<String> {
        let mut errors = Vec::new();
        if let Err(error) = self.exchange(link, questions, &mut errors) {
            errors.push(error);
        }
        errors
    }

    fn exchange(&mut self, link: usize, questions: &[Question], errors: &mut Vec<String>) -> Result<(), String> {
        let commands: Vec<Vec<&str>> =
            questions.iter().map(|question| question.args.iter().map(String::as_str).collect()).collect();
        let start = self.clock.now();
        self.links[link].send(self.database, &commands)?;
        for question in questions {
            let reply = self.links[link].read()?;
            let end = self.clock.now();
            if let Some(error) = reply.error() {
                errors.push(format!("{:?} via {:?}: {error}", question.args, self.links[link].via()));
                continue;
            }
            match question.understand(&reply) {
                Ok(seen) => self.reads.push(Read {
                    unit: u32::try_from(question.unit).expect("there are a hundred units"),
                    via: self.links[link].via(),
                    start,
                    end,
                    after: 0,
                    seen,
                    form: question.form,
                }),
                Err(promise) => {
                    let detail = format!("{:?} via {:?}: {reply:?}", question.args, self.links[link].via());
                    self.violations.push(Violation { promise, detail });
                }
            }
        }
        Ok(())
    }

    fn question(&mut self) -> Question {
        let unit = loop {
            let unit = self.dice.below(self.units.len());
            if self.units[unit].database == self.database {
                break unit;
            }
        };
        let Unit { kind, keys, .. } = &self.units[unit];
        let field = FIELDS[self.dice.below(FIELDS.len())];
        let member = self.dice.below(kind.members());
        let key = keys[member].as_str();
        let every: Vec<&str> = keys.iter().map(String::as_str).collect();
        let many = |name: &'static str| [&[name], &every[..]].concat();
        let all: Vec<usize> = (0..keys.len()).collect();
        let (args, members) = match (kind, self.dice.below(8)) {
            (Kind::Hash, 0) => (vec!["HGET", key, field], vec![0]),
            (Kind::Hash, 1) => (vec!["HMGET", key, FIELDS[2], FIELDS[0]], vec![0]),
            (Kind::Hash, 2) => (vec!["HLEN", key], vec![0]),
            (Kind::Hash, 3) => (vec!["HEXISTS", key, field], vec![0]),
            (Kind::Hash, 4) => (vec!["HVALS", key], vec![0]),
            (Kind::Hash, _) => (vec!["HGETALL", key], vec![0]),
            (Kind::Group, 0) => (many("EXISTS"), all),
            (Kind::Group | Kind::Pair, 1..=5) => (many("MGET"), all),
            (_, 0) => (vec!["EXISTS", key], vec![member]),
            (_, 1) => (vec!["STRLEN", key], vec![member]),
            (_, 2) => (vec!["GETRANGE", key, "0", "-1"], vec![member]),
            (_, 3) => (vec!["MGET", key], vec![member]),
            (_, 4) => (vec!["TYPE", key], vec![member]),
            _ => (vec!["GET", key], vec![member]),
        };
        let form = args[0];
        Question { unit, form: name(form), args: args.into_iter().map(str::to_owned).collect(), members }
    }
}

/// The static form of a name that is one of the reader's own.
fn name(form: &str) -> &'static str {
    const NAMES: [&str; 11] =
        ["GET", "MGET", "EXISTS", "STRLEN", "GETRANGE", "TYPE", "HGET", "HMGET", "HLEN", "HVALS", "HGETALL"];
    NAMES.into_iter().find(|name| *name == form).unwrap_or("HEXISTS")
}

// === impl Question ===

impl Question {
    /// What the reply shows; `Err` names the promise that the reply breaks by itself.
    fn understand(&self, reply: &Reply) -> Result<[Seen; MEMBERS], Promise> {
        let mut seen = [Seen::NotAsked; MEMBERS];
        match self.form {
            "MGET" => {
                let items = reply.items().filter(|items| items.len() == self.members.len()).ok_or(Promise::C8)?;
                for (&member, item) in self.members.iter().zip(items) {
                    seen[member] = unit::seen(item).ok_or(Promise::C8)?;
                }
            }
            "HMGET" | "HVALS" => {
                let items = reply.items().ok_or(Promise::C8)?;
                seen[0] = same(items.iter())?.unwrap_or(Seen::Missing);
            }
            "HGETALL" => {
                let items = reply.items().ok_or(Promise::C8)?;
                let (names, values) = (items.iter().step_by(2), items.iter().skip(1).step_by(2));
                let mut fields: Vec<_> = names.filter_map(Reply::text).collect();
                fields.sort_unstable();
                if !items.is_empty() && fields != FIELDS {
                    return Err(Promise::C7);
                }
                seen[0] = same(values)?.unwrap_or(Seen::Missing);
            }
            "EXISTS" | "HLEN" | "HEXISTS" | "STRLEN" => {
                let count = reply.integer().ok_or(Promise::C8)?;
                let whole = match self.form {
                    "EXISTS" => i64::try_from(self.members.len()).ok(),
                    "HLEN" => Some(3),
                    "HEXISTS" => Some(1),
                    _ => None,
                };
                if count != 0 && whole.is_some_and(|whole| whole != count) {
                    return Err(Promise::C7);
                }
                for &member in &self.members {
                    seen[member] = if count == 0 { Seen::Missing } else { Seen::Present };
                }
            }
            "TYPE" => {
                seen[self.members[0]] = match reply.text().as_deref() {
                    Some("none") => Seen::Missing,
                    Some("string") => Seen::Present,
                    _ => return Err(Promise::C8),
                }
            }
            _ => seen[self.members[0]] = unit::seen(reply).ok_or(Promise::C8)?,
        }
        Ok(seen)
    }
}

/// What every value says alike; `None` for no values.
fn same<'r>(values: impl Iterator<Item = &'r Reply>) -> Result<Option<Seen>, Promise> {
    let mut all = None;
    for value in values {
        let seen = unit::seen(value).ok_or(Promise::C8)?;
        if *all.get_or_insert(seen) != seen {
            return Err(Promise::C7);
        }
    }
    Ok(all)
}
