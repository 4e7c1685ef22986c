//! CLIENT: what concerns the client's own connection, and the list of all.
//!
//! What would need an upstream connection of the client's own is refused in words, never accepted without effect.
//! NO-EVICT and NO-TOUCH are accepted because what they ask for holds: no client is evicted for the memory it uses, and
//! the commands of many clients reach the upstream on the same connections.

mod kill;
mod list;
mod tracking;

use std::sync::atomic::Ordering;

pub(super) use list::user;

use super::{NOT_AN_INTEGER, Request, SYNTAX_ERROR};
use crate::resp::encode;
use crate::serve::forward;
use crate::session::ReplyMode;

const NO_PAUSE: &str = "ERR Larder does not serve CLIENT PAUSE and CLIENT UNPAUSE: it cannot hold back the clients of other \
     proxies; send them to the upstream directly";

/// CLIENT HELP: Redis's text, as far as it is true here.
const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ID <client-id>",
    "      Kill the connection with this ID.",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * MAXAGE <seconds>",
    "      Kill connections that are at least as old.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <client-id> [<client-id> ...]",
    "      Return the clients with these IDs.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Note which client library this connection uses.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Accepted; Larder shares upstream connections, hence does not send it on.",
    "HELP",
    "    Prints this help.",
];

/// A client's name, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

/// `CLIENT subcommand ...`
pub(super) fn client(request: &mut Request<'_>) {
    match request.spec.short_name() {
        "getname" => told_name(request),
        "getredir" => tracking::redirection(request),
        "help" => {
            encode::array(request.out(), HELP.len());
            HELP.iter().for_each(|line| encode::simple(request.out(), line));
        }
        "id" => {
            let id = i64::try_from(request.session.id).unwrap_or(i64::MAX);
            encode::integer(request.out(), id);
        }
        "info" => list::own(request),
        "kill" => kill::kill(request),
        "list" => list::list(request),
        "no-evict" => switch(request, |told, on| told.no_evict = on),
        "no-touch" => switch(request, |told, on| told.no_touch = on),
        "reply" => reply(request),
        "setinfo" => set_info(request),
        "setname" => set_name(request),
        "tracking" => tracking::tracking(request),
        "trackinginfo" => tracking::info(request),
        "caching" => tracking::caching(request),
        "pause" | "unpause" => request.error(NO_PAUSE),
        "unblock" => unblock(request),
        // A subcommand of a newer upstream.
        _ => {
            let name = request.text(1).to_ascii_uppercase();
            request.error(&format!(
                "ERR Larder does not serve CLIENT {name}: it answers CLIENT itself and does not know this subcommand"
            ));
        }
    }
}

// === names ===

/// Checks a name: printable, without spaces, since it becomes a part of a line of CLIENT LIST.
pub(super) fn name(bytes: &[u8]) -> Result<Name, &'static str> {
    text(bytes).map(Name).ok_or("ERR Client names cannot contain spaces, newlines or special characters.")
}

fn text(bytes: &[u8]) -> Option<String> {
    bytes.iter().all(u8::is_ascii_graphic).then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn told_name(request: &mut Request<'_>) {
    let name = request.session.client.told().name.clone();
    let proto = request.proto();
    match name.as_str() {
        "" => encode::null(request.out(), proto),
        name => encode::bulk(request.out(), name.as_bytes()),
    }
}

fn set_name(request: &mut Request<'_>) {
    match name(request.command.opt(2).unwrap_or_default()) {
        Ok(name) => {
            request.session.client.told().name = name.0;
            request.ok();
        }
        Err(error) => request.error(error),
    }
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER value`, in the words of Redis 7.2.
fn set_info(request: &mut Request<'_>) {
    let attribute = request.text(2);
    let library = match attribute.to_ascii_lowercase().as_str() {
        "lib-name" => true,
        "lib-ver" => false,
        _ => return request.error(&format!("ERR Unrecognized option '{attribute}'")),
    };
    let Some(value) = text(request.command.opt(3).unwrap_or_default()) else {
        return request.error(&format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
    };
    {
        let mut told = request.session.client.told();
        if library {
            told.library = value;
        } else {
            told.library_version = value;
        }
    }
    request.ok();
}

// === switches ===

fn switch(request: &mut Request<'_>, set: impl FnOnce(&mut crate::session::clients::Told, bool)) {
    let on = match (request.command.is(2, "on"), request.command.is(2, "off")) {
        (true, _) => true,
        (_, true) => false,
        _ => return request.error(SYNTAX_ERROR),
    };
    set(&mut request.session.client.told(), on);
    request.ok();
}

/// `CLIENT REPLY ON|OFF|SKIP`: only ON is answered.
fn reply(request: &mut Request<'_>) {
    let command = request.command;
    if command.is(2, "on") {
        request.state.set_reply_mode(ReplyMode::On);
        request.ok();
    } else if command.is(2, "off") {
        request.state.set_reply_mode(ReplyMode::Off);
    } else if command.is(2, "skip") {
        if request.state.reply_mode != ReplyMode::Off {
            request.state.set_reply_mode(ReplyMode::SkipNext);
        }
    } else {
        request.error(SYNTAX_ERROR);
    }
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`: asks the server to unblock the connection on which that client is blocked there.
fn unblock(request: &mut Request<'_>) {
    let command = request.command;
    match command.len() {
        3 => {}
        4 if command.is(3, "timeout") || command.is(3, "error") => {}
        4 => return request.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => return request.wrong_subcommand(),
    }
    let Some(id) = request.integer(2) else { return request.error(NOT_AN_INTEGER) };
    let blocked =
        u64::try_from(id).ok().and_then(|id| request.app().clients.find(id)).and_then(|client| client.blocked());
    let number = blocked.as_ref().map_or(0, |blocked| blocked.number.load(Ordering::Acquire));
    let Some(blocked) = blocked.filter(|_| number != 0) else { return encode::integer(request.out(), 0) };
    let mut wire = Vec::new();
    let number = number.to_string();
    let reason = command.opt(3).unwrap_or(b"TIMEOUT");
    encode::command(&mut wire, &[b"CLIENT", b"UNBLOCK", number.as_bytes(), reason]);
    forward::send_to(request.session, request.state, &blocked.node, &wire);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_without_spaces() {
        assert_eq!(name(b"web-1"), Ok(Name("web-1".to_owned())));
        assert_eq!(name(b""), Ok(Name(String::new())));
        for bad in [&b"a b"[..], b"a\n", b"\x7f", b"\xc3\xa9", b"\0"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
