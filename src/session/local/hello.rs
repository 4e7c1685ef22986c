//! HELLO: the protocol version, with a login and a name if the client likes.

use std::sync::atomic::Ordering;

use super::auth::{self, Purpose};
use super::client::{self, Name};
use super::{Request, VERSION};
use crate::app::App;
use crate::origin::Origin;
use crate::resp::{Proto, encode};
use crate::session::{Session, State};

const UNSUPPORTED: &str = "NOPROTO unsupported protocol version";

/// What HELLO does once the client may say it.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// The version to switch to, if one was named.
    proto: Option<Proto>,
    /// SETNAME.
    name: Option<Name>,
}

/// `HELLO [version [AUTH username password] [SETNAME name]]`
pub(super) fn hello(request: &mut Request<'_>) {
    let command = request.command;
    let mut greeting = Greeting::default();
    if command.len() > 1 {
        let Some(version) = request.integer(1) else {
            return request.error("ERR Protocol version is not an integer or out of range");
        };
        // An upstream that speaks RESP2 only has no RESP3 replies to give.
        let newest = request.app().origins().map(Origin::proto).find(|newest| *newest == Proto::Resp2);
        let newest = newest.unwrap_or(Proto::Resp3);
        greeting.proto = match version {
            2 => Some(Proto::Resp2),
            3 if newest == Proto::Resp3 => Some(Proto::Resp3),
            _ => return request.error(UNSUPPORTED),
        };
    }
    let mut login = None;
    let mut at = 2;
    while at < command.len() {
        if let (true, Some(user), Some(password)) = (command.is(at, "auth"), command.opt(at + 1), command.opt(at + 2)) {
            login = Some((user, password));
            at += 3;
        } else if let (true, Some(name)) = (command.is(at, "setname"), command.opt(at + 1)) {
            match client::name(name) {
                Ok(name) => greeting.name = Some(name),
                Err(error) => return request.error(error),
            }
            at += 2;
        } else {
            let text = format!("ERR Syntax error in HELLO option '{}'", request.text(at));
            return request.error(&text);
        }
    }
    match login {
        Some((user, password)) => auth::log_in(request, Some(user), password, Purpose::Hello(greeting)),
        None => {
            let mut reply = Vec::new();
            greeting.conclude(request.session, request.state, &mut reply);
            request.out().extend_from_slice(&reply);
        }
    }
}

impl Greeting {
    /// Sets the name, switches the version, and says so in that version.
    pub(super) fn conclude(self, session: &Session, state: &mut State, reply: &mut Vec<u8>) {
        if let Some(name) = self.name {
            session.client.told().name = name.0;
        }
        if let Some(proto) = self.proto.filter(|proto| *proto != state.proto) {
            state.change_identity();
            state.proto = proto;
            session.client.proto.store(digit(proto), Ordering::Relaxed);
        }
        describe(&session.worker.app, session.id, state.proto, reply);
    }
}

/// The version's number.
pub(super) fn digit(proto: Proto) -> u8 {
    match proto {
        Proto::Resp2 => 2,
        Proto::Resp3 => 3,
    }
}

fn describe(app: &App, id: u64, proto: Proto, out: &mut Vec<u8>) {
    let text = |name: &str, value: &str, out: &mut Vec<u8>| {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    };
    encode::map(out, proto, 7);
    text("server", "redis", out);
    text("version", &version(app), out);
    encode::bulk(out, b"proto");
    encode::integer(out, i64::from(digit(proto)));
    encode::bulk(out, b"id");
    encode::integer(out, i64::try_from(id).unwrap_or(i64::MAX));
    text("mode", mode(app), out);
    text("role", "master", out);
    encode::bulk(out, b"modules");
    encode::array(out, 0);
}

/// As what Larder shows itself, whatever the upstream is.
pub(super) fn mode(app: &App) -> &'static str {
    if app.rules().config.cluster_facade { "cluster" } else { "standalone" }
}

/// The version of the Redis that clients are dealing with.
pub(super) fn version(app: &App) -> String {
    let told = app.home_origin().map(|origin| origin.learned.load().version.clone());
    told.filter(|version| !version.is_empty()).unwrap_or_else(|| VERSION.to_owned())
}
