//! BCAST: clients that want to hear of every change under a prefix, whether or not anybody has read the key.
//!
//! For each prefix there is one connection to each primary that asks for just that; all clients of a prefix share it.
//! When one of these connections is lost, changes may have been missed: its clients are told that everything may have
//! changed, once at the loss and once when it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Who, message, tell};
use crate::app::App;
use crate::config::Coherence;
use crate::origin::{Node, Origin};
use crate::upstream::tracked::{self, Event, Tracked};

/// Every prefix that somebody listens to.
#[derive(Debug, Default)]
pub struct Broadcasts(Mutex<Vec<Weak<Prefix>>>);

/// A prefix, its listeners and its connections.
#[derive(Debug)]
struct Prefix {
    prefix: Box<[u8]>,
    listeners: Mutex<Vec<Who>>,
    lines: Mutex<Vec<Line>>,
    /// Some connection came up or was lost.
    changed: Notify,
    /// Some connection was lost, and has not come back since.
    interrupted: AtomicBool,
}

/// A connection to one primary.
#[derive(Debug)]
struct Line {
    node: Arc<Node>,
    tracked: Arc<Tracked<()>>,
    up: Arc<AtomicBool>,
}

/// One client's interest in a prefix; it ends with this.
#[derive(Debug)]
pub struct Listening {
    session: u64,
    prefix: Arc<Prefix>,
}

/// Prefixes that all clients together may listen to: each costs a connection to every primary.
const MOST_PREFIXES: usize = 64;

impl Broadcasts {
    /// Has a client hear of changes under a prefix.
    ///
    /// # Errors
    /// There are too many prefixes.
    pub fn listen(&self, app: &Arc<App>, who: Who, prefix: &[u8]) -> Result<Listening, String> {
        let mut prefixes = self.lock();
        prefixes.retain(|known| known.strong_count() > 0);
        let known = prefixes.iter().filter_map(Weak::upgrade).find(|known| *known.prefix == *prefix);
        let prefix = match known {
            Some(known) => known,
            None if prefixes.len() >= MOST_PREFIXES => {
                return Err(format!(
                    "ERR Larder's clients listen to {MOST_PREFIXES} prefixes already (CLIENT TRACKING ... BCAST): use \
                     one of theirs, or track without BCAST"
                ));
            }
            None => {
                let new = Arc::new(Prefix {
                    prefix: prefix.into(),
                    listeners: Mutex::default(),
                    lines: Mutex::default(),
                    changed: Notify::new(),
                    interrupted: AtomicBool::new(false),
                });
                prefixes.push(Arc::downgrade(&new));
                new
            }
        };
        drop(prefixes);
        lock(&prefix.listeners).push(who);
        prefix.connect(app);
        Ok(Listening { session: who.session, prefix })
    }

    /// The primaries may be others now: connections are made to the new ones, and listeners hear that they may have missed
    /// something.
    pub fn primaries_changed(&self, app: &Arc<App>) {
        let prefixes: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for prefix in prefixes {
            prefix.connect(app);
            tell(app, &lock(&prefix.listeners), &message(&[]));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Prefix>>> {
        lock(&self.0)
    }
}

impl Prefix {
    /// Makes the connections that are missing, and ends those to nodes that have retired.
    fn connect(self: &Arc<Self>, app: &Arc<App>) {
        let mut lines = lock(&self.lines);
        lines.retain(|line| {
            let stays = !line.node.retired();
            if !stays {
                line.tracked.end();
            }
            stays
        });
        let maps: Vec<_> = app.origins().filter(|origin| origin.is_redis()).map(Origin::map).collect();
        for primary in maps.iter().flat_map(|map| map.primaries()) {
            if lines.iter().any(|line| Arc::ptr_eq(&line.node, &primary.node)) {
                continue;
            }
            let line = Line { node: Arc::clone(&primary.node), tracked: Arc::default(), up: Arc::default() };
            let (app, prefix) = (Arc::downgrade(app), Arc::downgrade(self));
            let (up, tracked) = (Arc::clone(&line.up), Arc::clone(&line.tracked));
            let (endpoint, name) = (Arc::clone(&primary.node.endpoint), self.prefix.clone());
            let breaker = Arc::clone(&primary.node.breaker);
            lines.push(line);
            tokio::task::spawn_local(async move {
                let how = tracked::How { coherence: Coherence::Tracking, prefix: Some(&name) };
                tracked::run(endpoint, breaker, how, tracked, |event: Event<'_, ()>| {
                    if let (Some(app), Some(prefix)) = (app.upgrade(), prefix.upgrade()) {
                        prefix.hear(&app, &up, &event);
                    }
                })
                .await;
            });
        }
    }

    fn hear(&self, app: &App, up: &AtomicBool, event: &Event<'_, ()>) {
        match event {
            Event::Up(..) => {
                up.store(true, Ordering::Release);
                self.changed.notify_waiters();
                if self.interrupted.swap(false, Ordering::AcqRel) {
                    tell(app, &lock(&self.listeners), &message(&[]));
                }
            }
            Event::Lost(_) => {
                up.store(false, Ordering::Release);
                self.interrupted.store(true, Ordering::Release);
                tell(app, &lock(&self.listeners), &message(&[]));
            }
            Event::Invalidate(key) => tell(app, &lock(&self.listeners), &message(&[key])),
            Event::InvalidateAll => tell(app, &lock(&self.listeners), &message(&[])),
            Event::Batch | Event::Alive { .. } | Event::Done { .. } | Event::Failed(()) => {}
        }
    }

    fn is_up(&self) -> bool {
        let lines = lock(&self.lines);
        !lines.is_empty() && lines.iter().all(|line| line.up.load(Ordering::Acquire))
    }
}

impl Listening {
    /// Which prefix it is.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix.prefix
    }

    /// Waits until changes are heard of; whether they are by then.
    pub async fn wait(&self, limit: Duration) -> bool {
        let up = async {
            loop {
                let changed = self.prefix.changed.notified();
                if self.prefix.is_up() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, up).await.is_ok()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.prefix.listeners).retain(|who| who.session != self.session);
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        for line in lock(&self.lines).iter() {
            line.tracked.end();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists that are whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
