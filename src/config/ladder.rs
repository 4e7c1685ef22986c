//! What is answered, step by step, while an upstream is down.

use super::fault::Faults;
use super::section::{Item, Section};
use super::tree::Value;
use super::units;
use std::time::Duration;

/// One step of a ladder. The steps are taken in order; the last one holds until the upstream is back.
#[derive(Clone, Debug, PartialEq)]
pub struct LadderStep {
    /// Which answers are given. Required.
    pub rung: Rung,
    /// How long before the next step (`for` in the file). Required for all but the last step, where it changes nothing.
    pub lasts: Option<Duration>,
    /// Rung stale-read-only: how far past its life an entry may be. Default: 10m. `None` on every other rung.
    pub max_stale: Option<Duration>,
    /// Rung passthrough: longest wait for the upstream. Default: 1s. `None` on every other rung.
    pub timeout: Option<Duration>,
}

/// Which answers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// From the near-cache while entries live; a miss and a write fail fast.
    LocalOnly,
    /// From the near-cache up to `max_stale` past an entry's life; a write gets -READONLY.
    StaleReadOnly,
    /// The cache is left aside: every request tries the upstream with a short timeout.
    Passthrough,
    /// An error at once.
    Reject,
}

pub(super) const RUNGS: [(&str, Rung); 4] = [
    ("local-only", Rung::LocalOnly),
    ("stale-read-only", Rung::StaleReadOnly),
    ("passthrough", Rung::Passthrough),
    ("reject", Rung::Reject),
];

impl LadderStep {
    /// A step with the defaults of its rung.
    pub fn new(rung: Rung, lasts: Option<Duration>) -> LadderStep {
        LadderStep {
            rung,
            lasts,
            max_stale: (rung == Rung::StaleReadOnly).then_some(Duration::from_secs(600)),
            timeout: (rung == Rung::Passthrough).then_some(Duration::from_secs(1)),
        }
    }

    /// The ladder named `default`, unless the file has its own of that name.
    pub fn default_ladder() -> Vec<LadderStep> {
        // Half a minute covers a failover, five minutes a restart with a large data set to load; after that an operator is at
        // work, and requests test the water for ten minutes before everything is refused.
        vec![
            LadderStep::new(Rung::LocalOnly, Some(Duration::from_secs(30))),
            LadderStep::new(Rung::StaleReadOnly, Some(Duration::from_secs(300))),
            LadderStep::new(Rung::Passthrough, Some(Duration::from_secs(600))),
            LadderStep::new(Rung::Reject, None),
        ]
    }

    /// Reads the steps of one ladder.
    pub(super) fn read_all(ladder: &Item<'_>, faults: &Faults) -> Vec<LadderStep> {
        let Value::List(steps) = &ladder.node.value else {
            let wrong = units::misplaced(&ladder.node.value, "a list of steps", "write - {rung: local-only, for: 30s}");
            faults.report(ladder.path.clone(), ladder.mark, wrong);
            return Vec::new();
        };
        let steps = steps.iter().enumerate().map(|(index, node)| {
            let path = ladder.path.index(index);
            LadderStep::read(Section::open(node, path, node.mark.or(ladder.mark), faults))
        });
        steps.collect()
    }

    fn read(mut section: Section<'_>) -> LadderStep {
        let rung = section.required("rung", "add rung: local-only", |value| units::choice(value, &RUNGS));
        let lasts = section.optional("for", units::duration);
        let default = LadderStep::new(rung.unwrap_or(Rung::Reject), lasts);
        let step = LadderStep {
            max_stale: section.optional("max_stale", units::duration).or(default.max_stale),
            timeout: section.optional("timeout", units::duration).or(default.timeout),
            ..default
        };
        section.finish();
        step
    }
}
