//! With the memory upstream there is no endpoint: what one client publishes goes straight to the others.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::letters::Letters;
use super::{Hub, Inner};
use crate::app::App;
use crate::glob;
use crate::inbox::Push;
use crate::resp::encode;
use crate::upstream::subscriber::{Kind, Name};

impl Hub {
    /// Sends a message to everybody who is subscribed to `channel` ([`Kind::Channel`] or [`Kind::Shard`]); how many
    /// they are.
    pub fn publish(&self, app: &App, kind: Kind, channel: &[u8], message: &[u8]) -> usize {
        self.received.fetch_add(1, Ordering::Relaxed);
        let mut letters = Letters::new(app);
        let mut count = 0;
        let inner = self.lock();
        for subscription in inner.circles.iter().filter_map(|circle| circle.subscriptions[kind.index()].get(channel)) {
            count += subscription.count();
            letters.tell(subscription, &push(&[kind.message().as_bytes(), channel, message]));
        }
        if kind == Kind::Channel {
            for (pattern, subscription) in held(&inner, Kind::Pattern) {
                if matches(pattern, channel) {
                    count += subscription.count();
                    letters.tell(subscription, &push(&[b"pmessage", pattern, channel, message]));
                }
            }
        }
        // Under the lock: of two messages, everybody gets the same one first.
        letters.send(app);
        drop(inner);
        count
    }

    /// The names that somebody is subscribed to and that match `pattern`.
    pub fn names(&self, kind: Kind, pattern: &[u8]) -> Vec<Name> {
        let inner = self.lock();
        held(&inner, kind).map(|(name, _)| name).filter(|name| matches(pattern, name)).cloned().collect()
    }
}

fn held(inner: &Inner, kind: Kind) -> impl Iterator<Item = (&Name, &super::circle::Subscription)> {
    inner.circles.iter().flat_map(move |circle| &circle.subscriptions[kind.index()])
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, name)
}

fn push(elements: &[&[u8]]) -> Push {
    let mut frame = Vec::new();
    encode::push(&mut frame, elements.len());
    elements.iter().for_each(|element| encode::bulk(&mut frame, element));
    Push::same_in_both(Bytes::from(frame))
}
