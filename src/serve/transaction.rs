//! MULTI, WATCH and what lies between them and EXEC: on a connection of the session's own, never from the cache.
//!
//! Commands go to the leased connection as they came, and the server's own answers come back (QUEUED, or what is wrong
//! with a command). What Larder would have answered itself in a way that the server cannot is refused, and then, as with
//! a command that the server refuses, EXEC carries nothing out. What the queued commands may change is fenced when EXEC
//! is sent. In a cluster the first key says which node the transaction belongs to; until then commands wait here.
//!
//! A connection that is lost takes the transaction with it, never a part of it: behind a lost MULTI nothing is carried out
//! until EXEC or DISCARD, and behind a lost WATCH the next transaction fails.

mod queue;

pub(super) use queue::refuse_to_queue;

use std::rc::Rc;
use std::sync::Arc;

use super::forward::{CROSS_SLOT, Nowhere, must_drain, own_place, slot, target};
use super::lease::{self, Leased};
use super::{Flow, tracked};
use crate::clock::Micros;
use crate::command::{CommandError, Effect, Lease as Use, Local, Reach, Spec, Way, effect, way};
use crate::origin::{Map, Origin};
use crate::resp::{Command, encode};
use crate::session::lease::Lease;
use crate::session::receiver::{Place, Receipt, Tenure, Write};
use crate::session::transaction::{Changes, Phase, Told, Transaction};
use crate::session::{Session, State};
use crate::upstream::Endpoint;

const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Serves a command that begins or ends a transaction, or that comes while there is one. `None`: it has nothing to do
/// with it.
pub(super) fn serve(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
) -> Option<Flow> {
    let way = way(spec, command);
    let begins_or_ends = way == Way::Leased(Use::Transaction);
    let now = state.now;
    let Some(transaction) = &mut state.transaction else {
        return begins_or_ends.then(|| begin(session, state, origin, spec, command));
    };
    if matches!(way, Way::Local(Local::Quit | Local::Reset)) {
        // They end it with everything else: RESET once its connection owes no reply any more.
        let owed = way == Way::Local(Local::Reset) && state.lane_owed > 0;
        return owed.then_some(Flow::Stall);
    }
    if transaction.lose(|lease| gone(lease, now)).is_some() {
        session.worker.counters.upstream_failures.add(1);
    }
    if transaction.lease.as_ref().is_some_and(|lease| lease.lane.congested()) {
        return Some(Flow::Stall);
    }
    if transaction.phase == Phase::Watching && state.drain_lanes {
        // Something was sent past its connection.
        if state.lane_owed > 0 {
            return Some(Flow::Stall);
        }
        state.drain_lanes = false;
    }
    match transaction.phase {
        Phase::Ending if begins_or_ends => Some(follow(session, state, origin, spec, command)),
        Phase::Ending => Some(Flow::Stall),
        Phase::Queueing => Some(queue::queue(session, state, origin, spec, command)),
        Phase::Void => Some(when_void(session, state, origin, spec, command)),
        Phase::Lost(told) => begins_or_ends.then(|| when_lost(session, state, origin, spec, command, told)),
        Phase::Watching if begins_or_ends => Some(while_watching(session, state, origin, spec, command)),
        Phase::Watching if changes_identity(way, command) => {
            session.worker.counters.errors.add(1);
            let name = spec.name.to_ascii_uppercase();
            let text = format!(
                "ERR Larder does not serve {name} behind WATCH: the connection that watches cannot change its database, \
                 protocol or user (EXEC, DISCARD or UNWATCH ends this)"
            );
            encode::error(state.replies.now(), &text);
            Some(Flow::Next)
        }
        Phase::Watching => {
            let map = session.worker.map(origin);
            // What concerns the watched slot goes the same way as WATCH, so that the server sees it all in order.
            let slot = if map.is_split() { slot(&map, spec, command).ok()? } else { None };
            let other = transaction.upstream().is_some_and(|upstream| upstream != origin.number);
            if way != Way::Forward || other || transaction.slot != slot && map.is_split() {
                return None;
            }
            Some(send(session, state, spec, command, effect(spec, command), Tenure::Leased))
        }
    }
}

/// Why the connection is of no use any more, if so. A server that has left the upstream (an old primary) is not written to.
fn gone(lease: &Lease, now: Micros) -> Option<String> {
    if lease.node.retired() {
        let Endpoint { upstream, address, .. } = &*lease.node.endpoint;
        return Some(format!("ERR {address} has left upstream '{upstream}'"));
    }
    lease.lane.refusal(now)
}

/// MULTI, WATCH, UNWATCH, EXEC or DISCARD while a transaction is ending: the next one need not wait for its reply.
fn follow(session: &Rc<Session>, state: &mut State, origin: &Origin, spec: &Spec, command: &Command<'_>) -> Flow {
    let phase = match &*spec.name {
        "multi" => Phase::Queueing,
        "watch" => Phase::Watching,
        _ => return begin(session, state, origin, spec, command),
    };
    if waits_for_a_key(session, &session.worker.map(origin)) {
        // It may be for another node.
        return Flow::Stall;
    }
    let Some(transaction) = state.transaction.as_mut() else { return Flow::Stall };
    **transaction = transaction.next(phase);
    let tenure = if phase == Phase::Queueing { Tenure::First } else { Tenure::Leased };
    send(session, state, spec, command, Effect::Inert, tenure)
}

/// A command was refused before it could be queued: EXEC must not carry the others out.
pub(super) fn abort(state: &mut State) {
    if let Some(transaction) = state.transaction.as_mut().filter(|transaction| transaction.queues()) {
        transaction.aborted = true;
    }
}

/// A command that is none, or has too many or too few arguments. An EXEC of that kind ends what MULTI or WATCH began, in
/// Redis too, and says so even if there was nothing.
pub(super) fn misspelt(session: &Rc<Session>, state: &mut State, command: &Command<'_>, error: &CommandError) {
    session.worker.counters.errors.add(1);
    if command.is(0, "exec") {
        let why = error.to_string();
        return call_off(session, state, &because_of(why.strip_prefix("ERR ").unwrap_or(&why)));
    }
    error.write(state.replies.now());
    abort(state);
}

/// Upstreams that are no Redis have no transactions: MULTI is refused, and so is what a client sent behind it in the belief that it
/// would be carried out as one.
pub(super) fn refuse(session: &Session, state: &mut State, kind: &str, spec: &Spec) -> Option<Flow> {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    let open = state.transaction.is_some();
    let error = match (&*spec.name, open) {
        ("quit" | "reset", _) => return None,
        ("exec", true) => EXECABORT.to_owned(),
        ("discard", true) | ("unwatch", _) => {
            state.transaction = None;
            encode::ok(state.replies.now());
            return Some(Flow::Next);
        }
        ("exec" | "discard", false) => format!("ERR {name} without MULTI"),
        (_, true) => {
            format!("ERR {name} is not carried out: the MULTI before it was refused (EXEC or DISCARD ends this)")
        }
        _ => format!("ERR the {kind} upstream does not serve {name}: it has no transactions"),
    };
    state.transaction = match &*spec.name {
        "multi" => Some(Box::new(Transaction::without(Phase::Void, &error))),
        "exec" => None,
        _ => state.transaction.take(),
    };
    session.worker.counters.errors.add(1);
    encode::error(state.replies.now(), &error);
    Some(Flow::Next)
}

/// MULTI or WATCH, or something that needs one of them before it.
fn begin(session: &Rc<Session>, state: &mut State, origin: &Origin, spec: &Spec, command: &Command<'_>) -> Flow {
    let multi = match &*spec.name {
        "multi" => true,
        "watch" => false,
        "unwatch" => {
            encode::ok(state.replies.now());
            return Flow::Next;
        }
        name => {
            session.worker.counters.errors.add(1);
            let text = format!("ERR {} without MULTI", name.to_ascii_uppercase());
            encode::error(state.replies.now(), &text);
            return Flow::Next;
        }
    };
    let map = session.worker.map(origin);
    if must_drain(state, origin.number, &map, Effect::Write(Reach::Beyond)) || state.lane_owed > 0 {
        return Flow::Stall;
    }
    if multi && waits_for_a_key(session, &map) {
        // The first key will say which node it is for.
        state.transaction = Some(Box::new(Transaction::new(None, None, Phase::Queueing)));
        encode::ok(state.replies.now());
        return Flow::Next;
    }
    let node = match target(&map, spec, command) {
        Ok(node) => node,
        Err(Nowhere::CrossSlot) => {
            encode::error(state.replies.now(), CROSS_SLOT);
            return Flow::Next;
        }
        Err(nowhere) => return fail_to_begin(state, multi, &nowhere.error(origin)),
    };
    match lease::take(session, state, origin, node) {
        Leased::Yes(lease) => {
            let phase = if multi { Phase::Queueing } else { Phase::Watching };
            let slot = if map.is_split() { slot(&map, spec, command).unwrap_or_default() } else { None };
            state.transaction = Some(Box::new(Transaction::new(Some(lease), slot, phase)));
            let tenure = if multi { Tenure::First } else { Tenure::Leased };
            send(session, state, spec, command, Effect::Inert, tenure)
        }
        Leased::Later => Flow::Stall,
        Leased::No(error) => fail_to_begin(state, multi, &error),
    }
}

/// Whether only a key says which node a transaction is for.
pub(super) fn waits_for_a_key(session: &Session, map: &Map) -> bool {
    map.is_split() || session.worker.app.several
}

/// There is no connection. What is sent behind it, in the belief that it was begun, is not carried out.
pub(super) fn fail_to_begin(state: &mut State, multi: bool, error: &str) -> Flow {
    let phase = if multi { Phase::Void } else { Phase::Lost(Told::Yes) };
    state.transaction = Some(Box::new(Transaction::without(phase, error)));
    encode::error(state.replies.now(), error);
    Flow::Next
}

/// MULTI, WATCH, UNWATCH, EXEC or DISCARD behind WATCH.
fn while_watching(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
) -> Flow {
    let Some(transaction) = state.transaction.as_mut() else { return Flow::Next };
    let tenure = match &*spec.name {
        "multi" => {
            transaction.phase = Phase::Queueing;
            Tenure::First
        }
        "unwatch" => Tenure::Last,
        "watch" => {
            let map = session.worker.map(origin);
            if map.is_split() && slot(&map, spec, command) != Ok(transaction.slot) {
                encode::error(state.replies.now(), CROSS_SLOT);
                return Flow::Next;
            }
            Tenure::Leased
        }
        _ => return begin(session, state, origin, spec, command),
    };
    send(session, state, spec, command, Effect::Inert, tenure)
}

/// MULTI, WATCH, UNWATCH, EXEC or DISCARD behind a WATCH whose connection is gone.
fn when_lost(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    told: Told,
) -> Flow {
    let why = state.transaction.take().map(|transaction| transaction.why).unwrap_or_default();
    let error = format!("ERR nothing is watched, the WATCH before failed: {why}");
    match (&*spec.name, told) {
        ("multi", _) => fail_to_begin(state, true, &error),
        ("watch", Told::No) => fail_to_begin(state, false, &error),
        ("watch" | "unwatch", _) => begin(session, state, origin, spec, command),
        _ => {
            // EXEC and DISCARD without MULTI.
            let flow = begin(session, state, origin, spec, command);
            state.transaction = Some(Box::new(Transaction::without(Phase::Lost(told), &why)));
            flow
        }
    }
}

/// A command behind a MULTI that cannot be carried out.
fn when_void(session: &Rc<Session>, state: &mut State, origin: &Origin, spec: &Spec, command: &Command<'_>) -> Flow {
    let why = state.transaction.take().map(|transaction| transaction.why).unwrap_or_default();
    match &*spec.name {
        "exec" => encode::error(state.replies.now(), &because_of(&why)),
        "discard" => encode::ok(state.replies.now()),
        // Who sends it knows that the one before has failed.
        "multi" => return begin(session, state, origin, spec, command),
        name => {
            let name = name.replace('|', " ").to_ascii_uppercase();
            let text = format!(
                "ERR {name} is not carried out: it is behind a MULTI that cannot be (EXEC or DISCARD ends this): {why}"
            );
            encode::error(state.replies.now(), &text);
            state.transaction = Some(Box::new(Transaction::without(Phase::Void, &why)));
        }
    }
    session.worker.counters.errors.add(1);
    Flow::Next
}

fn because_of(why: &str) -> String {
    format!("EXECABORT Transaction discarded because of: {why}")
}

/// Answers EXEC with an error, and has the server forget what was queued and watched.
fn call_off(session: &Rc<Session>, state: &mut State, error: &str) {
    encode::error(state.replies.now(), error);
    let Some(transaction) = state.transaction.as_mut() else { return };
    let word: &[u8] = match transaction.phase {
        // The one before is on its way; this one found nothing.
        Phase::Ending => return,
        Phase::Watching => b"UNWATCH",
        Phase::Queueing | Phase::Lost(_) | Phase::Void => b"DISCARD",
    };
    transaction.note_end();
    match &transaction.lease {
        Some(lease) if lease.lane.refusal(state.now).is_none() => {
            let mut request = Vec::new();
            encode::command(&mut request, &[word]);
            lease
                .lane
                .send(&request, (0, 0), state.now, || Receipt::of_lease(session, lease.node.upstream, Tenure::Last));
        }
        _ => state.transaction = None,
    }
}

/// Sends a command on the transaction's connection, which is there and not congested.
fn send(
    session: &Rc<Session>,
    state: &mut State,
    spec: &Spec,
    command: &Command<'_>,
    effect: Effect,
    tenure: Tenure,
) -> Flow {
    let Some(Lease { lane, node, .. }) = state.transaction.as_ref().and_then(|transaction| transaction.lease.as_ref())
    else {
        return Flow::Next;
    };
    let (lane, node) = (Rc::clone(lane), Arc::clone(node));
    session.worker.counters.forwarded.add(1);
    if tenure == Tenure::Last
        && let Some(transaction) = state.transaction.as_mut()
    {
        transaction.note_end();
    }
    let mut read = Vec::new();
    let write = match (&*spec.name, effect) {
        ("exec", _) => {
            let mut changes = state.transaction.as_mut().map(|transaction| std::mem::take(&mut transaction.changes));
            read = changes.as_mut().map(|changes| std::mem::take(&mut changes.read)).unwrap_or_default();
            changes.filter(Changes::any).map(|changes| changes.fence(session, &node))
        }
        (_, Effect::Write(_) | Effect::Everything) => {
            Some(super::forward::fence(session, &node, spec, command, effect))
        }
        _ => None,
    };
    state.opaque_owed += u32::from(write.as_ref().is_some_and(Write::opaque));
    state.lane_owed += 1;
    let seq = own_place(state);
    match state.transaction.as_ref().map(|transaction| transaction.phase) {
        Some(Phase::Watching) => tracked::note_forwarded(session, state, spec, command, seq),
        _ => tracked::note_read(state, read, seq),
    }
    let place = Place::Slot(seq);
    let receipt = Receipt { place, write: write.map(Box::new), ..Receipt::of_lease(session, node.upstream, tenure) };
    lane.send(command.wire(), (0, 0), state.now, || receipt);
    Flow::Next
}

/// Whether the command would make the session speak as somebody else than the connection that watches.
fn changes_identity(way: Way, command: &Command<'_>) -> bool {
    match way {
        Way::Local(Local::Select | Local::Auth) => true,
        Way::Local(Local::Hello) => command.len() > 1,
        _ => false,
    }
}
