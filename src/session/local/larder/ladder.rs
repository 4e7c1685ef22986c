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
use crate::logs::sample;
use crate::origin::{Node, Origin};
use crate::resp::encode;
use crate::upstream::breaker::State;

/// `LARDER LADDER [FORCE upstream rung [for] | AUTO [upstream]]`
pub(super) fn ladder(request: &mut Request<'_>) {
    let command = request.command;
    match command.len() {
        2 => {
            let app = request.app();
            let lines: Vec<_> = app.origins().flat_map(|origin| lines(app, origin)).collect();
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
    if let Some(origin) = named(request).first() {
        if sample::FORCED.admits() {
            tracing::warn!(upstream = %origin.name, client = request.session.id, "rung {} forced", rung.name());
        }
        origin.force(Some(Forced { rung, since: now, until }));
        request.ok();
    }
}

fn auto(request: &mut Request<'_>) {
    let found = named(request);
    for origin in &found {
        if sample::FORCED.admits() {
            tracing::warn!(upstream = %origin.name, client = request.session.id, "no rung is forced any more");
        }
        origin.force(None);
    }
    if !found.is_empty() {
        request.ok();
    }
}

/// The upstream that argument 3 names, or all of them; the client is told if there is none.
fn named<'a>(request: &mut Request<'a>) -> Vec<&'a Origin> {
    let app = &request.session.worker.app;
    let name = request.command.opt(3);
    let all: Vec<&Origin> = app.origins().collect();
    if all.is_empty() {
        request.error("ERR the memory upstream has no server that could be down");
        return all;
    }
    let named = |origin: &&Origin| name.is_none_or(|name| origin.name.as_bytes() == name);
    let found: Vec<&Origin> = all.iter().copied().filter(named).collect();
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|origin| &*origin.name).collect();
        let text = format!("ERR there is no upstream '{}' with servers, but {}", request.text(3), names.join(", "));
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
    let rules = app.rules();
    for number in rules.routes.ladders() {
        let ladder = rules.ladders.get(number);
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
