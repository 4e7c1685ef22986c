//! What LARDER LADDER says: for each endpoint and ladder the breaker, the rung, since when and why.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Client;
use crate::larder::Larder;
use crate::reply::Reply;
use crate::wait;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// All words of the line by their names.
    pub fields: BTreeMap<String, String>,
    /// What it ends with.
    pub why: String,
}

impl Standing {
    /// One of its words; fails the test when the line has none of that name.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Where the endpoint is.
    pub fn endpoint(&self) -> &str {
        self.field("endpoint")
    }

    /// The name of the ladder.
    pub fn ladder(&self) -> &str {
        self.field("ladder")
    }

    /// The present rung.
    pub fn rung(&self) -> &str {
        self.field("rung")
    }

    /// `closed`, `open` or `half-open`.
    pub fn breaker(&self) -> &str {
        self.field("breaker")
    }

    /// How long it has been in this rung.
    pub fn since(&self) -> Duration {
        duration(self.field("since")).unwrap_or_else(|| panic!("since is no duration in {self:?}"))
    }

    /// Whether nothing is wrong.
    pub fn is_normal(&self) -> bool {
        self.rung() == "normal" && self.breaker() == "closed"
    }

    /// One line.
    fn parse(line: &str) -> Option<Self> {
        let (words, why) = line.split_once(" why=").unwrap_or((line.strip_suffix(" why=").unwrap_or(line), ""));
        let fields = words.split(' ').map(|word| word.split_once('=').map(|(name, value)| (name.into(), value.into())));
        Some(Self { fields: fields.collect::<Option<_>>()?, why: why.trim().to_owned() })
    }
}

/// What LARDER LADDER says on this connection.
///
/// # Errors
/// What the socket says, or what is wrong with the answer, in words.
pub fn try_standings(client: &mut Client) -> Result<Vec<Standing>, String> {
    let reply = client.try_call(&["LARDER", "LADDER"]).map_err(|error| error.to_string())?;
    let lines = reply.items().ok_or_else(|| format!("no list: {reply:?}"))?;
    let line = |line: &Reply| {
        let text = line.text().ok_or_else(|| format!("no text: {line:?}"))?;
        Standing::parse(&text).ok_or_else(|| format!("not as promised: {text}"))
    };
    lines.iter().map(line).collect()
}

/// What LARDER LADDER says; fails the test when that is nothing.
pub fn standings(larder: &Larder) -> Vec<Standing> {
    try_standings(&mut larder.connect()).unwrap_or_else(|problem| panic!("LARDER LADDER: {problem}"))
}

/// Waits until every ladder that `concerns` picks is in that rung.
pub fn wait_for_rung(larder: &Larder, rung: &str, concerns: impl Fn(&Standing) -> bool) {
    let mut client = larder.connect();
    let mut last = Vec::new();
    let held = wait::holds_within(wait::PATIENCE, || {
        last = try_standings(&mut client).unwrap_or_else(|problem| panic!("LARDER LADDER: {problem}"));
        let mut concerned = last.iter().filter(|standing| concerns(standing)).peekable();
        concerned.peek().is_some() && concerned.all(|standing| standing.rung() == rung)
    });
    assert!(held, "not in rung {rung}: {last:#?}");
}

/// Waits until everything is as it should be.
pub fn wait_for_normal(larder: &Larder) {
    let mut client = larder.connect();
    let mut last = Vec::new();
    let held = wait::holds_within(wait::PATIENCE, || {
        last = try_standings(&mut client).unwrap_or_else(|problem| panic!("LARDER LADDER: {problem}"));
        last.iter().all(Standing::is_normal)
    });
    assert!(held, "not normal: {last:#?}");
}

/// Text such as `12.3s`, `500ms` or `17m`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let seconds = match &text[unit..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(text[..unit].parse::<f64>().ok()? * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_and_the_reason_goes_to_its_end() {
        let line = "upstream=main endpoint=127.0.0.1:6379 role=primary breaker=open ladder=default rung=local-only \
                    since=12.5s forced=no runway=83% next=stale-read-only in=17.7s why=did not answer within 500ms";
        let standing = Standing::parse(line).expect("well formed");
        assert_eq!(
            (standing.rung(), standing.breaker(), standing.field("next")),
            ("local-only", "open", "stale-read-only")
        );
        assert_eq!(standing.since(), Duration::from_millis(12_500));
        assert_eq!(standing.why, "did not answer within 500ms");
        let normal = Standing::parse("breaker=closed rung=normal since=250ms next=- why=").expect("well formed");
        assert!(normal.is_normal() && normal.why.is_empty());
        assert_eq!(Standing::parse("no words here"), None);
    }
}
