//! The data: sixteen keyspaces, their deadlines, and the byte budget over all of them.
//!
//! A keyspace is a dense, indexed hash map. Removing a key moves the last one into its place, and that is all that ever
//! moves: a walk from the end to the start therefore meets every key that stays (SCAN's promise), and a random position is
//! a random key. Deadlines are ordered beside the map, so that expired keys are found without looking at the others.
//!
//! A read never shows a key past its deadline: it is removed by whoever looks it up first, or by the sweep.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::DATABASES;
use super::text::Text;
use crate::keyvalue::Refusal;
use crate::keyvalue::{Expiry, Now};

/// Bytes that a key costs over its own and its value's: its place in the map and in the index, two allocations, and its
/// deadline. Measured with a million keys: 120 without a deadline, 158 with one; counted as the larger for all.
pub(super) const OVERHEAD: u64 = 160;

/// A keyspace below this many places is not worth shrinking.
const SHRINK_ABOVE: usize = 1024;

/// What a key holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub text: Text,
    expiry: Option<Expiry>,
    /// Seconds on the monotonic clock.
    accessed: u32,
}

/// What a write does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Stays as it is.
    Keep,
    /// Ends never.
    Forever,
    /// Ends then.
    Until(Expiry),
}

/// One database.
#[derive(Debug, Default)]
struct Keyspace {
    map: IndexMap<Box<[u8]>, Entry, RandomState>,
    /// (deadline, position in `map`) of every key that has a deadline.
    timers: BTreeSet<(u64, usize)>,
}

/// All databases.
#[derive(Debug)]
pub(super) struct Store {
    spaces: [Keyspace; DATABASES as usize],
    used: u64,
    max: u64,
    random: RandomState,
    draws: u64,
}

// === impl Entry ===

impl Entry {
    pub(super) fn expiry(&self) -> Option<Expiry> {
        self.expiry
    }

    /// Seconds since somebody last used the key.
    pub(super) fn idle_seconds(&self, now: Now) -> u32 {
        now.seconds().saturating_sub(self.accessed)
    }

    fn is_over(&self, now: Now) -> bool {
        self.expiry.is_some_and(|expiry| expiry.is_over(now))
    }

    fn lifetime(&self) -> Lifetime {
        self.expiry.map_or(Lifetime::Forever, Lifetime::Until)
    }
}

// === impl Keyspace ===

impl Keyspace {
    fn set_expiry(&mut self, at: usize, expiry: Option<Expiry>) {
        let Some((_, entry)) = self.map.get_index_mut(at) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut entry.expiry, expiry) {
            self.timers.remove(&(old.deadline.get(), at));
        }
        if let Some(new) = expiry {
            self.timers.insert((new.deadline.get(), at));
        }
    }

    fn remove(&mut self, at: usize) -> Option<(Box<[u8]>, Entry)> {
        let (key, entry) = self.map.swap_remove_index(at)?;
        if let Some(expiry) = entry.expiry {
            self.timers.remove(&(expiry.deadline.get(), at));
        }
        let last = self.map.len();
        if let Some(expiry) = self.map.get_index(at).and_then(|(_, moved)| moved.expiry) {
            self.timers.remove(&(expiry.deadline.get(), last));
            self.timers.insert((expiry.deadline.get(), at));
        }
        if self.map.capacity() > SHRINK_ABOVE && self.map.capacity() / 8 > self.map.len() {
            self.map.shrink_to(self.map.len() * 2);
        }
        Some((key, entry))
    }

    /// The position of a key whose deadline is over.
    fn due(&self, now: Now) -> Option<usize> {
        self.timers.first().filter(|(deadline, _)| *deadline < now.tick).map(|&(_, at)| at)
    }
}

// === impl Store ===

/// What a key of `key` bytes with `allocated` bytes of value costs.
fn cost(key: usize, allocated: usize) -> u64 {
    OVERHEAD + key as u64 + allocated as u64
}

impl Store {
    pub(super) fn new(max: u64) -> Self {
        Self { spaces: Default::default(), used: 0, max, random: RandomState::default(), draws: 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// The key's entry, counted as a use of it.
    pub(super) fn read(&mut self, db: usize, key: &[u8], now: Now) -> Option<&Entry> {
        let at = self.locate(db, key, now)?;
        let (_, entry) = self.spaces[db].map.get_index_mut(at)?;
        entry.accessed = now.seconds();
        Some(entry)
    }

    /// The key's entry, not counted as a use of it.
    pub(super) fn peek(&mut self, db: usize, key: &[u8], now: Now) -> Option<&Entry> {
        let at = self.locate(db, key, now)?;
        self.spaces[db].map.get_index(at).map(|(_, entry)| entry)
    }

    /// Sets a key, or says that there is no room for it.
    pub(super) fn write(
        &mut self,
        db: usize,
        key: &[u8],
        text: Text,
        lifetime: Lifetime,
        now: Now,
    ) -> Result<(), Refusal> {
        let less = self.cost_of(db, key, now);
        self.admit(cost(key.len(), text.allocated()), less, now)?;
        self.put(db, key, text, lifetime, now);
        Ok(())
    }

    /// Sets all of the keys or none; of a key that comes twice the last value counts.
    pub(super) fn write_all<'a>(
        &mut self,
        db: usize,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        now: Now,
    ) -> Result<(), Refusal> {
        let pairs: HashMap<&[u8], Text, RandomState> = pairs.map(|(key, value)| (key, Text::new(value))).collect();
        let more = pairs.iter().map(|(key, text)| cost(key.len(), text.allocated())).sum();
        let less = pairs.keys().map(|key| self.cost_of(db, key, now)).sum();
        self.admit(more, less, now)?;
        for (key, text) in pairs {
            self.put(db, key, text, Lifetime::Forever, now);
        }
        Ok(())
    }

    /// The value of a key as bytes that may be written in place, zero-filled to at least `len`. The key is made if there
    /// is none; its expiry stays.
    pub(super) fn grow(&mut self, db: usize, key: &[u8], len: usize, now: Now) -> Result<&mut [u8], Refusal> {
        let (less, capacity) = match self.peek(db, key, now) {
            Some(entry) => (cost(key.len(), entry.text.allocated()), entry.text.grown_capacity(len)),
            None => (0, len),
        };
        self.admit(cost(key.len(), capacity), less, now)?;
        if less == 0 {
            self.put(db, key, Text::Fixed(Box::default()), Lifetime::Forever, now);
        }
        // `admit` removes expired keys and may have moved this one.
        let at = self.locate(db, key, now).ok_or(Refusal::OUT_OF_MEMORY)?;
        let (_, entry) = self.spaces[db].map.get_index_mut(at).ok_or(Refusal::OUT_OF_MEMORY)?;
        let before = entry.text.allocated() as u64;
        entry.accessed = now.seconds();
        entry.text.grow(len);
        self.used = self.used - before + entry.text.allocated() as u64;
        Ok(entry.text.grow(0))
    }

    pub(super) fn remove(&mut self, db: usize, key: &[u8], now: Now) -> Option<Entry> {
        let at = self.locate(db, key, now)?;
        self.remove_at(db, at).map(|(_, entry)| entry)
    }

    /// Gives `from`'s value and expiry to `to`, which may exist; false if there is no `from`.
    pub(super) fn rename(&mut self, db: usize, from: &[u8], to: &[u8], now: Now) -> Result<bool, Refusal> {
        if self.peek(db, from, now).is_none() {
            return Ok(false);
        }
        let less = from.len() as u64 + self.cost_of(db, to, now);
        self.admit(to.len() as u64, less, now)?;
        if let Some(entry) = self.remove(db, from, now) {
            let lifetime = entry.lifetime();
            self.put(db, to, entry.text, lifetime, now);
        }
        Ok(true)
    }

    /// Moves a key to another database where no such key is.
    pub(super) fn relocate(&mut self, db: usize, key: &[u8], to: usize, now: Now) {
        if let Some(entry) = self.remove(db, key, now) {
            let lifetime = entry.lifetime();
            self.put(to, key, entry.text, lifetime, now);
        }
    }

    /// Sets or ends the expiry of a key.
    pub(super) fn set_expiry(&mut self, db: usize, key: &[u8], expiry: Option<Expiry>, now: Now) {
        if let Some(at) = self.locate(db, key, now) {
            self.spaces[db].set_expiry(at, expiry);
        }
    }

    pub(super) fn flush(&mut self, db: usize) {
        let space = std::mem::take(&mut self.spaces[db]);
        let freed: u64 = space.map.iter().map(|(key, entry)| cost(key.len(), entry.text.allocated())).sum();
        self.used -= freed;
    }

    pub(super) fn swap(&mut self, one: usize, other: usize) {
        self.spaces.swap(one, other);
    }

    /// How many keys there are; expired ones are gone afterwards.
    pub(super) fn len(&mut self, db: usize, now: Now) -> usize {
        while let Some(at) = self.spaces[db].due(now) {
            self.remove_at(db, at);
        }
        self.spaces[db].map.len()
    }

    /// How many keys have a deadline, expired ones that nobody has noticed included.
    pub(super) fn expiring(&self, db: usize) -> usize {
        self.spaces[db].timers.len()
    }

    /// The keys at the positions below `below`, from high to low. Positions of keys only ever become smaller.
    pub(super) fn below(&self, db: usize, below: usize, now: Now) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        let map = &self.spaces[db].map;
        (0..below.min(map.len())).rev().map(move |at| {
            let live = map.get_index(at).filter(|(_, entry)| !entry.is_over(now));
            (at, live.map(|(key, _)| &**key))
        })
    }

    pub(super) fn random_key(&mut self, db: usize, now: Now) -> Option<&[u8]> {
        let len = self.len(db, now);
        self.draws = self.draws.wrapping_add(1);
        let draw = usize::try_from(self.random.hash_one(self.draws) >> 1).unwrap_or(usize::MAX);
        let at = draw.checked_rem(len)?;
        self.spaces[db].map.get_index(at).map(|(key, _)| &**key)
    }

    /// Removes at most `limit` expired keys.
    pub(super) fn purge(&mut self, now: Now, limit: usize) {
        let mut left = limit;
        for db in 0..self.spaces.len() {
            while left > 0
                && let Some(at) = self.spaces[db].due(now)
            {
                self.remove_at(db, at);
                left -= 1;
            }
        }
    }

    /// Where the key is, unless its time is over: then it is gone.
    fn locate(&mut self, db: usize, key: &[u8], now: Now) -> Option<usize> {
        let (at, _, entry) = self.spaces[db].map.get_full(key)?;
        if entry.is_over(now) {
            self.remove_at(db, at);
            return None;
        }
        Some(at)
    }

    fn cost_of(&mut self, db: usize, key: &[u8], now: Now) -> u64 {
        self.peek(db, key, now).map_or(0, |entry| cost(key.len(), entry.text.allocated()))
    }

    /// Whether `more` bytes fit once `less` are gone. Expired keys make room first.
    fn admit(&mut self, more: u64, less: u64, now: Now) -> Result<(), Refusal> {
        let growth = more.saturating_sub(less);
        let fits = |used: u64| growth == 0 || used.saturating_add(growth) <= self.max;
        if fits(self.used) {
            return Ok(());
        }
        self.purge(now, usize::MAX);
        if growth == 0 || self.used.saturating_add(growth) <= self.max {
            return Ok(());
        }
        Err(Refusal::OUT_OF_MEMORY)
    }

    fn put(&mut self, db: usize, key: &[u8], text: Text, lifetime: Lifetime, now: Now) {
        let added = text.allocated();
        let at = match self.locate(db, key, now) {
            Some(at) => {
                if let Some((_, entry)) = self.spaces[db].map.get_index_mut(at) {
                    self.used = self.used - entry.text.allocated() as u64 + added as u64;
                    entry.text = text;
                    entry.accessed = now.seconds();
                }
                at
            }
            None => {
                self.used += cost(key.len(), added);
                let entry = Entry { text, expiry: None, accessed: now.seconds() };
                self.spaces[db].map.insert_full(key.into(), entry).0
            }
        };
        match lifetime {
            Lifetime::Keep => {}
            Lifetime::Forever => self.spaces[db].set_expiry(at, None),
            Lifetime::Until(expiry) => self.spaces[db].set_expiry(at, Some(expiry)),
        }
    }

    fn remove_at(&mut self, db: usize, at: usize) -> Option<(Box<[u8]>, Entry)> {
        let (key, entry) = self.spaces[db].remove(at)?;
        self.used -= cost(key.len(), entry.text.allocated());
        Some((key, entry))
    }
}
