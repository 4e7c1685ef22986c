//! Commands that keep an upstream connection to themselves: those that may block, WAIT (in `wait`) and MONITOR.
//!
//! While a client is blocked, its further commands wait, as in Redis; other clients do not notice. When it leaves, its
//! connection is closed at once, and the server forgets that it waited. When the slot of its keys goes to another node,
//! the server sends it away, nothing having been done: it goes on waiting there.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::forward::{must_drain, own_place, slot, target};
use super::{Flow, degraded, tracked, wait};
use crate::clock::Micros;
use crate::command::{
    Access, Effect, Lease as Use, Quoted, Reach, Spec, Timeout, block_time, effect, for_each_key, with_block_time,
};
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, Proto, encode};
use crate::session::clients::Blocked;
use crate::session::lease::Lease;
use crate::session::receiver::{Again, Place, Receipt, Tenure, Write};
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

/// A command that may block, and how long it still may.
#[derive(Debug)]
pub struct Blocking {
    request: Quoted,
    timeout: Timeout,
    /// When its time is over, if that comes.
    until: Option<Micros>,
    /// The time that it says.
    time: Option<Duration>,
}

impl Blocking {
    /// How long it may still block; `None` for ever.
    fn left(&self, now: Micros) -> Option<Duration> {
        self.until.map_or(self.time, |until| Some(Duration::from_micros(until.since(now).0)))
    }

    /// The command with that time in it, where it is another than it says.
    fn request(&self, now: Micros, proto: Proto) -> Option<Bytes> {
        let left = self.left(now).filter(|_| self.until.is_some())?;
        let request = with_block_time(self.timeout, &self.request.command(), left, proto)?;
        Some(Bytes::copy_from_slice(request.command().wire()))
    }
}

/// Takes a connection to a node for the session alone.
pub(super) fn take(session: &Rc<Session>, state: &mut State, origin: &Origin, node: &Arc<Node>) -> Leased {
    if let Some(error) = degraded::why_not(&session.worker.rules(), origin, node, state.now) {
        return Leased::No(error);
    }
    let worker = &session.worker;
    let (name, most) = (&origin.name, worker.rules().config.upstreams[&origin.name].max_leases);
    let ticket = worker.ticket(session.id);
    let turn = match state.wants_lease {
        None => origin.leases.take(ticket, most as usize),
        Some(_) => origin.leases.take_granted(ticket),
    };
    if turn == Turn::Now {
        state.wants_lease = None;
        let identity = state.identity(origin);
        return Leased::Yes(worker.lease(node, &identity));
    }
    let (_, since) = *state.wants_lease.get_or_insert((origin.number, state.now));
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
    if must_drain(state, origin.number, map, Effect::Write(Reach::Beyond)) || state.lane_owed > 0 {
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
        Use::Block(timeout) => {
            let again = if map.is_split() { again(state, (origin, map), node, (spec, command), timeout) } else { None };
            block(session, state, node, lease, (spec, command), timeout, again);
        }
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
    again: Option<Box<Again>>,
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
    let seq = send(session, state, lease, command.wire(), write, again);
    tracked::note_forwarded(session, state, spec, command, seq);
}

/// Sends the command, and holds the session up until its reply is here.
pub(super) fn send(
    session: &Rc<Session>,
    state: &mut State,
    lease: Lease,
    wire: &[u8],
    write: Option<Write>,
    again: Option<Box<Again>>,
) -> u64 {
    state.lane_owed += 1;
    let seq = own_place(state);
    state.replies.mark_blocking(seq);
    let (place, write) = (Place::Slot(seq), write.map(Box::new));
    let receipt = Receipt { place, write, again, ..Receipt::of_lease(session, lease.node.upstream, Tenure::Last) };
    lease.lane.send(wire, (0, 0), state.now, || receipt);
    hold(session, state, lease);
    seq
}

/// What it takes to send a command that may block to another node; `None`: nobody knows how long it may.
fn again(
    state: &State,
    (origin, map): (&Origin, &Map),
    node: &Arc<Node>,
    (spec, command): (&Spec, &Command<'_>),
    timeout: Timeout,
) -> Option<Box<Again>> {
    let request = Quoted::new(command.args(0)).filter(|_| timeout != Timeout::Unknown)?;
    let time = block_time(timeout, command);
    let until = time.filter(|time| !time.is_zero()).map(|time| state.now.plus(Micros::of(time)));
    let identity = state.identity(origin);
    let wire = Bytes::copy_from_slice(command.wire());
    let again = Again::new(wire, slot(map, spec, command).unwrap_or_default(), identity, node);
    Some(Box::new(Again { blocking: Some(Blocking { request, timeout, until, time }), ..again }))
}

/// Sends a command that its node has not carried out, and no longer waits with, to the one that it named, on a connection
/// there in place of the one here, with what is left of its time.
pub(super) fn send_again(node: &Arc<Node>, mut receipt: Receipt, asking: bool) {
    let session = Rc::clone(&receipt.session);
    let mut state = session.state.borrow_mut();
    let Some(again) = receipt.again.as_mut() else { return };
    // The client may have left while the command was held back.
    let Some(lease) = state.blocked.take() else { return };
    let lease = lease.elsewhere(node, &again.identity);
    let now = Micros::now();
    let mut request = again.request.clone();
    if let Some(blocking) = &again.blocking {
        lease.lane.wait_for(blocking.left(now));
        request = blocking.request(now, node.proto()).unwrap_or(request);
    }
    again.node = Arc::clone(node);
    if let Some(write) = receipt.write.as_mut() {
        write.node = Arc::clone(node);
    }
    if asking {
        let mut words = Vec::new();
        encode::command(&mut words, &[b"ASKING"]);
        lease.lane.send(&words, (0, 0), now, || Receipt::of_lease(&session, node.upstream, Tenure::Leased));
    }
    lease.lane.send(&request, (0, 0), now, || receipt);
    hold(&session, &mut state, lease);
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
    let receipt =
        Receipt { place: Place::Stream(Some(seq)), ..Receipt::of_lease(session, lease.node.upstream, Tenure::Leased) };
    lease.lane.send_endless(command.wire(), state.now, receipt);
    state.monitor = Some(lease);
}
