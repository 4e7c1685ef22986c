//! What Larder itself says on a channel: one message for each write, in order, none given up while this process lives.
//!
//! Messages are put down by the workers and sent by one task, as many at once as there are. If they cannot be sent they wait; if too much
//! waits, all of it is replaced by one message that everything may have changed, which is as true and takes no room. So what others
//! keep is right as soon as the channel works again, and memory is bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Channel, Tallies};
use crate::app::App;
use crate::origin::Node;
use crate::resp::{Proto, encode};
use crate::upstream::Identity;
use crate::upstream::wire::{self, Wire};

/// Bytes of messages that wait at most.
const MOST_WAITING: usize = 8 << 20;
/// Messages and bytes that are sent at once at most.
const BATCH: (usize, usize) = (1000, 1 << 20);
/// Pause after a failure: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The name under which the connection shows itself in CLIENT LIST.
const CLIENT_NAME: &str = "larder-invalidation";

/// Messages that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Some have been taken and are being sent.
    under_way: bool,
}

impl Outbox {
    /// Puts a message down; `everything` says what all of them may be replaced by.
    pub fn put(&self, message: Vec<u8>, everything: impl FnOnce() -> Vec<u8>, tallies: &Tallies) {
        let mut waiting = self.lock();
        if waiting.bytes + message.len() > MOST_WAITING {
            tallies.condensed.fetch_add(waiting.messages.len() as u64 + 1, Ordering::Relaxed);
            waiting.messages.clear();
            waiting.bytes = 0;
            waiting.push(everything());
        } else {
            waiting.push(message);
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Whether all has been sent.
    pub fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.messages.is_empty() && !waiting.under_way
    }

    /// What was taken has been sent.
    fn sent(&self) {
        self.lock().under_way = false;
    }

    /// What is to be sent next; waits for it.
    async fn take(&self) -> Vec<Vec<u8>> {
        loop {
            let batch = self.lock().take();
            if !batch.is_empty() {
                return batch;
            }
            self.news.notified().await;
        }
    }

    /// Gives back what was not sent.
    fn give_back(&self, batch: Vec<Vec<u8>>) {
        let mut waiting = self.lock();
        waiting.under_way = false;
        waiting.bytes += batch.iter().map(Vec::len).sum::<usize>();
        batch.into_iter().rev().for_each(|message| waiting.messages.push_front(message));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, message: Vec<u8>) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH.0
            && let Some(next) = self.messages.front()
            && (bytes == 0 || bytes + next.len() <= BATCH.1)
        {
            bytes += next.len();
            batch.extend(self.messages.pop_front());
        }
        self.bytes -= bytes;
        self.under_way = !batch.is_empty();
        batch
    }
}

/// Sends what is put down, for ever.
pub(super) async fn keep(app: Arc<App>, channel: Arc<Channel>) {
    let mut line: Option<Line> = None;
    let mut failures = 0;
    loop {
        let batch = channel.outbox.take().await;
        // A connection that was idle may have been closed meanwhile: that alone says nothing, and needs no pause.
        let idle = line.is_some() && failures == 0;
        match send(&app, &channel, &mut line, &batch).await {
            Ok(()) => {
                failures = 0;
                channel.outbox.sent();
                channel.tallies.published.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if channel.said_mute.swap(false, Ordering::Relaxed) {
                    tracing::info!("invalidation channel '{}': own writes are told again", channel.name.escape_ascii());
                }
            }
            Err(why) => {
                line = None;
                channel.outbox.give_back(batch);
                failures += 1;
                if idle {
                    continue;
                }
                channel.tallies.publish_failures.fetch_add(1, Ordering::Relaxed);
                if !channel.said_mute.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "invalidation channel '{}': own writes cannot be told, and wait: {why}",
                        channel.name.escape_ascii()
                    );
                }
                let pause = PAUSES.0 * 2u32.saturating_pow(failures.min(16));
                tokio::time::sleep(pause.min(PAUSES.1)).await;
            }
        }
    }
}

/// A connection, and whom it leads to.
struct Line {
    node: Arc<Node>,
    wire: Wire,
}

/// Publishes a batch; an error of any kind means that all of it is to be sent again, which does no harm.
async fn send(app: &App, channel: &Channel, line: &mut Option<Line>, batch: &[Vec<u8>]) -> Result<(), String> {
    let origin = app.origin(channel.via).ok_or("there is no such upstream")?;
    let node = origin.map().owner(&channel.name).cloned().ok_or_else(|| origin.nobody())?;
    if line.as_ref().is_some_and(|line| !Arc::ptr_eq(&line.node, &node)) {
        *line = None;
    }
    let endpoint = &node.endpoint;
    let line = match line {
        Some(line) => line,
        None => {
            let identity = Identity { database: 0, proto: Proto::Resp2, credentials: endpoint.credentials.clone() };
            let opened = wire::open(endpoint, &identity, CLIENT_NAME, &[]).await;
            let wire = opened.map_err(|failure| endpoint.error(&failure))?;
            line.insert(Line { node: Arc::clone(&node), wire })
        }
    };
    let mut request = Vec::new();
    batch.iter().for_each(|message| encode::command(&mut request, &[b"PUBLISH", &channel.name, message]));
    let replies = line.wire.ask_all(&request, batch.len(), endpoint.command_timeout).await;
    let replies = replies.map_err(|error: io::Error| error.to_string())?;
    match replies.iter().find(|reply| reply.starts_with(b"-")) {
        Some(error) => Err(String::from_utf8_lossy(&error[1..]).trim_end().to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_kept_in_order_and_condensed_before_it_takes_too_much_room() {
        let (outbox, tallies) = (Outbox::default(), Tallies::default());
        let put = |message: &[u8]| outbox.put(message.to_vec(), || b"everything".to_vec(), &tallies);
        put(b"1");
        put(b"2");
        let batch = outbox.lock().take();
        assert_eq!(batch, [b"1", b"2"]);
        assert!(!outbox.is_empty(), "they are under way");
        put(b"3");
        outbox.give_back(batch);
        assert_eq!(outbox.lock().messages, [b"1", b"2", b"3"]);
        let large = vec![b'x'; MOST_WAITING - 3];
        put(&large);
        assert_eq!(outbox.lock().messages.len(), 4);
        put(b"4");
        assert_eq!(outbox.lock().messages, [b"everything"]);
        assert_eq!(outbox.lock().bytes, 10);
        assert_eq!(tallies.condensed.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_batch_is_bounded_and_a_large_message_goes_alone() {
        let (outbox, tallies) = (Outbox::default(), Tallies::default());
        let put = |message: Vec<u8>| outbox.put(message, Vec::new, &tallies);
        put(vec![b'x'; BATCH.1 + 1]);
        (0..BATCH.0 + 1).for_each(|_| put(b"y".to_vec()));
        let sizes: Vec<usize> = (0..4).map(|_| outbox.lock().take().len()).collect();
        assert_eq!(sizes, [1, BATCH.0, 1, 0]);
        assert_eq!(outbox.lock().bytes, 0);
    }
}
