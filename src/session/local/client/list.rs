//! CLIENT LIST and CLIENT INFO: a line per client, in the format of Redis 7.0 with the two library fields of 7.2.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::super::{Request, SYNTAX_ERROR};
use crate::app::App;
use crate::clock::Micros;
use crate::resp::encode;
use crate::session::clients::Client;
use crate::upstream::subscriber::Kind;

/// What a client can be for CLIENT LIST and KILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// An ordinary client.
    Normal,
    /// A subscriber.
    Pubsub,
    /// A primary or a replica, of which there are none.
    Other,
}

impl Type {
    pub(super) fn of(client: &Client) -> Self {
        if client.is_subscriber() { Self::Pubsub } else { Self::Normal }
    }
}

/// Reads a client type; the error is the reply.
pub(super) fn client_type(request: &Request<'_>, at: usize) -> Result<Type, String> {
    let name = request.text(at);
    match name.to_ascii_lowercase().as_str() {
        "normal" => Ok(Type::Normal),
        "pubsub" => Ok(Type::Pubsub),
        "slave" | "replica" | "master" => Ok(Type::Other),
        _ => Err(format!("ERR Unknown client type '{name}'")),
    }
}

/// `CLIENT INFO`
pub(super) fn own(request: &mut Request<'_>) {
    note_command(request);
    let mut text = String::new();
    line(request.app(), &request.session.client, &mut text);
    let proto = request.proto();
    encode::verbatim(request.out(), proto, "txt", text.as_bytes());
}

/// `CLIENT LIST [TYPE type] [ID id ...]`
pub(super) fn list(request: &mut Request<'_>) {
    let command = request.command;
    let clients = if command.len() == 2 {
        request.app().clients.list()
    } else if command.len() == 4 && command.is(2, "type") {
        match client_type(request, 3) {
            Ok(wanted) => {
                let mut clients = request.app().clients.list();
                clients.retain(|client| Type::of(client) == wanted);
                clients
            }
            Err(error) => return request.error(&error),
        }
    } else if command.len() > 3 && command.is(2, "id") {
        let ids: Option<Vec<i64>> = (3..command.len()).map(|at| request.integer(at)).collect();
        let Some(ids) = ids else {
            return request.error("ERR Invalid client ID");
        };
        let all = request.app().clients.list();
        // As they were asked for, twice if asked for twice.
        let find = |id: &i64| all.iter().find(|client| i64::try_from(client.id) == Ok(*id)).cloned();
        ids.iter().filter_map(find).collect()
    } else {
        return request.error(SYNTAX_ERROR);
    };
    note_command(request);
    let mut text = String::new();
    clients.iter().for_each(|client| line(request.app(), client, &mut text));
    let proto = request.proto();
    encode::verbatim(request.out(), proto, "txt", text.as_bytes());
}

/// The client's own line shows the command that asks for it.
fn note_command(request: &Request<'_>) {
    request.session.client.note_command(&request.spec.name, request.state.now);
}

/// As whom a client's commands are sent.
pub(in super::super) fn user(app: &App, client: &Client) -> String {
    let configured = || app.home_origin()?.model.credentials.as_ref()?.username.clone();
    let own = client.told().user.clone();
    own.or_else(configured).unwrap_or_else(|| "default".to_owned())
}

/// One client. What Redis counts and Larder does not (query buffers, output lists, memory) is 0.
fn line(app: &App, client: &Client, out: &mut String) {
    let now = Micros::now();
    let seconds = |since: u64| now.since(Micros(since)).duration().as_secs();
    let user = user(app, client);
    let told = client.told().clone();
    let mut flags = String::new();
    let subscriptions = |kind: Kind| client.subscriptions[kind.index()].load(Ordering::Relaxed);
    for (set, flag) in [
        (client.is_subscriber(), 'P'),
        (client.blocked().is_some(), 'b'),
        (client.ip.is_none(), 'U'),
        (told.no_evict, 'e'),
        (told.no_touch, 'T'),
    ] {
        flags.extend(set.then_some(flag));
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let command = if told.command.is_empty() { "NULL" } else { &told.command };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi=-1 qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={command} user={user} \
         redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.address,
        client.local_address,
        told.name,
        seconds(client.since.0),
        seconds(client.active_at.load(Ordering::Relaxed)),
        client.database.load(Ordering::Relaxed),
        subscriptions(Kind::Channel),
        subscriptions(Kind::Pattern),
        subscriptions(Kind::Shard),
        client.proto.load(Ordering::Relaxed),
        told.library,
        told.library_version,
    );
}
