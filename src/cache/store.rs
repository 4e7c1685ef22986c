//! The bounded map behind the near-cache: by weight, admission and eviction by frequency.
//!
//! quick_cache (CLOCK-Pro with ghosts) does the work: a lookup costs it a seventh of what mini-moka's sync cache takes,
//! and it can be asked with a borrowed key. The figures are in `docs/decisions/0002-near-cache-store.md`.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::entry::{Address, Entry, Slot};

/// Entries by (upstream, key), bounded in bytes.
#[derive(Debug)]
pub struct Store {
    cache: Cache<Slot, Entry, ByWeight, Prehashed, Evictions>,
    evicted: Arc<AtomicU64>,
    changes: AtomicU64,
}

/// Small enough that a lock is rarely met, large enough that a shard's share of the budget holds large entries.
const SHARDS: usize = 16;

impl Store {
    /// A store of at most `max_memory` bytes, overhead included. It may exceed that by one entry per shard for the
    /// moment of an insertion, never longer.
    pub fn new(max_memory: u64) -> Self {
        let evicted = Arc::default();
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            // A guess that only sizes the first allocation and the ghost list: entries of 512 bytes.
            .estimated_items_capacity(usize::try_from(max_memory / 512).unwrap_or(usize::MAX).clamp(512, 1 << 22))
            .weight_capacity(max_memory)
            .ghost_allocation(0.2)
            .build()
            .expect("every option that quick_cache requires is set above");
        let cache = Cache::with_options(options, ByWeight, Prehashed, Evictions(Arc::clone(&evicted)));
        Self { cache, evicted, changes: AtomicU64::new(0) }
    }

    /// The entry of a key, and a mark that it was used.
    #[inline]
    pub fn find(&self, address: &Address<'_>) -> Option<Entry> {
        self.cache.get(address)
    }

    /// The entry of a key, without leaving a trace.
    pub fn peek(&self, address: &Address<'_>) -> Option<Entry> {
        self.cache.peek(address)
    }

    /// Puts `entry` in the place of what its key had.
    pub fn put(&self, entry: Entry) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let mut leaving = Leaving { replaced: Some(entry.facts().hash) };
        self.cache.insert_with_lifecycle(Slot(entry.clone()), entry, &mut leaving);
    }

    /// Removes what a key has.
    pub fn remove(&self, address: &Address<'_>) -> bool {
        let removed = self.cache.remove(address).is_some();
        if removed {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        removed
    }

    /// Removes the entries for which `keep` is false. Walks the whole store.
    pub fn retain(&self, keep: impl Fn(&Entry) -> bool) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.cache.retain(|_, entry| keep(entry));
    }

    /// At most so many bytes from here on; what does not fit any more goes.
    pub fn resize(&self, max_memory: u64) {
        if self.cache.capacity() != max_memory {
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.cache.set_capacity(max_memory);
        }
    }

    /// Every entry that is there from now to the end of the walk, and some that come or go meanwhile. A shard is locked for
    /// one step at a time.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.cache.iter().map(|(_, entry)| entry)
    }

    /// Grows with everything that is put in or taken out.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Bytes in use, overhead included.
    pub fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// Entries that had to go for others so far.
    pub fn evictions(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<Slot, Entry> for ByWeight {
    fn weight(&self, _: &Slot, entry: &Entry) -> u64 {
        entry.weight()
    }
}

#[derive(Clone, Debug)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Slot, Entry> for Evictions {
    type RequestState = Leaving;

    fn on_evict(&self, leaving: &mut Leaving, slot: Slot, _: Entry) {
        // Also called for what an insertion takes the place of.
        if leaving.replaced != Some(slot.0.facts().hash) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What one insertion makes leave.
#[derive(Debug, Default)]
struct Leaving {
    /// Hash of the key whose entry it replaces.
    replaced: Option<u64>,
}

/// Keys come with their (randomly seeded) hash, which is also needed elsewhere: it is computed once.
#[derive(Clone, Debug, Default)]
struct Prehashed;

#[derive(Clone, Copy, Debug, Default)]
struct Given(u64);

impl BuildHasher for Prehashed {
    type Hasher = Given;

    fn build_hasher(&self) -> Given {
        Given(0)
    }
}

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("Slot and Address hash themselves with write_u64 only");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::{Parts, tests::parts};

    #[test]
    fn an_entry_that_takes_the_place_of_another_evicts_nobody() {
        let store = Store::new(4 << 20);
        for n in 0u64..100 {
            store.put(Entry::new(&Parts { hash: n % 10, ..parts(&[n as u8 % 10], b"", b"+1\r\n") }));
        }
        assert_eq!((store.len(), store.evictions()), (10, 0));
    }

    #[test]
    fn eviction_never_exceeds_the_budget_by_more_than_one_entry_per_shard() {
        const BUDGET: u64 = 4 << 20;
        let store = Store::new(BUDGET);
        let reply = vec![b'x'; 17 << 10];
        for n in 0u64..20_000 {
            let size = 16 + (n * 7919 % (16 << 10)) as usize;
            let key = n.to_le_bytes();
            let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entry = Entry::new(&Parts { hash, ..parts(&key, b"", &reply[..size]) });
            let largest = (17 << 10) + 512;
            store.put(entry);
            assert!(store.weight() <= BUDGET + SHARDS as u64 * largest, "{} bytes", store.weight());
        }
        assert!(store.evictions() > 0 && store.weight() > BUDGET / 2);
    }
}
