//! Commands that keep an upstream connection to themselves: those that may block, WAIT (in `wait`) and MONITOR.
//!
//! While a client is blocked, its further commands wait, as in Redis; other clients do not notice. When it leaves, its
//! connection is closed at once, and the server forgets that it waited.

use std::rc::Rc;
use std::sync::Arc;

use super::forward::{must_drain, own_place, target};
use super::{Flow, degraded, tracked, wait};
use crate::clock::Micros;
use crate::command::{Access, Effect, Lease as Use, Reach, Spec, Timeout, block_time, effect, for_each_key};
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, encode};
use crate::session::clients::Blocked;
use crate::session::lease::Lease;
use crate::session::receiver::{Place, Receipt, Tenure, Write};
use crate::session::{Session, State};
use crate::upstream::leases::Turn;

/// What came of asking for a connection.
pub(super) enum Leased {
    /// Here it is.
    Yes(Lease),
    /// As many as allowed are out; the command waits for one to come back.
    Later,
    /// None came back in time.
    No(String),
}

/// Takes a connection to a node for the session alone.
pub(super) fn take(session: &Rc<Session>, state: &mut State, origin: &Origin, node: &Arc<Node>) -> Leased {
    if let Some(error) = degraded::why_not(&session.worker.app, origin, node, state.now) {
        return Leased::No(error);
    }
    let worker = &session.worker;
    let (name, most) = (&origin.name, worker.app.config.upstreams[&origin.name].max_leases);
    let ticket = worker.ticket(session.id);
    let turn = match state.wants_lease_since {
        None => origin.leases.take(ticket, most as usize),
        Some(_) => origin.leases.take_granted(ticket),
    };
    if turn == Turn::Now {
        state.wants_lease_since = None;
        let identity = state.identity(origin.model.credentials.as_ref());
        return Leased::Yes(worker.lease(node, &identity));
    }
    let since = *state.wants_lease_since.get_or_insert(state.now);
    if state.now.since(since) < Micros::of(node.endpoint.command_timeout) {
        return Leased::Later;
    }
    // (Its place in the queue goes when this command has been served.)
    worker.counters.leases_refused.add(1);
    Leased::No(format!(
        "ERR upstream '{name}' has {most} connections leased to other clients (upstreams.{name}.max_leases)"
    ))
}

/// Serves a command that needs a connection of its own.
pub(super) fn serve(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
    purpose: Use,
) -> Flow {
    if purpose == Use::Monitor && state.monitor.is_some() {
        // As in Redis: no answer, no second stream.
        return Flow::Next;
    }
    // What was sent before on shared connections comes first.
    if must_drain(state, map, Effect::Write(Reach::Beyond)) || state.lane_owed > 0 {
        return Flow::Stall;
    }
    if purpose == Use::Wait && map.is_split() {
        return wait::everywhere(session, state, origin, map, command);
    }
    let node = match target(map, spec, command) {
        Ok(node) => node,
        Err(nowhere) => {
            encode::error(state.replies.now(), &nowhere.error(origin));
            return Flow::Next;
        }
    };
    let lease = match take(session, state, origin, node) {
        Leased::Yes(lease) => lease,
        Leased::Later => return Flow::Stall,
        Leased::No(error) => {
            encode::error(state.replies.now(), &error);
            return Flow::Next;
        }
    };
    session.worker.counters.forwarded.add(1);
    match purpose {
        Use::Block(timeout) => block(session, state, node, lease, (spec, command), timeout),
        Use::Wait => wait::wait(session, state, lease, command),
        Use::Transaction | Use::Monitor => monitor(session, state, lease, command),
    }
    Flow::Next
}

fn block(
    session: &Rc<Session>,
    state: &mut State,
    node: &Arc<Node>,
    lease: Lease,
    (spec, command): (&Spec, &Command<'_>),
    timeout: Timeout,
) {
    lease.lane.wait_for(block_time(timeout, command));
    let write = matches!(effect(spec, command), Effect::Write(_) | Effect::Everything).then(|| {
        // No fences: they would stand for as long as it blocks. What it changed is void when its reply is here.
        let mut keys = Vec::new();
        for_each_key(spec, command, |at, access| {
            if access == Access::Write {
                keys.push(Box::from(command.arg(at)));
            }
        });
        let undeclared = effect(spec, command) == Effect::Write(Reach::Beyond);
        Write { blocked_keys: keys, undeclared, ..Write::at(node) }
    });
    state.opaque_owed += u32::from(write.as_ref().is_some_and(Write::opaque));
    let seq = send(session, state, lease, command.wire(), write);
    tracked::note_forwarded(session, state, spec, command, seq);
}

/// Sends the command, and holds the session up until its reply is here.
pub(super) fn send(session: &Rc<Session>, state: &mut State, lease: Lease, wire: &[u8], write: Option<Write>) -> u64 {
    state.lane_owed += 1;
    let seq = own_place(state);
    state.replies.mark_blocking(seq);
    let receipt =
        Receipt { place: Place::Slot(seq), write: write.map(Box::new), ..Receipt::of_lease(session, Tenure::Last) };
    lease.lane.send(wire, (0, 0), state.now, || receipt);
    hold(session, state, lease);
    seq
}

/// Holds the session up until the reply on its connection is here.
pub(super) fn hold(session: &Session, state: &mut State, lease: Lease) {
    let (node, number) = (Arc::clone(&lease.node), Arc::clone(lease.lane.client_id()));
    session.client.block(Some(Blocked { node, number }));
    state.blocked = Some(lease);
}

fn monitor(session: &Rc<Session>, state: &mut State, lease: Lease, command: &Command<'_>) {
    lease.lane.wait_for(None);
    let seq = own_place(state);
    state.lane_owed += 1;
    let receipt = Receipt { place: Place::Stream(Some(seq)), ..Receipt::of_lease(session, Tenure::Leased) };
    lease.lane.send_endless(command.wire(), state.now, receipt);
    state.monitor = Some(lease);
}
