//! LARDER: what can be asked of Larder itself, from any Redis client.

mod explain;
mod ladder;
mod staleness;

use super::{NOT_AN_INTEGER, Request};
use crate::operator;
use crate::report::figures::{digits, figures, whole};
use crate::report::{hotkeys, nodes};
use crate::resp::encode;

/// Keys that HOTKEYS lists unless told otherwise.
const HOTTEST: usize = 10;

const HELP: &[&str] = &[
    "LARDER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXPLAIN <command> [<arg> ...]",
    "    Show how Larder would serve a command, without running it: its row, its way,",
    "    its route, whether its reply may be cached and if not why not, and what is cached.",
    "FLUSH",
    "    Drop everything from the near-cache. Nothing changes at the upstream.",
    "HOTKEYS [<count>]",
    "    List the keys that are read most (default: 10), with their recent reads.",
    "INVALIDATE <key> [<key> ...]",
    "    Drop keys from the near-cache; how many of them were there.",
    "LADDER",
    "    List the servers behind Larder: breaker, rung, since when and why, what comes next,",
    "    and how far the cache would carry.",
    "LADDER FORCE <upstream> <normal|local-only|stale-read-only|passthrough|reject> [<for>]",
    "    Put all servers of an upstream onto a rung, for a time such as 30s or until AUTO.",
    "LADDER AUTO [<upstream>]",
    "    Leave the rung to the servers' health again.",
    "NODES",
    "    List the servers behind Larder: role, slots, whether what was read from them is",
    "    covered, and the connections that clients share.",
    "STALENESS [OFF|ON|REFUSE]",
    "    What this connection makes of replies that are not fresh: they are sent (OFF, the",
    "    default), sent with their age before them (ON, RESP3 only), or not sent (REFUSE).",
    "STATS",
    "    Show the counters of Larder, as /metrics does.",
    "HELP",
    "    Prints this help.",
];

/// `LARDER subcommand ...`
pub(super) fn larder(request: &mut Request<'_>) {
    match request.spec.short_name() {
        "explain" => explain::explain(request),
        "flush" => flush(request),
        "hotkeys" => hot_keys(request),
        "invalidate" => invalidate(request),
        "ladder" => ladder::ladder(request),
        "nodes" => nodes(request),
        "staleness" => staleness::staleness(request),
        "stats" => stats(request),
        _ => {
            encode::array(request.out(), HELP.len());
            HELP.iter().for_each(|line| encode::simple(request.out(), line));
        }
    }
}

/// `LARDER STATS`
fn stats(request: &mut Request<'_>) {
    let figures = figures(request.app());
    let proto = request.proto();
    let out = request.out();
    encode::map(out, proto, figures.len());
    for (name, value) in figures {
        encode::bulk(out, name.as_bytes());
        match whole(value) {
            Some(number) => encode::integer(out, number),
            // No double: Redis's seventeen digits of one are hard on the eye.
            None => encode::bulk(out, digits(value).as_bytes()),
        }
    }
}

/// `LARDER HOTKEYS [count]`
fn hot_keys(request: &mut Request<'_>) {
    let count = match (request.command.len(), request.integer(2)) {
        (2, _) => HOTTEST,
        (3, None) => return request.error(NOT_AN_INTEGER),
        (3, Some(count)) => match usize::try_from(count) {
            Ok(count @ 1..) => count,
            _ => return request.error("ERR value is out of range, must be positive"),
        },
        _ => return request.wrong_arity(),
    };
    let hottest = hotkeys::hottest(request.app(), count);
    let out = request.out();
    encode::array(out, hottest.len());
    for hot in hottest {
        encode::array(out, 2);
        encode::bulk(out, &hot.key);
        encode::integer(out, i64::try_from(hot.reads).unwrap_or(i64::MAX));
    }
}

/// `LARDER NODES`
fn nodes(request: &mut Request<'_>) {
    let lines = nodes::lines(request.app());
    let out = request.out();
    encode::array(out, lines.len());
    lines.iter().for_each(|line| encode::bulk(out, line.to_string().as_bytes()));
}

/// `LARDER INVALIDATE key ...`
fn invalidate(request: &mut Request<'_>) {
    let app = request.app();
    let was_there = |key: &&[u8]| operator::invalidate(app, None, key) == Ok(true);
    let gone = request.command.args(2).filter(was_there).count();
    encode::integer(request.out(), i64::try_from(gone).unwrap_or(i64::MAX));
}

/// `LARDER FLUSH`
fn flush(request: &mut Request<'_>) {
    operator::flush(request.app());
    request.ok();
}
