//! Reads that the near-cache may answer, or that fill it.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::degraded;
use crate::cache::freshness::revalidates;
use crate::cache::{Entry, Fill, Freshness, Join, Query, Waiter};
use crate::clock::Micros;
use crate::coherence::{self, Many, One, Part, Quiet, Tag, Terms};
use crate::command::{Cacheable, Form, Spec};
use crate::ladder::Rung;
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, Proto, encode};
use crate::route::Policy;
use crate::rules::Rules;
use crate::session::{Session, Staleness, State, write_resp3};
use crate::tracking::{self, Who};
use crate::upstream::control::HashFields;
use crate::upstream::tracked::{Job, Mode};

/// Whether a reader served the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Its reply is written, or a place for it is taken in the line.
    Yes,
    /// Past the cache, to the origin.
    No,
}

/// Serves a cacheable read from the near-cache, or by a read that fills it, where that is possible.
#[inline]
pub fn read(
    session: &Rc<Session>,
    state: &mut State,
    (origin, map): (&Origin, &Map),
    spec: &Spec,
    command: &Command<'_>,
    cacheable: Cacheable,
) -> Served {
    let rules = session.worker.rules();
    let ask = Ask { session, rules: &rules, origin, map, spec, command, cacheable };
    match cacheable.form {
        Form::Key => ask.key(state),
        Form::Mget => ask.mget(state),
        Form::Exists if command.len() == 2 => ask.key(state),
        Form::Exists => ask.exists(state),
    }
}

/// What is read.
struct Ask<'a> {
    session: &'a Rc<Session>,
    rules: &'a Rules,
    origin: &'a Origin,
    map: &'a Map,
    spec: &'a Spec,
    command: &'a Command<'a>,
    cacheable: Cacheable,
}

/// Keys of one MGET or EXISTS that are looked up one by one; larger ones go to the origin whole.
const MOST_KEYS: usize = 1024;

/// Entries that were found, and what must not change while more are gathered.
#[derive(Default)]
struct Found<'a>(SmallVec<[Piece<'a>; 16]>);

/// An entry, which of the keys it is for, and its key's word when it was looked up.
struct Piece<'a> {
    element: usize,
    hash: u64,
    word: u64,
    form: Entry,
    node: &'a Node,
}

impl Found<'_> {
    /// Whether all of them are true as of this instant.
    fn undisturbed(&self, session: &Session) -> bool {
        let near = &session.worker.app.near;
        self.0
            .iter()
            .all(|piece| near.word(piece.hash) == piece.word && piece.form.facts().stamp == piece.node.coverage.stamp())
    }

    /// Whether something is said not to be there that was asked for before `moment`.
    fn lacks_one_before(&self, moment: Micros) -> bool {
        self.0.iter().any(|piece| is_outdated(&piece.form, moment))
    }

    /// When the newest value was read.
    fn newest_value(&self) -> Option<Micros> {
        self.0.iter().map(|piece| piece.form.facts()).filter(|facts| !facts.negative()).map(|facts| facts.read_at).max()
    }
}

/// Whether an entry says that something is not there, and was read before `moment`.
fn is_outdated(form: &Entry, moment: Micros) -> bool {
    let facts = form.facts();
    facts.negative() && facts.read_at < moment
}

impl<'a> Ask<'a> {
    fn query<'k>(&self, state: &State, number: u16, key: &'k [u8], args: &'k [u8]) -> Query<'k> {
        Query {
            hash: self.session.worker.app.near.hash(self.origin.number, key),
            upstream: self.origin.number,
            database: self.database(state) as u16,
            command: number,
            key,
            args,
        }
    }

    fn database(&self, state: &State) -> u32 {
        self.origin.databases.of(state.database)
    }

    fn policy(&self, key: &[u8]) -> Option<&'a Policy> {
        Some(self.rules.routes.find(key)).filter(|policy| policy.caches(self.spec))
    }

    fn terms(&self, policy: &Policy) -> Terms {
        let may_expire = || self.origin.learned.load().hash_fields == HashFields::MayExpire;
        Terms {
            lifetime: policy.lifetime,
            shape: self.cacheable.shape,
            unseen_expiry: self.cacheable.hash_fields && may_expire(),
        }
    }

    fn wait(&self, state: &mut State) -> Waiter {
        let worker = &self.session.worker;
        let (tracks, seq) = (state.tracks(), state.replies.await_one(state.proto));
        Waiter { worker: worker.number, session: self.session.id, seq, tracks }
    }

    /// The client hears of changes to these keys, from before they are looked up: what is found then has not changed
    /// yet, or the client is told.
    #[cold]
    fn note_reader(&self) {
        let (worker, session) = (self.session.worker.number, self.session.id);
        let keys = if self.cacheable.form == Form::Key { 1 } else { self.command.len() - 1 };
        tracking::note(&self.session.worker.app, Who { worker, session }, self.command.args(1).take(keys));
    }

    /// A read of one key.
    #[inline]
    fn key(&self, state: &mut State) -> Served {
        let worker = &self.session.worker;
        let near = &worker.app.near;
        let key = self.command.arg(1);
        let (Some(policy), Some(node)) = (self.policy(key), self.map.owner(key)) else { return Served::No };
        let query = self.query(state, self.spec.number, key, self.command.behind(1));
        worker.sketch.borrow_mut().record(query.hash, key);
        if state.tracks() {
            if !pushes(node) {
                // Nobody would tell of a change: past the cache, where the client is told not to keep it.
                return Served::No;
            }
            self.note_reader();
        }

        let (proto, now) = (state.proto, state.now);
        let found = near.find(&query, &node.coverage, now, |form, worth| {
            if worth == Freshness::Fresh {
                answer_from(state.replies.now(), proto, form);
            }
            worth
        });
        match found {
            Some(Freshness::Fresh) => {
                worker.counters.hits.add(1);
                return Served::Yes;
            }
            Some(worth) => {
                worker.counters.at_hand.add(1);
                if worth == Freshness::Expired && self.serve_once_more(state, policy, node, &query) {
                    worker.counters.misses.add(1);
                    return Served::Yes;
                }
            }
            None => {}
        }

        worker.counters.misses.add(1);
        let waiter = self.wait(state);
        match near.join(&query, &node.coverage, state.now, waiter) {
            Join::Fresh(form) => {
                state.replies.arrive(waiter.seq, 1, |out| answer_from(out, proto, &form));
            }
            Join::Follow => {
                worker.counters.joined.add(1);
                state.reads_owed += 1;
            }
            Join::Lead(fill) => {
                state.reads_owed += 1;
                self.fetch(state, policy, node, fill);
            }
            Join::Bypass => {
                state.replies.take_back(waiter.seq);
                return Served::No;
            }
        }
        Served::Yes
    }

    /// Sends the read for which there is leave.
    fn fetch(&self, state: &State, policy: &Policy, node: &Node, fill: Fill) {
        let worker = &self.session.worker;
        let request = Bytes::copy_from_slice(self.command.wire());
        let tag = Tag::One(Box::new(One { fill, request: request.clone(), terms: self.terms(policy) }));
        let job = coherence::one_key(self.command.arg(1), self.database(state), &request, tag);
        if let Err(Job { tag: Tag::One(one), .. }) = node.tracked.submit(job) {
            // The connection went this moment: those who joined meanwhile, and we, ask the origin.
            worker.retry(worker.app.near.abandon(&one.fill), &one.request);
        }
    }

    /// Answers with a reply whose life is over but which the origin has not changed, and has it fetched anew, if the route
    /// wants that and the client does not mind (stale-while-revalidate, RFC 5861).
    #[cold]
    fn serve_once_more(&self, state: &mut State, policy: &Policy, node: &Node, query: &Query<'_>) -> bool {
        if policy.revalidate == Micros(0) || state.staleness == Staleness::Refused {
            return false;
        }
        let worker = &self.session.worker;
        let (near, now, proto) = (&worker.app.near, state.now, state.proto);
        let served = near.find(query, &node.coverage, now, |form, _| {
            let facts = form.facts();
            let may = revalidates(facts, &node.coverage, now, policy.revalidate);
            if may {
                let age = now.since(node.coverage.proven(facts.stamp, facts.read_at));
                let preface = degraded::preface(state.staleness, proto, Rung::Normal, age);
                let out = state.replies.now();
                out.extend_from_slice(&preface);
                answer_from(out, proto, form);
            }
            may
        });
        if served != Some(true) {
            return false;
        }
        worker.counters.revalidations.add(1);
        if let Some(fill) = near.lead(query, &node.coverage, now) {
            self.fetch(state, policy, node, fill);
        }
        true
    }

    /// MGET: from the entries of GET, if all are there and nothing happened to any of them while they were gathered;
    /// else the origin is asked for all of them at once, so that the reply is true as of one instant. Keys of several
    /// slots no origin reads at once: then it is asked slot by slot, and what is missing is also read for the cache.
    fn mget(&self, state: &mut State) -> Served {
        let worker = &self.session.worker;
        let near = &worker.app.near;
        let Some(get) = worker.get_row() else { return Served::No };
        if self.command.len() - 1 > MOST_KEYS {
            return Served::No;
        }
        let tracks = state.tracks();
        if tracks {
            self.note_reader();
        }
        let mut found = Found::default();
        let mut missing = SmallVec::<[usize; 16]>::new();
        let mut last = None;
        for (element, key) in self.command.args(1).enumerate() {
            let (Some(_), Some(node)) = (self.policy(key), self.map.owner(key)) else { return Served::No };
            if !pushes(node) {
                return Served::No;
            }
            last = Some(node);
            let query = self.query(state, get.number, key, b"");
            worker.sketch.borrow_mut().record(query.hash, key);
            let word = near.word(query.hash);
            match near.find(&query, &node.coverage, state.now, |form, worth| (form.clone(), worth)) {
                Some((form, Freshness::Fresh)) => found.0.push(Piece { element, hash: query.hash, word, form, node }),
                _ => missing.push(element),
            }
        }
        // While a slot moves, a key that its owner does not have may be made at the other node, and nobody tells: "not there"
        // is proven as of its reading. A value that was read later may never have been beside it.
        if self.map.is_split()
            && let Some(newest) = found.newest_value()
            && found.lacks_one_before(newest)
            && self.in_one_slot()
        {
            found.0.retain(|piece| {
                let outdated = is_outdated(&piece.form, newest);
                missing.extend(outdated.then_some(piece.element));
                !outdated
            });
        }
        worker.counters.hits.add(found.0.len() as u64);
        if missing.is_empty() && found.undisturbed(self.session) {
            let proto = state.proto;
            let out = state.replies.now();
            encode::array(out, found.0.len());
            for Piece { form, .. } in &found.0 {
                answer_from(out, proto, form);
            }
            return Served::Yes;
        }
        worker.counters.misses.add(missing.len() as u64);
        let Some(node) = last else { return Served::No };
        if self.map.is_split() && !self.in_one_slot() {
            for element in missing {
                let key = self.command.arg(element + 1);
                let Some(policy) = self.policy(key) else { continue };
                self.fill_quietly(state, policy, get.number, b"GET", key);
            }
            return Served::No;
        }
        let mut parts = Vec::with_capacity(missing.len());
        let mut keys = SmallVec::new();
        for element in missing {
            let key = self.command.arg(element + 1);
            // Of its own route, which may let it live shorter than the others'.
            let Some(policy) = self.policy(key) else { return Served::No };
            let hash = near.hash(self.origin.number, key);
            let Some(fill) = near.begin(hash, &node.coverage, state.now) else { return Served::No };
            let database = self.database(state) as u16;
            let part = Part { hash, database, command: get.number, key: key.into(), element };
            parts.push((fill, part, self.terms(policy)));
            keys.push(Box::from(key));
        }
        let waiter = self.wait(state);
        let request = Bytes::copy_from_slice(self.command.wire());
        let tracked = if tracks { self.command.args(1).map(Box::from).collect() } else { Vec::new() };
        let many = Many { waiter, request, tracked, parts };
        let request = self.command.wire().to_vec();
        let job = Job { database: self.database(state), keys, request, tag: Tag::Many(Box::new(many)) };
        if node.tracked.submit(job).is_err() {
            state.replies.take_back(waiter.seq);
            return Served::No;
        }
        state.reads_owed += 1;
        Served::Yes
    }

    /// EXISTS of several keys: the sum of the single replies, under the same condition as MGET. What is missing is read
    /// for the cache, while the origin answers the whole. (While a slot moves, no key is made at its owner: those that are there
    /// now were beside those that were not, when the move began.)
    fn exists(&self, state: &mut State) -> Served {
        let worker = &self.session.worker;
        let near = &worker.app.near;
        if self.command.len() - 1 > MOST_KEYS {
            return Served::No;
        }
        if state.tracks() {
            self.note_reader();
        }
        let mut found = Found::default();
        for (element, key) in self.command.args(1).enumerate() {
            let (Some(policy), Some(node)) = (self.policy(key), self.map.owner(key)) else { return Served::No };
            if !pushes(node) {
                return Served::No;
            }
            let query = self.query(state, self.spec.number, key, b"");
            let word = near.word(query.hash);
            match near.find(&query, &node.coverage, state.now, |form, worth| (form.clone(), worth)) {
                Some((form, Freshness::Fresh)) => found.0.push(Piece { element, hash: query.hash, word, form, node }),
                _ => {
                    worker.counters.misses.add(1);
                    self.fill_quietly(state, policy, self.spec.number, b"EXISTS", key);
                }
            }
        }
        worker.counters.hits.add(found.0.len() as u64);
        if found.0.len() < self.command.len() - 1 || !found.undisturbed(self.session) {
            return Served::No;
        }
        let there = found.0.iter().filter(|piece| piece.form.reply() == b":1\r\n").count();
        encode::integer(state.replies.now(), i64::try_from(there).unwrap_or(i64::MAX));
        Served::Yes
    }

    /// Whether all keys lie in one slot, hence are read at one instant.
    fn in_one_slot(&self) -> bool {
        let mut slots = self.command.args(1).map(|key| self.map.slot(key));
        let first = slots.next();
        slots.all(|slot| Some(slot) == first)
    }

    /// Reads `key` for the cache, if that is in nobody's way: nobody waits for it, and if it cannot be read now, a later
    /// command will try.
    fn fill_quietly(&self, state: &State, policy: &Policy, number: u16, name: &[u8], key: &[u8]) {
        let near = &self.session.worker.app.near;
        let Some(node) = self.map.owner(key).filter(|node| node.tracked.has_time()) else { return };
        let hash = near.hash(self.origin.number, key);
        let Some(fill) = near.begin(hash, &node.coverage, state.now) else { return };
        let form = Part { hash, database: self.database(state) as u16, command: number, key: key.into(), element: 0 };
        let mut request = Vec::new();
        encode::command(&mut request, &[name, key]);
        let tag = Tag::Quiet(Box::new(Quiet { fill, form, terms: self.terms(policy) }));
        let _ = node.tracked.submit(coherence::one_key(key, self.database(state), &request, tag));
    }
}

/// Writes a cached reply.
#[inline]
pub(super) fn answer_from(out: &mut Vec<u8>, proto: Proto, form: &Entry) {
    let facts = form.facts();
    write_resp3(out, proto, form.reply(), facts.shape(), facts.same_in_both());
}

/// Whether changes are pushed. Then entries of several keys are true as of one instant, because one that was changed is gone.
/// Without pushes each has an age of its own.
fn pushes(node: &Node) -> bool {
    node.mode() == Some(Mode::Tracking)
}
