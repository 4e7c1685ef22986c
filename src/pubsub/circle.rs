//! What the sessions of one identity are subscribed to, and over which connections.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Endpoints, NewLink};
use crate::clock::Micros;
use crate::inbox::Member;
use crate::upstream::subscriber::{Kind, Name, Subscriber, Wish};
use crate::upstream::{Credentials, Endpoint};

/// All subscriptions of one identity.
#[derive(Debug)]
pub(super) struct Circle {
    pub(super) number: u64,
    /// `None`: the configured user.
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) links: Vec<Link>,
    /// By kind and name.
    pub(super) subscriptions: [HashMap<Name, Subscription>; 3],
}

/// A subscription connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) phase: Phase,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) enum Phase {
    /// Being made, for the first time or after a loss.
    Opening,
    Up,
    /// The last attempt to make it failed so; until then, who asks is told at once.
    Down(Box<str>, Micros),
}

/// One name that sessions share.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) homes: SmallVec<[Home; 1]>,
    /// Who gets its messages, by worker. A list travels with each message and is copied only if it changes meanwhile.
    pub(super) members: SmallVec<[(u16, Arc<Vec<Member>>); 1]>,
    /// Requests that wait until it is confirmed.
    pub(super) waiting: Vec<u64>,
}

/// A link over which a name is held.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) link: u64,
    /// The wish that is to be answered.
    pub(super) tag: u64,
    /// Messages arrive.
    pub(super) confirmed: bool,
    /// How often in a row the endpoint has said that another one has it.
    pub(super) redirections: u32,
}

// === impl Circle ===

impl Circle {
    pub(super) fn new(number: u64, credentials: Option<Arc<Credentials>>) -> Self {
        Self { number, credentials, links: Vec::new(), subscriptions: Default::default() }
    }

    pub(super) fn find(&mut self, kind: Kind, name: &[u8]) -> Option<&mut Subscription> {
        self.subscriptions[kind.index()].get_mut(name)
    }

    pub(super) fn link(&mut self, number: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.number == number)
    }

    /// Why a name cannot be subscribed to now, if its endpoints could not be reached a moment ago.
    pub(super) fn unreachable(&self, kind: Kind, name: &[u8], endpoints: &Endpoints) -> Option<String> {
        if self.subscriptions[kind.index()].get(name).is_some_and(Subscription::confirmed) {
            return None;
        }
        let needed = |link: &&Link| endpoints.iter().any(|endpoint| link.is_to(endpoint));
        let now = Micros::now();
        self.links.iter().filter(needed).find_map(|link| match &link.phase {
            Phase::Down(error, until) if now < *until => Some(error.to_string()),
            _ => None,
        })
    }

    /// The subscription to a name, asked for at `endpoints` if there was none.
    pub(super) fn hold(
        &mut self,
        kind: Kind,
        name: &Name,
        endpoints: &Endpoints,
        numbers: &mut u64,
        new_links: &mut Vec<NewLink>,
    ) -> &mut Subscription {
        if !self.subscriptions[kind.index()].contains_key(name) {
            let homes = endpoints.iter().map(|endpoint| self.ask(kind, name, endpoint, numbers, new_links)).collect();
            let subscription = Subscription { homes, members: SmallVec::new(), waiting: Vec::new() };
            self.subscriptions[kind.index()].insert(Arc::clone(name), subscription);
        }
        self.subscriptions[kind.index()].get_mut(name).expect("it was there, or has just been put there")
    }

    /// Asks for a name at one endpoint, over the link that leads there.
    fn ask(
        &mut self,
        kind: Kind,
        name: &Name,
        endpoint: &Arc<Endpoint>,
        numbers: &mut u64,
        new_links: &mut Vec<NewLink>,
    ) -> Home {
        let at = match self.links.iter().position(|link| link.is_to(endpoint)) {
            Some(at) => at,
            None => {
                *numbers += 1;
                let subscriber = Arc::<Subscriber>::default();
                new_links.push(NewLink {
                    circle: self.number,
                    link: *numbers,
                    endpoint: Arc::clone(endpoint),
                    credentials: self.credentials.clone(),
                    subscriber: Arc::clone(&subscriber),
                });
                let endpoint = Arc::clone(endpoint);
                self.links.push(Link { number: *numbers, endpoint, subscriber, phase: Phase::Opening });
                self.links.len() - 1
            }
        };
        *numbers += 1;
        self.links[at].subscriber.wish(Wish::Subscribe(kind, Arc::clone(name), *numbers));
        Home { link: self.links[at].number, tag: *numbers, confirmed: false, redirections: 0 }
    }

    /// Lets go of a name if nobody wants it any more.
    pub(super) fn release(&mut self, kind: Kind, name: &Name) {
        let held = &mut self.subscriptions[kind.index()];
        if held.get(name).is_some_and(|held| held.members.is_empty() && held.waiting.is_empty())
            && let Some(subscription) = held.remove(name)
        {
            self.abandon(kind, name, &subscription.homes);
        }
    }

    /// Unsubscribes at these homes.
    pub(super) fn abandon(&mut self, kind: Kind, name: &Name, homes: &[Home]) {
        for home in homes {
            if let Some(link) = self.link(home.link) {
                link.subscriber.wish(Wish::Unsubscribe(kind, Arc::clone(name)));
            }
        }
    }

    /// Moves every name to the endpoints where it belongs now.
    pub(super) fn rehome(
        &mut self,
        endpoints: impl Fn(Kind, &[u8]) -> Endpoints,
        numbers: &mut u64,
        new_links: &mut Vec<NewLink>,
    ) {
        for kind in Kind::ALL {
            let names: Vec<Name> = self.subscriptions[kind.index()].keys().cloned().collect();
            for name in names {
                let wanted = endpoints(kind, &name);
                if wanted.is_empty() {
                    // Nobody has it for the moment: who had it may still know.
                    continue;
                }
                let Some(subscription) = self.find(kind, &name) else { continue };
                let old = std::mem::take(&mut subscription.homes);
                let mut homes = SmallVec::new();
                let mut left: SmallVec<[Home; 1]> = SmallVec::new();
                for home in old {
                    let stays = self
                        .links
                        .iter()
                        .any(|link| link.number == home.link && wanted.iter().any(|endpoint| link.is_to(endpoint)));
                    if stays { homes.push(home) } else { left.push(home) }
                }
                self.abandon(kind, &name, &left);
                for endpoint in &wanted {
                    let there = self.links.iter().find(|link| link.is_to(endpoint)).map(|link| link.number);
                    if !homes.iter().any(|home: &Home| Some(home.link) == there) {
                        homes.push(self.ask(kind, &name, endpoint, numbers, new_links));
                    }
                }
                if let Some(subscription) = self.find(kind, &name) {
                    subscription.homes = homes;
                }
            }
        }
    }

    /// Whether nothing is left of it.
    pub(super) fn empty(&self) -> bool {
        self.links.is_empty() && self.subscriptions.iter().all(HashMap::is_empty)
    }
}

// === impl Link ===

impl Link {
    fn is_to(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.address == endpoint.address && self.endpoint.duty == endpoint.duty
    }
}

// === impl Subscription ===

impl Subscription {
    /// Whether messages arrive from everywhere.
    pub(super) fn confirmed(&self) -> bool {
        self.homes.iter().all(|home| home.confirmed)
    }

    /// How many subscriptions endpoints see.
    pub(super) fn upstream(&self) -> usize {
        self.homes.iter().filter(|home| home.confirmed).count()
    }

    /// How many sessions get its messages.
    pub(super) fn count(&self) -> usize {
        self.members.iter().map(|(_, members)| members.len()).sum()
    }

    pub(super) fn join(&mut self, worker: u16, member: Member) {
        match self.members.iter_mut().find(|(of, _)| *of == worker) {
            Some((_, members)) => Arc::make_mut(members).push(member),
            None => self.members.push((worker, Arc::new(vec![member]))),
        }
    }

    /// Whether the ticket was a member's.
    pub(super) fn leave(&mut self, worker: u16, ticket: u64) -> bool {
        let Some(at) = self.members.iter().position(|(of, _)| *of == worker) else { return false };
        let members = &mut self.members[at].1;
        let Some(place) = members.iter().position(|member| member.ticket == ticket) else { return false };
        Arc::make_mut(members).swap_remove(place);
        if self.members[at].1.is_empty() {
            self.members.swap_remove(at);
        }
        true
    }
}
