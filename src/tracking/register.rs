//! Which clients have read which keys.
//!
//! As in Redis, a key is forgotten when its change has been told: a client that wants to hear of the next one reads it
//! again. The number of keys is bounded; beyond, some key is told as changed to make room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

/// A client, and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its worker.
    pub worker: u16,
    /// Its number.
    pub session: u64,
}

/// Who has read what.
#[derive(Debug, Default)]
pub struct Register {
    /// Clients that track, so that nobody else pays for them.
    clients: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clients: HashMap<u64, Client>,
    readers: HashMap<Box<[u8]>, SmallVec<[Who; 1]>>,
}

#[derive(Debug)]
struct Client {
    who: Who,
    /// To whom its messages go; 0 for itself.
    redirect: u64,
    /// Whoever that was has left.
    broken: bool,
    /// It hears of prefixes, not of what it has read.
    broadcast: bool,
}

/// Keys that are remembered: the default of Redis's `tracking-table-max-keys`.
const MOST_KEYS: usize = 1_000_000;

impl Register {
    /// Whether nobody tracks.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.clients.load(Ordering::Acquire) == 0
    }

    /// A client tracks from now on, or does so in another way.
    pub fn enter(&self, who: Who, redirect: u64, broadcast: bool) {
        let mut inner = self.lock();
        inner.clients.insert(who.session, Client { who, redirect, broken: false, broadcast });
        self.clients.store(inner.clients.len(), Ordering::Release);
    }

    /// A client does not track any more.
    pub fn leave(&self, session: u64) {
        let mut inner = self.lock();
        inner.clients.remove(&session);
        if inner.clients.is_empty() {
            inner.readers = HashMap::new();
        }
        self.clients.store(inner.clients.len(), Ordering::Release);
    }

    /// A client has read these keys. Another key that had to go for them, with those who have read it.
    pub fn note<'a>(&self, who: Who, keys: impl Iterator<Item = &'a [u8]>) -> Vec<(Box<[u8]>, Vec<Who>)> {
        let mut inner = self.lock();
        if !inner.clients.contains_key(&who.session) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        for key in keys {
            if let Some(readers) = inner.readers.get_mut(key) {
                if !readers.contains(&who) {
                    // Those who have left are forgotten when others come.
                    readers.push(who);
                }
                continue;
            }
            if inner.readers.len() >= MOST_KEYS
                && let Some(victim) = inner.readers.keys().next().cloned()
                && let Some(readers) = inner.readers.remove(&victim)
            {
                gone.push((victim, readers.to_vec()));
            }
            inner.readers.insert(key.into(), SmallVec::from_slice(&[who]));
        }
        gone
    }

    /// Who has read a key; nobody has from now on.
    pub fn take(&self, key: &[u8]) -> Vec<Who> {
        self.lock().readers.remove(key).map(|readers| readers.to_vec()).unwrap_or_default()
    }

    /// A client that asked not to hear of its own writes has written a key: it is told of no change to it until it reads
    /// it again.
    pub fn forget(&self, session: u64, key: &[u8]) {
        let mut inner = self.lock();
        if let Some(readers) = inner.readers.get_mut(key) {
            readers.retain(|who| who.session != session);
            if readers.is_empty() {
                inner.readers.remove(key);
            }
        }
    }

    /// Everybody who hears of what it has read; nobody has read anything from now on.
    pub fn take_all(&self) -> Vec<Who> {
        let mut inner = self.lock();
        inner.readers.clear();
        inner.clients.values().filter(|client| !client.broadcast).map(|client| client.who).collect()
    }

    /// To whom a client's messages go: 0 for itself; `None` if it does not track.
    pub fn target(&self, session: u64) -> Option<u64> {
        self.lock().clients.get(&session).map(|client| client.redirect)
    }

    /// The client to which another one's messages go has left.
    pub fn note_broken(&self, session: u64) {
        if let Some(client) = self.lock().clients.get_mut(&session) {
            client.broken = true;
        }
    }

    /// Whether it has.
    pub fn is_broken(&self, session: u64) -> bool {
        self.lock().clients.get(&session).is_some_and(|client| client.broken)
    }

    /// How many clients track, and how many keys are remembered for them.
    pub fn figures(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.clients.len(), inner.readers.len())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No section under this lock calls out or leaves the maps half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Who = Who { worker: 0, session: 1 };
    const BOB: Who = Who { worker: 1, session: 2 };

    #[test]
    fn who_has_read_a_key_is_told_once() {
        let register = Register::default();
        assert!(register.note(ANN, [&b"k"[..]].into_iter()).is_empty());
        assert_eq!(register.take(b"k"), [], "a client that does not track is not remembered");
        register.enter(ANN, 0, false);
        register.enter(BOB, 0, false);
        for who in [ANN, BOB, ANN] {
            register.note(who, [&b"k"[..], b"l"].into_iter());
        }
        assert_eq!(register.take(b"k"), [ANN, BOB]);
        assert_eq!(register.take(b"k"), []);
        register.forget(1, b"l");
        assert_eq!(register.take(b"l"), [BOB]);
    }

    #[test]
    fn when_the_last_one_leaves_nothing_is_kept() {
        let register = Register::default();
        register.enter(ANN, 0, false);
        register.note(ANN, [&b"k"[..]].into_iter());
        assert_eq!(register.figures(), (1, 1));
        register.leave(1);
        assert!(register.is_idle());
        assert_eq!(register.figures(), (0, 0));
    }
}
