//! Which upstream a command belongs to, where there are several, and commands that belong to more than one.
//!
//! A key belongs to the upstream of its route. What concerns no key belongs to the home upstream; what a cluster would tell all
//! of its primaries (FLUSHALL, SCRIPT LOAD, DBSIZE) is told to every upstream that serves it. A command whose keys lie on
//! several upstreams is split as it would be over the shards of a cluster, or refused as a cluster would.

use std::rc::Rc;
use std::sync::Arc;

use super::forward::{must_drain, own_place};
use super::scatter::{self, At, Part};
use super::{Flow, transaction};
use crate::app::{App, Backend};
use crate::command::{Access, Effect, Lease, Quoted, Spec, Way, effect};
use crate::memory::Memory;
use crate::resp::{Command, encode};
use crate::route::Destination;
use crate::session::local::pubsub::is_of_hub;
use crate::session::{Session, State};

/// Where a command is to be served.
pub(super) enum Where<'a> {
    /// By the upstream of this number.
    At(u16, &'a Backend),
    /// It has been served, or has to wait.
    Done(Flow),
}

/// Finds the upstream that a command belongs to. Serves what belongs to several, or to none.
#[inline]
pub(super) fn find<'a>(
    session: &'a Rc<Session>,
    state: &mut State,
    spec: &Spec,
    command: &Command<'_>,
    way: Way,
) -> Where<'a> {
    let app = &session.worker.app;
    if !app.several {
        return Where::At(app.home, app.home());
    }
    match way {
        Way::Local(_) | Way::Refused => Where::At(app.home, app.home()),
        Way::Forward | Way::Leased(_) => choose(session, state, spec, command, way),
    }
}

fn choose<'a>(session: &'a Rc<Session>, state: &mut State, spec: &Spec, command: &Command<'_>, way: Way) -> Where<'a> {
    let app = &session.worker.app;
    let queues = state.transaction.as_ref().is_some_and(|transaction| transaction.queues());
    let refuse = |state: &mut State, error: String| {
        match queues {
            true => transaction::refuse_to_queue(session, state, &error),
            false => {
                session.worker.counters.errors.add(1);
                encode::error(state.replies.now(), &error);
                Flow::Next
            }
        };
        Where::Done(Flow::Next)
    };
    let destination = session.worker.rules().routes.destination(spec, command);
    // Who publishes speaks to those who listen, who are at the home upstream.
    let bare = destination == Destination::Home && !(queues && is_of_hub(&spec.name) && app.broker().is_some());
    let number = match destination {
        Destination::Home => app.home,
        Destination::One(number) => number,
        Destination::Nowhere(at) => return refuse(state, nowhere(command.arg(at))),
        Destination::Several(first, other) if queues || spec.split_step().is_none() => {
            let names = (app.upstream_name(first), app.upstream_name(other));
            let text =
                format!("CROSSSLOT the keys of this command belong to the upstreams '{}' and '{}'", names.0, names.1);
            return refuse(state, text);
        }
        Destination::Several(..) => return Where::Done(by_keys(session, state, spec, command)),
    };
    let at = |number: u16| Where::At(number, app.backend(number));
    let Some(transaction) = &state.transaction else {
        return match way {
            Way::Forward if bare && spec.is_for_all() => Where::Done(everywhere(session, state, spec, command)),
            // It may be for any of them; the first key will tell.
            Way::Leased(Lease::Transaction) if bare => at(transactional(app)),
            _ => at(number),
        };
    };
    // What has begun on one upstream stays there.
    let begun = transaction.upstream().or((transaction.publishes && app.broker().is_some()).then_some(app.home));
    if !queues {
        let begins_or_ends = way == Way::Leased(Lease::Transaction);
        return match begun {
            Some(begun) if begins_or_ends && (bare || number == begun) => at(begun),
            Some(begun) if begins_or_ends => {
                let (first, other) = (app.upstream_name(begun), app.upstream_name(number));
                let text =
                    format!("CROSSSLOT keys of the upstreams '{first}' and '{other}' cannot be watched together");
                refuse(state, text)
            }
            None if begins_or_ends && bare => at(transactional(app)),
            _ => at(number),
        };
    }
    let backend = app.backend(number);
    match begun {
        _ if bare && spec.is_for_all() && effect(spec, command) == Effect::Everything => {
            let name = spec.name.to_ascii_uppercase();
            refuse(state, format!("CROSSSLOT {name} concerns every upstream, and a transaction is carried out by one"))
        }
        _ if bare => at(begun.unwrap_or_else(|| transactional(app))),
        Some(begun) if begun != number => {
            let (first, other) = (app.upstream_name(begun), app.upstream_name(number));
            let text =
                format!("CROSSSLOT the keys of this transaction belong to the upstreams '{first}' and '{other}'");
            refuse(state, text)
        }
        _ if !backend.origin().is_some_and(|origin| origin.is_redis()) => {
            let text = format!(
                "ERR upstream '{}' has no transactions: it is of kind {}",
                app.upstream_name(number),
                backend.kind()
            );
            refuse(state, text)
        }
        _ => at(number),
    }
}

fn nowhere(key: &[u8]) -> String {
    const WIDTH: usize = 64;
    let shown = key[..key.len().min(WIDTH)].escape_ascii();
    format!(
        "ERR no route leads from the key '{shown}' to an upstream; a last route with keys: [\"*\"] takes what others leave"
    )
}

/// The upstream on which a transaction without a key would run: the home upstream, or the first that has transactions.
fn transactional(app: &App) -> u16 {
    let redis = |number: &u16| app.origin(*number).is_some_and(|origin| origin.is_redis());
    let mut all = 0..app.upstreams.len() as u16;
    Some(app.home).filter(redis).or_else(|| all.find(redis)).unwrap_or(app.home)
}

/// Splits a command over the upstreams of its keys, and over the nodes of each.
fn by_keys(session: &Rc<Session>, state: &mut State, spec: &Spec, command: &Command<'_>) -> Flow {
    let app = &session.worker.app;
    if must_wait(session, state, effect(spec, command)) {
        return Flow::Stall;
    }
    let group = |key: &[u8]| {
        let number = session.worker.rules().routes.upstream_of(key);
        let slot = app.origin(number).map_or(0, |origin| session.worker.map(origin).slot(key));
        u32::from(number) << 16 | u32::from(slot)
    };
    let at = |group: u32| {
        let (number, slot) = ((group >> 16) as u16, group as u16);
        match app.origin(number) {
            None => Some(At::Memory(number)),
            Some(origin) => {
                let map = session.worker.map(origin);
                map.owner_of_slot(slot).map(|primary| At::Node(Arc::clone(&primary.node)))
            }
        }
    };
    let split = spec.split_step().and_then(|step| scatter::split(step, command, group, at));
    let whole = split.and_then(|(parts, places)| {
        let parts: Option<Vec<Part>> = parts.into_iter().collect();
        Some((parts?, spec.response.how_by_keys(places)?))
    });
    match whole {
        Some((parts, how)) => scatter::send(session, state, (spec, command), parts, how),
        None => {
            session.worker.counters.errors.add(1);
            encode::error(state.replies.now(), "CLUSTERDOWN nobody is known who owns some of these keys");
            Flow::Next
        }
    }
}

/// Tells every upstream that serves the command.
fn everywhere(session: &Rc<Session>, state: &mut State, spec: &Spec, command: &Command<'_>) -> Flow {
    let app = &session.worker.app;
    if must_wait(session, state, effect(spec, command)) {
        return Flow::Stall;
    }
    let mut parts = Vec::new();
    for (number, backend) in app.upstreams.iter().enumerate() {
        let nodes = match backend {
            _ if !backend.serves(spec) => continue,
            // It has but one database: there is nothing to be emptied in another.
            Backend::Servers(origin)
                if !origin.is_redis() && &*spec.name == "flushdb" && origin.databases.of(state.database) != 0 =>
            {
                continue;
            }
            Backend::Memory(_) => vec![At::Memory(number as u16)],
            Backend::Servers(origin) => {
                let map = session.worker.map(origin);
                if map.primaries().is_empty() {
                    session.worker.counters.errors.add(1);
                    encode::error(state.replies.now(), &origin.nobody());
                    return Flow::Next;
                }
                scatter::concerned(&map, spec).map(|node| At::Node(Arc::clone(node))).collect()
            }
        };
        let part = |at| Some(Part { at, request: Quoted::new(command.args(0))?, slot: None });
        parts.extend(nodes.into_iter().filter_map(part));
    }
    match spec.response.how(scatter::pick(session, state)) {
        Some(how) if !parts.is_empty() => scatter::send(session, state, (spec, command), parts, how),
        _ => {
            session.worker.counters.errors.add(1);
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            encode::error(state.replies.now(), &format!("ERR no upstream serves {name}"));
            Flow::Next
        }
    }
}

/// Whether the command must wait for replies that the session still awaits, of whatever upstream.
fn must_wait(session: &Session, state: &mut State, effect: Effect) -> bool {
    let app = &session.worker.app;
    app.origins().any(|origin| must_drain(state, origin.number, &session.worker.map(origin), effect))
}

/// Carries a command out in a store in this process.
pub(super) fn execute(
    session: &Rc<Session>,
    state: &mut State,
    (number, memory): (u16, &Memory),
    spec: &Spec,
    command: &Command<'_>,
) {
    let (database, proto) = (session.worker.app.database(number, state.database), state.proto);
    answer(session, state, (spec, command), |out| memory.execute(&spec.name, command, database, proto, out));
}

/// Writes a reply that is at hand. A client that keeps what it reads (CLIENT TRACKING) is told behind it not to keep this: nobody
/// would tell it of a change.
pub(super) fn answer(
    session: &Rc<Session>,
    state: &mut State,
    (spec, command): (&Spec, &Command<'_>),
    write: impl FnOnce(&mut Vec<u8>),
) {
    if !state.tracks() || effect(spec, command) != Effect::Read {
        return write(state.replies.now());
    }
    let seq = own_place(state);
    super::tracked::note_read(state, super::tracked::keys(spec, command, Access::Read), seq);
    let mut reply = Vec::new();
    write(&mut reply);
    let session = Rc::clone(session);
    tokio::task::spawn_local(async move { session.deliver(seq, 1, |out, _| out.extend_from_slice(&reply)) });
}
