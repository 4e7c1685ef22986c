//! Invalidation channels: how the near-cache hears of changes where the upstream itself tells of none (Memcached, or a Redis without
//! tracking).
//!
//! ```text
//!   another Larder, or the application
//!        │ PUBLISH larder:pages user:17
//!        v
//!      Redis ── listen ──> near-cache: the key goes, fills under way are not stored
//!        ^
//!        │                 delete (where asked): the key goes from the memcached too
//!        └──── publish ─── writes that pass through here, when their fate is known
//! ```
//!
//! While the subscription is up and proves itself, entries of the upstream may live as long as their route says; when it is lost nothing
//! that it covered is fresh any more, and until it is back the short lives of `near_cache.untracked_ttl` hold ([`Channel::cover`]).
//!
//! * `message`: what is said on a channel.
//! * `listen`: the subscription, and what comes of a message.
//! * `publish`: what Larder says itself.
//! * `delete`: keys that are deleted at the nodes because a message said so.

mod delete;
mod listen;
mod message;
mod publish;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::delete::Doomed;
use self::message::Message;
use self::publish::Outbox;
use crate::app::App;
use crate::cache::coverage::Coverage;
use crate::clock::Micros;
use crate::config::Config;
use crate::upstream::subscriber::Name;

/// The channels of all upstreams that have one, by the upstreams' numbers.
#[derive(Debug, Default)]
pub struct Channels(Vec<Option<Arc<Channel>>>);

/// The channel on which changes of an upstream's keys are told.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: Name,
    /// The upstream whose keys it is about.
    pub of: u16,
    /// The upstream that passes the messages on.
    pub via: u16,
    /// Whether keys are deleted at the nodes when others than Larders tell of them.
    pub deletes: bool,
    /// Until when the subscription is proven; `None`: it is not up. Coverage of the nodes changes under this lock.
    proof: Mutex<Option<Micros>>,
    outbox: Outbox,
    doomed: Doomed,
    /// Counts.
    pub tallies: Tallies,
    /// It was said that nothing can be published.
    said_mute: AtomicBool,
}

/// Counts of what happens on a channel.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Tallies {
    pub foreign: AtomicU64,
    pub own: AtomicU64,
    pub malformed: AtomicU64,
    pub lost: AtomicU64,
    pub published: AtomicU64,
    pub publish_failures: AtomicU64,
    /// Messages that were given up for one that says "everything".
    pub condensed: AtomicU64,
    pub deleted: AtomicU64,
    pub delete_failures: AtomicU64,
}

// === impl Channels ===

impl Channels {
    /// The channels of a checked configuration.
    pub fn of(config: &Config) -> Self {
        let number = |name: &str| config.upstreams.keys().position(|known| known == name);
        let channel = |(of, upstream): (usize, &crate::config::Upstream)| {
            let invalidation = upstream.invalidation.as_ref()?;
            let via = number(&invalidation.upstream)?;
            Some(Arc::new(Channel::new(invalidation.channel.as_bytes(), of as u16, via as u16, invalidation.delete)))
        };
        Self(config.upstreams.values().enumerate().map(channel).collect())
    }

    /// The channel of an upstream, if it has one.
    #[inline]
    pub fn get(&self, upstream: u16) -> Option<&Arc<Channel>> {
        self.0.get(usize::from(upstream)).and_then(Option::as_ref)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.0.iter().flatten()
    }
}

/// Keeps all channels, for ever. On the control thread.
pub fn keep(app: &Arc<App>) {
    for channel in app.channels.iter() {
        tokio::spawn(listen::keep(Arc::clone(app), Arc::clone(channel)));
        tokio::spawn(publish::keep(Arc::clone(app), Arc::clone(channel)));
        if channel.deletes {
            tokio::spawn(delete::keep(Arc::clone(app), Arc::clone(channel)));
        }
    }
}

/// Whether everything that there was to tell has been told.
pub fn has_told_all(app: &App) -> bool {
    app.channels.iter().all(|channel| channel.outbox.is_empty())
}

// === impl Channel ===

impl Channel {
    fn new(name: &[u8], of: u16, via: u16, deletes: bool) -> Self {
        Self {
            name: Name::from(name),
            of,
            via,
            deletes,
            proof: Mutex::default(),
            outbox: Outbox::default(),
            doomed: Doomed::default(),
            tallies: Tallies::default(),
            said_mute: AtomicBool::new(false),
        }
    }

    /// Whether the subscription is up and proven.
    pub fn is_up(&self, now: Micros) -> bool {
        self.proof().is_some_and(|until| now < until)
    }

    /// A node can be read from (again): what is read from now on is covered as far as the channel's proof reaches; without one by short
    /// lives alone, to which nothing needs to be proven.
    pub fn cover(&self, coverage: &Coverage) {
        let proof = self.proof();
        coverage.begin(proof.unwrap_or(Micros::NEVER));
    }

    /// Keys have changed, or may have.
    pub fn tell(&self, app: &App, keys: &[Box<[u8]>]) {
        for message in Message::of_keys(keys, &app.run_id) {
            self.outbox.put(message, || Message::of_everything(&app.run_id), &self.tallies);
        }
    }

    /// Any key may have changed.
    pub fn tell_everything(&self, app: &App) {
        self.outbox.put(Message::of_everything(&app.run_id), || Message::of_everything(&app.run_id), &self.tallies);
    }

    /// The subscription is confirmed: what is read from now on is covered until `until`.
    fn begin(&self, app: &App, until: Micros) {
        let mut proof = self.proof();
        *proof = Some(until);
        self.each_covered(app, |coverage| coverage.begin(until));
    }

    /// Whatever was published up to `sent_at` has been heard.
    fn extend(&self, app: &App, sent_at: Micros, until: Micros) {
        let mut proof = self.proof();
        let Some(proof) = proof.as_mut() else { return };
        *proof = until.max(*proof);
        self.each_covered(app, |coverage| coverage.extend(sent_at, until));
    }

    /// The subscription is gone: nothing that it covered is fresh any more. Whether it was up.
    fn lose(&self, app: &App) -> bool {
        let mut proof = self.proof();
        let was_up = proof.take().is_some();
        if was_up {
            self.each_covered(app, |coverage| {
                coverage.lose();
                coverage.begin(Micros::NEVER);
            });
        }
        was_up
    }

    /// The coverage of every node that can be, or could be, read from.
    fn each_covered(&self, app: &App, change: impl Fn(&Coverage)) {
        let Some(origin) = app.origin(self.of) else { return };
        let map = origin.map();
        let covered = map.nodes().map(|node| &node.coverage).filter(|coverage| coverage.stamp().covered());
        covered.for_each(change);
    }

    fn proof(&self) -> MutexGuard<'_, Option<Micros>> {
        // A time is never half-written.
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
