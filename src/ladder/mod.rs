//! The degradation ladder: which answers are given while an endpoint is down, step by step.
//!
//! Compiled once from the configuration. Where an endpoint stands is a function of time alone: since when it is down, and what time
//! it is now. There is no timer that could be late, and nothing to be reset.
//!
//! [`runway`] measures how far the cache would carry if the endpoint went down now.

pub mod runway;

use crate::clock::Micros;
use crate::config::{self, LadderStep};

/// Which answers are given, from the best to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// As if there were no ladder.
    Normal,
    /// Cached replies while they live; nothing is asked of the endpoint.
    LocalOnly,
    /// Also replies whose life is over, for a while.
    StaleReadOnly,
    /// The cache is left aside, and every request tries the endpoint.
    Passthrough,
    /// An error at once.
    Reject,
}

/// All rungs, in order.
pub const RUNGS: [Rung; 5] = [Rung::Normal, Rung::LocalOnly, Rung::StaleReadOnly, Rung::Passthrough, Rung::Reject];

/// The compiled ladders, in the order of their names.
#[derive(Debug)]
pub struct Ladders(Vec<Ladder>);

/// One ladder.
#[derive(Debug)]
pub struct Ladder {
    /// Its name in the configuration.
    pub name: String,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    rung: Rung,
    lasts: Micros,
    max_stale: Micros,
    timeout: Micros,
}

/// Where an endpoint stands on a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The rung.
    pub rung: Rung,
    /// When it was entered.
    pub since: Micros,
    /// Rung stale-read-only: how far past its life a reply may be.
    pub max_stale: Micros,
    /// Rung passthrough: the longest wait for the endpoint.
    pub timeout: Micros,
    /// What comes next, and when, if the endpoint stays down.
    pub next: Option<(Rung, Micros)>,
}

/// A rung that an operator has set for a whole upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forced {
    /// Which.
    pub rung: Rung,
    /// Since when.
    pub since: Micros,
    /// Until when; `None`: until it is lifted.
    pub until: Option<Micros>,
}

impl Rung {
    /// As in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LocalOnly => "local-only",
            Self::StaleReadOnly => "stale-read-only",
            Self::Passthrough => "passthrough",
            Self::Reject => "reject",
        }
    }

    /// The rung of this name, in whatever case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        RUNGS.into_iter().find(|rung| rung.name().as_bytes().eq_ignore_ascii_case(name))
    }

    const fn of(rung: config::Rung) -> Self {
        match rung {
            config::Rung::LocalOnly => Self::LocalOnly,
            config::Rung::StaleReadOnly => Self::StaleReadOnly,
            config::Rung::Passthrough => Self::Passthrough,
            config::Rung::Reject => Self::Reject,
        }
    }
}

impl Ladders {
    /// Compiles the ladders of a checked configuration.
    pub fn of(config: &config::Config) -> Self {
        let ladder = |(name, steps): (&String, &Vec<LadderStep>)| Ladder {
            name: name.clone(),
            steps: steps.iter().map(Step::of).collect(),
        };
        Self(config.ladders.iter().map(ladder).collect())
    }

    /// The number of a ladder; that of the first one if there is none of this name.
    pub fn number(&self, name: &str) -> usize {
        self.0.iter().position(|ladder| ladder.name == name).unwrap_or_default()
    }

    /// The ladder of a number.
    pub fn get(&self, number: usize) -> &Ladder {
        // (A checked configuration has `default` at least.)
        &self.0[number.min(self.0.len() - 1)]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Ladder> {
        self.0.iter()
    }
}

impl Ladder {
    /// Where an endpoint stands that is down since `down_since`.
    pub fn standing(&self, down_since: Micros, now: Micros) -> Standing {
        let mut entered = down_since;
        let mut steps = self.steps.iter().peekable();
        while let Some(step) = steps.next() {
            let ends = entered.plus(step.lasts);
            match steps.peek() {
                Some(_) if now >= ends => entered = ends,
                next => {
                    let next = next.filter(|_| ends < Micros::NEVER).map(|next| (next.rung, ends));
                    return Standing { since: entered, next, ..step.standing() };
                }
            }
        }
        // A ladder without steps: nothing can be answered.
        Standing { since: entered, ..Step::new(Rung::Reject).standing() }
    }

    /// Where an endpoint stands that an operator has put onto a rung: with what this ladder says of the rung, if it has it.
    pub fn forced(&self, forced: &Forced) -> Standing {
        let step = self.steps.iter().find(|step| step.rung == forced.rung).copied();
        Standing { since: forced.since, ..step.unwrap_or_else(|| Step::new(forced.rung)).standing() }
    }
}

impl Standing {
    /// Of an endpoint that is well.
    pub const NORMAL: Self =
        Self { rung: Rung::Normal, since: Micros(0), max_stale: Micros(0), timeout: Micros(0), next: None };
}

impl Forced {
    /// Whether it still holds.
    pub fn holds(&self, now: Micros) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Step {
    /// With the defaults of a rung that the ladder does not have.
    fn new(rung: Rung) -> Self {
        let default = |rung| Self::of(&LadderStep::new(rung, None));
        match rung {
            Rung::StaleReadOnly => default(config::Rung::StaleReadOnly),
            Rung::Passthrough => default(config::Rung::Passthrough),
            rung => Self { rung, ..default(config::Rung::Reject) },
        }
    }

    fn of(step: &LadderStep) -> Self {
        Self {
            rung: Rung::of(step.rung),
            lasts: step.lasts.map_or(Micros::NEVER, Micros::of),
            max_stale: step.max_stale.map_or(Micros(0), Micros::of),
            timeout: step.timeout.map_or(Micros(0), Micros::of),
        }
    }

    fn standing(self) -> Standing {
        Standing { rung: self.rung, max_stale: self.max_stale, timeout: self.timeout, ..Standing::NORMAL }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn ladder(steps: &[LadderStep]) -> Ladder {
        Ladder { name: "it".to_owned(), steps: steps.iter().map(Step::of).collect() }
    }

    fn at(ladder: &Ladder, seconds: u64) -> (Rung, u64, Option<(Rung, u64)>) {
        let standing = ladder.standing(Micros(SECOND), Micros(seconds * SECOND));
        let next = standing.next.map(|(rung, at)| (rung, at.0 / SECOND));
        (standing.rung, standing.since.0 / SECOND, next)
    }

    #[test]
    fn the_steps_are_taken_in_order_each_for_its_time_and_the_last_one_holds() {
        let ladder = ladder(&LadderStep::default_ladder());
        assert_eq!(at(&ladder, 1), (Rung::LocalOnly, 1, Some((Rung::StaleReadOnly, 31))));
        assert_eq!(at(&ladder, 30), (Rung::LocalOnly, 1, Some((Rung::StaleReadOnly, 31))));
        assert_eq!(at(&ladder, 31), (Rung::StaleReadOnly, 31, Some((Rung::Passthrough, 331))));
        assert_eq!(at(&ladder, 331), (Rung::Passthrough, 331, Some((Rung::Reject, 931))));
        assert_eq!(at(&ladder, 931), (Rung::Reject, 931, None));
        assert_eq!(at(&ladder, 1_000_000), (Rung::Reject, 931, None));
    }

    #[test]
    fn a_last_step_holds_whatever_time_it_is_given_and_steps_come_in_the_order_of_the_file() {
        let second = Some(Duration::from_secs(1));
        let short = ladder(&[LadderStep::new(config::Rung::LocalOnly, second)]);
        assert_eq!(at(&short, 100), (Rung::LocalOnly, 1, None));
        let other = ladder(&[
            LadderStep::new(config::Rung::Passthrough, second),
            LadderStep::new(config::Rung::LocalOnly, None),
        ]);
        assert_eq!(at(&other, 1), (Rung::Passthrough, 1, Some((Rung::LocalOnly, 2))));
        assert_eq!(at(&other, 2), (Rung::LocalOnly, 2, None));
    }

    #[test]
    fn a_rung_that_is_forced_has_what_the_ladder_says_of_it_or_the_defaults() {
        let step = LadderStep {
            max_stale: Some(Duration::from_secs(7)),
            ..LadderStep::new(config::Rung::StaleReadOnly, None)
        };
        let forced = |rung| Forced { rung, since: Micros(5), until: None };
        let mine = ladder(&[step]);
        assert_eq!(mine.forced(&forced(Rung::StaleReadOnly)).max_stale, Micros(7 * SECOND));
        assert_eq!(mine.forced(&forced(Rung::Passthrough)).timeout, Micros(SECOND));
        let bare = ladder(&[LadderStep::new(config::Rung::Reject, None)]);
        assert_eq!(bare.forced(&forced(Rung::StaleReadOnly)).max_stale, Micros(600 * SECOND));
        assert_eq!(bare.forced(&forced(Rung::LocalOnly)).rung, Rung::LocalOnly);
        assert_eq!(bare.forced(&forced(Rung::LocalOnly)).since, Micros(5));
    }

    #[test]
    fn rungs_are_known_by_name() {
        assert!(RUNGS.into_iter().all(|rung| Rung::of_name(rung.name().to_uppercase().as_bytes()) == Some(rung)));
        assert_eq!(Rung::of_name(b"local"), None);
    }
}
