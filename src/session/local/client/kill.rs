//! CLIENT KILL: one client by its address, or all that pass every filter.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Request, SYNTAX_ERROR};
use super::list::{self, Type};
use crate::app::App;
use crate::clock::Micros;
use crate::inbox::Letter;
use crate::resp::encode;
use crate::session::Ending;
use crate::session::clients::Client;

/// Whom to kill: who passes everything that is set.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    user: Option<String>,
    kind: Option<Type>,
    /// In whole seconds.
    min_age: Option<u64>,
    spare_self: bool,
}

/// `CLIENT KILL addr`, or `CLIENT KILL option value ...`
pub(super) fn kill(request: &mut Request<'_>) {
    let old_form = request.command.len() == 3;
    let filter = if old_form {
        // Who names an address means it, even if it is the own one.
        Filter { address: Some(request.text(2)), ..Filter::default() }
    } else {
        match filter(request) {
            Ok(filter) => filter,
            Err(error) => return request.error(&error),
        }
    };
    let app = &request.session.worker.app;
    let own = request.session.id;
    let mut victims = app.clients.list();
    victims.retain(|client| filter.meets(app, client) && !(filter.spare_self && client.id == own));
    for client in victims.iter().filter(|client| client.id != own) {
        close(app, client);
    }
    match (old_form, victims.len()) {
        (true, 0) => request.error("ERR No such client"),
        (true, _) => request.ok(),
        (false, count) => encode::integer(request.out(), i64::try_from(count).unwrap_or(i64::MAX)),
    }
    if victims.iter().any(|client| client.id == own) {
        request.state.ending = request.state.ending.max(Ending::AfterReplies);
    }
}

/// Ends a client, whatever worker it lives on; from now on it is not listed.
fn close(app: &App, client: &Arc<Client>) {
    client.killed.store(true, Ordering::Release);
    if let Some(inbox) = app.inboxes.get(usize::from(client.worker)) {
        inbox.post([Letter::Kill(client.id)]);
    }
}

/// Reads the options; the error is the reply.
fn filter(request: &Request<'_>) -> Result<Filter, String> {
    let command = request.command;
    let mut filter = Filter { spare_self: true, ..Filter::default() };
    let positive =
        |at: usize| request.integer(at).and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    for at in (2..command.len()).step_by(2) {
        let Some(value) = command.opt(at + 1) else {
            return Err(SYNTAX_ERROR.to_owned());
        };
        let text = String::from_utf8_lossy(value).into_owned();
        if command.is(at, "id") {
            filter.id = Some(positive(at + 1).ok_or("ERR client-id should be greater than 0")?);
        } else if command.is(at, "type") {
            filter.kind = Some(list::client_type(request, at + 1)?);
        } else if command.is(at, "addr") {
            filter.address = Some(text);
        } else if command.is(at, "laddr") {
            filter.local_address = Some(text);
        } else if command.is(at, "user") {
            // Only the upstream knows its users; a store of our own has but one.
            if request.app().broker().is_none() && text != "default" {
                return Err(format!("ERR No such user '{text}'"));
            }
            filter.user = Some(text);
        } else if command.is(at, "maxage") {
            filter.min_age = Some(positive(at + 1).ok_or("ERR maxage should be greater than 0")?);
        } else if command.is(at, "skipme") && text.eq_ignore_ascii_case("yes") {
            filter.spare_self = true;
        } else if command.is(at, "skipme") && text.eq_ignore_ascii_case("no") {
            filter.spare_self = false;
        } else {
            return Err(SYNTAX_ERROR.to_owned());
        }
    }
    Ok(filter)
}

impl Filter {
    fn meets(&self, app: &App, client: &Client) -> bool {
        let age = || Micros::now().since(client.since).duration().as_secs();
        self.id.is_none_or(|id| id == client.id)
            && self.address.as_ref().is_none_or(|address| *address == client.address)
            && self.local_address.as_ref().is_none_or(|address| *address == client.local_address)
            && self.kind.is_none_or(|kind| kind == Type::of(client))
            && self.min_age.is_none_or(|least| age() >= least)
            && self.user.as_ref().is_none_or(|user| *user == list::user(app, client))
    }
}
