//! The walk of a request, as one function that reads top to bottom.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::app::{Backend, Origin};
use crate::cache::{Entry, Freshness, Join, Query, Waiter};
use crate::coherence::{self, Many, One, Part, Quiet, Tag, Terms};
use crate::command::{
    Access, Cacheable, Coverage, Effect, Form, Reach, Spec, Way, cacheable, effect, for_each_key, way,
};
use crate::resp::{Command, Proto, encode};
use crate::route::Policy;
use crate::session::local;
use crate::session::receiver::{Receipt, Write};
use crate::session::{Ending, Session, State, write_resp3};
use crate::upstream::control::HashFields;
use crate::upstream::tracked::{Job, Mode};

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next command.
    Next,
    /// The same command again, when some of the awaited replies are there.
    Stall,
}

/// Serves one command of a session: its reply is written, or a place for it is taken in the line.
pub fn serve(session: &Rc<Session>, state: &mut State, command: &Command<'_>) -> Flow {
    let worker = &session.worker;
    worker.counters.commands.add(1);

    // Command table: what is it?
    let table = worker.table.borrow();
    let spec = match table.resolve(command) {
        Ok(spec) => spec,
        Err(error) => {
            if let (Some(row), Some(origin)) = (table.stranger(command), worker.app.origin())
                && !smuggled(command)
                && !state.in_refused_transaction
            {
                // The upstream may know it: its word, and until then a write of any key.
                return forward(session, state, origin, row, command);
            }
            if smuggled(command) {
                // An HTTP request sent to this port: what follows may be an attack from a browser. As Redis does.
                tracing::warn!(client = session.id, "closed: bytes of an HTTP request, possibly an attack");
                state.ending = Ending::Now;
                return Flow::Next;
            }
            worker.counters.errors.add(1);
            error.write(state.replies.now());
            return Flow::Next;
        }
    };

    // Answered here, or not at all?
    match way(spec, command) {
        Way::Forward => {}
        Way::Local(which) => {
            worker.counters.local.add(1);
            return local::answer(which, session, state, spec, command, &table);
        }
        way @ (Way::Pinned | Way::Refused) => {
            worker.counters.errors.add(1);
            encode::error(state.replies.now(), &refusal(spec, way));
            state.in_refused_transaction =
                &*spec.name == "multi" || state.in_refused_transaction && !ends_transaction(spec);
            return Flow::Next;
        }
    }

    // A transaction is carried out whole or not at all: what a client sent behind a refused MULTI is not.
    if state.in_refused_transaction && !matches!(effect(spec, command), Effect::Read | Effect::Inert) {
        worker.counters.errors.add(1);
        let name = spec.name.to_ascii_uppercase();
        let text =
            format!("ERR {name} is not carried out: the MULTI before it was refused (EXEC or DISCARD ends this)");
        encode::error(state.replies.now(), &text);
        return Flow::Next;
    }

    // Upstream: the store in this process answers at once, and needs no cache before it.
    let origin = match &worker.app.backend {
        Backend::Redis(origin) => &**origin,
        Backend::Memory(memory) => {
            let (database, proto) = (state.database, state.proto);
            memory.execute(&spec.name, command, database, proto, state.replies.now());
            return Flow::Next;
        }
    };

    // Near-cache: may the reply be there, and is it?
    if let Some(kind) = cacheable(spec, command)
        && may_ask_cache(state)
    {
        let served = match kind.form {
            Form::Key => read_key(session, state, origin, spec, command, kind),
            Form::Mget => read_mget(session, state, origin, spec, command, kind),
            Form::Exists if command.len() == 2 => read_key(session, state, origin, spec, command, kind),
            Form::Exists => read_exists(session, state, origin, spec, command, kind),
        };
        if served == Served::Yes {
            return Flow::Next;
        }
        worker.counters.bypassed.add(1);
    }

    // Origin.
    forward(session, state, origin, spec, command)
}

/// Whether a reader served the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Yes,
    /// Past the cache, to the origin.
    No,
}

/// A client with credentials of its own may be allowed less than the cache holds; and behind an awaited script, or
/// replies of another identity, the order of things is the origin's to say.
#[inline]
fn may_ask_cache(state: &State) -> bool {
    // (Entries number databases with 16 bits.)
    state.database <= u32::from(u16::MAX) && state.credentials.is_none() && state.opaque_owed == 0 && !state.drain_first
}

fn query<'a>(session: &Session, state: &State, spec: &Spec, key: &'a [u8], args: &'a [u8]) -> Query<'a> {
    Query {
        hash: session.worker.app.near.hash(UPSTREAM, key),
        upstream: UPSTREAM,
        database: state.database as u16,
        command: spec.number,
        key,
        args,
    }
}

/// All routes of this version lead to one upstream.
pub const UPSTREAM: u16 = 0;

/// A read of one key.
#[inline]
fn read_key(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    cacheable: Cacheable,
) -> Served {
    let worker = &session.worker;
    let near = &worker.app.near;
    let key = command.arg(1);
    let policy = worker.app.routes.find(key);
    if !policy.caches(spec) {
        return Served::No;
    }
    let query = query(session, state, spec, key, command.behind(1));
    worker.sketch.borrow_mut().record(query.hash, key);

    let (proto, now) = (state.proto, state.now);
    let hit = near.find(&query, &origin.coverage, now, |form, worth| {
        if worth == Freshness::Fresh {
            answer_from(state.replies.now(), proto, form);
        }
        worth == Freshness::Fresh
    });
    if hit == Some(true) {
        worker.counters.hits.add(1);
        return Served::Yes;
    }

    worker.counters.misses.add(1);
    let waiter = Waiter { worker: worker.number, session: session.id, seq: state.replies.await_one(state.proto) };
    match near.join(&query, &origin.coverage, state.now, waiter) {
        Join::Fresh(form) => {
            state.replies.arrive(waiter.seq, 1, |out| answer_from(out, proto, &form));
        }
        Join::Follow => {
            worker.counters.joined.add(1);
            state.reads_owed += 1;
        }
        Join::Lead(fill) => {
            state.reads_owed += 1;
            let terms = terms(session, policy, cacheable);
            let request = Bytes::copy_from_slice(command.wire());
            let tag = Tag::One(Box::new(One { fill, request: request.clone(), terms }));
            let job = coherence::one_key(key, state.database, &request, tag);
            if let Err(Job { tag: Tag::One(one), .. }) = origin.tracked.submit(job) {
                // The connection went this moment: those who joined meanwhile, and we, ask the origin.
                worker.retry(near.abandon(&one.fill), &one.request);
            }
        }
        Join::Bypass => {
            state.replies.take_back(waiter.seq);
            return Served::No;
        }
    }
    Served::Yes
}

/// Writes a cached reply.
#[inline]
fn answer_from(out: &mut Vec<u8>, proto: Proto, form: &Entry) {
    let facts = form.facts();
    write_resp3(out, proto, form.reply(), facts.shape(), facts.same_in_both());
}

fn terms(session: &Session, policy: &Policy, cacheable: Cacheable) -> Terms {
    Terms {
        lifetime: policy.lifetime,
        shape: cacheable.shape,
        unseen_expiry: cacheable.hash_fields && session.worker.app.learned.load().hash_fields == HashFields::MayExpire,
    }
}

/// Keys of one MGET or EXISTS that are looked up one by one; larger ones go to the origin whole.
const MOST_KEYS: usize = 1024;

/// Whether entries of several keys are true as of one instant: where changes are pushed they are, because one that was
/// changed is gone. Without pushes each has an age of its own.
fn of_one_instant(origin: &Origin) -> bool {
    origin.mode() == Some(Mode::Tracking)
}

/// MGET: from the entries of GET, if all are there and nothing happened to any of them while they were gathered;
/// else the origin is asked for all of them at once, so that the reply is true as of one instant.
fn read_mget(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    cacheable: Cacheable,
) -> Served {
    let worker = &session.worker;
    let near = &worker.app.near;
    let Some(get) = worker.get_row() else { return Served::No };
    if command.len() - 1 > MOST_KEYS || !of_one_instant(origin) {
        return Served::No;
    }
    let mut found = SmallVec::<[_; 16]>::new();
    let mut missing = SmallVec::<[usize; 16]>::new();
    let mut policy = None;
    for (element, key) in command.args(1).enumerate() {
        let route = worker.app.routes.find(key);
        if !route.caches(spec) {
            return Served::No;
        }
        policy = Some(route);
        let query = query(session, state, &get, key, b"");
        worker.sketch.borrow_mut().record(query.hash, key);
        let word = near.word(query.hash);
        match near.find(&query, &origin.coverage, state.now, |form, worth| (form.clone(), worth)) {
            Some((form, Freshness::Fresh)) => found.push((query.hash, word, form)),
            _ => missing.push(element),
        }
    }
    let stamp = origin.coverage.stamp();
    let undisturbed =
        || found.iter().all(|(hash, word, form)| near.word(*hash) == *word && form.facts().stamp == stamp);
    if missing.is_empty() && undisturbed() {
        worker.counters.hits.add(found.len() as u64);
        let proto = state.proto;
        let out = state.replies.now();
        encode::array(out, found.len());
        for (_, _, form) in &found {
            answer_from(out, proto, form);
        }
        return Served::Yes;
    }
    worker.counters.hits.add(found.len() as u64);
    worker.counters.misses.add(missing.len() as u64);
    let Some(policy) = policy else { return Served::No };
    let mut parts = Vec::with_capacity(missing.len());
    let mut keys = SmallVec::new();
    for element in missing {
        let key = command.arg(element + 1);
        let hash = near.hash(UPSTREAM, key);
        let Some(fill) = near.begin(hash, &origin.coverage, state.now) else { return Served::No };
        parts.push((
            fill,
            Part { hash, database: state.database as u16, command: get.number, key: key.into(), element },
        ));
        keys.push(Box::from(key));
    }
    let waiter = Waiter { worker: worker.number, session: session.id, seq: state.replies.await_one(state.proto) };
    let many = Many {
        waiter,
        request: Bytes::copy_from_slice(command.wire()),
        parts,
        terms: terms(session, policy, cacheable),
    };
    let request = command.wire().to_vec();
    let job = Job { database: state.database, keys, request, tag: Tag::Many(Box::new(many)) };
    if origin.tracked.submit(job).is_err() {
        state.replies.take_back(waiter.seq);
        return Served::No;
    }
    state.reads_owed += 1;
    Served::Yes
}

/// EXISTS of several keys: the sum of the single replies, under the same condition as MGET. What is missing is read
/// for the cache, while the origin answers the whole.
fn read_exists(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    cacheable: Cacheable,
) -> Served {
    let worker = &session.worker;
    let near = &worker.app.near;
    if command.len() - 1 > MOST_KEYS || !of_one_instant(origin) {
        return Served::No;
    }
    let mut found = SmallVec::<[_; 16]>::new();
    let mut sum = 0;
    let stamp = origin.coverage.stamp();
    for key in command.args(1) {
        let policy = worker.app.routes.find(key);
        if !policy.caches(spec) {
            return Served::No;
        }
        let query = query(session, state, spec, key, b"");
        let word = near.word(query.hash);
        let look = |form: &Entry, worth| (form.reply() == b":1\r\n", form.facts().stamp, worth);
        match near.find(&query, &origin.coverage, state.now, look) {
            Some((there, stamp, Freshness::Fresh)) => {
                sum += i64::from(there);
                found.push((query.hash, word, stamp));
            }
            _ => {
                worker.counters.misses.add(1);
                if origin.tracked.has_time()
                    && let Some(fill) = near.begin(query.hash, &origin.coverage, state.now)
                {
                    let form = Part {
                        hash: query.hash,
                        database: query.database,
                        command: spec.number,
                        key: key.into(),
                        element: 0,
                    };
                    let mut request = Vec::new();
                    encode::command(&mut request, &[b"EXISTS", key]);
                    let tag = Tag::Quiet(Box::new(Quiet { fill, form, terms: terms(session, policy, cacheable) }));
                    // Nobody waits for it: if it cannot be read now, a later command will try.
                    let _ = origin.tracked.submit(coherence::one_key(key, state.database, &request, tag));
                }
            }
        }
    }
    worker.counters.hits.add(found.len() as u64);
    let all = found.len() == command.len() - 1;
    if !all || !found.iter().all(|(hash, word, of)| near.word(*hash) == *word && *of == stamp) {
        return Served::No;
    }
    encode::integer(state.replies.now(), sum);
    Served::Yes
}

/// Sends a command to the origin on the session's lane, and keeps the cache out of its way.
fn forward(session: &Rc<Session>, state: &mut State, origin: &Origin, spec: &Spec, command: &Command<'_>) -> Flow {
    let worker = &session.worker;
    let effect = effect(spec, command);
    // A write must not overtake this session's reads on the tracked connection, nor anything its commands that were
    // sent as somebody else.
    let overtakes = state.reads_owed > 0 && effect != Effect::Read && effect != Effect::Inert;
    if overtakes || state.drain_first {
        if state.reads_owed > 0 || state.lane_owed > 0 {
            return Flow::Stall;
        }
        state.drain_first = false;
    }
    let lane = match &state.lane {
        Some(lane) => Rc::clone(lane),
        None => {
            let lane = worker.lane(origin, state.identity(origin.endpoint.credentials.as_ref()));
            state.lane = Some(Rc::clone(&lane));
            lane
        }
    };
    if lane.congested() {
        return Flow::Stall;
    }
    if let Some(error) = lane.refusal(state.now) {
        worker.counters.upstream_failures.add(1);
        encode::error(state.replies.now(), &error);
        return Flow::Next;
    }
    worker.counters.forwarded.add(1);
    match effect {
        Effect::Read | Effect::Inert => {
            let seq = place(state);
            lane.send(command.wire(), (session.id, seq), state.now, || Receipt::of_read(session, seq));
        }
        Effect::Write(_) | Effect::Everything => {
            let write = fence(session, origin, spec, command, effect);
            state.opaque_owed += u32::from(write.undeclared || write.wholesale);
            let seq = if write.undeclared {
                // Its reply may be held back, hence has a place of its own.
                state.lane_seq = u64::MAX;
                state.lane_owed += 1;
                state.replies.await_one(state.proto)
            } else {
                place(state)
            };
            // No read is put together with a write: the receiver of a write takes one reply.
            lane.send(command.wire(), (0, 0), state.now, || Receipt::of_write(session, seq, write));
        }
    }
    Flow::Next
}

/// A place in the line for a reply from the lane; consecutive ones share it.
#[inline]
fn place(state: &mut State) -> u64 {
    state.lane_owed += 1;
    if !state.replies.await_more(state.lane_seq) {
        state.lane_seq = state.replies.await_one(state.proto);
    }
    state.lane_seq
}

/// Takes the keys of a write out of the cache and fences them until its fate is known.
fn fence(session: &Session, origin: &Origin, spec: &Spec, command: &Command<'_>, effect: Effect) -> Write {
    let near = &session.worker.app.near;
    if effect == Effect::Everything {
        origin.coverage.begin_wholesale();
        return Write { wholesale: true, ..Write::default() };
    }
    let mut fences = SmallVec::new();
    let coverage = for_each_key(spec, command, |at, access| {
        let key = command.arg(at);
        // Nothing is ever kept of a route that does not cache.
        if access == Access::Write && session.worker.app.routes.find(key).cached {
            fences.push(near.fence(UPSTREAM, key));
        }
    });
    let undeclared = effect == Effect::Write(Reach::Beyond) || coverage == Coverage::Partial;
    Write { fences, wholesale: false, undeclared }
}

/// A read that the tracked connection could not do, sent on the session's own lane; or what the client is told.
pub fn forward_again(session: &Rc<Session>, seq: u64, request: &[u8]) -> Result<(), String> {
    let worker = &session.worker;
    let mut state = session.state.borrow_mut();
    let Some(origin) = worker.app.origin().filter(|_| !state.drain_first) else {
        // Behind it the client has changed its database, protocol or user.
        return Err("ERR the upstream connection was lost while this read was awaited; it can be repeated".into());
    };
    let lane = match &state.lane {
        Some(lane) => Rc::clone(lane),
        None => worker.lane(origin, state.identity(origin.endpoint.credentials.as_ref())),
    };
    let now = crate::clock::Micros::now();
    if let Some(error) = lane.refusal(now) {
        return Err(error);
    }
    state.lane = Some(Rc::clone(&lane));
    state.lane_owed += 1;
    lane.send(request, (0, 0), now, || Receipt::of_read(session, seq));
    Ok(())
}

/// Words of an HTTP request, as Redis knows them.
fn smuggled(command: &Command<'_>) -> bool {
    command.is(0, "post") || command.is(0, "host:")
}

fn ends_transaction(spec: &Spec) -> bool {
    matches!(&*spec.name, "exec" | "discard")
}

fn refusal(spec: &Spec, way: Way) -> String {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    match way {
        Way::Pinned => format!(
            "ERR Larder does not serve {name} yet: it needs a connection of its own, which this version does not give; \
             send it to the upstream directly"
        ),
        _ => format!("ERR Larder does not serve {name}: it would change a connection that many clients share"),
    }
}
