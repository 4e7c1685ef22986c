//! LARDER LADDER: on which rung each server stands, and drills; one line for each server and ladder in use.
//!
//! ```text
//! upstream=main endpoint=10.0.0.1:6379 role=primary breaker=open ladder=default rung=local-only since=12.3s forced=no runway=83% \
//!     next=stale-read-only in=17.7s why=did not answer within 500ms
//! ```

use super::super::Request;
use crate::app::App;
use crate::clock::Micros;
use crate::config;
use crate::ladder::{Forced, RUNGS, Rung};
use crate::origin::{Node, Origin};
use crate::resp::encode;
use crate::upstream::breaker::State;

/// `LARDER LADDER [FORCE upstream rung [for] | AUTO [upstream]]`
pub(super) fn ladder(request: &mut Request<'_>) {
    let command = request.command;
    match command.len() {
        2 => {
            let lines = request.app().origin().map_or_else(Vec::new, |origin| lines(request.app(), origin));
            let out = request.out();
            encode::array(out, lines.len());
            lines.iter().for_each(|line| encode::bulk(out, line.as_bytes()));
        }
        5 | 6 if command.is(2, "force") => force(request),
        3 | 4 if command.is(2, "auto") => auto(request),
        _ => request.error("ERR LARDER LADDER takes nothing, FORCE <upstream> <rung> [<for>], or AUTO [<upstream>]"),
    }
}

fn force(request: &mut Request<'_>) {
    let command = request.command;
    let Some(rung) = Rung::of_name(command.arg(4)) else {
        let names = RUNGS.map(Rung::name).join(", ");
        return request.error(&format!("ERR '{}' is no rung; rungs are {names}", request.text(4)));
    };
    let now = Micros::now();
    let mut until = None;
    if command.len() == 6 {
        match config::duration(&request.text(5)) {
            Ok(time) => until = Some(now.plus(Micros::of(time))),
            Err(why) => return request.error(&format!("ERR <for>: {why}")),
        }
    }
    if let Some(origin) = named(request) {
        tracing::warn!(upstream = %origin.name, client = request.session.id, "rung {} forced", rung.name());
        origin.force(Some(Forced { rung, since: now, until }));
        request.ok();
    }
}

fn auto(request: &mut Request<'_>) {
    if let Some(origin) = named(request) {
        tracing::warn!(upstream = %origin.name, client = request.session.id, "no rung is forced any more");
        origin.force(None);
        request.ok();
    }
}

/// The upstream that argument 3 names, or the only one; the client is told if there is none.
fn named<'a>(request: &mut Request<'a>) -> Option<&'a Origin> {
    let session = request.session;
    let name = request.command.opt(3);
    let origin = session.worker.app.origin();
    if origin.is_none() {
        request.error("ERR the memory upstream has no server that could be down");
        return None;
    }
    let found = origin.filter(|origin| name.is_none_or(|name| origin.name.as_bytes() == name));
    if let (None, Some(origin)) = (found, origin) {
        let text = format!("ERR there is no upstream '{}', but {}", request.text(3), origin.name);
        request.error(&text);
    }
    found
}

fn lines(app: &App, origin: &Origin) -> Vec<String> {
    let map = origin.map();
    let mut lines = Vec::new();
    for primary in map.primaries() {
        line(app, origin, &primary.node, "primary", &mut lines);
        primary.replicas.iter().for_each(|replica| line(app, origin, replica, "replica", &mut lines));
    }
    if !map.is_complete() {
        line(app, origin, &origin.vacancy, "nobody", &mut lines);
    }
    lines
}

fn line(app: &App, origin: &Origin, node: &Node, role: &str, lines: &mut Vec<String>) {
    let now = Micros::now();
    let seconds = |span: Micros| format!("{:.1}s", span.duration().as_secs_f64());
    let breaker = match node.breaker.state() {
        State::Closed => "closed",
        State::HalfOpen => "half-open",
        State::Open => "open",
    };
    let forced = if origin.forced(now).is_some() { "yes" } else { "no" };
    let runway = app.runway.share().map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0));
    for number in app.routes.ladders() {
        let ladder = app.ladders.get(number);
        let standing = origin.standing(node, ladder, now);
        let well = standing.rung == Rung::Normal;
        let since = if well { "-".to_owned() } else { seconds(now.since(standing.since)) };
        let (next, left) = match standing.next {
            Some((rung, at)) => (rung.name(), seconds(at.since(now))),
            None => ("-", "-".to_owned()),
        };
        let why = if well && forced == "no" { "".into() } else { origin.reason(node, now) };
        lines.push(format!(
            "upstream={} endpoint={} role={role} breaker={breaker} ladder={} rung={} since={since} forced={forced} \
             runway={runway} next={next} in={left} why={why}",
            origin.name,
            node.endpoint.address,
            ladder.name,
            standing.rung.name(),
        ));
    }
}
