//! What came of the reloads so far, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts of reloads and how the last one went. Starting the process is none.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Those that were taken, and those that were refused.
    pub counts: [AtomicU64; 2],
    loaded_at: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Reloads {
    /// A configuration was taken, or refused with this error.
    pub fn note(&self, wrong: Option<&str>) {
        self.counts[usize::from(wrong.is_some())].fetch_add(1, Ordering::Relaxed);
        if wrong.is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            self.loaded_at.store(now, Ordering::Relaxed);
        }
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong.map(str::to_owned);
    }

    /// Why the last reload was refused, if it was: then what holds is older than the file.
    pub fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the present configuration was taken, in seconds since 1970; 0: at the start.
    pub fn loaded_at(&self) -> u64 {
        self.loaded_at.load(Ordering::Relaxed)
    }
}
