//! SUBSCRIBE, UNSUBSCRIBE and their kin, in the words of Redis 7.0; and PUBLISH and PUBSUB where no upstream has them.
//!
//! Confirmations are pushes: a RESP3 client gets them as such, and CLIENT REPLY does not keep them back.

use super::Request;
use crate::app::App;
use crate::command::Spec;
use crate::pubsub::{Asked, Who};
use crate::resp::{Command, encode};
use crate::serve::Flow;
use crate::session::State;
use crate::session::subscriptions::Asking;
use crate::upstream::subscriber::{Kind, Name};

/// The reply of Redis to a RESP2 subscriber's command that is not served to such.
pub fn write_refusal(out: &mut Vec<u8>, spec: &Spec) {
    let text = format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
        spec.name
    );
    encode::error(out, &text);
}

/// `SUBSCRIBE channel ...`, `PSUBSCRIBE pattern ...`, `SSUBSCRIBE shardchannel ...`
pub(super) fn subscribe(request: &mut Request<'_>) -> Flow {
    let (kind, session) = (kind(request.spec), request.session);
    let names: Vec<Name> = request.command.args(1).map(Name::from).collect();
    let mut new: Vec<Name> = Vec::new();
    if let Some(subscriptions) = &request.state.subscriptions {
        if subscriptions.waits() && names.iter().any(|name| subscriptions.asks_for(kind, name)) {
            // Whether there is anything left to ask for will be known when those before are answered.
            return Flow::Stall;
        }
        new.extend(names.iter().filter(|name| !subscriptions.holds(kind, name)).cloned());
    } else {
        new.extend_from_slice(&names);
    }
    new.sort_unstable();
    new.dedup();
    let app = &session.worker.app;
    let most = app.rules().config.limits.max_subscriptions;
    if request.state.subscriptions.as_ref().map_or(0, |held| held.len()) + new.len() > most {
        request.error(&format!("ERR more subscriptions than limits.max_subscriptions ({most})"));
        return Flow::Next;
    }
    let who = Who { worker: session.worker.number, session: session.id };
    let asked = match new.is_empty() {
        true => Asked::Confirmed(Vec::new()),
        false => app.hub.subscribe(app, who, request.state.credentials.as_ref(), kind, new),
    };
    answer(request.state, kind, names, asked, request.session);
    Flow::Next
}

/// Answers now, if nothing stands before it; else it lines up.
fn answer(state: &mut State, kind: Kind, names: Vec<Name>, asked: Asked, session: &crate::session::Session) {
    let waits = state.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.waits());
    let proto = state.proto;
    let (request, claims, outcome) = match asked {
        Asked::Refused(error) if !waits => {
            session.worker.counters.errors.add(1);
            return encode::error(state.replies.now(), &error);
        }
        Asked::Confirmed(claims) if !waits => {
            let subscriptions = state.subscriptions.get_or_insert_default();
            state.replies.push(|out| subscriptions.confirm(out, proto, kind, &names, claims));
            return state.note_subscriptions(&session.client);
        }
        Asked::Refused(error) => (None, Vec::new(), Some(Err(error.into()))),
        Asked::Confirmed(claims) => (None, claims, Some(Ok(()))),
        Asked::Awaited(request, claims) => (Some(request), claims, None),
    };
    let muted = state.replies.muted();
    let seq = state.replies.await_pushes(proto);
    let asking = Asking { request, seq, kind, names, claims, outcome, muted };
    state.subscriptions.get_or_insert_default().enqueue(asking);
}

/// `UNSUBSCRIBE [channel ...]` and its kin: without names, everything of that kind.
pub(super) fn unsubscribe(request: &mut Request<'_>) {
    let (kind, session, proto) = (kind(request.spec), request.session, request.proto());
    let state = &mut *request.state;
    let subscriptions = state.subscriptions.get_or_insert_default();
    let mut names: Vec<Option<Name>> = request.command.args(1).map(|name| Some(Name::from(name))).collect();
    if names.is_empty() {
        names.extend(subscriptions.names(kind).into_iter().map(Some));
    }
    if names.is_empty() {
        names.push(None);
    }
    let mut given_up = Vec::new();
    state.replies.push(|out| {
        for name in &names {
            given_up.extend(subscriptions.give_up(out, proto, kind, name.as_deref()));
        }
    });
    session.worker.app.hub.unsubscribe(session.worker.number, &given_up);
    state.note_subscriptions(&session.client);
}

fn kind(spec: &Spec) -> Kind {
    let of = |kind: &Kind| [kind.subscribe(), kind.unsubscribe()].contains(&&*spec.name);
    Kind::ALL.into_iter().find(of).unwrap_or(Kind::Channel)
}

// === without an upstream ===

/// Whether [`answer_from_hub`] answers the command of this row name.
pub fn is_of_hub(name: &str) -> bool {
    matches!(
        name,
        "publish"
            | "spublish"
            | "pubsub|channels"
            | "pubsub|shardchannels"
            | "pubsub|numpat"
            | "pubsub|numsub"
            | "pubsub|shardnumsub"
    )
}

/// PUBLISH and PUBSUB with the memory upstream; whether the command was one of them.
pub fn answer_from_hub(app: &App, spec: &Spec, command: &Command<'_>, out: &mut Vec<u8>) -> bool {
    if !is_of_hub(&spec.name) {
        return false;
    }
    let hub = &app.hub;
    let count = |out: &mut Vec<u8>, count: usize| encode::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
    match &*spec.name {
        "publish" => count(out, hub.publish(app, Kind::Channel, command.arg(1), command.arg(2))),
        "spublish" => count(out, hub.publish(app, Kind::Shard, command.arg(1), command.arg(2))),
        "pubsub|numpat" => count(out, hub.figures().names[Kind::Pattern.index()]),
        "pubsub|channels" | "pubsub|shardchannels" if command.len() > 3 => {
            let name = String::from_utf8_lossy(command.arg(1));
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP.");
            encode::error(out, &text);
        }
        "pubsub|channels" => names(out, &hub.names(Kind::Channel, command.opt(2).unwrap_or(b"*"))),
        "pubsub|shardchannels" => names(out, &hub.names(Kind::Shard, command.opt(2).unwrap_or(b"*"))),
        name => {
            let kind = if name == "pubsub|numsub" { Kind::Channel } else { Kind::Shard };
            encode::array(out, 2 * (command.len() - 2));
            for name in command.args(2) {
                encode::bulk(out, name);
                count(out, hub.audience(kind, name).members);
            }
        }
    }
    true
}

fn names(out: &mut Vec<u8>, names: &[Name]) {
    encode::array(out, names.len());
    names.iter().for_each(|name| encode::bulk(out, name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Table;

    #[test]
    fn each_command_is_of_its_kind() {
        let table = Table::builtin();
        for kind in Kind::ALL {
            for name in [kind.subscribe(), kind.unsubscribe()] {
                let spec = table.find(name.as_bytes()).expect("a command of Redis");
                assert_eq!(super::kind(spec), kind, "{name}");
            }
        }
    }
}
