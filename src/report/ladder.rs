//! On which rung each server stands: one line for each server and ladder in use.
//!
//! ```text
//! upstream=main endpoint=10.0.0.1:6379 role=primary breaker=open ladder=default rung=local-only since=12.3s forced=no runway=83% \
//!     next=stale-read-only in=17.7s why=did not answer within 500ms
//! ```

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::clock::Micros;
use crate::ladder::Rung;
use crate::origin::{Node, Origin};
use crate::upstream::breaker::State;

/// Where a server stands on a ladder. Its `Display` is the line above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The upstream.
    pub upstream: String,
    /// The server's address.
    pub endpoint: String,
    /// `primary`, `replica`, or `nobody` where nobody is known who owns some keys.
    pub role: String,
    /// `closed`, `half-open` or `open`.
    pub breaker: String,
    /// The ladder.
    pub ladder: String,
    /// The rung.
    pub rung: String,
    /// For how long, in seconds; `None` on rung normal.
    pub since_seconds: Option<f64>,
    /// Whether an operator has set it.
    pub forced: bool,
    /// Share of recent reads that the cache could answer, 0 to 1; `None` before the first read.
    pub runway: Option<f64>,
    /// The rung that comes next if the server stays down.
    pub next: Option<String>,
    /// In how many seconds.
    pub next_in_seconds: Option<f64>,
    /// Why it is not on rung normal, or that it was forced onto it; empty otherwise.
    pub why: String,
}

/// Every server on every ladder in use.
pub fn lines(app: &App) -> Vec<Line> {
    app.origins().flat_map(|origin| of_origin(app, origin)).collect()
}

fn of_origin(app: &App, origin: &Origin) -> Vec<Line> {
    let map = origin.map();
    let mut lines = Vec::new();
    for primary in map.primaries() {
        of_node(app, origin, &primary.node, "primary", &mut lines);
        primary.replicas.iter().for_each(|replica| of_node(app, origin, replica, "replica", &mut lines));
    }
    if !map.is_complete() {
        of_node(app, origin, &origin.vacancy, "nobody", &mut lines);
    }
    lines
}

fn of_node(app: &App, origin: &Origin, node: &Node, role: &str, lines: &mut Vec<Line>) {
    let now = Micros::now();
    let seconds = |span: Micros| span.duration().as_secs_f64();
    let breaker = match node.breaker.state() {
        State::Closed => "closed",
        State::HalfOpen => "half-open",
        State::Open => "open",
    };
    let forced = origin.forced(now).is_some();
    let rules = app.rules();
    for number in rules.routes.ladders() {
        let ladder = rules.ladders.get(number);
        let standing = origin.standing(node, ladder, now);
        let well = standing.rung == Rung::Normal;
        lines.push(Line {
            upstream: origin.name.clone(),
            endpoint: node.endpoint.address.to_string(),
            role: role.to_owned(),
            breaker: breaker.to_owned(),
            ladder: ladder.name.clone(),
            rung: standing.rung.name().to_owned(),
            since_seconds: (!well).then(|| seconds(now.since(standing.since))),
            forced,
            runway: app.runway.share(),
            next: standing.next.map(|(rung, _)| rung.name().to_owned()),
            next_in_seconds: standing.next.map(|(_, at)| seconds(at.since(now))),
            why: if well && !forced { String::new() } else { origin.reason(node, now).to_string() },
        });
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = |span: Option<f64>| span.map_or("-".to_owned(), |span| format!("{span:.1}s"));
        let forced = if self.forced { "yes" } else { "no" };
        let runway = self.runway.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0));
        write!(
            f,
            "upstream={} endpoint={} role={} breaker={} ladder={} rung={} since={} forced={forced} runway={runway} next={} in={} \
             why={}",
            self.upstream,
            self.endpoint,
            self.role,
            self.breaker,
            self.ladder,
            self.rung,
            seconds(self.since_seconds),
            self.next.as_deref().unwrap_or("-"),
            seconds(self.next_in_seconds),
            self.why,
        )
    }
}
