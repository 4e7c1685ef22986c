//! What happens when a subscription connection tells something: confirmations to those who wait, messages to members.
//!
//! Runs inside the connection's reader. Letters are gathered for each worker, in the order of the stream, and handed
//! over once per read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::circle::Phase;
use super::letters::Letters;
use super::{Inner, NewLink};
use crate::app::App;
use crate::clock::Micros;
use crate::inbox::{Letter, Push};
use crate::upstream::subscriber::{self, Event, Kind, Name, Onward};

/// The reader of one connection.
struct Reader {
    app: Arc<App>,
    circle: u64,
    link: u64,
    letters: Letters,
}

/// Starts the connections that have become necessary. On the worker that keeps them.
pub fn start_links(app: &Arc<App>) {
    let new = std::mem::take(&mut app.hub.lock().new_links);
    for NewLink { circle, link, endpoint, credentials, subscriber } in new {
        let mut reader = Reader { app: Arc::clone(app), circle, link, letters: Letters::new(app) };
        tokio::task::spawn_local(async move {
            subscriber::run(endpoint, credentials, subscriber, |event| reader.hear(event)).await;
        });
    }
}

/// Words of a node of a cluster that another one has the slot, or none: who has it will be known in a moment.
const ELSEWHERE: [&str; 4] = ["MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN "];
/// How often that is believed, each time for a heartbeat, before who waits is told.
const MOST_REDIRECTIONS: u32 = 8;

impl Reader {
    fn hear(&mut self, event: Event<'_>) -> Onward {
        if matches!(event, Event::Batch) {
            self.letters.send(&self.app);
            let behind = self.app.inboxes.iter().any(|inbox| inbox.congested());
            return if behind { Onward::Pause } else { Onward::Go };
        }
        let app = Arc::clone(&self.app);
        let inner = &mut *app.hub.lock();
        match event {
            Event::Message(kind, name, frame) => {
                app.hub.received.fetch_add(1, Ordering::Relaxed);
                self.message(inner, kind, name, frame);
            }
            Event::Confirmed(kind, name, tag) => self.confirmed(inner, kind, name, tag),
            Event::Refused(kind, name, tag, words) => return self.refused(inner, kind, name, tag, words),
            Event::Up => self.phase(inner, Phase::Up),
            Event::Lost => {
                app.hub.lost.fetch_add(1, Ordering::Relaxed);
                self.doubt();
                self.phase(inner, Phase::Opening);
                self.unconfirm(inner, |_, _| true);
            }
            Event::Dropped(of, dropped) => {
                self.doubt();
                self.unconfirm(inner, |kind, name| kind == of && name == dropped);
            }
            Event::Unreachable(error, wait) => {
                self.doubt();
                let until = Micros::now().plus(Micros::of(wait));
                self.phase(inner, Phase::Down(error.into(), until));
                self.unreachable(inner, error);
            }
            Event::Idle => return self.idle(inner),
            Event::Alive { .. } | Event::Batch => {}
        }
        Onward::Go
    }

    /// The endpoints may not be what they were.
    fn doubt(&self) {
        if let Some(origin) = self.app.broker() {
            origin.doubt.notify_one();
        }
    }

    /// One letter for each worker on which somebody wants it.
    fn message(&mut self, inner: &mut Inner, kind: Kind, name: &[u8], frame: &[u8]) {
        let link = self.link;
        let Some(subscription) = inner.circle(self.circle).and_then(|circle| circle.find(kind, name)) else { return };
        // One that has moved is told by its new home.
        if subscription.homes.iter().any(|home| home.link == link) {
            self.letters.tell(subscription, &push(frame));
        }
    }

    fn confirmed(&mut self, inner: &mut Inner, kind: Kind, name: &[u8], tag: u64) {
        let Some(subscription) = inner.circle(self.circle).and_then(|circle| circle.find(kind, name)) else { return };
        let Some(home) = subscription.homes.iter_mut().find(|home| home.tag == tag) else { return };
        home.confirmed = true;
        home.redirections = 0;
        if subscription.confirmed() {
            for request in std::mem::take(&mut subscription.waiting) {
                inner.one_confirmed(request, &mut self.letters);
            }
        }
    }

    /// Who waits for it is told why. Who has it already, and may not keep it, is closed, as Redis does when a user's
    /// rights are taken away; any other refusal (the server is busy) may pass, hence it is asked again.
    fn refused(&mut self, inner: &mut Inner, kind: Kind, name: &[u8], tag: u64, words: &str) -> Onward {
        let Some(subscription) = inner.circle(self.circle).and_then(|circle| circle.find(kind, name)) else {
            return Onward::Go;
        };
        let Some(home) = subscription.homes.iter_mut().find(|home| home.tag == tag) else { return Onward::Go };
        if ELSEWHERE.iter().any(|code| words.starts_with(code)) {
            self.doubt();
            home.redirections += 1;
            if home.redirections <= MOST_REDIRECTIONS {
                return Onward::Again;
            }
        }
        let waiting = std::mem::take(&mut subscription.waiting);
        if words.starts_with("NOPERM") || words.starts_with("NOAUTH") {
            for (worker, members) in std::mem::take(&mut subscription.members) {
                inner.members -= members.len();
                members.iter().for_each(|member| self.letters.add(worker, Letter::Kill(member.session)));
            }
        }
        for request in waiting {
            inner.refuse(request, words, &mut self.letters);
        }
        let Some(circle) = inner.circle(self.circle) else { return Onward::Go };
        circle.release(kind, &Name::from(name));
        if circle.find(kind, name).is_some() { Onward::Again } else { Onward::Go }
    }

    fn phase(&self, inner: &mut Inner, phase: Phase) {
        if let Some(link) = inner.circle(self.circle).and_then(|circle| circle.link(self.link)) {
            link.phase = phase;
        }
    }

    /// What this connection gave is not confirmed any more, until it is again.
    fn unconfirm(&mut self, inner: &mut Inner, concerns: impl Fn(Kind, &[u8]) -> bool) {
        let link = self.link;
        let Some(circle) = inner.circle(self.circle) else { return };
        for kind in Kind::ALL {
            let held = circle.subscriptions[kind.index()].iter_mut();
            for (_, subscription) in held.filter(|(name, _)| concerns(kind, name)) {
                subscription.homes.iter_mut().filter(|home| home.link == link).for_each(|home| home.confirmed = false);
            }
        }
        inner.settle(self.circle, &mut self.letters);
    }

    /// Who waits for something of this endpoint waits no longer. Who has it keeps it: it is tried again.
    fn unreachable(&mut self, inner: &mut Inner, error: &str) {
        let link = self.link;
        let Some(circle) = inner.circle(self.circle) else { return };
        let mut waiting = Vec::new();
        for subscription in circle.subscriptions.iter().flat_map(|held| held.values()) {
            if subscription.homes.iter().any(|home| home.link == link && !home.confirmed) {
                waiting.extend_from_slice(&subscription.waiting);
            }
        }
        for request in waiting {
            inner.refuse(request, error, &mut self.letters);
        }
    }

    fn idle(&self, inner: &mut Inner) -> Onward {
        let Some(circle) = inner.circle(self.circle) else { return Onward::End };
        let held = circle.subscriptions.iter().flat_map(|held| held.values());
        if held.flat_map(|subscription| &subscription.homes).any(|home| home.link == self.link) {
            return Onward::Go;
        }
        circle.links.retain(|link| link.number != self.link);
        if circle.empty() {
            let number = self.circle;
            inner.circles.retain(|circle| circle.number != number);
        }
        Onward::End
    }
}

/// The message as a RESP3 push, whatever version the endpoint speaks: its elements are the same in both.
fn push(frame: &[u8]) -> Push {
    let mut bytes = Vec::with_capacity(frame.len());
    bytes.push(b'>');
    bytes.extend_from_slice(frame.get(1..).unwrap_or_default());
    Push::same_in_both(Bytes::from(bytes))
}
