//! Sending a command to the node that owns its keys, and keeping the cache out of its way.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::{Flow, degraded, scatter, tracked};
use crate::cache::near::Cause;
use crate::clock::Micros;
use crate::command::{
    Access, Coverage, Effect, Options, Quoted, Reach, Spec, effect, for_each_key, for_each_shard_channel,
};
use crate::origin::{Map, Node, Origin};
use crate::resp::view::View;
use crate::resp::{Command, encode};
use crate::session::receiver::{Again, Place, Receipt, Write};
use crate::session::{NO_SLOT, Session, State};
use crate::upstream::lane::Lane;
use crate::upstream::subscriber::Kind;
use crate::worker::Worker;

/// What the near-cache has to do with a command that goes past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Nothing: its reply is never kept.
    Never,
    /// Its reply could be kept.
    Possible,
    /// The same, but nothing tells of changes to its keys now ([`Again::uncovered`]).
    Gone,
}

/// Sends a command on the session's lane to the node that owns its keys.
pub fn forward(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
    cover: Cover,
) -> Flow {
    let uncovered = cover == Cover::Gone;
    let effect = effect(spec, command);
    if must_drain(state, origin.number, map, effect) {
        return Flow::Stall;
    }
    if effect == Effect::Read && cover == Cover::Never && origin.is_well() {
        session.worker.counters.reads_elsewhere.add(1);
    }
    if map.is_split()
        && let Some(flow) = scatter::serve(session, state, origin, map, spec, command)
    {
        return flow;
    }
    let worker = &session.worker;
    if effect == Effect::Read
        && let Some(flow) = read_from_replica(session, state, origin, map, spec, command)
    {
        return flow;
    }
    let node = match target(map, spec, command) {
        Ok(node) => node,
        Err(nowhere) => {
            worker.counters.errors.add(1);
            encode::error(state.replies.now(), &nowhere.error(origin));
            return Flow::Next;
        }
    };
    let lane = lane(session, state, origin, node);
    if lane.congested() {
        return Flow::Stall;
    }
    if let Some(error) = lane.refusal(state.now) {
        worker.counters.upstream_failures.add(1);
        origin.doubt.notify_one();
        encode::error(state.replies.now(), &error);
        return Flow::Next;
    }
    worker.counters.forwarded.add(1);
    let again = |state: &State| {
        // Nobody redirects but a cluster.
        (map.redirects() || uncovered).then(|| {
            let slot = slot(map, spec, command).unwrap_or_default();
            let identity = state.identity(origin);
            Box::new(Again { uncovered, ..Again::new(Bytes::copy_from_slice(command.wire()), slot, identity, node) })
        })
    };
    match effect {
        Effect::Read | Effect::Inert
            if !map.redirects() && !uncovered && state.tracking.is_none() && spec.options != Options::Audience =>
        {
            let seq = place(state, node.number);
            lane.send(command.wire(), (session.id, seq), state.now, || Receipt::of_read(session, origin.number, seq));
        }
        Effect::Read | Effect::Inert => {
            state.lane_owed += 1;
            let seq = own_place(state);
            tracked::note_forwarded(session, state, spec, command, seq);
            let place =
                if spec.options == Options::Audience { Place::Audience(seq, kind(spec)) } else { Place::Slot(seq) };
            let receipt = Receipt { place, again: again(state), ..Receipt::of_read(session, origin.number, seq) };
            lane.send(command.wire(), (0, 0), state.now, || receipt);
        }
        Effect::Write(_) | Effect::Everything => {
            let write = fence(session, node, spec, command, effect);
            state.opaque_owed += u32::from(write.opaque());
            let seq = if write.undeclared || map.redirects() || state.tracking.is_some() {
                // Its reply may be held back or come from elsewhere, hence has a place of its own.
                state.lane_owed += 1;
                own_place_of_write(state)
            } else {
                place(state, node.number)
            };
            tracked::note_forwarded(session, state, spec, command, seq);
            let receipt = Receipt { again: again(state), ..Receipt::of_write(session, Place::Slot(seq), write) };
            // No read is put together with a write: the receiver of a write takes one reply.
            lane.send(command.wire(), (0, 0), state.now, || receipt);
        }
    }
    Flow::Next
}

/// Of which names PUBSUB NUMSUB or PUBSUB SHARDNUMSUB tells.
fn kind(spec: &Spec) -> Kind {
    if &*spec.name == "pubsub|shardnumsub" { Kind::Shard } else { Kind::Channel }
}

pub(super) const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// A read of keys whose route prefers replicas, sent to one that can be reached; `None`: the owner of its keys answers.
fn read_from_replica(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
) -> Option<Flow> {
    if !session.worker.rules().routes.replicas {
        return None;
    }
    let (mut first, mut all) = (None, true);
    for_each_key(spec, command, |at, _| {
        let key = command.arg(at);
        first.get_or_insert(at);
        all &= session.worker.rules().routes.find(key).from_replicas;
    });
    let key = command.arg(first.filter(|_| all)?);
    let slot = slot(map, spec, command).ok()?;
    let replicas = &map.owning(key)?.replicas;
    let start = usize::try_from(session.id).unwrap_or_default();
    for turn in 0..replicas.len() {
        let replica = &replicas[(start + turn) % replicas.len()];
        if !replica.breaker.flows() {
            continue;
        }
        let lane = lane(session, state, origin, replica);
        if lane.refusal(state.now).is_some() || lane.congested() {
            continue;
        }
        session.worker.counters.forwarded.add(1);
        session.worker.counters.from_replicas.add(1);
        let identity = state.identity(origin);
        let request = Bytes::copy_from_slice(command.wire());
        let again = Again { to_replica: true, ..Again::new(request, slot, identity, replica) };
        state.lane_owed += 1;
        let seq = own_place(state);
        tracked::note_forwarded(session, state, spec, command, seq);
        let receipt = Receipt { again: Some(Box::new(again)), ..Receipt::of_read(session, origin.number, seq) };
        lane.send(command.wire(), (0, 0), state.now, || receipt);
        return Some(Flow::Next);
    }
    None
}

/// Sends a command that concerns no key to a certain node; its reply is the client's.
pub fn send_to(session: &Rc<Session>, state: &mut State, node: &Arc<Node>, wire: &[u8]) {
    let Some(origin) = session.worker.app.origin(node.upstream) else { return };
    let lane = lane(session, state, origin, node);
    if let Some(error) = lane.refusal(state.now) {
        return encode::error(state.replies.now(), &error);
    }
    state.lane_owed += 1;
    let seq = own_place(state);
    lane.send(wire, (0, 0), state.now, || Receipt::of_read(session, node.upstream, seq));
}

/// Sends a command that no client has asked for to a certain node; whether that can be reached. Nobody is told the reply.
pub fn send_unasked(session: &Rc<Session>, state: &mut State, node: &Arc<Node>, wire: &[u8]) -> bool {
    let Some(origin) = session.worker.app.origin(node.upstream) else { return false };
    let (lane, now) = (lane(session, state, origin, node), Micros::now());
    let reachable = lane.refusal(now).is_none();
    if reachable {
        state.lane_owed += 1;
        lane.send(wire, (0, 0), now, || Receipt::of_nobody(session, node.upstream));
    }
    reachable
}

/// A read whose connection was lost, answered from the cache if its node is down by now: its reply, or why there is none.
pub fn rescue(session: &Rc<Session>, upstream: u16, seq: u64, request: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let mut state = session.state.borrow_mut();
    let proto = state.replies.proto(seq)?;
    degraded::rescue(session, &mut state, session.worker.app.origin(upstream)?, request, proto)
}

/// A read past the cache has its reply: what the cache has of its keys is older, and not to be served when the origin goes away again.
pub fn outdate(worker: &Worker, upstream: u16, request: &[u8]) {
    let Some(quoted) = quoted(request) else { return };
    let (command, table) = (quoted.command(), worker.table.borrow());
    if let Ok(spec) = table.resolve(&command) {
        for_each_key(spec, &command, |at, _| {
            worker.app.near.invalidate(upstream, command.arg(at), Cause::Write);
        });
    }
}

/// Whether the command must wait for replies that the session still awaits.
pub(super) fn must_drain(state: &mut State, upstream: u16, map: &Map, effect: Effect) -> bool {
    // A write must not overtake this session's reads on the tracked connection, nor anything its commands that were
    // sent as somebody else, nor to a node that may no longer own their keys.
    let overtakes = state.reads_owed > 0 && effect != Effect::Read && effect != Effect::Inert;
    let known = state.map_version(upstream);
    let remapped = *known != map.version && *known != 0;
    if *known == 0 {
        // Nothing was sent there yet.
        *known = map.version;
    }
    if overtakes || state.drain_first || state.drain_lanes || remapped {
        if state.reads_owed > 0 || state.lane_owed > 0 {
            return true;
        }
        state.drain_first = false;
        state.drain_lanes = false;
        if remapped {
            *state.map_version(upstream) = map.version;
            state.lanes.clear();
        }
    }
    false
}

/// Why a command can be sent to no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// Nobody is known to own its keys.
    Nobody,
    /// Its keys lie in several slots, and no single node answers for them.
    CrossSlot,
}

impl Nowhere {
    /// What the client is told.
    pub(super) fn error(self, origin: &Origin) -> String {
        match self {
            Self::Nobody => {
                origin.doubt.notify_one();
                origin.nobody()
            }
            Self::CrossSlot => CROSS_SLOT.to_owned(),
        }
    }
}

/// The node to which a command goes, for those who tell of it: that of its first key where there are several.
pub(crate) fn addressee<'a>(map: &'a Map, spec: &Spec, command: &Command<'_>) -> Option<&'a Arc<Node>> {
    let mut first = None;
    for_each_key(spec, command, |at, _| first = first.or(Some(at)));
    match first {
        Some(at) => map.owner(command.opt(at)?),
        None => target(map, spec, command).ok(),
    }
}

/// The node that owns the keys of a command; of one without keys, always the same.
#[inline]
pub(super) fn target<'a>(map: &'a Map, spec: &Spec, command: &Command<'_>) -> Result<&'a Arc<Node>, Nowhere> {
    if !map.is_split() {
        return map.any().ok_or(Nowhere::Nobody);
    }
    match slot(map, spec, command) {
        Ok(Some(slot)) => map.owner_of_slot(slot).map(|primary| &primary.node).ok_or(Nowhere::Nobody),
        Ok(None) => map.spokesman().ok_or(Nowhere::Nobody),
        Err(CrossSlot) => Err(Nowhere::CrossSlot),
    }
}

/// The keys of a command lie in several slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CrossSlot;

/// The one slot of a command's keys, or of its shard channels; `None` when it has neither.
pub(super) fn slot(map: &Map, spec: &Spec, command: &Command<'_>) -> Result<Option<u16>, CrossSlot> {
    let mut found = Ok(None);
    let mut note = |at: usize| {
        let slot = map.slot(command.arg(at));
        match found {
            Ok(None) => found = Ok(Some(slot)),
            Ok(Some(first)) if first != slot => found = Err(CrossSlot),
            _ => {}
        }
    };
    let coverage = for_each_key(spec, command, |at, _| note(at));
    for_each_shard_channel(spec, command, note);
    // BY and GET of SORT name keys that lie anywhere. A cluster says so itself; the node of a ring does not know of the others.
    if spec.options == Options::Sort && coverage == Coverage::Partial && map.ring().is_some() {
        return Err(CrossSlot);
    }
    found
}

/// The session's lane to a node, for its present identity.
pub(super) fn lane(session: &Session, state: &mut State, origin: &Origin, node: &Arc<Node>) -> Rc<Lane<Receipt>> {
    if let Some((_, lane)) = state.lanes.iter().find(|(number, _)| *number == node.number) {
        return Rc::clone(lane);
    }
    let lane = session.worker.lane(node, state.identity(origin));
    state.lanes.push((node.number, Rc::clone(&lane)));
    lane
}

/// A place in the line for a reply from the lane to a node; consecutive ones share it.
#[inline]
fn place(state: &mut State, node: u32) -> u64 {
    state.lane_owed += 1;
    let (last, seq) = state.lane_seq;
    if last != node || !state.replies.await_more(seq) {
        state.lane_seq = (node, state.replies.await_one(state.proto));
    }
    state.lane_seq.1
}

/// A place in the line that no other reply shares.
pub(super) fn own_place(state: &mut State) -> u64 {
    state.lane_seq = NO_SLOT;
    state.last_sent = state.replies.await_one(state.proto);
    state.last_sent
}

/// The same for a command that is no read.
pub(super) fn own_place_of_write(state: &mut State) -> u64 {
    state.last_write_sent = own_place(state);
    state.last_write_sent
}

/// Takes the keys of a write out of the cache and fences them until its fate is known.
pub(super) fn fence(session: &Session, node: &Arc<Node>, spec: &Spec, command: &Command<'_>, effect: Effect) -> Write {
    let app = &session.worker.app;
    let told = app.channels.get(node.upstream).is_some();
    let mut write = Write::at(node);
    if effect == Effect::Everything {
        node.coverage.begin_wholesale();
        write.wholesale = true;
        return write;
    }
    let coverage = for_each_key(spec, command, |at, access| {
        let key = command.arg(at);
        if access != Access::Write {
            return;
        }
        if told {
            write.changed.push(key.into());
        }
        // Whatever its route says: a reload may let it be cached while this write is under way.
        write.fences.push(app.near.fence(node.upstream, key));
    });
    write.undeclared = effect == Effect::Write(Reach::Beyond) || coverage == Coverage::Partial;
    write
}

/// A read that the tracked connection could not do, sent on the session's own lane; or what the client is told.
pub fn forward_again(session: &Rc<Session>, seq: u64, request: &Bytes) -> Result<(), String> {
    let worker = &session.worker;
    let mut state = session.state.borrow_mut();
    // A cacheable read: its first argument is a key, and all its keys lie in one slot.
    let words = words(request);
    let key = words.get(1).copied().unwrap_or_default();
    let upstream = worker.rules().routes.upstream_of(key);
    let Some(origin) = worker.app.origin(upstream).filter(|_| !state.drain_first) else {
        // Behind it the client has changed its database, protocol or user.
        return Err("ERR the upstream connection was lost while this read was awaited; it can be repeated".into());
    };
    let Some(proto) = state.replies.proto(seq) else { return Ok(()) };
    if let Some(answer) = degraded::rescue(session, &mut state, origin, request, proto) {
        drop(state);
        return answer.map(|reply| session.deliver(seq, 1, |out, _| out.extend_from_slice(&reply)));
    }
    let now = Micros::now();
    if !origin.budget.take(origin.answered(), now) {
        return Err(format!(
            "MASTERDOWN upstream '{}' has lost the connection for cacheable reads, and too many of them are being repeated",
            origin.name
        ));
    }
    let map = worker.map(origin);
    let node = map.owner(key).ok_or_else(|| origin.nobody())?;
    let lane = lane(session, &mut state, origin, node);
    if let Some(error) = lane.refusal(now) {
        return Err(error);
    }
    state.lane_owed += 1;
    if state.tracking.is_some() {
        // Not all of them may be keys; one that is told in vain does no harm.
        let keys = words.iter().skip(1).copied().map(Box::from).collect();
        tracked::note_read(&mut state, keys, seq);
    }
    let identity = state.identity(origin);
    let again = Some(Box::new(Again::new(request.clone(), Some(map.slot(key)), identity, node)));
    let receipt = Receipt { again, ..Receipt::of_read(session, origin.number, seq) };
    lane.send(request, (0, 0), now, || receipt);
    Ok(())
}

/// A command that was copied as bytes.
pub(super) fn quoted(request: &[u8]) -> Option<Quoted> {
    Quoted::new(words(request).into_iter())
}

/// The name and the arguments of a command.
fn words(request: &[u8]) -> Vec<&[u8]> {
    let list = match View::of(request) {
        Some(View::List(elements)) => elements,
        _ => return Vec::new(),
    };
    list.filter_map(View::of).filter_map(View::text).collect()
}
