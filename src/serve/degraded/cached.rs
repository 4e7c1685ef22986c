//! Replies of degraded rungs: what the near-cache may still serve, and how old that is.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::cache::freshness::staleness;
use crate::cache::{Freshness, Query, Stamp};
use crate::clock::Micros;
use crate::command::{Cacheable, Form, Missing, Spec};
use crate::ladder::Rung;
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, Proto, encode};
use crate::route::Policy;
use crate::serve::reads::answer_from;
use crate::session::{Session, Staleness, State};
use crate::tracking::{self, Who};

/// A reply from the cache.
pub(in crate::serve) struct Found {
    /// As the client gets it.
    pub reply: Vec<u8>,
    /// How long ago it was known to be true.
    age: Micros,
    rung: Rung,
}

impl Found {
    /// What stands before a reply that is not fresh, for a client that wants to know.
    pub fn preface(&self, staleness: Staleness, proto: Proto) -> Vec<u8> {
        preface(staleness, proto, self.rung, self.age)
    }

    /// Writes the reply, and what stands before it.
    pub fn write(&self, staleness: Staleness, proto: Proto, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.preface(staleness, proto));
        out.extend_from_slice(&self.reply);
    }
}

/// An attribute with the rung and the age of a reply, for a client that wants to know and can be told.
pub(in crate::serve) fn preface(staleness: Staleness, proto: Proto, rung: Rung, age: Micros) -> Vec<u8> {
    let mut out = Vec::new();
    if staleness == Staleness::Stated && proto == Proto::Resp3 && age > Micros(0) {
        out.extend_from_slice(b"|2\r\n");
        encode::bulk(&mut out, b"rung");
        encode::bulk(&mut out, rung.name().as_bytes());
        encode::bulk(&mut out, b"age-ms");
        encode::integer(&mut out, i64::try_from(age.0.div_ceil(1000)).unwrap_or(i64::MAX));
    }
    out
}

/// What the reply of a key is to the whole reply.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// It is the reply to this command.
    Whole(&'a Spec, &'a Command<'a>),
    /// An element of an array.
    Element,
    /// A number that is added.
    Summand,
}

/// What came of looking for the replies of several keys.
struct Search<'a> {
    origin: &'a Origin,
    map: &'a Map,
    reply: Vec<u8>,
    age: Micros,
    rung: Rung,
    /// The keys' words, to see whether anything happened meanwhile.
    words: SmallVec<[(u64, u64); 16]>,
    /// Under which connection the replies of each node were read.
    stamps: SmallVec<[(&'a Node, Stamp); 4]>,
    exist: i64,
}

/// Nothing that may be served.
pub(super) struct Nothing;

/// The reply to a read whose nodes are all down.
pub(super) fn from_cache(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
    kind: Cacheable,
) -> Result<Found, Nothing> {
    let worker = &session.worker;
    let get = worker.get_row();
    let several = kind.form == Form::Mget || kind.form == Form::Exists && command.len() > 2;
    let row = if kind.form == Form::Mget { get.as_deref().ok_or(Nothing)? } else { spec };
    let keys = if several { command.len() - 1 } else { 1 };
    if state.tracks() {
        let who = Who { worker: worker.number, session: session.id };
        tracking::note(&worker.app, who, command.args(1).take(keys));
        worker.app.stale_told.store(true, Ordering::Release);
    }
    let mut search = Search {
        origin,
        map,
        reply: Vec::new(),
        age: Micros(0),
        rung: Rung::Normal,
        words: SmallVec::new(),
        stamps: SmallVec::new(),
        exist: 0,
    };
    if kind.form == Form::Mget {
        encode::array(&mut search.reply, keys);
    }
    let part = match kind.form {
        Form::Mget => Part::Element,
        Form::Exists if several => Part::Summand,
        Form::Exists | Form::Key => Part::Whole(spec, command),
    };
    for key in command.args(1).take(keys) {
        search.key(session, state, (row, key), part)?;
    }
    if let Part::Summand = part {
        encode::integer(&mut search.reply, search.exist);
    }
    let near = &worker.app.near;
    if several && search.words.iter().any(|(hash, word)| near.word(*hash) != *word) {
        return Err(Nothing);
    }
    if search.age > Micros(0) {
        worker.counters.stale_answer(search.age.0);
    }
    Ok(Found { reply: search.reply, age: search.age, rung: search.rung })
}

impl<'a> Search<'a> {
    /// Looks for the reply of one key.
    fn key(
        &mut self,
        session: &Session,
        state: &State,
        (row, key): (&Spec, &[u8]),
        part: Part<'_>,
    ) -> Result<(), Nothing> {
        let worker = &session.worker;
        let (app, origin) = (&worker.app, self.origin);
        let node = origin.answering(self.map, key);
        let args = if let Part::Whole(_, command) = part { command.behind(1) } else { b"" };
        let rules = worker.rules();
        let policy = rules.routes.find(key);
        let standing = origin.standing(node, rules.ladders.get(policy.ladder), state.now);
        let leniency = policy.leniency(&standing, state.staleness == Staleness::Refused);
        let hash = app.near.hash(origin.number, key);
        let query = Query {
            hash,
            upstream: origin.number,
            database: origin.databases.of(state.database) as u16,
            command: row.number,
            key,
            args,
        };
        worker.sketch.borrow_mut().record(hash, key);
        self.rung = self.rung.max(standing.rung);
        self.words.push((hash, app.near.word(hash)));
        let found = app.near.find(&query, &node.coverage, state.now, |form, worth| {
            let age = match &leniency {
                Some(leniency) => staleness(form.facts(), &node.coverage, state.now, leniency),
                None => (worth == Freshness::Fresh).then_some(Micros(0)),
            };
            age.map(|age| (form.clone(), age))
        });
        let Some((entry, age)) = found.flatten().filter(|_| policy.caches(row)) else {
            worker.counters.misses.add(1);
            return self.nothing(state, policy, part);
        };
        match age {
            Micros(0) => worker.counters.hits.add(1),
            _ => {
                worker.counters.misses.add(1);
                worker.counters.at_hand.add(1);
            }
        }
        // Entries of one connection are true as of one instant, up to which its pushes were seen.
        let stamp = entry.facts().stamp;
        match self.stamps.iter().find(|(of, _)| of.number == node.number) {
            Some((_, first)) if !first.same_connection(stamp) => return Err(Nothing),
            Some(_) => {}
            None => self.stamps.push((node, stamp)),
        }
        self.age = self.age.max(age);
        match part {
            Part::Summand => self.exist += i64::from(entry.reply() == b":1\r\n"),
            Part::Element | Part::Whole(..) => answer_from(&mut self.reply, state.proto, &entry),
        }
        Ok(())
    }

    /// There is no reply for a key: what a key gets that does not exist, if its route wants that.
    fn nothing(&mut self, state: &State, policy: &Policy, part: Part<'_>) -> Result<(), Nothing> {
        if !policy.nil_on_miss {
            return Err(Nothing);
        }
        match part {
            Part::Summand => {}
            Part::Element => encode::null(&mut self.reply, state.proto),
            Part::Whole(row, command) => {
                let missing = row.cacheable.map_or(Missing::Unknown, |cacheable| cacheable.missing);
                write_missing(missing, command, state.proto, &mut self.reply)?;
            }
        }
        Ok(())
    }
}

/// Writes what a key gets that does not exist.
fn write_missing(missing: Missing, command: &Command<'_>, proto: Proto, out: &mut Vec<u8>) -> Result<(), Nothing> {
    let mut each = |write: fn(&mut Vec<u8>, Proto)| {
        encode::array(out, command.len().saturating_sub(2));
        (2..command.len()).for_each(|_| write(out, proto));
    };
    match missing {
        Missing::Unknown => return Err(Nothing),
        Missing::NullEach => each(encode::null),
        Missing::NullArrayEach => each(encode::null_array),
        Missing::ZeroEach => each(|out, _| encode::integer(out, 0)),
        Missing::Null => encode::null(out, proto),
        Missing::Zero => encode::integer(out, 0),
        Missing::MinusTwo => encode::integer(out, -2),
        Missing::Text => encode::bulk(out, b""),
        Missing::None => encode::simple(out, "none"),
        Missing::Array => encode::array(out, 0),
        Missing::Map => encode::map(out, proto, 0),
        Missing::Set => encode::set(out, proto, 0),
    }
    Ok(())
}
