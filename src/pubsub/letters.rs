//! Letters of the hub, gathered for each worker so that a batch of them wakes it once.

use std::sync::Arc;

use super::circle::Subscription;
use crate::app::App;
use crate::inbox::{Letter, Push};

/// Letters, by worker.
#[derive(Debug)]
pub(super) struct Letters(Vec<Vec<Letter>>);

impl Letters {
    pub(super) fn new(app: &App) -> Self {
        Self(app.inboxes.iter().map(|_| Vec::new()).collect())
    }

    pub(super) fn add(&mut self, worker: u16, letter: Letter) {
        if let Some(letters) = self.0.get_mut(usize::from(worker)) {
            letters.push(letter);
        }
    }

    /// Tells everybody who shares a subscription.
    pub(super) fn tell(&mut self, subscription: &Subscription, push: &Push) {
        for (worker, members) in &subscription.members {
            self.add(*worker, Letter::Push(Arc::clone(members), push.clone()));
        }
    }

    /// Hands them over.
    pub(super) fn send(&mut self, app: &App) {
        for (letters, inbox) in self.0.iter_mut().zip(&app.inboxes) {
            if !letters.is_empty() {
                inbox.post(letters.drain(..));
            }
        }
    }
}
