//! Publish and subscribe: where messages of the subscription connections meet the sessions that want them.
//!
//! All clients of a channel share one upstream subscription, whatever worker they live on:
//!
//! ```text
//!   session ── SUBSCRIBE ──> Hub ── the first of a name ──> upstream::subscriber ──> endpoint
//!   session <── a letter ─── Hub <──── confirmations, messages ────┘
//!        (one per worker and message, whose bytes all sessions share)
//! ```
//!
//! A client is told that it is subscribed only when the endpoint has said so, and becomes a member of the subscription
//! at that moment: whatever is published afterwards reaches it, and nothing does before it was told. A SUBSCRIBE of
//! several names holds for all or for none, as in Redis. The last member takes the upstream subscription with it.
//!
//! What sessions subscribe to as somebody else is kept apart, in a *circle* of its own: another user may be allowed less.
//! A circle's *links* are its connections, one for each endpoint. `endpoints` alone says at which endpoints a
//! name is held; with the memory upstream there is none, and messages go from session to session.

mod audience;
mod circle;
mod letters;
mod memory;
mod reader;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::app::App;
use crate::inbox::{Letter, Member};
use crate::origin::Node;
use crate::upstream::subscriber::{Kind, Name, Subscriber};
use crate::upstream::{Credentials, Endpoint};
use circle::Circle;
use letters::Letters;
pub use reader::start_links;

/// Who is subscribed to what, in the whole process.
#[derive(Debug, Default)]
pub struct Hub {
    inner: Mutex<Inner>,
    /// Messages that came from upstream.
    pub received: AtomicU64,
    /// Losses of subscription connections.
    pub lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    circles: Vec<Circle>,
    /// SUBSCRIBEs that wait for the endpoint.
    requests: HashMap<u64, Request>,
    /// Connections that nobody has started yet.
    new_links: Vec<NewLink>,
    /// How many numbers have been given out: to circles, links, requests, tickets and wishes.
    numbers: u64,
    /// Subscriptions of all sessions.
    members: usize,
}

/// A subscription connection to be run.
#[derive(Debug)]
struct NewLink {
    circle: u64,
    link: u64,
    endpoint: Arc<Endpoint>,
    credentials: Option<Arc<Credentials>>,
    subscriber: Arc<Subscriber>,
}

/// One SUBSCRIBE that waits.
#[derive(Debug)]
struct Request {
    who: Who,
    circle: u64,
    claims: Vec<Claim>,
    /// Claims that are not confirmed yet.
    left: usize,
}

/// A session, and where it lives.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Its worker.
    pub worker: u16,
    /// Its number.
    pub session: u64,
}

/// One name that a session is subscribed to, or asks for.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What kind of name.
    pub kind: Kind,
    /// The name.
    pub name: Name,
    /// Under which messages come.
    pub ticket: u64,
    circle: u64,
}

/// What becomes of a SUBSCRIBE.
#[derive(Debug)]
pub enum Asked {
    /// Subscribed: the endpoint had confirmed every name before.
    Confirmed(Vec<Claim>),
    /// A letter of this number will tell.
    Awaited(u64, Vec<Claim>),
    /// Not subscribed; the error.
    Refused(String),
}

/// How many there are of something, of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Subscriptions of sessions.
    pub members: usize,
    /// Different names, by kind, as [`Kind::index`] counts; each circle's count by themselves.
    pub names: [usize; 3],
}

/// What the subscribers of a name are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Subscriptions that Larder itself holds upstream.
    pub upstream: usize,
    /// Sessions that share them.
    pub members: usize,
}

/// At which endpoints a name is held: the only place that knows. Every node of a cluster passes on what is published at
/// any, so one will do, and always the same. A shard channel belongs to the owner of its slot. What a node says of
/// its own keys (keyspace notifications) it says to nobody else. None: nobody is known who could hold it.
fn endpoints(app: &App, kind: Kind, name: &[u8]) -> Endpoints {
    let Some(origin) = app.broker() else { return Endpoints::new() };
    let map = origin.map();
    let of = |node: &Arc<Node>| Arc::clone(&node.endpoint);
    match kind {
        Kind::Shard => map.owner(name).map(of).into_iter().collect(),
        _ if name.starts_with(OF_KEYS) => map.primaries().iter().map(|primary| of(&primary.node)).collect(),
        Kind::Channel | Kind::Pattern => map.any().map(of).into_iter().collect(),
    }
}

/// Endpoints at which a name is held.
type Endpoints = SmallVec<[Arc<Endpoint>; 1]>;

/// How the channels of keyspace notifications begin: `__keyspace@0__:` and `__keyevent@0__:`.
const OF_KEYS: &[u8] = b"__key";

// === impl Hub ===

impl Hub {
    /// Subscribes a session to names that it is not subscribed to. Without `credentials`: as the configured user.
    pub fn subscribe(
        &self,
        app: &App,
        who: Who,
        credentials: Option<&Arc<Credentials>>,
        kind: Kind,
        names: Vec<Name>,
    ) -> Asked {
        let mut inner = self.lock();
        let asked = inner.subscribe(app, who, credentials, kind, names);
        let links = !inner.new_links.is_empty();
        drop(inner);
        if links && let Some(first) = app.inboxes.first() {
            first.post([Letter::Links]);
        }
        asked
    }

    /// Ends subscriptions of a session. Messages that are on their way to it are its own to drop.
    pub fn unsubscribe<'a>(&self, worker: u16, claims: impl IntoIterator<Item = &'a Claim>) {
        let mut inner = self.lock();
        for claim in claims {
            inner.unsubscribe(worker, claim);
        }
    }

    /// The same for what was asked for under this number, confirmed meanwhile or not.
    pub fn cancel(&self, worker: u16, request: u64, claims: &[Claim]) {
        let mut inner = self.lock();
        if inner.requests.remove(&request).is_some() {
            inner.give_up(request, claims);
        } else {
            claims.iter().for_each(|claim| inner.unsubscribe(worker, claim));
        }
    }

    /// The endpoints of the upstream, or who is responsible for what, have changed: every subscription is moved to where
    /// it belongs now. Clients notice nothing, but what is published during the move may be lost.
    pub fn endpoints_changed(&self, app: &App) {
        let mut inner = self.lock();
        let mut letters = Letters::new(app);
        let Inner { circles, numbers, new_links, .. } = &mut *inner;
        for circle in circles.iter_mut() {
            circle.rehome(|kind, name| endpoints(app, kind, name), numbers, new_links);
        }
        for circle in inner.circles.iter().map(|circle| circle.number).collect::<Vec<_>>() {
            inner.settle(circle, &mut letters);
        }
        drop(inner);
        if let Some(first) = app.inboxes.first() {
            first.post([Letter::Links]);
        }
        letters.send(app);
    }

    /// How much there is.
    pub fn figures(&self) -> Figures {
        let inner = self.lock();
        let mut figures = Figures { members: inner.members, ..Figures::default() };
        for circle in &inner.circles {
            for (sum, names) in figures.names.iter_mut().zip(&circle.subscriptions) {
                *sum += names.len();
            }
        }
        figures
    }

    /// Who listens to a name.
    pub fn audience(&self, kind: Kind, name: &[u8]) -> Audience {
        let inner = self.lock();
        let mut audience = Audience::default();
        for subscription in inner.circles.iter().filter_map(|circle| circle.subscriptions[kind.index()].get(name)) {
            audience.upstream += subscription.upstream();
            audience.members += subscription.count();
        }
        audience
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics; a count that were wrong after a panic elsewhere would harm nobody.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn circle(&mut self, number: u64) -> Option<&mut Circle> {
        self.circles.iter_mut().find(|circle| circle.number == number)
    }

    fn subscribe(
        &mut self,
        app: &App,
        who: Who,
        credentials: Option<&Arc<Credentials>>,
        kind: Kind,
        names: Vec<Name>,
    ) -> Asked {
        let at = match self.circles.iter().position(|circle| circle.credentials.as_ref() == credentials) {
            Some(at) => at,
            None => {
                let number = self.next();
                self.circles.push(Circle::new(number, credentials.cloned()));
                self.circles.len() - 1
            }
        };
        let homes = |name: &Name| endpoints(app, kind, name);
        let circle = &self.circles[at];
        let refusal = match app.broker() {
            Some(origin) if names.iter().any(|name| homes(name).is_empty()) => Some(origin.nobody()),
            _ => names.iter().find_map(|name| circle.unreachable(kind, name, &homes(name))),
        };
        if let Some(error) = refusal {
            app.broker().inspect(|origin| origin.doubt.notify_one());
            self.circles.retain(|circle| !circle.empty());
            return Asked::Refused(error);
        }
        let (request, circle) = (self.next(), self.circles[at].number);
        let mut claims = Vec::with_capacity(names.len());
        let mut left = 0;
        for name in names {
            let Self { circles, numbers, new_links, .. } = self;
            let subscription = circles[at].hold(kind, &name, &homes(&name), numbers, new_links);
            if !subscription.confirmed() {
                subscription.waiting.push(request);
                left += 1;
            }
            claims.push(Claim { kind, name, ticket: self.next(), circle });
        }
        if left > 0 {
            self.requests.insert(request, Request { who, circle, claims: claims.clone(), left });
            return Asked::Awaited(request, claims);
        }
        self.join(who, &claims);
        Asked::Confirmed(claims)
    }

    fn join(&mut self, who: Who, claims: &[Claim]) {
        for claim in claims {
            let circle = self.circles.iter_mut().find(|circle| circle.number == claim.circle);
            if let Some(subscription) = circle.and_then(|circle| circle.find(claim.kind, &claim.name)) {
                subscription.join(who.worker, Member { session: who.session, ticket: claim.ticket });
                self.members += 1;
            }
        }
    }

    fn unsubscribe(&mut self, worker: u16, claim: &Claim) {
        let circle = self.circles.iter_mut().find(|circle| circle.number == claim.circle);
        if let Some(subscription) = circle.and_then(|circle| circle.find(claim.kind, &claim.name))
            && subscription.leave(worker, claim.ticket)
        {
            self.members -= 1;
        }
        self.release(claim);
    }

    /// Lets go of a subscription that nobody wants any more.
    fn release(&mut self, claim: &Claim) {
        let Some(at) = self.circles.iter().position(|circle| circle.number == claim.circle) else { return };
        self.circles[at].release(claim.kind, &claim.name);
        if self.circles[at].empty() {
            self.circles.swap_remove(at);
        }
    }

    /// A request that is no longer in the list waits for nothing any more.
    fn give_up(&mut self, request: u64, claims: &[Claim]) {
        for claim in claims {
            if let Some(subscription) =
                self.circle(claim.circle).and_then(|circle| circle.find(claim.kind, &claim.name))
            {
                subscription.waiting.retain(|waiting| *waiting != request);
            }
            self.release(claim);
        }
    }

    /// A subscription that this request waits for is confirmed.
    fn one_confirmed(&mut self, request: u64, letters: &mut Letters) {
        let Some(waiting) = self.requests.get_mut(&request) else { return };
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left == 0
            && let Some(Request { who, claims, .. }) = self.requests.remove(&request)
        {
            self.join(who, &claims);
            letters.add(who.worker, Letter::Subscribed { session: who.session, request, refusal: None });
        }
    }

    fn refuse(&mut self, request: u64, error: &str, letters: &mut Letters) {
        let Some(Request { who, claims, .. }) = self.requests.remove(&request) else { return };
        self.give_up(request, &claims);
        let refusal = Some(error.into());
        letters.add(who.worker, Letter::Subscribed { session: who.session, request, refusal });
    }

    /// What was confirmed may not be so any more, or need not be: counts anew what the circle's requests wait for.
    fn settle(&mut self, number: u64, letters: &mut Letters) {
        let Some(circle) = self.circles.iter_mut().find(|circle| circle.number == number) else { return };
        circle.subscriptions.iter_mut().flat_map(HashMap::values_mut).for_each(|held| held.waiting.clear());
        let mut done = Vec::new();
        for (request, waiting) in self.requests.iter_mut().filter(|(_, request)| request.circle == number) {
            waiting.left = 0;
            for claim in &waiting.claims {
                if let Some(held) = circle.find(claim.kind, &claim.name).filter(|held| !held.confirmed()) {
                    held.waiting.push(*request);
                    waiting.left += 1;
                }
            }
            if waiting.left == 0 {
                done.push(*request);
            }
        }
        for request in done {
            self.one_confirmed(request, letters);
        }
    }
}

#[cfg(test)]
mod tests;
