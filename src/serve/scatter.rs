//! Commands that concern several nodes: split or repeated, and their replies joined into one.
//!
//! How is said by the command's row (its request and response policy). Nothing is sent before every node that has a part
//! can be spoken to; after that the parts go their own ways, each with its own fences, redirections and fate. A part of a
//! write that fails does not undo the others: the client's error says so.
//!
//! The nodes are those of a cluster or of a ring ([`serve`]), or of several upstreams ([`super::across`]).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::forward::{fence, lane, own_place, own_place_of_write};
use super::{Flow, across, degraded, scan, tracked};
use crate::app::Backend;
use crate::command::{Effect, Quoted, RequestPolicy, Spec, effect};
use crate::origin::map::Primary;
use crate::origin::{Map, Node, Origin};
use crate::resp::gather::{Gather, How, Others};
use crate::resp::{Command, encode};
use crate::session::gathering::Gathering;
use crate::session::receiver::{Again, Place, Receipt};
use crate::session::{Session, State};
use crate::upstream::endpoint::Duty;
use crate::upstream::lane::Lane;

/// A part of a command: what goes where.
pub(super) struct Part {
    pub at: At,
    pub request: Quoted,
    /// The slot of its keys, if it was split by keys.
    pub slot: Option<u16>,
}

/// Where a part goes.
#[derive(Clone)]
pub(super) enum At {
    /// To a server.
    Node(Arc<Node>),
    /// To the store in this process that is the upstream of this number.
    Memory(u16),
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
    let whole = || Quoted::new(command.args(0));
    let (parts, how) = match spec.request {
        RequestPolicy::Default => return None,
        RequestPolicy::MultiShard => {
            let step = spec.split_step()?;
            let owner = |slot: u32| map.owner_of_slot(slot as u16).map(|primary| At::Node(Arc::clone(&primary.node)));
            let (parts, places) = split(step, command, |key| u32::from(map.slot(key)), owner)?;
            (parts, spec.response.how_by_keys(places))
        }
        RequestPolicy::AllShards | RequestPolicy::AllNodes => {
            let mut parts = Vec::new();
            for node in concerned(map, spec) {
                parts.push(Some(Part { at: At::Node(Arc::clone(node)), request: whole()?, slot: None }));
            }
            (parts, spec.response.how(pick(session, state)))
        }
        RequestPolicy::Special if &*spec.name == "scan" => {
            return Some(scan::scan(session, state, origin, map, command));
        }
        // A cluster has one database, and says so itself.
        RequestPolicy::Special if &*spec.name == "swapdb" && map.redirects() => return None,
        RequestPolicy::Special => {
            session.worker.counters.errors.add(1);
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            let text =
                format!("ERR {name} concerns one server, and there are several behind Larder: send it to that server");
            encode::error(state.replies.now(), &text);
            return Some(Flow::Next);
        }
    };
    let parts = parts.into_iter().collect::<Option<Vec<Part>>>().filter(|parts| !parts.is_empty());
    let (Some(how), Some(parts)) = (how, parts) else {
        session.worker.counters.errors.add(1);
        encode::error(state.replies.now(), &super::forward::Nowhere::Nobody.error(origin));
        return Some(Flow::Next);
    };
    Some(send(session, state, (spec, command), parts, how))
}

/// The nodes that a command is told which all shards, or all nodes, are told.
pub(super) fn concerned<'a>(map: &'a Map, spec: &Spec) -> impl Iterator<Item = &'a Arc<Node>> {
    let replicas = spec.request == RequestPolicy::AllNodes && map.is_split();
    let all = move |primary: &'a Primary| {
        std::iter::once(&primary.node).chain(primary.replicas.iter().filter(move |_| replicas))
    };
    map.primaries().iter().flat_map(all)
}

/// What is told to all nodes goes to those that are there: a replica need not be, the primaries must be.
fn spare(node: &Node) -> bool {
    node.endpoint.duty == Duty::ClusterReplica
}

/// A number by which one of several replies is chosen.
pub(super) fn pick(session: &Session, state: &State) -> u64 {
    state.now.0 ^ session.id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where the keys of each part stood.
type Places = Vec<Vec<u32>>;

/// Deals the arguments of a command out to where its keys belong: keys of one `group` go to one place, which `at` knows. And
/// for each part, where its keys stood. `None`: all are of one group. A group that nobody owns gives an empty part.
pub(super) fn split(
    step: usize,
    command: &Command<'_>,
    group: impl Fn(&[u8]) -> u32,
    at: impl Fn(u32) -> Option<At>,
) -> Option<(Vec<Option<Part>>, Places)> {
    let mut all = (1..command.len()).step_by(step).map(|key| group(command.arg(key)));
    let first = all.next()?;
    if all.all(|other| other == first) {
        return None;
    }
    let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
    // Which of them is whose: a command may have a hundred thousand keys.
    let mut number_of: HashMap<u32, usize, foldhash::fast::RandomState> = HashMap::default();
    for (place, key) in (1..command.len()).step_by(step).enumerate() {
        let of = group(command.arg(key));
        let number = *number_of.entry(of).or_insert_with(|| {
            groups.push((of, Vec::new()));
            groups.len() - 1
        });
        groups[number].1.push(u32::try_from(place).ok()?);
    }
    let part = |(group, places): &(u32, Vec<u32>)| {
        let firsts = places.iter().map(|place| 1 + *place as usize * step);
        let words: Vec<&[u8]> = std::iter::once(command.arg(0))
            .chain(firsts.flat_map(|first| (first..first + step).filter_map(|at| command.opt(at))))
            .collect();
        // (The lower half is the slot.)
        Some(Part { at: at(*group)?, request: Quoted::new(words.into_iter())?, slot: Some(*group as u16) })
    };
    let parts = groups.iter().map(part).collect();
    Some((parts, groups.into_iter().map(|(_, places)| places).collect()))
}

/// Where the reply of a part comes from.
enum Source {
    Lane(Rc<Lane<Receipt>>, Arc<Node>, Part),
    /// Its node is down, and the cache had it.
    Cache(Vec<u8>),
    /// The store in this process.
    Memory(u16, Quoted),
}

/// Sends the parts, if all of them can be sent, or answered from the cache.
pub(super) fn send(
    session: &Rc<Session>,
    state: &mut State,
    (spec, whole): (&Spec, &Command<'_>),
    parts: Vec<Part>,
    how: How,
) -> Flow {
    if spec.split_step().is_some_and(|step| !(whole.len() - 1).is_multiple_of(step)) {
        session.worker.counters.errors.add(1);
        let text = format!("ERR wrong number of arguments for '{}' command", spec.name);
        encode::error(state.replies.now(), &text);
        return Flow::Next;
    }
    // What is watched has a connection of its own. What goes other ways must neither overtake what was sent there nor be
    // overtaken by it: the transaction has to see it.
    let watches = state.transaction.as_ref().is_some_and(|transaction| transaction.lease.is_some());
    if watches && state.lane_owed > 0 {
        return Flow::Stall;
    }
    let app = &session.worker.app;
    let mut ready = Vec::with_capacity(parts.len());
    let mut preface = Vec::new();
    for part in parts {
        let node = match &part.at {
            At::Node(node) => Arc::clone(node),
            At::Memory(number) => {
                ready.push(Source::Memory(*number, part.request));
                continue;
            }
        };
        let Some(origin) = app.origin(node.upstream) else { continue };
        let cached = (!origin.is_well())
            .then(|| {
                let map = session.worker.map(origin);
                degraded::part(session, state, origin, &map, spec, &part.request.command())
            })
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
                degraded::forget(session, spec, whole);
                session.worker.counters.errors.add(1);
                encode::error(state.replies.now(), &error);
                return Flow::Next;
            }
        }
        let lane = lane(session, state, origin, &node);
        if lane.congested() {
            return Flow::Stall;
        }
        let refusal = lane.refusal(state.now);
        if refusal.is_some() && spare(&node) {
            continue;
        }
        if let Some(error) = refusal {
            session.worker.counters.upstream_failures.add(1);
            origin.doubt.notify_one();
            encode::error(state.replies.now(), &error);
            return Flow::Next;
        }
        ready.push(Source::Lane(lane, node, part));
    }
    let others = match effect(spec, whole) {
        Effect::Read | Effect::Inert => Others::Harmless,
        Effect::Write(_) | Effect::Everything => Others::MayBeDone,
    };
    let mut gather = Gather::new(how, others, ready.len());
    // FLUSHALL reaches the nodes at different moments. What is written behind it, and moves from a node that was flushed to
    // one that was not, would go with it.
    state.drain_first |= effect(spec, whole) == Effect::Everything;
    state.drain_lanes |= watches;
    let mut lanes = Vec::with_capacity(ready.len());
    for (index, source) in ready.into_iter().enumerate() {
        match source {
            Source::Lane(lane, node, part) => lanes.push((index, lane, node, part)),
            Source::Cache(reply) => {
                gather.part(index, &reply);
            }
            Source::Memory(number, request) => {
                if let Backend::Memory(memory) = app.backend(number) {
                    let mut reply = Vec::new();
                    let database = app.database(number, state.database);
                    memory.execute(&spec.name, &request.command(), database, state.proto, &mut reply);
                    gather.part(index, &reply);
                }
            }
        }
    }
    if lanes.is_empty() {
        across::answer(session, state, (spec, whole), |out| {
            out.extend_from_slice(&preface);
            gather.finish(out);
        });
        return Flow::Next;
    }
    let seq = match effect(spec, whole) {
        Effect::Read => own_place(state),
        _ => own_place_of_write(state),
    };
    tracked::note_forwarded(session, state, spec, whole, seq);
    let gathering = Gathering::new(seq, preface, gather);
    for (index, lane, node, Part { request, slot, .. }) in lanes {
        let Some(origin) = app.origin(node.upstream) else { continue };
        session.worker.counters.forwarded.add(1);
        let command = request.command();
        let effect = effect(spec, &command);
        let write = match effect {
            Effect::Read | Effect::Inert => None,
            Effect::Write(_) | Effect::Everything => Some(Box::new(fence(session, &node, spec, &command, effect))),
        };
        state.opaque_owed += u32::from(write.as_ref().is_some_and(|write| write.opaque()));
        state.lane_owed += 1;
        let identity = state.identity(origin);
        let again =
            slot.map(|slot| Box::new(Again::new(Bytes::copy_from_slice(command.wire()), Some(slot), identity, &node)));
        let place = if spare(&node) { Place::Spare } else { Place::Part }(Rc::clone(&gathering), index);
        let receipt = Receipt { place, write, again, ..Receipt::of_nobody(session, node.upstream) };
        lane.send(command.wire(), (0, 0), state.now, || receipt);
    }
    Flow::Next
}
