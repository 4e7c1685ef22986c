//! A snapshot of the near-cache on disk (`near_cache.warm_start`): what a Larder that starts during an outage has to answer with.
//!
//! * [`mod@format`]: the file, byte by byte.
//! * [`save`]: from the near-cache to a file that is there as a whole or not at all.
//! * [`load`]: from the file to the near-cache, before anybody is served.
//!
//! What is loaded is never fresh: no tracked connection of this process has read it, so nobody would have told of a change. It
//! is found in the degraded rungs, with its true age, and gone as soon as its key is read or written here, or a flush passes. How long
//! the process was away is the one thing here that only the wall clock knows; if that has gone backwards, the file is not used.

pub mod format;
pub mod load;
pub mod save;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::app::{App, Stage};
use crate::cache::near::tally;
use crate::clock::Micros;
use crate::command::Spec;
use crate::config::{Config, Stale};
use crate::origin::Origin;
use crate::rules::Rules;

/// The snapshot of this process; nobody else has the same file while it lives.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    last: Mutex<Last>,
    /// Held for its lock, which ends with the process however that ends. While the process before this one has it, it is only asked for.
    lock: File,
    locked: AtomicBool,
}

/// Whether the file must be this process's from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It must.
    Now,
    /// The process before has handed over its sockets and still has it: it is written when that one has ended.
    InTime,
}

/// What became of the last writing.
#[derive(Debug, Default)]
struct Last {
    /// [`crate::cache::NearCache::changes`] before it.
    changes: Option<u64>,
    failed: bool,
}

/// Which replies are worth keeping.
#[derive(Debug)]
struct Terms {
    rules: Arc<Rules>,
    /// Longer than this past its life no rung serves a reply.
    max_stale: Micros,
}

// === impl Snapshot ===

impl Snapshot {
    /// Takes the file for this process, if the configuration wants one.
    ///
    /// # Errors
    /// Another Larder has it, or nothing can be written there; in words that say where and what to do.
    pub fn open(app: &App, ownership: Ownership) -> Result<Option<Self>, String> {
        let rules = app.rules();
        let config = &rules.config;
        if !config.near_cache.warm_start || app.origins().next().is_none() {
            return Ok(None);
        }
        let path = config.near_cache.snapshot.clone();
        let beside = beside(&path, ".lock");
        let say = |what: &str, error: &dyn std::fmt::Display| {
            format!(
                "near_cache.snapshot: {} {what}: {error}; write the path of a file in a directory that Larder may write to",
                beside.display()
            )
        };
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&beside);
        let lock = lock.map_err(|error| say("cannot be created", &error))?;
        let mut locked = true;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if ownership == Ownership::InTime => locked = false,
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "near_cache.snapshot: {} belongs to another Larder that is running; give each a file of its own",
                    path.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(say("cannot be locked", &error)),
        }
        Ok(Some(Self { path, last: Mutex::default(), lock, locked: locked.into() }))
    }

    /// Fills the near-cache from the file. What is wrong with the file is a warning, and the near-cache stays empty.
    pub fn load(&self, app: &App) {
        let (started, terms) = (Instant::now(), Terms::of(app.rules()));
        let loaded = match load::load(&self.path, app, &terms, &owner(app, &terms), Micros::now(), unix_ms()) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return tracing::info!("near-cache: there is no snapshot {} yet", self.path.display()),
            Err(refused) => {
                app.origins().for_each(|origin| app.near.remove_where(origin.number, |_| true));
                tally(&app.near.tallies.snapshot_failures);
                return tracing::warn!(
                    "the snapshot {} is not used, the near-cache is empty: {refused}",
                    self.path.display()
                );
            }
        };
        app.near.tallies.snapshot_entries.store(loaded.kept, Ordering::Relaxed);
        app.near.tallies.snapshot_written_at.store(loaded.written_at / 1000, Ordering::Relaxed);
        tracing::info!(
            "near-cache: {} replies from the snapshot {}, written {} s ago; {} left out; took {} ms",
            loaded.kept,
            self.path.display(),
            loaded.passed / 1000,
            loaded.left_out,
            started.elapsed().as_millis()
        );
    }

    /// Writes the file anew from time to time, for ever.
    pub async fn keep(self: Arc<Self>, app: Arc<App>) {
        loop {
            tokio::time::sleep(app.rules().config.near_cache.snapshot_interval).await;
            let (snapshot, app) = (Arc::clone(&self), Arc::clone(&app));
            // Not on a worker's thread nor on this one: a disk may be slow.
            let _ = tokio::task::spawn_blocking(move || snapshot.write_changes(&app)).await;
        }
    }

    fn write_changes(&self, app: &App) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // While the process ends, the last writing is `finish`'s, when nothing changes any more.
        if last.changes != Some(app.near.changes()) && app.stage() != Stage::Ending && self.is_ours() {
            self.write(app, &mut last);
        }
    }

    /// Writes the file a last time, changed or not: the proof that its replies were true now reaches to the end.
    pub fn finish(&self, app: &App) {
        if !self.is_ours() {
            return;
        }
        self.write(app, &mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether nobody else writes the file; tries to get it.
    fn is_ours(&self) -> bool {
        if !self.locked.load(Ordering::Relaxed) && self.lock.try_lock().is_ok() {
            self.locked.store(true, Ordering::Relaxed);
        }
        self.locked.load(Ordering::Relaxed)
    }

    fn write(&self, app: &App, last: &mut Last) {
        let terms = Terms::of(app.rules());
        let (started, changes, written_at) = (Instant::now(), app.near.changes(), unix_ms());
        let header = format::Header { written_at, owner: owner(app, &terms) };
        let saved = save::save(&self.path, app, &terms, &header, Micros::now());
        match &saved {
            Ok(count) => {
                last.changes = Some(changes);
                app.near.tallies.snapshot_entries.store(*count, Ordering::Relaxed);
                app.near.tallies.snapshot_written_at.store(written_at / 1000, Ordering::Relaxed);
                let took = started.elapsed().as_millis();
                if last.failed {
                    tracing::info!("the snapshot {} can be written again", self.path.display());
                }
                tracing::debug!("snapshot: {count} replies written in {took} ms");
            }
            Err(error) => {
                tally(&app.near.tallies.snapshot_failures);
                // Once, not every minute; the metric goes on counting.
                if !last.failed {
                    tracing::warn!("the snapshot {} cannot be written: {error}", self.path.display());
                }
            }
        }
        last.failed = saved.is_err();
    }
}

// === impl Terms ===

impl Terms {
    fn of(rules: Arc<Rules>) -> Self {
        let steps = rules.config.ladders.values().flatten();
        let max_stale = Micros::of(steps.filter_map(|step| step.max_stale).max().unwrap_or_default());
        Self { rules, max_stale }
    }

    /// Whether a reply of this command may be of use, as the routes are now.
    fn admit(&self, key: &[u8], spec: &Spec) -> bool {
        let policy = self.rules.routes.find(key);
        spec.cacheable.is_some() && policy.caches(spec) && policy.stale != Stale::Never
    }
}

/// What the replies are replies of: another user may see less, another server holds something else.
fn owner(app: &App, terms: &Terms) -> String {
    let config = &terms.rules.config;
    let mut owners: Vec<_> = app.origins().map(|origin| owner_of(origin, config)).collect();
    if app.several {
        // A key that has another route since then may belong to another upstream.
        let routes = &config.routes;
        owners.extend(routes.iter().map(|route| format!("{} to {}", route.keys.join(" "), route.upstream)));
    }
    owners.join("; ")
}

fn owner_of(origin: &Origin, config: &Config) -> String {
    let mut text = format!("{}, {}", origin.name, origin.kind.name());
    if let Some(upstream) = config.upstreams.get(&origin.name) {
        let mut endpoints: Vec<_> = upstream.endpoints.iter().map(ToString::to_string).collect();
        endpoints.sort_unstable();
        text += &format!(" at {}", endpoints.join(" "));
        if let Some(ring) = origin.map().ring() {
            text += &format!(", ring {:016x}", ring.digest());
        }
        if let Some(primary) = &upstream.primary_name {
            text += &format!(", primary {primary}");
        }
        if let Some(user) = &upstream.username {
            text += &format!(", as {user}");
        }
    }
    text
}

/// The file of the same name with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Milliseconds since 1970 by the wall clock.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
