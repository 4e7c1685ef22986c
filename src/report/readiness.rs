//! Whether clients should be sent here, and why (not).
//!
//! Larder exists to answer while an upstream is dead, so a dead upstream does not make it unready: if it did, whoever balances between
//! several Larders would take all of them away at once, with everything that they could still have answered. It is unready while it
//! starts or ends, when a worker does not turn any more, and when it listens nowhere. What is degraded is listed all the same.

use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ladder, upstreams};
use crate::app::{App, Stage};
use crate::clock::Micros;

/// A worker that has not looked at its timer for this long is stuck: the timer's period is a hundredth of it.
const STUCK: Duration = Duration::from_secs(5);

/// Whether clients should be sent here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// They should.
    pub ready: bool,
    /// What speaks against it, and what is degraded.
    pub reasons: Vec<Reason>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `unready`: clients should not be sent here. `degraded`: for information.
    pub effect: String,
    /// In words.
    pub text: String,
}

impl Stage {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Ending => "ending",
        }
    }
}

/// Judges it now.
pub fn readiness(app: &App) -> Readiness {
    let unready = obstacles(app);
    let ready = unready.is_empty();
    let reason = |effect: &str, text| Reason { effect: effect.to_owned(), text };
    let unready = unready.into_iter().map(|text| reason("unready", text));
    let degraded = degradations(app).into_iter().map(|text| reason("degraded", text));
    Readiness { ready, reasons: unready.chain(degraded).collect() }
}

fn obstacles(app: &App) -> Vec<String> {
    let mut found = Vec::new();
    match app.stage() {
        Stage::Serving => {}
        Stage::Starting => found.push("starting: clients are not accepted yet".to_owned()),
        Stage::Draining => found.push("draining: clients are not accepted any more".to_owned()),
        Stage::Ending => found.push("ending: clients are not accepted any more".to_owned()),
    }
    if app.stage() == Stage::Starting {
        return found;
    }
    let now = Micros::now();
    for (number, counters) in app.counters.iter().enumerate() {
        // One that has only just begun has not looked yet.
        let silent = match counters.ticked_at.value() {
            0 => app.started.0.elapsed(),
            ticked => now.since(Micros(ticked)).duration(),
        };
        if silent > STUCK {
            found.push(format!("worker {number} is stuck: it has not looked at its timer for more than {STUCK:?}"));
        }
    }
    if app.listening.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        found.push("it listens nowhere".to_owned());
    }
    found
}

fn degradations(app: &App) -> Vec<String> {
    let mut found = Vec::new();
    for line in ladder::lines(app) {
        if line.rung != "normal" {
            let since = line.since_seconds.unwrap_or_default();
            found.push(format!(
                "upstream '{}' at {}: rung {} for {since:.0} s ({})",
                line.upstream, line.endpoint, line.rung, line.why
            ));
        }
    }
    for upstream in upstreams::upstreams(app).iter().filter(|upstream| upstream.covered == Some(false)) {
        found.push(format!("upstream '{}': what is cached of it is not covered, hence not fresh", upstream.name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::process::assemble;

    fn serving() -> App {
        let app = assemble(Config::embedded(), "test".to_owned()).expect("the embedded configuration is good");
        app.listening.lock().expect("nobody panicked").push("127.0.0.1:1".to_owned());
        app.counters.iter().for_each(|counters| counters.ticked_at.set(Micros::now().0));
        app.enter(Stage::Serving);
        app
    }

    fn unready(app: &App) -> Vec<String> {
        let readiness = readiness(app);
        assert_eq!(readiness.ready, !readiness.reasons.iter().any(|reason| reason.effect == "unready"));
        readiness.reasons.into_iter().filter(|reason| reason.effect == "unready").map(|reason| reason.text).collect()
    }

    #[test]
    fn only_the_stage_serving_is_ready() {
        let app = assemble(Config::embedded(), "test".to_owned()).expect("the embedded configuration is good");
        assert_eq!(unready(&app), ["starting: clients are not accepted yet"]);
        let app = serving();
        assert!(unready(&app).is_empty());
        app.enter(Stage::Draining);
        assert_eq!(unready(&app), ["draining: clients are not accepted any more"]);
        app.enter(Stage::Ending);
        assert_eq!(unready(&app), ["ending: clients are not accepted any more"]);
    }

    #[test]
    fn a_worker_that_does_not_tick_makes_it_unready() {
        let app = serving();
        let long_ago = Micros::now().0 - Micros::of(STUCK).0 - 1;
        app.counters[0].ticked_at.set(long_ago);
        assert_eq!(unready(&app), ["worker 0 is stuck: it has not looked at its timer for more than 5s"]);
    }

    #[test]
    fn a_worker_that_has_only_just_begun_is_not_stuck() {
        let app = serving();
        app.counters[0].ticked_at.set(0);
        assert!(unready(&app).is_empty());
    }

    #[test]
    fn without_a_listener_it_is_unready() {
        let app = serving();
        app.listening.lock().expect("nobody panicked").clear();
        assert_eq!(unready(&app), ["it listens nowhere"]);
    }
}
