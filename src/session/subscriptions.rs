//! What a client is subscribed to, and how messages reach it.
//!
//! SUBSCRIBEs that wait for the upstream stand in a queue and are answered in its order, each with the counts of its
//! moment. Until the queue is empty the client's other commands wait: whether they are allowed, and what they answer,
//! may depend on it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use super::clients::Client;
use super::{Ending, Session, State};
use crate::command::{Local, Spec, Way};
use crate::inbox::Push;
use crate::pubsub::Claim;
use crate::resp::{Proto, encode};
use crate::upstream::subscriber::{Kind, Name};

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// Confirmed to the client, by kind.
    held: [HashMap<Name, Claim>; 3],
    /// Of what the hub has confirmed. A message under another ticket was on its way when the client unsubscribed.
    tickets: HashSet<u64>,
    /// SUBSCRIBEs that have not been answered yet.
    queue: VecDeque<Asking>,
}

/// A SUBSCRIBE.
#[derive(Debug)]
pub struct Asking {
    /// What the hub calls it; `None` if it needs nothing of the hub.
    pub request: Option<u64>,
    /// The place of its reply.
    pub seq: u64,
    /// What kind of names.
    pub kind: Kind,
    /// The names as they were asked for.
    pub names: Vec<Name>,
    /// Those of them that are new.
    pub claims: Vec<Claim>,
    /// What has become of it, if that is known.
    pub outcome: Option<Result<(), Box<str>>>,
    /// An error would not be sent (CLIENT REPLY); confirmations are.
    pub muted: bool,
}

/// Whether a subscriber's command may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Yes,
    /// When the SUBSCRIBEs before it are answered.
    Later,
    /// Not by a RESP2 client, which could not tell its reply from a message.
    No,
}

impl Subscriptions {
    /// Whether a command may be served.
    pub fn admits(&self, spec: &Spec, proto: Proto) -> Admission {
        let Way::Local(which) = spec.way else { return self.others(proto) };
        match which {
            Local::Subscribe => Admission::Yes,
            Local::Unsubscribe | Local::Ping | Local::Quit | Local::Reset if self.queue.is_empty() => Admission::Yes,
            _ => self.others(proto),
        }
    }

    fn others(&self, proto: Proto) -> Admission {
        match (self.queue.is_empty(), proto) {
            (false, _) => Admission::Later,
            (true, Proto::Resp2) => Admission::No,
            (true, Proto::Resp3) => Admission::Yes,
        }
    }

    /// How many names of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.held[kind.index()].len()
    }

    /// The number in a confirmation: channels and patterns are counted together, shard channels by themselves.
    fn told_count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.count(Kind::Shard),
            Kind::Channel | Kind::Pattern => self.count(Kind::Channel) + self.count(Kind::Pattern),
        }
    }

    /// Whether the client is subscribed to a name.
    pub fn holds(&self, kind: Kind, name: &[u8]) -> bool {
        self.held[kind.index()].contains_key(name)
    }

    /// Whether a name is being asked for.
    pub fn asks_for(&self, kind: Kind, name: &[u8]) -> bool {
        self.queue.iter().any(|asking| asking.kind == kind && asking.names.iter().any(|asked| **asked == *name))
    }

    /// Every name of a kind.
    pub fn names(&self, kind: Kind) -> Vec<Name> {
        self.held[kind.index()].keys().cloned().collect()
    }

    /// Whether nothing is left and nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held.iter().all(HashMap::is_empty)
    }

    /// Names that are held or asked for.
    pub fn len(&self) -> usize {
        let asked: usize = self.queue.iter().map(|asking| asking.claims.len()).sum();
        asked + self.held.iter().map(HashMap::len).sum::<usize>()
    }

    /// Whether a SUBSCRIBE waits.
    pub fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Lines a SUBSCRIBE up behind those that wait.
    pub fn enqueue(&mut self, asking: Asking) {
        if matches!(asking.outcome, Some(Ok(()))) {
            self.tickets.extend(asking.claims.iter().map(|claim| claim.ticket));
        }
        self.queue.push_back(asking);
    }

    /// The client is subscribed to these.
    pub fn take(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            self.tickets.insert(claim.ticket);
            self.held[claim.kind.index()].insert(claim.name.clone(), claim);
        }
    }

    /// Writes the confirmations of a SUBSCRIBE whose new names have been found good.
    pub fn confirm(&mut self, out: &mut Vec<u8>, proto: Proto, kind: Kind, names: &[Name], claims: Vec<Claim>) {
        let mut new: HashMap<Name, Claim> = claims.into_iter().map(|claim| (claim.name.clone(), claim)).collect();
        for name in names {
            // One by one: each is told how many there are by then.
            self.take(new.remove(name).into_iter().collect());
            confirmation(out, proto, kind.subscribe(), Some(name), self.told_count(kind));
        }
    }

    /// Forgets a name and writes the confirmation; without a name, that there was none.
    pub fn give_up(&mut self, out: &mut Vec<u8>, proto: Proto, kind: Kind, name: Option<&[u8]>) -> Option<Claim> {
        let claim = name.and_then(|name| self.held[kind.index()].remove(name));
        if let Some(claim) = &claim {
            self.tickets.remove(&claim.ticket);
        }
        confirmation(out, proto, kind.unsubscribe(), name, self.told_count(kind));
        claim
    }

    /// Notes what the hub says of a request; whether there is such a one.
    fn settle(&mut self, request: u64, outcome: Result<(), Box<str>>) -> bool {
        let Some(asking) = self.queue.iter_mut().find(|asking| asking.request == Some(request)) else { return false };
        if outcome.is_ok() {
            self.tickets.extend(asking.claims.iter().map(|claim| claim.ticket));
        }
        asking.outcome = Some(outcome);
        true
    }
}

/// One confirmation, which is a push.
fn confirmation(out: &mut Vec<u8>, proto: Proto, word: &str, name: Option<&[u8]>, count: usize) {
    match proto {
        Proto::Resp2 => encode::array(out, 3),
        Proto::Resp3 => encode::push(out, 3),
    }
    encode::bulk(out, word.as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, proto),
    }
    encode::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
}

// === impl State ===

impl State {
    /// Ends every subscription, without a word to the client.
    pub fn drop_subscriptions(&mut self, session: &Session) {
        let Some(subscriptions) = self.subscriptions.take() else { return };
        let (hub, worker) = (&session.worker.app.hub, session.worker.number);
        for asking in &subscriptions.queue {
            match (asking.request, &asking.outcome) {
                (_, Some(Err(_))) => {}
                (Some(request), _) => hub.cancel(worker, request, &asking.claims),
                (None, _) => hub.unsubscribe(worker, &asking.claims),
            }
        }
        hub.unsubscribe(worker, subscriptions.held.iter().flat_map(HashMap::values));
        self.note_subscriptions(&session.client);
    }

    /// Lets others know how many there are (CLIENT LIST), and keeps nothing for a client that has none.
    pub fn note_subscriptions(&mut self, client: &Client) {
        if self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.is_empty()) {
            self.subscriptions = None;
        }
        for kind in Kind::ALL {
            let count = self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.count(kind));
            client.subscriptions[kind.index()].store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }
}

// === impl Session ===

impl Session {
    /// What became of a SUBSCRIBE that waited.
    pub fn subscribed(&self, request: u64, refusal: Option<Box<str>>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(subscriptions) = &mut state.subscriptions else { return };
        if !subscriptions.settle(request, refusal.map_or(Ok(()), Err)) {
            return;
        }
        while subscriptions.queue.front().is_some_and(|asking| asking.outcome.is_some()) {
            let Some(asking) = subscriptions.queue.pop_front() else { break };
            let proto = state.proto;
            match asking.outcome {
                Some(Err(error)) => {
                    self.worker.counters.errors.add(1);
                    state.replies.arrive(asking.seq, 1, |out| {
                        if !asking.muted {
                            encode::error(out, &error);
                        }
                    });
                }
                _ => state.replies.arrive(asking.seq, 1, |out| {
                    subscriptions.confirm(out, proto, asking.kind, &asking.names, asking.claims);
                }),
            }
        }
        state.note_subscriptions(&self.client);
        state.wake();
    }

    /// Tells the client something that it has not asked for at this moment. One that is too far behind is closed:
    /// nobody can be made to wait for it.
    pub fn push(&self, ticket: u64, push: &Push) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let stale = ticket != 0 && !state.subscriptions.as_ref().is_some_and(|held| held.tickets.contains(&ticket));
        // A RESP2 client takes a message only where it expects one.
        let unexpected = ticket == 0 && state.proto == Proto::Resp2 && state.subscriptions.is_none();
        if stale || unexpected || state.ending > Ending::Open {
            return;
        }
        state.pushed = state.pushed.min(state.replies.waiting()) + push.size();
        if state.pushed as u64 > self.worker.rules().config.limits.max_output {
            state.end(Ending::Overfull);
            return;
        }
        self.worker.counters.pushes.add(1);
        if state.replies.bare() {
            state.replies.adopt(self.worker.lend_buffer());
        }
        let proto = state.proto;
        state.replies.push(|out| push.write(out, proto));
        state.wake();
    }
}
