//! Windows in which a server may lose what it has acknowledged: a failover behind a kill.
//!
//! Redis replicates behind the acknowledgement, so what a primary that is killed said last may never have been. The checker
//! must not take that for the proxy's fault, nor let the proxy get away with anything else. From the moment before the kill
//! until everybody serves again, writers write only what does not depend on what is there, and none of those writes, nor of
//! those acknowledged shortly before, binds a read. After it each unit is first deleted, and that binds again.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// How far a replica may lag behind an acknowledged write.
pub const LAG: Duration = Duration::from_secs(1);

/// The windows of a run, opened and closed by the test.
#[derive(Debug, Default)]
pub struct Doubt(RwLock<Windows>);

/// The windows so far.
#[derive(Debug, Default)]
pub struct Windows {
    begun: Vec<Instant>,
    ended: usize,
}

impl Doubt {
    /// From now on. Returns when no write is under way that was sent before.
    pub fn begin(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).begun.push(Instant::now());
    }

    /// Everybody serves again.
    pub fn end(&self) {
        let mut windows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        windows.ended = windows.begun.len();
    }

    /// The windows, which stay as they are while the guard lives.
    pub fn windows(&self) -> RwLockReadGuard<'_, Windows> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    /// Whether one is open.
    pub fn open(&self) -> bool {
        self.begun.len() > self.ended
    }

    /// How many have been closed.
    pub fn closed(&self) -> usize {
        self.ended
    }

    /// How many have been opened.
    pub fn opened(&self) -> usize {
        self.begun.len()
    }

    /// When the window of this number was opened, the first being 0.
    pub fn begun(&self, number: usize) -> Option<Instant> {
        self.begun.get(number).copied()
    }
}
