//! Commands that concern several nodes of a cluster: split or repeated, and their replies joined into one.
//!
//! How is said by the command's row (its request and response policy). Nothing is sent before every node that has a part
//! can be spoken to; after that the parts go their own ways, each with its own fences, redirections and fate. A part of a
//! write that fails does not undo the others: the client's error says so.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::forward::{fence, lane, own_place, own_place_of_write};
use super::{Flow, degraded, scan, tracked};
use crate::command::{Effect, Quoted, RequestPolicy, Spec, effect};
use crate::origin::{Map, Node, Origin};
use crate::resp::gather::{Gather, Others};
use crate::resp::{Command, encode};
use crate::session::gathering::Gathering;
use crate::session::receiver::{Again, Place, Receipt};
use crate::session::{Session, State};
use crate::upstream::endpoint::Duty;
use crate::upstream::lane::Lane;
use crate::upstream::slots::slot_of;

/// A part of a command: what is sent to which node.
struct Part {
    node: Arc<Node>,
    request: Quoted,
    /// The slot of its keys, if it was split by keys.
    slot: Option<u16>,
}

/// Serves a command that concerns several nodes; `None`: it concerns one.
pub(super) fn serve(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
) -> Option<Flow> {
    let pick = state.now.0 ^ session.id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let whole = || Quoted::new(command.args(0));
    let (parts, how) = match spec.request {
        RequestPolicy::Default => return None,
        RequestPolicy::MultiShard => {
            let step = spec.split_step()?;
            let (parts, places) = split(map, step, command)?;
            if !(command.len() - 1).is_multiple_of(step) {
                session.worker.counters.errors.add(1);
                let text = format!("ERR wrong number of arguments for '{}' command", spec.name);
                encode::error(state.replies.now(), &text);
                return Some(Flow::Next);
            }
            (parts, spec.response.how_by_keys(places))
        }
        RequestPolicy::AllShards | RequestPolicy::AllNodes => {
            let replicas = spec.request == RequestPolicy::AllNodes;
            let mut parts = Vec::new();
            for primary in map.primaries() {
                let nodes = std::iter::once(&primary.node).chain(primary.replicas.iter().filter(|_| replicas));
                for node in nodes {
                    parts.push(Some(Part { node: Arc::clone(node), request: whole()?, slot: None }));
                }
            }
            (parts, spec.response.how(pick))
        }
        RequestPolicy::Special if &*spec.name == "scan" => {
            return Some(scan::scan(session, state, origin, map, command));
        }
        RequestPolicy::Special => {
            session.worker.counters.errors.add(1);
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            let text =
                format!("ERR {name} concerns one server, and there are several behind Larder: send it to that server");
            encode::error(state.replies.now(), &text);
            return Some(Flow::Next);
        }
    };
    let (Some(how), Some(parts)) =
        (how, parts.into_iter().collect::<Option<Vec<Part>>>().filter(|parts| !parts.is_empty()))
    else {
        session.worker.counters.errors.add(1);
        encode::error(state.replies.now(), &super::forward::Nowhere::Nobody.error(origin));
        return Some(Flow::Next);
    };
    let others = match effect(spec, command) {
        Effect::Read | Effect::Inert => Others::Harmless,
        Effect::Write(_) | Effect::Everything => Others::MayBeDone,
    };
    Some(send(session, state, origin, map, (spec, command), parts, |parts| Gather::new(how, others, parts)))
}

/// Where the keys of each part stood.
type Places = Vec<Vec<u32>>;

/// Deals the arguments of a command out to the slots of its keys; and for each part, where its keys stood. `None`: all
/// lie in one slot. A slot without an owner gives an empty part.
fn split(map: &Map, step: usize, command: &Command<'_>) -> Option<(Vec<Option<Part>>, Places)> {
    let mut slots = (1..command.len()).step_by(step).map(|at| slot_of(command.arg(at)));
    let first = slots.next()?;
    if slots.all(|slot| slot == first) {
        return None;
    }
    let mut groups: Vec<(u16, Vec<u32>)> = Vec::new();
    // Which of the groups is a slot's: a command may have a hundred thousand keys.
    let mut group_of: HashMap<u16, usize, foldhash::fast::RandomState> = HashMap::default();
    for (place, at) in (1..command.len()).step_by(step).enumerate() {
        let slot = slot_of(command.arg(at));
        let group = *group_of.entry(slot).or_insert_with(|| {
            groups.push((slot, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(u32::try_from(place).ok()?);
    }
    let part = |(slot, places): &(u16, Vec<u32>)| {
        let firsts = places.iter().map(|place| 1 + *place as usize * step);
        let words: Vec<&[u8]> = std::iter::once(command.arg(0))
            .chain(firsts.flat_map(|first| (first..first + step).filter_map(|at| command.opt(at))))
            .collect();
        let node = Arc::clone(&map.owner_of_slot(*slot)?.node);
        Some(Part { node, request: Quoted::new(words.into_iter())?, slot: Some(*slot) })
    };
    let parts = groups.iter().map(part).collect();
    Some((parts, groups.into_iter().map(|(_, places)| places).collect()))
}

/// Where the reply of a part comes from.
enum Source {
    Lane(Rc<Lane<Receipt>>, Part),
    /// Its node is down, and the cache had it.
    Cache(Vec<u8>),
}

/// Sends the parts, if all of them can be sent, or answered from the cache.
fn send(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    (spec, whole): (&Spec, &Command<'_>),
    parts: Vec<Part>,
    gather: impl FnOnce(usize) -> Gather,
) -> Flow {
    let mut ready = Vec::with_capacity(parts.len());
    let mut preface = Vec::new();
    for part in parts {
        let cached = (!origin.is_well())
            .then(|| degraded::part(session, state, origin, map, spec, &part.request.command()))
            .flatten();
        match cached {
            None => {}
            Some(Ok(found)) => {
                if preface.is_empty() {
                    preface = found.preface(state.staleness, state.proto);
                }
                ready.push(Source::Cache(found.reply));
                continue;
            }
            Some(Err(error)) => {
                session.worker.counters.errors.add(1);
                encode::error(state.replies.now(), &error);
                return Flow::Next;
            }
        }
        let lane = lane(session, state, origin, &part.node);
        if lane.congested() {
            return Flow::Stall;
        }
        let refusal = lane.refusal(state.now);
        if refusal.is_some() && part.node.endpoint.duty == Duty::ClusterReplica {
            // What is told to all nodes goes to those that are there; the primaries must be.
            continue;
        }
        if let Some(error) = refusal {
            session.worker.counters.upstream_failures.add(1);
            origin.doubt.notify_one();
            encode::error(state.replies.now(), &error);
            return Flow::Next;
        }
        ready.push(Source::Lane(lane, part));
    }
    let identity = state.identity(origin.model.credentials.as_ref());
    let seq = match effect(spec, whole) {
        Effect::Read => own_place(state),
        _ => own_place_of_write(state),
    };
    tracked::note_forwarded(session, state, spec, whole, seq);
    let gathering = Gathering::new(seq, preface, gather(ready.len()));
    for (index, source) in ready.into_iter().enumerate() {
        let (lane, Part { node, request, slot }) = match source {
            Source::Lane(lane, part) => (lane, part),
            Source::Cache(reply) => {
                gathering.part_at_hand(index, &reply);
                continue;
            }
        };
        session.worker.counters.forwarded.add(1);
        let command = request.command();
        let effect = effect(spec, &command);
        let write = match effect {
            Effect::Read | Effect::Inert => None,
            Effect::Write(_) | Effect::Everything => Some(Box::new(fence(session, &node, spec, &command, effect))),
        };
        state.opaque_owed += u32::from(write.as_ref().is_some_and(|write| write.opaque()));
        state.lane_owed += 1;
        let again = slot.map(|slot| {
            Box::new(Again::new(Bytes::copy_from_slice(command.wire()), Some(slot), identity.clone(), &node))
        });
        let place = Place::Part(Rc::clone(&gathering), index);
        let receipt = Receipt { place, write, again, ..Receipt::of_nobody(session) };
        lane.send(command.wire(), (0, 0), state.now, || receipt);
    }
    // FLUSHALL reaches the nodes at different moments. What is written behind it, and moves from a node that was flushed to
    // one that was not, would go with it.
    state.drain_first |= effect(spec, whole) == Effect::Everything;
    Flow::Next
}
