//! The near-cache as the rest of Larder sees it.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::coverage::{Coverage, Stamp, flushes};
use super::entry::{Address, Entry, Parts, Query};
use super::fills::{Fence, Fill, Fills, FormKey, Joined, Waiter};
use super::freshness::{Freshness, freshness};
use super::store::Store;
use crate::clock::Micros;
use crate::command::Shape;

/// The near-cache; one for the process.
#[derive(Debug)]
pub struct NearCache {
    store: Store,
    fills: Fills,
    seed: RandomState,
    max_entry: AtomicU64,
    /// What happened off the hot path.
    pub tallies: Tallies,
}

/// Counts of what happens off the hot path; shared by all threads.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Tallies {
    pub fills: AtomicU64,
    pub refused_moved: AtomicU64,
    pub refused_uncovered: AtomicU64,
    pub refused_large: AtomicU64,
    pub refused_expired: AtomicU64,
    pub refused_error: AtomicU64,
    pub invalidated_by_push: AtomicU64,
    pub invalidated_by_write: AtomicU64,
    pub invalidated_by_operator: AtomicU64,
    pub flushes: AtomicU64,
    pub coverage_lost: AtomicU64,
    /// Replies in the snapshot when it was last read or written, and when (seconds since 1970) that was written.
    pub snapshot_entries: AtomicU64,
    pub snapshot_written_at: AtomicU64,
    pub snapshot_failures: AtomicU64,
}

/// Adds one to a tally.
pub fn tally(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What came of a miss.
#[derive(Debug)]
pub enum Join {
    /// Filled in the meantime.
    Fresh(Entry),
    /// The caller has to read it from the origin.
    Lead(Fill),
    /// Another's read will answer the waiter.
    Follow,
    /// The origin answers, nothing is kept.
    Bypass,
}

/// A reply that came for a fill.
#[derive(Clone, Copy, Debug)]
pub struct Filled<'a> {
    /// As the origin sent it, RESP3.
    pub reply: &'a [u8],
    /// How it is rewritten for RESP2.
    pub shape: Shape,
    /// It needs no rewriting.
    pub same_in_both: bool,
    /// It says that something is not there.
    pub negative: bool,
    /// When its request was sent.
    pub read_at: Micros,
    /// Until when it may be served as fresh.
    pub expires_at: Micros,
    /// When the key itself expires at the origin.
    pub ends_at: Micros,
    /// Whether it may be kept at all (an error may not).
    pub keep: bool,
}

/// Why an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The origin's push.
    Push,
    /// LARDER INVALIDATE.
    Operator,
    /// A write of ours whose time was not known beforehand.
    Write,
}

impl NearCache {
    /// A cache of at most `max_memory` bytes whose entries have at most `max_entry` bytes each.
    pub fn new(max_memory: u64, max_entry: u64) -> Self {
        Self {
            store: Store::new(max_memory),
            fills: Fills::default(),
            seed: RandomState::default(),
            max_entry: AtomicU64::new(max_entry),
            tallies: Tallies::default(),
        }
    }

    /// The hash of (upstream, key): randomly seeded, so that nobody can choose keys that collide.
    #[inline]
    pub fn hash(&self, upstream: u16, key: &[u8]) -> u64 {
        self.seed.hash_one((key, upstream))
    }

    /// Looks a reply up, judges it and shows it to `look`. One that is `Gone` is not shown.
    #[inline]
    pub fn find<T>(
        &self,
        query: &Query<'_>,
        coverage: &Coverage,
        now: Micros,
        look: impl FnOnce(&Entry, Freshness) -> T,
    ) -> Option<T> {
        let entry = self.store.find(&query.address())?;
        let form = entry.form(query.database, query.command, query.args)?;
        let worth = freshness(form.facts(), coverage.stamp(), coverage.until(), now);
        (worth != Freshness::Gone).then(|| look(form, worth))
    }

    /// After a miss: joins another's read, or leads one, or is told to go past the cache.
    pub fn join(&self, query: &Query<'_>, coverage: &Coverage, now: Micros, waiter: Waiter) -> Join {
        if !coverage.holds(now) || coverage.wholesale() {
            return Join::Bypass;
        }
        let stamp = coverage.stamp();
        let mut flights = self.fills.lock(query.hash);
        if let Some(entry) = self.store.peek(&query.address())
            && let Some(form) = entry.form(query.database, query.command, query.args)
            && freshness(form.facts(), coverage.stamp(), coverage.until(), now) == Freshness::Fresh
        {
            return Join::Fresh(form.clone());
        }
        match flights.join(&self.fills, query, stamp, waiter) {
            Joined::Lead(fill) => Join::Lead(fill),
            Joined::Follow => Join::Follow,
            Joined::Bypass => Join::Bypass,
        }
    }

    /// Leave to read anew what is still served: unless that is being done, or nothing could be kept.
    pub fn lead(&self, query: &Query<'_>, coverage: &Coverage, now: Micros) -> Option<Fill> {
        if !coverage.holds(now) || coverage.wholesale() {
            return None;
        }
        self.fills.lock(query.hash).lead(&self.fills, query, coverage.stamp())
    }

    /// Leave to fill one of several keys of one read; no flight, nobody joins.
    pub fn begin(&self, hash: u64, coverage: &Coverage, now: Micros) -> Option<Fill> {
        if !coverage.holds(now) || coverage.wholesale() {
            return None;
        }
        self.fills.begin(hash, coverage.stamp())
    }

    /// The word of a key: unchanged between two looks, nothing happened to it in between.
    #[inline]
    pub fn word(&self, hash: u64) -> u64 {
        self.fills.word(hash)
    }

    /// The reply for a joined read is here: stored if nothing happened to its key, and given to who waits for it.
    pub fn finish(
        &self,
        fill: Fill,
        coverage: &Coverage,
        filled: &Filled<'_>,
    ) -> Option<(Entry, SmallVec<[Waiter; 2]>)> {
        let mut flights = self.fills.lock(fill.hash);
        let (form, waiters) = flights.end(&fill)?;
        let entry = self.put(&fill, &form, coverage, filled);
        drop(flights);
        Some((entry, waiters))
    }

    /// The same for a read that nobody could join.
    pub fn finish_alone(&self, fill: &Fill, query: &Query<'_>, coverage: &Coverage, filled: &Filled<'_>) {
        let form = FormKey::of(query);
        let _flights = self.fills.lock(fill.hash);
        self.put(fill, &form, coverage, filled);
    }

    /// The read will not be answered: who waited for it.
    pub fn abandon(&self, fill: &Fill) -> SmallVec<[Waiter; 2]> {
        self.fills.lock(fill.hash).end(fill).map(|(_, waiters)| waiters).unwrap_or_default()
    }

    /// Builds the entry and stores it where that is right. Under the stripe's lock.
    fn put(&self, fill: &Fill, form: &FormKey, coverage: &Coverage, filled: &Filled<'_>) -> Entry {
        let address = Address { hash: form.hash, upstream: form.upstream, key: &form.key };
        let parts = Parts {
            hash: form.hash,
            upstream: form.upstream,
            database: form.database,
            command: form.command,
            key: &form.key,
            args: &form.args,
            reply: filled.reply,
            shape: filled.shape,
            same_in_both: filled.same_in_both,
            negative: filled.negative,
            stamp: fill.stamp,
            read_at: filled.read_at,
            expires_at: filled.expires_at,
            ends_at: filled.ends_at,
        };
        let current = coverage.stamp();
        let size = (form.key.len() + form.args.len() + filled.reply.len()) as u64;
        let refusal = if !filled.keep {
            Some(&self.tallies.refused_error)
        } else if size > self.max_entry.load(Ordering::Relaxed) {
            Some(&self.tallies.refused_large)
        } else if filled.expires_at <= filled.read_at {
            Some(&self.tallies.refused_expired)
        } else if fill.stamp != current || coverage.wholesale() {
            Some(&self.tallies.refused_uncovered)
        } else if !fill.still_holds(&self.fills, current) {
            Some(&self.tallies.refused_moved)
        } else {
            None
        };
        if let Some(reason) = refusal {
            tally(reason);
            return Entry::new(&parts);
        }
        tally(&self.tallies.fills);
        let entry = match self.store.peek(&address) {
            // Forms that a flush has voided, or whose time is long over, do not stay behind the new one.
            Some(older) => Entry::in_front_of(&older, &parts, |form| form.stamp.survives(current)),
            None => Entry::new(&parts),
        };
        self.store.put(entry.clone());
        entry
    }

    /// A write of ours is about to be sent: its key's entry goes, nothing is filled until the fence is lifted.
    pub fn fence(&self, upstream: u16, key: &[u8]) -> Fence {
        let hash = self.hash(upstream, key);
        self.fills.fence(hash, || {
            if self.store.remove(&Address { hash, upstream, key }) {
                tally(&self.tallies.invalidated_by_write);
            }
        })
    }

    /// The write's fate is known; called before its reply is delivered.
    pub fn lift(&self, fence: Fence) {
        self.fills.lift(fence);
    }

    /// Every form of a key, in every database, goes. Whether there were any.
    pub fn invalidate(&self, upstream: u16, key: &[u8], cause: Cause) -> bool {
        let hash = self.hash(upstream, key);
        let mut removed = false;
        self.fills.invalidate(hash, || removed = self.store.remove(&Address { hash, upstream, key }));
        if removed {
            tally(match cause {
                Cause::Push => &self.tallies.invalidated_by_push,
                Cause::Operator => &self.tallies.invalidated_by_operator,
                Cause::Write => &self.tallies.invalidated_by_write,
            });
        }
        removed
    }

    /// Whether a key has replies here, and what each is worth (for EXPLAIN).
    pub fn inspect(&self, upstream: u16, key: &[u8], coverage: &Coverage, now: Micros) -> Vec<(Entry, Freshness)> {
        let hash = self.hash(upstream, key);
        let Some(entry) = self.store.peek(&Address { hash, upstream, key }) else { return Vec::new() };
        let judge = |form: &Entry| freshness(form.facts(), coverage.stamp(), coverage.until(), now);
        entry.forms().map(|form| (form.clone(), judge(form))).collect()
    }

    /// Everything that was read from an endpoint is void from here on. Its memory is given back as room is needed.
    pub fn flush(&self, coverage: &Coverage) {
        coverage.flush();
        tally(&self.tallies.flushes);
    }

    /// Gives the memory of voided entries back. Walks the whole cache; for rare events.
    pub fn sweep(&self, upstream: u16, current: Stamp) {
        let void = |stamp: Stamp| stamp.same_connection(current) && !stamp.survives(current);
        self.store.retain(|entry| entry.facts().upstream != upstream || !void(entry.facts().stamp));
    }

    /// Whatever is being read now will not be stored: it was asked of an endpoint that may no longer own its key.
    pub fn void_fills(&self) {
        self.fills.void();
    }

    /// Removes the entries of the keys for which `gone` is true. Walks the whole cache; for rare events.
    pub fn remove_where(&self, upstream: u16, gone: impl Fn(&[u8]) -> bool) {
        self.store.retain(|entry| entry.facts().upstream != upstream || !gone(entry.key()));
    }

    /// Keys for which `gone` is true have changed: their entries go, and what is being read now is not stored. Walks the whole cache; for
    /// rare events.
    pub fn invalidate_where(&self, upstream: u16, gone: impl Fn(&[u8]) -> bool) {
        self.drop_where(|of, key| of == upstream && gone(key));
    }

    /// Other bounds from here on: what is over them goes.
    pub fn resize(&self, max_memory: u64, max_entry: u64) {
        self.store.resize(max_memory);
        if max_entry < self.max_entry.swap(max_entry, Ordering::AcqRel) {
            // One that was found small enough before is stored by now.
            self.fills.pass();
            self.store.retain(|entry| entry.forms().all(|form| form.size() <= max_entry));
        }
    }

    /// Replies of the keys for which `gone` is true were admitted under rules that hold no more: they go, and what is being read now is not
    /// stored. Walks the whole cache; for rare events.
    pub fn drop_where(&self, gone: impl Fn(u16, &[u8]) -> bool) {
        self.fills.void();
        // A fill that was found good before is stored by now.
        self.fills.pass();
        self.store.retain(|entry| !gone(entry.facts().upstream, entry.key()));
    }

    /// Every entry, for a snapshot. Walks the whole cache without holding anybody up.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.store.iter()
    }

    /// Takes in a reply of a snapshot, in front of the key's others. Whether it was small enough.
    pub fn restore(&self, parts: &Parts<'_>) -> bool {
        if (parts.key.len() + parts.args.len() + parts.reply.len()) as u64 > self.max_entry.load(Ordering::Relaxed) {
            return false;
        }
        let older = self.store.peek(&Address { hash: parts.hash, upstream: parts.upstream, key: parts.key });
        self.store.put(match older {
            Some(older) => Entry::in_front_of(&older, parts, |_| true),
            None => Entry::new(parts),
        });
        true
    }

    /// Grows whenever a reply comes, goes or is voided: equal at two moments, nothing of the kind has happened in between.
    pub fn changes(&self) -> u64 {
        self.store.changes().wrapping_add(u64::from(flushes()))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Bytes in use, overhead included.
    pub fn weight(&self) -> u64 {
        self.store.weight()
    }

    /// Keys that had to go for others so far.
    pub fn evictions(&self) -> u64 {
        self.store.evictions()
    }
}

#[cfg(test)]
mod tests;
