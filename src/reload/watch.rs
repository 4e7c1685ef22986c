//! Notices that the configuration file, or a certificate that it names, has changed.
//!
//! The directories are watched, not the files: editors replace a file by another one, and Kubernetes replaces a directory behind a
//! symbolic link. What is told is only a reason to look: when nothing has happened for a moment, so that a file is not read while it is being
//! written, the contents are compared with those of last time, and only when they differ is a reload asked for.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::config::Config;
use crate::orders::Order;

/// Nothing may have happened for so long before the files are looked at.
const QUIET: Duration = Duration::from_millis(200);
/// However much happens, they are looked at after so many such times.
const MOST_QUIETS: usize = 25;
/// More than this of a file is not compared; the largest configuration has a megabyte.
const MOST_BYTES: u64 = 2 << 20;

/// A watch over the files of the configuration.
pub struct Watch {
    file: PathBuf,
    files: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    told: mpsc::Receiver<()>,
    hasher: RandomState,
    /// What the files were when they were looked at last.
    seen: u64,
}

impl Watch {
    /// Watches the file from which this configuration has just been read. `None` without the system's help (no inotify watches left),
    /// which is said.
    pub fn begin(file: &Path, config: &Config) -> Option<Self> {
        let (tell, told) = mpsc::channel::<()>(1);
        let watcher = notify::recommended_watcher(move |event| {
            if is_reason(&event) {
                // One reason to look is as good as many.
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| failed(file, &error)).ok()?;
        let (file, hasher) = (file.to_owned(), RandomState::new());
        let mut watch = Self { file, files: Vec::new(), watcher, watched: BTreeSet::new(), told, hasher, seen: 0 };
        watch.follow(config);
        watch.seen = fingerprint(&watch.hasher, &watch.files);
        Some(watch)
    }

    /// Asks for a reload whenever something has changed, for ever.
    pub async fn keep(mut self, app: Arc<App>) {
        while self.told.recv().await.is_some() {
            for _ in 0..MOST_QUIETS {
                if tokio::time::timeout(QUIET, self.told.recv()).await.is_err() {
                    break;
                }
            }
            let now = self.look().await;
            if now == self.seen || !app.rules().config.reload_on_change {
                continue;
            }
            self.seen = now;
            let (tell, outcome) = oneshot::channel();
            if app.orders.queue(Order::Reload { by: "the file has changed", told: tell }).await {
                let _ = outcome.await;
            }
            // It may name other certificates now, and lie in other directories.
            let before = std::mem::take(&mut self.files);
            self.follow(&app.rules().config);
            if before != self.files {
                self.seen = self.look().await;
            }
        }
    }

    /// Watches the directories in which the files lie, and those in which lies what their links lead to.
    fn follow(&mut self, config: &Config) {
        self.files = files(&self.file, config);
        let mut wanted = BTreeSet::new();
        for file in &self.files {
            let target = fs::canonicalize(file).ok();
            wanted.extend([Some(&**file), target.as_deref()].into_iter().flatten().filter_map(directory));
        }
        for gone in self.watched.difference(&wanted) {
            // It may not exist any more.
            let _ = self.watcher.unwatch(gone);
        }
        // Also those that are watched already: a directory may have been made anew under its name.
        for directory in &wanted {
            if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                failed(directory, &error);
            }
        }
        self.watched = wanted;
    }

    /// The fingerprint of the files, taken on another thread: a disk may be slow, and this one accepts clients.
    async fn look(&self) -> u64 {
        let (hasher, files) = (self.hasher.clone(), self.files.clone());
        tokio::task::spawn_blocking(move || fingerprint(&hasher, &files)).await.unwrap_or(self.seen)
    }
}

/// A number that differs when any of the files does. One that cannot be read counts as empty.
fn fingerprint(hasher: &RandomState, files: &[PathBuf]) -> u64 {
    let contents = |file: &PathBuf| {
        let mut bytes = Vec::new();
        let _ = fs::File::open(file).map(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
        bytes
    };
    hasher.hash_one(files.iter().map(contents).collect::<Vec<_>>())
}

/// Whether something may have changed. That a file was opened, or read to its end, is none: so are those that are looked at here, and each
/// look would be the reason for the next one.
fn is_reason(event: &notify::Result<Event>) -> bool {
    let Ok(Event { kind: EventKind::Access(access), .. }) = event else { return true };
    *access == AccessKind::Close(AccessMode::Write)
}

fn failed(what: &Path, error: &notify::Error) {
    tracing::warn!("changes of {} are not noticed ({error}): reload with SIGHUP or POST /reload", what.display());
}

/// The directory in which a file lies.
fn directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// The files that make the configuration.
fn files(file: &Path, config: &Config) -> Vec<PathBuf> {
    let tls = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let certificates = tls.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]).flatten();
    std::iter::once(file.to_owned()).chain(certificates.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_looks_at_a_file_gives_no_reason_to_look_and_who_writes_one_does() {
        let directory = std::env::temp_dir().join(format!("larder-watch-{}", std::process::id()));
        fs::create_dir(&directory).expect("a directory");
        let (read, written) = (directory.join("read"), directory.join("written"));
        fs::write(&read, "text").expect("it is written");
        let (tell, told) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(move |event| _ = tell.send(event)).expect("a watcher");
        watcher.watch(&directory, RecursiveMode::NonRecursive).expect("it is watched");
        for _ in 0..3 {
            assert_eq!(fs::read_to_string(&read).expect("it is read"), "text");
        }
        fs::write(&written, "text").expect("it is written");
        let first = told.iter().find(is_reason).expect("it goes on").expect("it works");
        let _ = fs::remove_dir_all(&directory);
        assert!(first.paths.iter().all(|path| path.ends_with("written")), "{first:?}");
    }
}
