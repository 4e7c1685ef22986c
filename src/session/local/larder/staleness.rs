//! LARDER STALENESS: what a connection makes of replies that are not fresh.

use super::super::Request;
use crate::resp::{Proto, encode};
use crate::session::Staleness;

/// `LARDER STALENESS [OFF|ON|REFUSE]`
pub(super) fn staleness(request: &mut Request<'_>) {
    let command = request.command;
    if command.len() == 2 {
        let mode = match request.state.staleness {
            Staleness::Allowed => "off",
            Staleness::Stated => "on",
            Staleness::Refused => "refuse",
        };
        return encode::bulk(request.out(), mode.as_bytes());
    }
    if command.len() != 3 {
        return request.wrong_arity();
    }
    let mode = match () {
        () if command.is(2, "off") => Staleness::Allowed,
        () if command.is(2, "on") && request.proto() == Proto::Resp2 => {
            return request.error("ERR the age of a reply can be told to a client that speaks RESP3 only (HELLO 3)");
        }
        () if command.is(2, "on") => Staleness::Stated,
        () if command.is(2, "refuse") => Staleness::Refused,
        () => return request.error("ERR LARDER STALENESS is OFF, ON or REFUSE"),
    };
    request.state.staleness = mode;
    request.ok();
}
