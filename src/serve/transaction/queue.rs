//! Behind MULTI: what is queued and what is not, and EXEC and DISCARD.

use std::rc::Rc;
use std::sync::Arc;

use super::super::forward::{CROSS_SLOT, slot};
use super::super::lease::{self, Leased};
use super::super::{Flow, tracked};
use super::{EXECABORT, abort, because_of, call_off, send, waits_for_a_key};
use crate::command::{
    Access, Coverage, Effect, Flags, Lease as Use, Local, Reach, RequestPolicy, Spec, Way, effect, for_each_key, way,
};
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, encode};
use crate::session::local::pubsub::is_of_hub;
use crate::session::receiver::{Receipt, Tenure, Write};
use crate::session::transaction::Changes;
use crate::session::{Session, State};

/// A command behind MULTI.
pub(super) fn queue(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
) -> Flow {
    match &*spec.name {
        "exec" => return exec(session, state, origin, spec, command),
        "discard" => return discard(session, state, spec, command),
        _ => {}
    }
    if let Some(why) = refusal(spec, command) {
        return refuse_to_queue(session, state, &why);
    }
    let map = session.worker.map(origin);
    if waits_for_a_key(session, &map)
        && let Some(flow) = find_node(session, state, origin, &map, spec, command)
    {
        return flow;
    }
    let tracks = state.tracks();
    if way(spec, command) != Way::Leased(Use::Transaction)
        && let Some(transaction) = state.transaction.as_mut()
    {
        if tracks && !transaction.changes.add_read(tracked::keys(spec, command, Access::Read)) {
            let words = "ERR too many keys are read by this transaction for CLIENT TRACKING";
            return refuse_to_queue(session, state, words);
        }
        transaction.changes.note(spec, command);
    }
    send(session, state, spec, command, Effect::Inert, Tenure::Leased)
}

pub(in crate::serve) fn refuse_to_queue(session: &Session, state: &mut State, error: &str) -> Flow {
    session.worker.counters.errors.add(1);
    encode::error(state.replies.now(), error);
    abort(state);
    Flow::Next
}

/// Where a key has to tell: has the transaction a connection to send this command on? Answers for it if not.
fn find_node(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
) -> Option<Flow> {
    let transaction = state.transaction.as_mut()?;
    let wanted = match slot(map, spec, command) {
        // The nodes of a ring do not tell each other what one of them was told.
        Ok(None) if map.ring().is_some() && is_of_one_node(spec, command) => {
            if spec.request != RequestPolicy::Default {
                let name = spec.name.replace('|', " ").to_ascii_uppercase();
                let error = format!("CROSSSLOT {name} concerns every server, and a transaction is carried out by one");
                return Some(refuse_to_queue(session, state, &error));
            }
            map.spokesman_slot()
        }
        Ok(wanted) => wanted,
        Err(_) => u16::MAX.into(),
    };
    let crosses =
        wanted == Some(u16::MAX) || transaction.slot.is_some() && wanted.is_some() && wanted != transaction.slot;
    if crosses {
        return Some(refuse_to_queue(session, state, CROSS_SLOT));
    }
    if transaction.lease.is_some() {
        return None;
    }
    let Some(slot) = wanted else {
        if &*spec.name == "multi" {
            session.worker.counters.errors.add(1);
            encode::error(state.replies.now(), "ERR MULTI calls can not be nested");
            return Some(Flow::Next);
        }
        if !transaction.waiting.push(command.wire()) {
            let words = "ERR too many commands before the first key of this transaction";
            return Some(refuse_to_queue(session, state, words));
        }
        transaction.publishes |= is_of_hub(&spec.name);
        transaction.changes.note(spec, command);
        encode::simple(state.replies.now(), "QUEUED");
        return Some(Flow::Next);
    };
    let node = map.owner_of_slot(slot).map(|primary| &primary.node);
    match open(session, state, origin, node, Some(slot)) {
        Opened::Yes => None,
        Opened::Later => Some(Flow::Stall),
        Opened::No(error) => Some(refuse_to_queue(session, state, &error)),
    }
}

/// Whether it matters on which of several nodes a command without a key is carried out.
fn is_of_one_node(spec: &Spec, command: &Command<'_>) -> bool {
    let told = spec.request != RequestPolicy::Default || is_of_hub(&spec.name);
    way(spec, command) == Way::Forward && (told || effect(spec, command) != Effect::Inert)
}

enum Opened {
    Yes,
    Later,
    No(String),
}

/// Takes the connection of a transaction that has waited for its first key, and sends what has gathered.
fn open(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    node: Option<&Arc<Node>>,
    slot: Option<u16>,
) -> Opened {
    let Some(node) = node else { return Opened::No(origin.nobody()) };
    let lease = match lease::take(session, state, origin, node) {
        Leased::Yes(lease) => lease,
        Leased::Later => return Opened::Later,
        Leased::No(error) => return Opened::No(error),
    };
    let now = state.now;
    let Some(transaction) = state.transaction.as_mut() else { return Opened::Yes };
    let mut multi = Vec::new();
    encode::command(&mut multi, &[b"MULTI"]);
    lease.lane.send(&multi, (0, 0), now, || Receipt::of_lease(session, origin.number, Tenure::First));
    for request in transaction.waiting.take() {
        lease.lane.send(&request, (0, 0), now, || Receipt::of_lease(session, origin.number, Tenure::Leased));
    }
    transaction.slot = slot;
    transaction.lease = Some(lease);
    Opened::Yes
}

fn exec(session: &Rc<Session>, state: &mut State, origin: &Origin, spec: &Spec, command: &Command<'_>) -> Flow {
    let Some(transaction) = state.transaction.as_mut() else { return Flow::Next };
    if transaction.aborted {
        session.worker.counters.errors.add(1);
        call_off(session, state, EXECABORT);
        return Flow::Next;
    }
    if transaction.lease.is_none() {
        if transaction.waiting.is_empty() {
            state.transaction = None;
            encode::array(state.replies.now(), 0);
            return Flow::Next;
        }
        let map = session.worker.map(origin);
        match open(session, state, origin, map.any(), None) {
            Opened::Yes => {}
            Opened::Later => return Flow::Stall,
            Opened::No(error) => {
                state.transaction = None;
                encode::error(state.replies.now(), &because_of(&error));
                return Flow::Next;
            }
        }
    }
    send(session, state, spec, command, Effect::Inert, Tenure::Last)
}

fn discard(session: &Rc<Session>, state: &mut State, spec: &Spec, command: &Command<'_>) -> Flow {
    let Some(transaction) = state.transaction.as_mut() else { return Flow::Next };
    if transaction.lease.is_none() {
        state.transaction = None;
        encode::ok(state.replies.now());
        return Flow::Next;
    }
    send(session, state, spec, command, Effect::Inert, Tenure::Last)
}

/// Why a command is not queued, though the server might.
fn refusal(spec: &Spec, command: &Command<'_>) -> Option<String> {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    match way(spec, command) {
        Way::Forward | Way::Leased(Use::Transaction | Use::Block(_) | Use::Wait) => None,
        // The server answers these as well as Larder would.
        Way::Local(Local::Ping | Local::Echo | Local::Command | Local::ConfigGet | Local::Info) => None,
        Way::Local(_) => {
            Some(format!("ERR Larder does not serve {name} inside MULTI: it concerns this connection, not data"))
        }
        _ if spec.flags.has(Flags::NO_MULTI) => Some("ERR Command not allowed inside a transaction".to_owned()),
        Way::Leased(Use::Monitor) | Way::Refused => Some(format!("ERR Larder does not serve {name} inside MULTI")),
    }
}

impl Changes {
    /// Notes what a queued command may change.
    fn note(&mut self, spec: &Spec, command: &Command<'_>) {
        let effect = effect(spec, command);
        match effect {
            Effect::Read | Effect::Inert => return,
            Effect::Everything => {
                self.all();
                return;
            }
            Effect::Write(_) => {}
        }
        let coverage = for_each_key(spec, command, |at, access| {
            let key = command.arg(at);
            if access == Access::Write {
                self.add(key);
            }
        });
        self.undeclared |= effect == Effect::Write(Reach::Beyond) || coverage == Coverage::Partial;
    }

    /// Puts the fences up, before EXEC is sent.
    pub(super) fn fence(self, session: &Session, node: &Arc<Node>) -> Write {
        let near = &session.worker.app.near;
        if self.wholesale {
            node.coverage.begin_wholesale();
        }
        let told = session.worker.app.channels.get(node.upstream).is_some();
        Write {
            node: Arc::clone(node),
            changed: if told { self.keys.iter().map(|key| key[..].into()).collect() } else { Vec::new() },
            fences: self.keys.iter().map(|key| near.fence(node.upstream, key)).collect(),
            blocked_keys: Vec::new(),
            wholesale: self.wholesale,
            undeclared: self.undeclared,
        }
    }
}
