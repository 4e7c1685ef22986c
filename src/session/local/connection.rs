//! PING, ECHO, QUIT, SELECT and RESET.

use std::sync::atomic::Ordering;

use super::{NOT_AN_INTEGER, Request};
use crate::app::{App, Backend};
use crate::config::Kind;
use crate::memory;
use crate::resp::{Proto, encode};
use crate::session::{Ending, ReplyMode};

/// `PING [message]`
pub(super) fn ping(request: &mut Request<'_>) {
    let command = request.command;
    let subscriber = request.proto() == Proto::Resp2 && request.state.subscriptions.is_some();
    match (command.len(), command.opt(1)) {
        // In the shape of a message, for that is what such a client reads.
        (1 | 2, message) if subscriber => {
            let out = request.out();
            encode::array(out, 2);
            encode::bulk(out, b"pong");
            encode::bulk(out, message.unwrap_or_default());
        }
        (1, _) => encode::simple(request.out(), "PONG"),
        (2, Some(message)) => encode::bulk(request.out(), message),
        _ => request.wrong_arity(),
    }
}

/// `ECHO message`
pub(super) fn echo(request: &mut Request<'_>) {
    let message = request.command.opt(1).unwrap_or_default();
    encode::bulk(request.out(), message);
}

/// `QUIT`
pub(super) fn quit(request: &mut Request<'_>) {
    request.ok();
    request.state.ending = request.state.ending.max(Ending::AfterReplies);
}

/// `SELECT index`
pub(super) fn select(request: &mut Request<'_>) {
    let Some(index) = request.integer(1) else {
        return request.error(NOT_AN_INTEGER);
    };
    let Ok(index) = i32::try_from(index) else {
        let (least, most) = (i32::MIN, i32::MAX);
        return request.error(&format!("ERR value is out of range, value must between {least} and {most}"));
    };
    let origin = request.app().home_origin();
    if index != 0 && origin.is_some_and(|origin| origin.kind == Kind::RedisCluster) {
        return request.error("ERR SELECT is not allowed in cluster mode");
    }
    let database = u32::try_from(index).ok().filter(|index| *index < databases(request.app()));
    let Some(database) = database else {
        return request.error("ERR DB index is out of range");
    };
    if database != request.state.database {
        request.state.change_identity();
        request.state.database = database;
        request.session.client.database.store(database, Ordering::Relaxed);
    }
    request.ok();
}

/// How many databases there are.
pub(super) fn databases(app: &App) -> u32 {
    match app.home() {
        Backend::Memory(_) => memory::DATABASES,
        Backend::Servers(origin) if !origin.is_redis() => 1,
        Backend::Servers(origin) => origin.learned.load().databases,
    }
}

/// `RESET`
pub(super) fn reset(request: &mut Request<'_>) {
    let mode = request.state.reply_mode;
    request.state.drop_subscriptions(request.session);
    request.session.stop_tracking(request.state);
    request.state.reset();
    if mode == ReplyMode::Skip {
        // As in Redis, an announced silence lasts until the command is over, whichever it is.
        request.state.set_reply_mode(mode);
    }
    let client = &request.session.client;
    client.database.store(request.state.database, Ordering::Relaxed);
    client.proto.store(2, Ordering::Relaxed);
    {
        let mut told = client.told();
        told.name.clear();
        told.user = None;
    }
    encode::simple(request.out(), "RESET");
}
