//! Keys that are deleted at their nodes because a message said so.
//!
//! From the message until the node has answered each key is fenced: it is read past the near-cache, and nothing of it is stored. Then the
//! deletion is told on the channel like any write of Larder's: who has read the old value between the message and the deletion hears
//! of it a second time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Channel;
use crate::app::App;
use crate::cache::Fence;
use crate::logs::sample;
use crate::origin::Node;
use crate::resp::{Proto, encode};
use crate::upstream::Identity;
use crate::upstream::wire::{self, Wire};

/// Keys that wait at most; of what comes beyond it the near-cache alone is rid.
const MOST_WAITING: usize = 100_000;
/// Keys that are deleted at once at most.
const BATCH: usize = 500;
/// How often a deletion is tried, and the pause between two attempts.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// The name under which the connections show themselves.
const CLIENT_NAME: &str = "larder-invalidation";

/// Keys that are to be deleted.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    keys: Mutex<VecDeque<(Box<[u8]>, Fence)>>,
    news: Notify,
}

impl Doomed {
    async fn take(&self) -> Vec<(Box<[u8]>, Fence)> {
        loop {
            let batch: Vec<_> = {
                let mut keys = self.lock();
                let count = keys.len().min(BATCH);
                keys.drain(..count).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Box<[u8]>, Fence)>> {
        // Nothing under this lock panics.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    /// These keys are to be deleted at their nodes.
    pub(super) fn doom(&self, app: &App, keys: Vec<Vec<u8>>) {
        let mut doomed = self.doomed.lock();
        for key in keys {
            if doomed.len() < MOST_WAITING {
                let fence = app.near.fence(self.of, &key);
                doomed.push_back((key.into(), fence));
            } else {
                self.tallies.delete_failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(doomed);
        self.doomed.news.notify_one();
    }
}

/// Deletes what is to be deleted, for ever.
pub(super) async fn keep(app: Arc<App>, channel: Arc<Channel>) {
    let mut wires: HashMap<u32, Wire> = HashMap::new();
    loop {
        let batch = channel.doomed.take().await;
        let mut left: Vec<Box<[u8]>> = batch.iter().map(|(key, _)| key.clone()).collect();
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            (left, why) = attempt_all(&app, &channel, &mut wires, left).await;
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            channel.tallies.delete_failures.fetch_add(left.len() as u64, Ordering::Relaxed);
            if sample::NOT_DELETED.admits() {
                tracing::warn!(
                    upstream = %app.upstream_name(channel.of),
                    "{} keys that were told of on the invalidation channel could not be deleted: {why}", left.len()
                );
            }
        }
        let done = batch.len() - left.len();
        channel.tallies.deleted.fetch_add(done as u64, Ordering::Relaxed);
        let mut keys = Vec::with_capacity(batch.len());
        for (key, fence) in batch {
            app.near.lift(fence);
            keys.push(key);
        }
        channel.tell(&app, &keys);
    }
}

/// The keys of one node.
struct Part {
    node: Arc<Node>,
    keys: Vec<Box<[u8]>>,
}

/// Deletes each key at the node that owns it; which are left, and why.
async fn attempt_all(
    app: &App,
    channel: &Channel,
    wires: &mut HashMap<u32, Wire>,
    keys: Vec<Box<[u8]>>,
) -> (Vec<Box<[u8]>>, String) {
    let Some(origin) = app.origin(channel.of) else { return (keys, "there is no such upstream".to_owned()) };
    let map = origin.map();
    wires.retain(|number, _| map.nodes().any(|node| node.number == *number));
    let mut parts: HashMap<u32, Part> = HashMap::new();
    let (mut left, mut why) = (Vec::new(), String::new());
    for key in keys {
        match map.owner(&key) {
            Some(node) => {
                let part = || Part { node: Arc::clone(node), keys: Vec::new() };
                parts.entry(node.number).or_insert_with(part).keys.push(key);
            }
            None => {
                why = origin.nobody();
                left.push(key);
            }
        }
    }
    for Part { node, keys } in parts.into_values() {
        if let Err(error) = delete(&node, wires, &keys).await {
            wires.remove(&node.number);
            why = error;
            left.extend(keys);
        }
    }
    (left, why)
}

async fn delete(node: &Node, wires: &mut HashMap<u32, Wire>, keys: &[Box<[u8]>]) -> Result<(), String> {
    let endpoint = &node.endpoint;
    let mut wire = match wires.remove(&node.number) {
        Some(wire) => wire,
        None => {
            let identity = Identity { database: 0, proto: Proto::Resp2, credentials: endpoint.credentials.clone() };
            let opened = wire::open(endpoint, &identity, CLIENT_NAME, &[]).await;
            opened.map_err(|failure| endpoint.error(&failure))?
        }
    };
    let mut request = Vec::new();
    keys.iter().for_each(|key| encode::command(&mut request, &[b"DEL", key]));
    let replies = wire.ask_all(&request, keys.len(), endpoint.command_timeout).await;
    let replies = replies.map_err(|error: io::Error| format!("{}: {error}", endpoint.address))?;
    match replies.iter().find(|reply| reply.starts_with(b"-")) {
        Some(error) => Err(String::from_utf8_lossy(&error[1..]).trim_end().to_owned()),
        None => {
            wires.insert(node.number, wire);
            Ok(())
        }
    }
}
