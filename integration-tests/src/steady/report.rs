//! What a steady client saw of one fault, in one line.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Kind, Outcome, Sample, Turn};
use crate::standing::Standing;

/// Errors of one kind, before the fault was noticed, while it lasted, and after it was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Until it was noticed.
    pub before: usize,
    /// From then on until the fault was over.
    pub noticed: usize,
    /// Until everything was right again.
    pub after: usize,
}

/// One fault.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub fault: String,
    /// How long until the first stale answer, or until the ladder said that a breaker is open. `None`: never.
    pub noticed: Option<Duration>,
    /// Errors of each kind, in the order of [`Kind::ALL`].
    pub errors: [Errors; 4],
    /// Texts of the errors of cached reads before it was noticed.
    pub early_errors: Vec<String>,
    /// And after that.
    pub cached_errors: Vec<String>,
    /// Answers that were not fresh.
    pub stale: usize,
    /// The greatest age told.
    pub oldest: Duration,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// Every wrong answer.
    pub wrong: Vec<String>,
    /// Each breaker and rung that the ladder showed, and when after the fault.
    pub history: Vec<(Duration, String)>,
    /// How long after the end of the fault until every answer was right and the ladder normal. `None`: never.
    pub recovered: Option<Duration>,
}

impl Report {
    /// Judges what was seen of a fault that began and ended then. `concerns` picks the endpoints that it met.
    pub fn of(
        fault: &str,
        (samples, turns): &(Vec<Sample>, Vec<Turn>),
        (began, ended): (Instant, Instant),
        concerns: impl Fn(&Standing) -> bool,
    ) -> Self {
        let open = turns
            .iter()
            .find(|turn| turn.at >= began && turn.standings.iter().any(|of| concerns(of) && of.breaker() == "open"));
        let is_stale = |sample: &&Sample| matches!(sample.outcome, Outcome::Stale(_));
        let stale = samples.iter().filter(|sample| sample.sent >= began).filter(is_stale);
        let noticed = open.map(|turn| turn.at).into_iter().chain(stale.clone().map(|sample| sample.answered)).min();
        let in_error = |kind: Kind, from: Instant, to: Option<Instant>| {
            let of = samples.iter().filter(move |sample| sample.kind == kind && sample.sent >= from);
            let of = of.filter(move |sample| to.is_none_or(|to| sample.sent < to));
            of.filter(|sample| matches!(sample.outcome, Outcome::Error(_)))
        };
        let seen = noticed.unwrap_or(ended);
        let errors = Kind::ALL.map(|kind| Errors {
            before: in_error(kind, began, Some(seen)).count(),
            noticed: in_error(kind, seen, Some(ended)).count(),
            after: in_error(kind, ended, None).count(),
        });
        let texts = |from: Instant, to: Option<Instant>| {
            let text = |sample: &Sample| match &sample.outcome {
                Outcome::Error(text) => Some(format!("{:?} after the fault: {text}", sample.sent - began)),
                _ => None,
            };
            in_error(Kind::Cached, from, to).filter_map(text).collect()
        };
        let wrong = samples.iter().filter_map(|sample| match &sample.outcome {
            Outcome::Wrong(text) => Some(format!(
                "{:?} {:?} after the fault: {text}",
                sample.kind,
                sample.sent.saturating_duration_since(began)
            )),
            _ => None,
        });
        let ages = stale.clone().filter_map(|sample| match sample.outcome {
            Outcome::Stale(age) => Some(age),
            _ => None,
        });
        Self {
            fault: fault.to_owned(),
            noticed: noticed.map(|at| at - began),
            errors,
            early_errors: texts(began, Some(seen)),
            cached_errors: texts(seen, None),
            stale: stale.clone().count(),
            oldest: ages.max().unwrap_or_default(),
            slowest: samples.iter().map(|sample| sample.answered - sample.sent).max().unwrap_or_default(),
            wrong: wrong.collect(),
            history: history(turns, began, &concerns),
            recovered: recovered(samples, turns, ended).map(|at| at.saturating_duration_since(ended)),
        }
    }

    /// Errors of one kind.
    pub fn errors(&self, kind: Kind) -> Errors {
        self.errors[kind as usize]
    }

    /// What the lines consist of.
    pub fn heading() -> String {
        format!(
            "{:<26} {:>8} | {:>23} | {:>6} {:>7} {:>7} {:>5} | {:>9} | {}",
            "fault",
            "noticed",
            "errors before/then/after",
            "stale",
            "oldest",
            "slowest",
            "wrong",
            "recovered",
            "breaker:rung"
        )
    }
}

/// The breaker and rung of those concerned, as it changed.
fn history(turns: &[Turn], began: Instant, concerns: impl Fn(&Standing) -> bool) -> Vec<(Duration, String)> {
    let mut history: Vec<(Duration, String)> = Vec::new();
    for turn in turns {
        let mut words: Vec<_> = turn
            .standings
            .iter()
            .filter(|of| concerns(of))
            .map(|of| format!("{}:{}", of.breaker(), of.rung()))
            .collect();
        words.sort();
        words.dedup();
        let words = words.join("+");
        if history.last().is_none_or(|(_, last)| *last != words) {
            history.push((turn.at.saturating_duration_since(began), words));
        }
    }
    history
}

/// From when on everything was right and normal.
fn recovered(samples: &[Sample], turns: &[Turn], ended: Instant) -> Option<Instant> {
    let mut of_all = Vec::new();
    for kind in Kind::ALL {
        let mut of = samples.iter().filter(|sample| sample.kind == kind);
        let last = of.clone().rfind(|sample| sample.outcome != Outcome::Right).map(|sample| sample.answered);
        // A right one must follow.
        let from = last.unwrap_or(ended);
        of_all.push(of.find(|sample| sample.sent >= from).map(|sample| sample.answered)?);
    }
    // A server that has been replaced may stay away.
    let normal = |of: &Standing| of.is_normal() || of.field("role") == "replica";
    let last = turns.last().filter(|turn| turn.standings.iter().all(normal))?;
    of_all.push(last.at);
    of_all.into_iter().max()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Duration| format!("{}ms", time.as_millis());
        let maybe = |of: Option<Duration>| of.map_or_else(|| "never".to_owned(), time);
        let errors = Kind::ALL.map(|kind| {
            let Errors { before, noticed, after } = self.errors(kind);
            format!("{}{before}/{noticed}/{after}", ["c", "u", "w", "o"][kind as usize])
        });
        let history: Vec<_> = self.history.iter().map(|(at, words)| format!("{} {words}", time(*at))).collect();
        write!(
            f,
            "{:<26} {:>8} | {:>23} | {:>6} {:>7} {:>7} {:>5} | {:>9} | {}",
            self.fault,
            maybe(self.noticed),
            errors.join(" "),
            self.stale,
            time(self.oldest),
            time(self.slowest),
            self.wrong.len(),
            maybe(self.recovered),
            history.join(", ")
        )
    }
}
