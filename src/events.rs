//! What has happened of late, for those who look after the process: rungs entered, breakers opened, coverage lost, reloads, drains.
//!
//! Each event is written to the log and kept, so that whoever looks at the admin page later sees what the log had. The last
//! [`KEPT`] are kept. Events are rare by nature; what may come once for each client or command belongs into a metric.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Events that are remembered.
pub const KEPT: usize = 256;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, from 1; never used again.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Of what kind.
    pub kind: Kind,
    /// Whether somebody should look.
    pub warning: bool,
    /// The upstream that it is about, if it is about one.
    pub upstream: Option<String>,
    /// In words. Never holds a value, a key or a secret.
    pub text: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The process as a whole: started, draining.
    Process,
    /// The configuration.
    Reload,
    /// A rung of a ladder was entered, forced or left.
    Rung,
    /// A breaker opened or closed.
    Breaker,
    /// Whether cached replies are covered by invalidations.
    Coverage,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    count: u64,
    events: VecDeque<Event>,
}

impl Kind {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Reload => "reload",
            Self::Rung => "rung",
            Self::Breaker => "breaker",
            Self::Coverage => "coverage",
        }
    }
}

impl Events {
    /// Something went as it should.
    pub fn info(&self, kind: Kind, upstream: Option<&str>, text: impl Into<String>) {
        let text = text.into();
        match upstream {
            Some(upstream) => tracing::info!(upstream, "{text}"),
            None => tracing::info!("{text}"),
        }
        self.keep(kind, false, upstream, text);
    }

    /// Somebody should look.
    pub fn warn(&self, kind: Kind, upstream: Option<&str>, text: impl Into<String>) {
        let text = text.into();
        match upstream {
            Some(upstream) => tracing::warn!(upstream, "{text}"),
            None => tracing::warn!("{text}"),
        }
        self.keep(kind, true, upstream, text);
    }

    fn keep(&self, kind: Kind, warning: bool, upstream: Option<&str>, text: String) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.count += 1;
        let event = Event { number: last.count, at_ms, kind, warning, upstream: upstream.map(str::to_owned), text };
        if last.events.len() == KEPT {
            last.events.pop_front();
        }
        last.events.push_back(event);
    }

    /// Those with a higher number than this, the oldest first.
    pub fn after(&self, number: u64) -> Vec<Event> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.events.iter().filter(|event| event.number > number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_under_their_numbers() {
        let events = Events::default();
        for number in 0..KEPT + 3 {
            events.info(Kind::Process, None, number.to_string());
        }
        let all = events.after(0);
        assert_eq!((all.len(), all[0].number, &*all[0].text), (KEPT, 4, "3"));
        events.warn(Kind::Rung, Some("main"), "normal -> local-only");
        let news = events.after(all[KEPT - 1].number);
        assert_eq!(news.len(), 1);
        assert!(news[0].warning && news[0].upstream.as_deref() == Some("main"));
    }
}
