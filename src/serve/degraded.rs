//! What a command gets while a server that it needs is not asked: the rungs of the ladder.
//!
//! | rung | what the cache holds | what it does not, or a write |
//! |---|---|---|
//! | local-only | is answered while it lives | fails at once |
//! | stale-read-only | is answered also for a while after | fails at once |
//! | passthrough | is left aside | is tried, for a short time |
//! | reject | fails at once | fails at once |
//!
//! Entered only while something is wrong with the upstream ([`Origin::is_well`]), and then for every command: each of its keys has a
//! route, hence a ladder, and a node, hence a rung on it, and the worst of these decides. A write that is not sent leaves nothing of
//! its keys in the cache: who has tried to write is not shown what was there before.

mod cached;

use std::rc::Rc;
use std::sync::Arc;

use super::forward::{lane, quoted};
use super::{Flow, may_ask_cache, transaction};
use crate::cache::near::Cause;
use crate::clock::Micros;
use crate::command::{
    Access, Effect, Lease, RequestPolicy, Spec, Way, cacheable, effect, for_each_key, for_each_shard_channel,
};
use crate::ladder::{Rung, Standing};
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, Proto, encode};
use crate::route::Policy;
use crate::rules::Rules;
use crate::session::{Session, State};
use cached::from_cache;
pub(super) use cached::{Found, preface};

/// How it goes on with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As if nothing were wrong.
    GoOn,
    /// To the origin, whatever the cache holds.
    PastCache,
    /// It is answered, or has to wait.
    Done(Flow),
}

/// In `Counters::degraded`.
const FROM_CACHE: usize = 0;
const TO_ORIGIN: usize = 1;
const REFUSED: usize = 2;

/// A node that a command needs, and what is to be done if it is down.
#[derive(Clone, Copy)]
struct Need<'a> {
    node: &'a Arc<Node>,
    standing: Standing,
}

/// What all the needs of a command come to.
struct Needs<'a> {
    worst: Need<'a>,
    /// Others of its nodes are well.
    mixed: bool,
}

/// Judges a command while something is wrong with the upstream.
#[cold]
#[inline(never)]
pub(super) fn serve(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    way: Way,
) -> Verdict {
    if !asks_a_server(state, spec, way) {
        return Verdict::GoOn;
    }
    let map = session.worker.map(origin);
    let begins = way == Way::Leased(Lease::Transaction);
    if begins && &*spec.name == "multi" && transaction::waits_for_a_key(session, &map) {
        // That will tell which node it needs.
        return Verdict::GoOn;
    }
    let Needs { worst, mixed } = needs(session, state.now, origin, &map, spec, command);
    let rung = worst.standing.rung;
    let tally = |what: usize| session.worker.counters.degraded[rung as usize][what].add(1);
    match rung {
        Rung::Normal => return Verdict::GoOn,
        Rung::Passthrough => {
            tally(TO_ORIGIN);
            if way == Way::Forward {
                lane(session, state, origin, worst.node).try_for(worst.standing.timeout);
            }
            return Verdict::PastCache;
        }
        Rung::LocalOnly | Rung::StaleReadOnly | Rung::Reject => {}
    }
    let effect = effect(spec, command);
    forget(session, spec, command);
    if rung != Rung::Reject && effect == Effect::Read {
        if reads_from_replica(session, &map, spec, command) {
            return Verdict::GoOn;
        }
        if let Some(kind) = cacheable(spec, command).filter(|_| may_ask_cache(state)) {
            if mixed && spec.request == RequestPolicy::MultiShard {
                // The parts for nodes that are well are asked for, the others come from the cache (see `part`).
                return Verdict::GoOn;
            }
            if let Ok(found) = from_cache(session, state, origin, &map, spec, command, kind) {
                tally(FROM_CACHE);
                let (staleness, proto) = (state.staleness, state.proto);
                found.write(staleness, proto, state.replies.now());
                return Verdict::Done(Flow::Next);
            }
        } else {
            session.worker.counters.reads_elsewhere.add(1);
        }
    }
    tally(REFUSED);
    session.worker.counters.errors.add(1);
    let error = refusal(origin, &worst, spec, effect, state.now);
    if begins {
        transaction::fail_to_begin(state, &*spec.name == "multi", &error);
    } else {
        encode::error(state.replies.now(), &error);
    }
    Verdict::Done(Flow::Next)
}

/// A part of a command that is split over several nodes: `None` if its node may be asked, else its reply from the cache, with what
/// is to stand before the whole; or why there is none.
pub(super) fn part(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    spec: &Spec,
    command: &Command<'_>,
) -> Option<Result<Found, String>> {
    let Needs { worst, .. } = needs(session, state.now, origin, map, spec, command);
    let rung = worst.standing.rung;
    if matches!(rung, Rung::Normal | Rung::Passthrough) {
        return None;
    }
    let effect = effect(spec, command);
    let kind =
        cacheable(spec, command).filter(|_| effect == Effect::Read && rung != Rung::Reject && may_ask_cache(state));
    let found = kind.and_then(|kind| from_cache(session, state, origin, map, spec, command, kind).ok());
    let what = if found.is_some() { FROM_CACHE } else { REFUSED };
    session.worker.counters.degraded[rung as usize][what].add(1);
    Some(found.ok_or_else(|| refusal(origin, &worst, spec, effect, state.now)))
}

/// A read that was sent and will not be answered: from the cache, if its node is down by now. `None`: nothing is to be said of it here.
pub(super) fn rescue(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    request: &[u8],
    proto: Proto,
) -> Option<Result<Vec<u8>, String>> {
    // (Behind it the client may have changed its database or user.)
    if origin.is_well() || state.drain_first {
        return None;
    }
    let quoted = quoted(request)?;
    let command = quoted.command();
    let table = session.worker.table.borrow();
    let spec = table.resolve(&command).ok()?;
    let map = session.worker.map(origin);
    if effect(spec, &command) != Effect::Read {
        return None;
    }
    // The session may speak another version by now.
    let present = std::mem::replace(&mut state.proto, proto);
    let answer = part(session, state, origin, &map, spec, &command);
    state.proto = present;
    answer.map(|answer| {
        answer.map(|found| {
            let mut bytes = Vec::new();
            found.write(state.staleness, proto, &mut bytes);
            bytes
        })
    })
}

/// Why a node may not be asked for something that was begun already, if so.
pub(super) fn why_not(rules: &Rules, origin: &Origin, node: &Arc<Node>, now: Micros) -> Option<String> {
    if origin.is_well() {
        return None;
    }
    let policy = rules.routes.rest();
    let standing = origin.standing(node, rules.ladders.get(policy.ladder), now);
    let asked = matches!(standing.rung, Rung::Normal | Rung::Passthrough);
    (!asked).then(|| words(origin, &Need { node, standing }, "MASTERDOWN", "nothing was sent", now))
}

/// Whether the command is sent to a server at all.
fn asks_a_server(state: &State, spec: &Spec, way: Way) -> bool {
    match way {
        Way::Local(_) | Way::Refused => false,
        // What has begun goes the way of its own connection.
        _ if state.transaction.as_ref().is_some_and(|transaction| !transaction.is_lost()) => false,
        Way::Leased(Lease::Transaction) => state.transaction.is_none() && matches!(&*spec.name, "multi" | "watch"),
        Way::Leased(_) | Way::Forward => true,
    }
}

/// Which nodes the command needs, and how they stand.
fn needs<'a>(
    session: &'a Session,
    now: Micros,
    origin: &'a Origin,
    map: &'a Map,
    spec: &Spec,
    command: &Command<'_>,
) -> Needs<'a> {
    let rules = session.worker.rules();
    let need = |node: &'a Arc<Node>, policy: &Policy| {
        let standing = origin.standing(node, rules.ladders.get(policy.ladder), now);
        Need { node, standing }
    };
    let mut all = None;
    for_each_key(spec, command, |at, _| {
        let key = command.arg(at);
        add(&mut all, need(origin.answering(map, key), rules.routes.find(key)));
    });
    for_each_shard_channel(spec, command, |at| {
        add(&mut all, need(origin.answering(map, command.arg(at)), rules.routes.rest()));
    });
    if all.is_none() && map.is_split() && spec.request != RequestPolicy::Default {
        map.primaries().iter().for_each(|primary| add(&mut all, need(&primary.node, rules.routes.rest())));
    }
    all.unwrap_or_else(|| Needs {
        worst: need(map.spokesman().unwrap_or(&origin.vacancy), rules.routes.rest()),
        mixed: false,
    })
}

fn add<'a>(all: &mut Option<Needs<'a>>, need: Need<'a>) {
    let Some(needs) = all else {
        *all = Some(Needs { worst: need, mixed: false });
        return;
    };
    let normal = |need: &Need<'_>| need.standing.rung == Rung::Normal;
    needs.mixed |= normal(&needs.worst) != normal(&need);
    if need.standing.rung > needs.worst.standing.rung {
        needs.worst = need;
    }
}

/// Leaves nothing of a write's keys in the cache; of a read's there is nothing to leave.
pub(super) fn forget(session: &Session, spec: &Spec, command: &Command<'_>) {
    let app = &session.worker.app;
    match effect(spec, command) {
        Effect::Read | Effect::Inert => {}
        Effect::Everything => {
            for origin in app.origins() {
                origin.keepers(&origin.map()).for_each(|node| app.near.flush(&node.coverage));
            }
        }
        Effect::Write(_) => {
            for_each_key(spec, command, |at, access| {
                let key = command.arg(at);
                if access == Access::Write {
                    app.near.invalidate(session.worker.rules().routes.upstream_of(key), key, Cause::Write);
                }
            });
        }
    }
}

/// Whether all keys of a read may be read from a replica, and there is one that may be asked.
fn reads_from_replica(session: &Session, map: &Map, spec: &Spec, command: &Command<'_>) -> bool {
    let mut some = None;
    for_each_key(spec, command, |at, _| {
        let key = command.arg(at);
        let there = session.worker.rules().routes.find(key).from_replicas
            && map.owning(key).is_some_and(|primary| primary.replicas.iter().any(|replica| replica.breaker.flows()));
        some = Some(some.unwrap_or(true) && there);
    });
    some == Some(true)
}

/// What the client is told.
fn refusal(origin: &Origin, need: &Need<'_>, spec: &Spec, effect: Effect, now: Micros) -> String {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    match (need.standing.rung, effect) {
        (Rung::Reject, _) => words(origin, need, "CLUSTERDOWN", &format!("{name} is not served"), now),
        (_, Effect::Write(_) | Effect::Everything) => words(origin, need, "READONLY", "nothing was written", now),
        (_, Effect::Read) => words(origin, need, "MASTERDOWN", &format!("{name} has no reply in the cache"), now),
        _ => words(origin, need, "MASTERDOWN", &format!("{name} needs it"), now),
    }
}

fn words(origin: &Origin, need: &Need<'_>, code: &str, what: &str, now: Micros) -> String {
    let (name, address, reason) = (&origin.name, &need.node.endpoint.address, origin.reason(need.node, now));
    let (rung, since) = (need.standing.rung.name(), now.since(need.standing.since).duration().as_secs());
    format!("{code} upstream '{name}' at {address} is not asked ({rung} since {since}s: {reason}): {what}")
}
