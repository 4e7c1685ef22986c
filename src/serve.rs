//! The walk of a request, as one function that reads top to bottom.
//!
//! * [`reads`]: what the near-cache may answer.
//! * [`mod@forward`]: what goes to the node that owns its keys.
//! * `across`: which upstream a command belongs to, and commands that belong to several.
//! * `degraded`: what is served while a server that is needed is down.
//! * [`gate`]: what is for administrators.
//! * `transaction`, `lease`: what needs a connection of its own.
//! * [`redirect`]: what that node sends on to another one.

mod across;
mod degraded;
pub mod forward;
pub mod gate;
pub mod lease;
pub mod reads;
pub mod redirect;
pub mod scan;
mod scatter;
mod tracked;
mod transaction;
pub mod wait;

use std::rc::Rc;

use crate::app::Backend;
use crate::command::{Lease, Local, Spec, Way, cacheable, way};
use crate::logs::sample;
use crate::origin::Origin;
use crate::resp::{Command, encode};
use crate::session::local;
use crate::session::subscriptions::Admission;
use crate::session::transaction::Phase;
use crate::session::{Ending, Session, State};
use crate::upstream::memcached;
use across::Where;
use degraded::Verdict;
pub(crate) use forward::addressee;
use forward::{Cover, forward};
pub use forward::{forward_again, outdate, rescue};
use reads::Served;

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next command.
    Next,
    /// The same command again, when some of the awaited replies are there.
    Stall,
}

/// Serves one command of a session: its reply is written, or a place for it is taken in the line.
#[inline]
pub fn serve(session: &Rc<Session>, state: &mut State, command: &Command<'_>) -> Flow {
    let flow = walk(session, state, command);
    if state.tracking.is_some() && flow == Flow::Next {
        tracked::end_of_command(state, command);
    }
    flow
}

fn walk(session: &Rc<Session>, state: &mut State, command: &Command<'_>) -> Flow {
    let worker = &session.worker;
    worker.counters.commands.add(1);

    // Command table: what is it?
    let table = worker.table.borrow();
    let app = &worker.app;
    let spec = match table.resolve(command) {
        Ok(spec) => spec,
        Err(_) if smuggled(command) => {
            // An HTTP request sent to this port: what follows may be an attack from a browser. As Redis does.
            if sample::HTTP.admits() {
                tracing::warn!(client = session.id, "closed: bytes of an HTTP request, possibly an attack");
            }
            state.ending = Ending::Now;
            return Flow::Next;
        }
        Err(error) => {
            let asks = || app.home_origin().is_some_and(Origin::is_redis);
            match table.stranger(command).filter(|row| asks() && admission(state, row) != Admission::No) {
                // The upstream may know it: its word, and until then a write of any key.
                Some(stranger) => stranger,
                None => {
                    transaction::misspelt(session, state, command, &error);
                    return Flow::Next;
                }
            }
        }
    };
    let way = way(spec, command);

    // A subscriber: what may it say now?
    match admission(state, spec) {
        Admission::Yes => {}
        Admission::Later => return Flow::Stall,
        Admission::No => {
            worker.counters.errors.add(1);
            local::pubsub::write_refusal(state.replies.now(), spec);
            return Flow::Next;
        }
    }

    // Administration, where the configuration does not open it?
    if let Some(error) = gate::refusal(worker, spec) {
        worker.counters.errors.add(1);
        encode::error(state.replies.now(), &error);
        transaction::abort(state);
        return Flow::Next;
    }

    // Route: which upstream do its keys belong to?
    let (number, backend) = match across::find(session, state, spec, command, way) {
        Where::At(number, backend) => (number, backend),
        Where::Done(flow) => return flow,
    };
    state.note_routed();
    let origin = backend.origin();
    // Transactions, connections of one's own, messages: what servers of Redis have beside keys.
    let redis = origin.filter(|origin| origin.is_redis());

    // Ladder: may the servers that it needs be asked now?
    let mut may_be_cached = true;
    if let Some(origin) = origin.filter(|origin| !origin.is_well()) {
        match degraded::serve(session, state, origin, spec, command, way) {
            Verdict::GoOn => {}
            Verdict::PastCache => may_be_cached = false,
            Verdict::Done(flow) => return flow,
        }
    }

    // A transaction has a connection of its own, and takes what comes while it lasts.
    if state.transaction.is_some() || way == Way::Leased(Lease::Transaction) {
        let served = match redis {
            Some(origin) => transaction::serve(session, state, origin, spec, command),
            // What another upstream watches is no concern of this one.
            None if state.transaction.as_ref().is_some_and(|transaction| !transaction.is_void()) => None,
            None => transaction::refuse(session, state, backend.kind(), spec),
        };
        if let Some(flow) = served {
            return flow;
        }
    }

    // Answered here, on a connection of its own, or not at all?
    match (way, redis) {
        (Way::Forward, _) => {}
        // The stream that it ends has not begun yet.
        (Way::Local(Local::Reset), _) if state.monitor.is_some() && state.lane_owed > 0 => return Flow::Stall,
        (Way::Local(which), _) => {
            let flow = local::answer(which, session, state, spec, command, &table);
            worker.counters.local.add(u64::from(flow == Flow::Next));
            return flow;
        }
        (Way::Leased(purpose), Some(origin)) => {
            return lease::serve(session, state, origin, &worker.map(origin), spec, command, purpose);
        }
        (Way::Leased(_) | Way::Refused, _) => {
            worker.counters.errors.add(1);
            encode::error(state.replies.now(), &refusal(backend, spec, way));
            return Flow::Next;
        }
    }

    // Upstream: the store in this process answers at once, and needs no cache before it.
    if redis.is_none() && local::pubsub::answer_from_hub(app, spec, command, state.replies.now()) {
        return Flow::Next;
    }
    let origin = match backend {
        // Refused by name, before anything is sent.
        Backend::Servers(_) if !backend.serves(spec) => {
            worker.counters.errors.add(1);
            encode::error(state.replies.now(), &memcached::not_served(&spec.name));
            return Flow::Next;
        }
        Backend::Servers(origin) => &**origin,
        Backend::Memory(memory) => {
            across::execute(session, state, (number, memory), spec, command);
            return Flow::Next;
        }
    };
    let map = worker.map(origin);

    // Near-cache: may the reply be there, and is it?
    let kind = cacheable(spec, command);
    let mut cover = if kind.is_some() { Cover::Possible } else { Cover::Never };
    if let Some(kind) = kind
        && may_ask_cache(state)
    {
        if may_be_cached && reads::read(session, state, (origin, &map), spec, command, kind) == Served::Yes {
            return Flow::Next;
        }
        worker.counters.bypassed.add(1);
        // Perhaps its node has gone, and nobody has noticed yet.
        if !may_be_cached || !origin.answering(&map, command.arg(1)).coverage.holds(state.now) {
            cover = Cover::Gone;
        }
    }

    // Origin.
    forward(session, state, origin, &map, spec, command, cover)
}

#[inline]
fn admission(state: &State, spec: &Spec) -> Admission {
    state.subscriptions.as_ref().map_or(Admission::Yes, |subscriptions| subscriptions.admits(spec, state.proto))
}

/// A client with credentials of its own may be allowed less than the cache holds; behind an awaited script, or replies of
/// another identity, the order of things is the origin's to say; and behind WATCH a reply from the cache would be one that
/// the server does not know of.
#[inline]
fn may_ask_cache(state: &State) -> bool {
    // (Entries number databases with 16 bits.)
    state.database <= u32::from(u16::MAX)
        && state.credentials.is_none()
        && state.opaque_owed == 0
        && !state.drain_first
        && state.transaction.as_ref().is_none_or(|transaction| matches!(transaction.phase, Phase::Lost(_)))
}

/// Words of an HTTP request, as Redis knows them.
fn smuggled(command: &Command<'_>) -> bool {
    command.is(0, "post") || command.is(0, "host:")
}

fn refusal(backend: &Backend, spec: &Spec, way: Way) -> String {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    match way {
        Way::Leased(_) => {
            format!("ERR the {} upstream does not serve {name}: nobody could ever wake a client there", backend.kind())
        }
        _ => format!("ERR Larder does not serve {name}: it would change a connection that many clients share"),
    }
}
