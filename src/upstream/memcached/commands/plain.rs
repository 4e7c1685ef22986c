//! Commands of one request for each key. They go out at once, as many as there are, and the node's order is ours.

use super::{Step, Work};
use crate::clock::Micros;
use crate::keyvalue::{Refusal, Unit};
use crate::resp::{Command, Proto, encode};
use crate::upstream::memcached::desk::{Desk, Guard, Item};
use crate::upstream::memcached::expiry::Life;
use crate::upstream::memcached::meta::{self, Kind, Reply};

/// What is awaited, and what becomes of it.
#[derive(Debug)]
pub(in crate::upstream::memcached) enum Plain {
    /// `mn` -> PONG, or OK.
    Noop(Greeting),
    /// A value, or null; the key's end where it got one.
    Value(Option<Note>),
    /// GETEX with a time that is none: an error if the key is there.
    Refused(Refusal),
    /// The size of a value.
    Length,
    /// `string` or `none`.
    Type,
    /// `flush_all`.
    Flushed,
    /// A store: the replies for done and not done.
    Stored(Answers, Option<Note>),
    /// A time to live was set.
    Touched(Option<Note>),
    /// How long a key still lives.
    Shown(Show, Box<[u8]>),
    /// How many of the keys are there, or were deleted.
    Counted(Many, i64),
    /// The values of MGET.
    Values(Many, Vec<u8>),
    /// The stores of MSET.
    StoredAll(Many),
}

/// What a node that answers is reported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream::memcached) enum Greeting {
    Pong,
    Ok,
}

/// Done, and not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream::memcached) enum Answers {
    OkOrNull,
    OneOrZero,
}

/// A key that has to be deleted at an instant.
#[derive(Debug)]
pub(in crate::upstream::memcached) struct Note {
    key: Box<[u8]>,
    at: Micros,
}

/// How a life is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream::memcached) enum Show {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

/// Replies that are still awaited, and the first error among them.
#[derive(Debug)]
pub(in crate::upstream::memcached) struct Many {
    left: usize,
    error: Vec<u8>,
}

impl Note {
    /// Of a life that ends between two ticks of the node.
    pub(super) fn of(key: &[u8], life: Life) -> Option<Self> {
        life.exact.map(|at| Self { key: key.into(), at })
    }

    fn write(note: &Option<Self>, reply: &Reply<'_>, desk: &Desk<'_>) {
        if let Some(note) = note {
            desk.note(&note.key, reply.flags.cas, Some(note.at));
        }
    }
}

// === reads ===

/// GET key
pub(super) fn get(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    desk.get(cmd.arg(1), " v");
    Ok(Work::Plain(Plain::Value(None)))
}

/// MGET key [key ...]
pub(super) fn mget(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    cmd.args(1).for_each(|key| desk.get(key, " v"));
    let mut head = Vec::new();
    encode::array(&mut head, cmd.len() - 1);
    Ok(Work::Plain(Plain::Values(Many::of(cmd.len() - 1), head)))
}

/// STRLEN key
pub(super) fn strlen(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    desk.get(cmd.arg(1), " s");
    Ok(Work::Plain(Plain::Length))
}

/// TYPE key
pub(super) fn r#type(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    desk.get(cmd.arg(1), "");
    Ok(Work::Plain(Plain::Type))
}

/// EXISTS key [key ...], TOUCH key [key ...]
pub(super) fn exists(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    cmd.args(1).for_each(|key| desk.get(key, ""));
    Ok(Work::Plain(Plain::Counted(Many::of(cmd.len() - 1), 0)))
}

/// TTL key
pub(super) fn ttl(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    show(cmd, desk, Show::Seconds)
}

/// PTTL key
pub(super) fn pttl(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    show(cmd, desk, Show::Milliseconds)
}

/// EXPIRETIME key
pub(super) fn expiretime(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    show(cmd, desk, Show::UnixSeconds)
}

/// PEXPIRETIME key
pub(super) fn pexpiretime(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    show(cmd, desk, Show::UnixMilliseconds)
}

fn show(cmd: &Command<'_>, desk: &mut Desk<'_>, show: Show) -> Result<Work, Refusal> {
    let key = cmd.arg(1);
    desk.get(key, " t c");
    Ok(Work::Plain(Plain::Shown(show, key.into())))
}

// === writes ===

/// DEL key [key ...], UNLINK key [key ...]
pub(super) fn del(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    cmd.args(1).for_each(|key| desk.delete(key, None));
    Ok(Work::Plain(Plain::Counted(Many::of(cmd.len() - 1), 0)))
}

/// SETNX key value
pub(super) fn setnx(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    let item = Item { value: cmd.arg(2), life: Life::FOREVER, flags: 0 };
    desk.set(cmd.arg(1), item, Guard::Absent);
    Ok(Work::Plain(Plain::Stored(Answers::OneOrZero, None)))
}

/// SETEX key seconds value
pub(super) fn setex(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    let unix_ms = Unit::SECONDS.instant("setex", cmd.arg(2), desk.now())?;
    let life = desk.until(unix_ms);
    Ok(store(desk, cmd.arg(1), cmd.arg(3), life, Guard::Any))
}

/// PSETEX key milliseconds value
pub(super) fn psetex(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    let unix_ms = Unit::MILLISECONDS.instant("psetex", cmd.arg(2), desk.now())?;
    let life = desk.until(unix_ms);
    Ok(store(desk, cmd.arg(1), cmd.arg(3), life, Guard::Any))
}

/// MSET key value [key value ...]
pub(super) fn mset(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    if cmd.len().is_multiple_of(2) {
        return Err(Refusal::arity("mset"));
    }
    for (key, value) in cmd.args(1).step_by(2).zip(cmd.args(2).step_by(2)) {
        desk.set(key, Item { value, life: Life::FOREVER, flags: 0 }, Guard::Any);
    }
    Ok(Work::Plain(Plain::StoredAll(Many::of(cmd.len() / 2))))
}

/// FLUSHALL [ASYNC | SYNC], FLUSHDB [ASYNC | SYNC]
pub(super) fn flush(cmd: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    match cmd.len() {
        1 => {}
        2 if cmd.is(1, "async") || cmd.is(1, "sync") => {}
        _ => return Err(Refusal::SYNTAX),
    }
    desk.server.deadlines.clear();
    desk.say(meta::FLUSH);
    Ok(Work::Plain(Plain::Flushed))
}

/// A whole value, whatever was there; OK, or null if the guard does not hold.
pub(super) fn store(desk: &mut Desk<'_>, key: &[u8], value: &[u8], life: Life, guard: Guard) -> Work {
    desk.set(key, Item { value, life, flags: 0 }, guard);
    Work::Plain(Plain::Stored(Answers::OkOrNull, Note::of(key, life)))
}

// === impl Plain ===

impl Plain {
    pub(super) fn take(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Step {
        let many = match self {
            Self::Counted(many, count) => {
                *count += i64::from(reply.kind == Kind::Done);
                many
            }
            Self::Values(many, values) => {
                match reply.kind {
                    Kind::Value => encode::bulk(values, reply.value),
                    _ => encode::null(values, desk.proto),
                }
                many
            }
            Self::StoredAll(many) => many,
            _ if reply.kind == Kind::ServerError => {
                desk.fail(reply);
                return Step::Done;
            }
            _ => {
                self.answer(reply, desk);
                return Step::Done;
            }
        };
        many.note(reply, desk);
        if many.left > 0 {
            return Step::More;
        }
        match self {
            Self::Counted(many, _) | Self::Values(many, _) | Self::StoredAll(many) if !many.error.is_empty() => {
                desk.reply.extend_from_slice(&many.error);
            }
            Self::Counted(_, count) => desk.integer(*count),
            Self::Values(_, values) => desk.reply.extend_from_slice(values),
            _ => encode::ok(desk.reply),
        }
        Step::Done
    }

    /// The one reply that was awaited.
    fn answer(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) {
        let there = matches!(reply.kind, Kind::Done | Kind::Value);
        match self {
            Self::Noop(Greeting::Pong) => encode::simple(desk.reply, "PONG"),
            Self::Noop(Greeting::Ok) | Self::Flushed => encode::ok(desk.reply),
            Self::Value(note) if there => {
                Note::write(note, reply, desk);
                desk.bulk(reply.value);
            }
            Self::Refused(refusal) if there => encode::error(desk.reply, refusal.text()),
            Self::Value(_) | Self::Refused(_) => desk.null(),
            Self::Length => {
                let size = reply.flags.size.filter(|_| there).unwrap_or_default();
                desk.integer(i64::try_from(size).unwrap_or(i64::MAX));
            }
            Self::Type => encode::simple(desk.reply, if there { "string" } else { "none" }),
            Self::Stored(answers, note) => {
                if there {
                    Note::write(note, reply, desk);
                }
                match (answers, there) {
                    (Answers::OkOrNull, true) => encode::ok(desk.reply),
                    (Answers::OkOrNull, false) => desk.null(),
                    (Answers::OneOrZero, there) => desk.integer(i64::from(there)),
                }
            }
            Self::Touched(note) => {
                if there {
                    Note::write(note, reply, desk);
                }
                desk.integer(i64::from(there));
            }
            Self::Shown(show, key) => {
                let shown = if there { show.of(key, reply, desk) } else { -2 };
                desk.integer(shown);
            }
            Self::Counted(..) | Self::Values(..) | Self::StoredAll(_) => {}
        }
    }
}

impl Many {
    fn of(left: usize) -> Self {
        Self { left, error: Vec::new() }
    }

    fn note(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) {
        self.left = self.left.saturating_sub(1);
        if reply.kind == Kind::ServerError && self.error.is_empty() {
            let start = desk.reply.len();
            desk.fail(reply);
            self.error = desk.reply.split_off(start);
        }
    }
}

impl Show {
    /// Seconds are rounded as Redis rounds them.
    fn of(self, key: &[u8], reply: &Reply<'_>, desk: &Desk<'_>) -> i64 {
        let left = desk.left_ms(key, &reply.flags);
        if left <= 0 {
            // Nothing left: it is about to be deleted.
            return if left < 0 { -1 } else { -2 };
        }
        let ends = desk.now().unix_ms().saturating_add(left);
        match self {
            Self::Seconds => left.saturating_add(500) / 1000,
            Self::Milliseconds => left,
            Self::UnixSeconds => ends.saturating_add(500) / 1000,
            Self::UnixMilliseconds => ends,
        }
    }
}

/// A round trip that proves that the node answers.
pub(in crate::upstream::memcached) fn noop(desk: &mut Desk<'_>, greeting: Greeting) -> Work {
    desk.say(meta::NOOP);
    Work::Plain(Plain::Noop(greeting))
}

/// The reply to HELLO: what a server without anything to tell says.
pub(in crate::upstream::memcached) fn hello(out: &mut Vec<u8>, proto: Proto) {
    encode::map(out, proto, 2);
    encode::bulk(out, b"server");
    encode::bulk(out, b"memcached");
    encode::bulk(out, b"proto");
    encode::integer(out, if proto == Proto::Resp3 { 3 } else { 2 });
}
