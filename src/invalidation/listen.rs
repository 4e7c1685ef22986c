//! The subscription of a channel, and what comes of a message.
//!
//! The connection is a [`subscriber`]: it proves itself by a heartbeat on the same stream as the messages, so an answered one says that
//! everything that was published there before it has been heard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Channel;
use super::message::Message;
use crate::app::App;
use crate::cache::near::{Cause, tally};
use crate::clock::Micros;
use crate::logs::sample;
use crate::origin::{Node, Origin};
use crate::resp::view::View;
use crate::upstream::subscriber::{self, Event, Kind, Onward, Subscriber, Wish};

/// How long to wait for somebody to subscribe at, and how often it is looked whether it is still the right one.
const LOOK: Duration = Duration::from_millis(50);
/// There is but one wish for each connection.
const TAG: u64 = 1;

/// Keeps a channel's subscription up, for ever.
pub(super) async fn keep(app: Arc<App>, channel: Arc<Channel>) {
    let Some(origin) = app.origin(channel.via) else { return };
    loop {
        let Some(node) = origin.map().owner(&channel.name).cloned() else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let subscriber = Arc::<Subscriber>::default();
        subscriber.wish(Wish::Subscribe(Kind::Channel, Arc::clone(&channel.name), TAG));
        let mut listener = Listener { app: &app, channel: &channel, node: &node };
        let endpoint = Arc::clone(&node.endpoint);
        tokio::select! {
            () = subscriber::run(endpoint, None, subscriber, |event| listener.hear(event)) => {}
            () = moved(origin, &channel, &node) => {}
        }
        listener.lost("another server passes the messages on now");
    }
}

/// Waits until another node is the one that everybody publishes to.
async fn moved(origin: &Origin, channel: &Channel, node: &Arc<Node>) {
    let mut version = origin.version();
    loop {
        tokio::time::sleep(LOOK).await;
        if version != origin.version() {
            version = origin.version();
            if !origin.map().owner(&channel.name).is_some_and(|owner| Arc::ptr_eq(owner, node)) {
                return;
            }
        }
    }
}

struct Listener<'a> {
    app: &'a Arc<App>,
    channel: &'a Channel,
    node: &'a Arc<Node>,
}

impl Listener<'_> {
    fn hear(&mut self, event: Event<'_>) -> Onward {
        match event {
            Event::Message(_, _, frame) => self.message(payload(frame).unwrap_or_default()),
            Event::Confirmed(..) => {
                self.channel.begin(self.app, Micros::now().plus(self.node.lease()));
                tracing::info!("invalidation channel '{}' of {}: up", self.name(), self.upstream());
            }
            Event::Alive { sent_at } => self.channel.extend(self.app, sent_at, sent_at.plus(self.node.lease())),
            Event::Lost => self.lost("the connection was lost"),
            Event::Dropped(..) => self.lost("the server has ended the subscription"),
            Event::Refused(_, _, _, words) => {
                self.lost(words);
                return Onward::Again;
            }
            Event::Up | Event::Unreachable(..) | Event::Batch | Event::Idle => {}
        }
        Onward::Go
    }

    fn lost(&self, why: &str) {
        if !self.channel.lose(self.app) {
            return;
        }
        tally(&self.channel.tallies.lost);
        tracing::warn!(
            upstream = %self.upstream(),
            "invalidation channel '{}' lost: {why}; until it is back entries live for near_cache.untracked_ttl", self.name()
        );
    }

    fn message(&self, bytes: &[u8]) {
        let tallies = &self.channel.tallies;
        match Message::read(bytes) {
            Ok(message) if message.from.as_deref() == Some(&self.app.run_id) => tally(&tallies.own),
            Ok(message) => {
                tally(&tallies.foreign);
                self.apply(message);
            }
            Err(why) => {
                tally(&tallies.malformed);
                if sample::MALFORMED.admits() {
                    // Nothing of the message itself: it is made of keys.
                    let (upstream, name, length) = (self.upstream(), self.name(), bytes.len());
                    tracing::warn!(%upstream, "a message of {length} bytes on the invalidation channel '{name}' cannot be read: {why}");
                }
            }
        }
    }

    /// What was told of goes from the near-cache at once, and what is being read of it is not stored. (Clients that track keep nothing of
    /// such an upstream: behind each reply they are told not to.)
    fn apply(&self, message: Message) {
        let (near, of) = (&self.app.near, self.channel.of);
        // What a Larder tells of it has changed itself, and the new value shall stay.
        let deletes = self.channel.deletes && message.from.is_none();
        for key in &message.keys {
            near.invalidate(of, key, Cause::Push);
        }
        if !message.prefixes.is_empty() {
            self.apply_prefixes(&message.prefixes);
            if deletes {
                // Nobody can list a memcached's keys.
                self.channel.tallies.delete_failures.fetch_add(message.prefixes.len() as u64, Ordering::Relaxed);
            }
        }
        if deletes {
            self.channel.doom(self.app, message.keys);
        }
    }

    fn apply_prefixes(&self, prefixes: &[Vec<u8>]) {
        let (near, of) = (&self.app.near, self.channel.of);
        if prefixes.iter().any(Vec::is_empty) {
            // The beginning of every key.
            if let Some(origin) = self.app.origin(of) {
                origin.map().nodes().for_each(|node| near.flush(&node.coverage));
            }
        } else {
            near.invalidate_where(of, |key| prefixes.iter().any(|prefix| key.starts_with(prefix)));
        }
    }

    fn name(&self) -> impl std::fmt::Display {
        self.channel.name.escape_ascii()
    }

    fn upstream(&self) -> &str {
        self.app.upstream_name(self.channel.of)
    }
}

/// What was published, of a message's frame in either protocol version.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    View::of(frame)?.elements()?.nth(2).and_then(View::of)?.text()
}
