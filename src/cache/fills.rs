//! What keeps an older reply from being stored after a newer write: generations, fences, flights.
//!
//! Every key falls into one of 16,384 slots. A slot's word holds a generation and a number of fences:
//!
//! * a read that will fill notes the generation before it is sent; an invalidation or a write moves it; a fill whose
//!   generation has moved answers its waiters and is not stored;
//! * a write puts a fence up before it is sent and takes it down when its fate is known; meanwhile nothing is filled.
//!
//! Two keys in one slot disturb each other only in that a fill may go unstored. Flights (fills under way that others
//! may join) hang beside the slots. Words are changed, flights joined and entries stored or removed under the stripe's
//! lock; a hit takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::coverage::Stamp;
use super::entry::Query;

const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 14;
/// As many as make the search among a stripe's flights short when tens of thousands are under way.
const STRIPES: usize = 1024;
/// More than this many clients do not wait for one fill; the next one asks the origin itself.
pub const MAX_WAITERS: usize = 4096;

const FENCE: u64 = 1;
/// One client alone may have `max_pipeline` writes of one key under way: 16 bits would overflow into the generation.
const FENCES: u64 = 0xffff_ffff;
const GENERATION: u64 = 1 << 32;

/// Generations, fences and flights of all keys.
#[derive(Debug)]
pub struct Fills {
    words: Box<[AtomicU64]>,
    stripes: Box<[Mutex<Flights>]>,
}

/// The flights of a stripe.
#[derive(Debug, Default)]
pub struct Flights {
    flights: Vec<Flight>,
    next_number: u64,
}

/// A fill under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    /// The slot's word when its read was sent.
    word: u64,
    stamp: Stamp,
    form: FormKey,
    waiters: SmallVec<[Waiter; 2]>,
}

/// Which reply a flight is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormKey {
    /// Hash of (upstream, key).
    pub hash: u64,
    /// Number of the upstream.
    pub upstream: u16,
    /// Database of the origin.
    pub database: u16,
    /// Number of the command's row.
    pub command: u16,
    /// The key.
    pub key: Box<[u8]>,
    /// The command's other arguments, as they were on the wire.
    pub args: Box<[u8]>,
}

/// Who waits for a fill: a place in the replies of a session of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Number of the worker.
    pub worker: u16,
    /// Number of the session.
    pub session: u64,
    /// Which of its replies.
    pub seq: u64,
    /// The client keeps the reply and wants to hear of changes (CLIENT TRACKING).
    pub tracks: bool,
}

/// Leave to store a reply, if nothing has happened to its key by then. Must be finished or abandoned.
#[derive(Debug)]
#[must_use]
pub struct Fill {
    pub(super) hash: u64,
    pub(super) word: u64,
    /// The endpoint's stamp when the read was planned.
    pub stamp: Stamp,
    pub(super) flight: Option<u64>,
}

/// A fence that stands around a key's slot until it is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Fence(u32);

impl Default for Fills {
    fn default() -> Self {
        Self {
            words: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Fills {
    fn slot(hash: u64) -> usize {
        // The upper bits: the store's shards and index use the lower ones.
        (hash >> (64 - SLOT_BITS)) as usize
    }

    /// The word of a key's slot: equal words at two moments mean that nothing happened to the key in between.
    #[inline]
    pub fn word(&self, hash: u64) -> u64 {
        self.words[Self::slot(hash)].load(Ordering::Acquire)
    }

    /// Locks the stripe of a key.
    pub fn lock(&self, hash: u64) -> MutexGuard<'_, Flights> {
        // Nothing in a stripe can be left half-done by a panic: the guarded sections do not call out.
        self.stripes[Self::slot(hash) % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fenced(word: u64) -> bool {
        word & FENCES != 0
    }

    /// Moves the generation around `removal`: before it for fills that are about to be stored, after it for readers
    /// that gather several entries and compare words.
    fn moving(&self, hash: u64, removal: impl FnOnce()) {
        let word = &self.words[Self::slot(hash)];
        word.fetch_add(GENERATION, Ordering::AcqRel);
        removal();
        word.fetch_add(GENERATION, Ordering::AcqRel);
    }

    /// An invalidation: `removal` takes the entry out.
    pub fn invalidate(&self, hash: u64, removal: impl FnOnce()) {
        let _stripe = self.lock(hash);
        self.moving(hash, removal);
    }

    /// A write is about to be sent.
    pub fn fence(&self, hash: u64, removal: impl FnOnce()) -> Fence {
        let slot = Self::slot(hash);
        let _stripe = self.lock(hash);
        self.words[slot].fetch_add(FENCE, Ordering::AcqRel);
        self.moving(hash, removal);
        Fence(slot as u32)
    }

    /// The write's fate is known, its reply not yet delivered. Since nothing was filled behind the fence, there is
    /// nothing to remove; the generation moves for fills that began before.
    pub fn lift(&self, fence: Fence) {
        let hash = u64::from(fence.0) << (64 - SLOT_BITS);
        let _stripe = self.lock(hash);
        self.moving(hash, || {});
        self.words[fence.0 as usize].fetch_sub(FENCE, Ordering::AcqRel);
    }

    /// Moves every generation: no fill that has begun is stored.
    pub fn void(&self) {
        for word in &self.words {
            word.fetch_add(GENERATION, Ordering::AcqRel);
        }
    }

    /// Waits until nobody is inside a stripe who was when it was called.
    pub fn pass(&self) {
        for stripe in &self.stripes {
            drop(stripe.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Leave to fill without a flight that others could join; `None` while the key is fenced.
    pub fn begin(&self, hash: u64, stamp: Stamp) -> Option<Fill> {
        let word = self.word(hash);
        (!Self::fenced(word)).then_some(Fill { hash, word, stamp, flight: None })
    }
}

/// What came of asking to join a flight.
#[derive(Debug)]
pub enum Joined {
    /// The caller has to do the read.
    Lead(Fill),
    /// Another's read will answer.
    Follow,
    /// The key is fenced, or too many wait already.
    Bypass,
}

impl Flights {
    /// Joins the flight for `query` that began under the present word and stamp, or begins one.
    pub fn join(&mut self, fills: &Fills, query: &Query<'_>, stamp: Stamp, waiter: Waiter) -> Joined {
        let word = fills.word(query.hash);
        if Fills::fenced(word) {
            return Joined::Bypass;
        }
        // A flight that began before a write is not joined by a read that comes after it: its word differs.
        let joinable = |flight: &&mut Flight| flight.word == word && flight.stamp == stamp && flight.form.is_for(query);
        if let Some(flight) = self.flights.iter_mut().find(joinable) {
            if flight.waiters.len() >= MAX_WAITERS {
                return Joined::Bypass;
            }
            flight.waiters.push(waiter);
            return Joined::Follow;
        }
        Joined::Lead(self.begin(query, word, stamp, SmallVec::from_slice(&[waiter])))
    }

    /// Begins a flight that nobody waits for, unless there is one.
    pub fn lead(&mut self, fills: &Fills, query: &Query<'_>, stamp: Stamp) -> Option<Fill> {
        let word = fills.word(query.hash);
        let there = |flight: &Flight| flight.word == word && flight.stamp == stamp && flight.form.is_for(query);
        if Fills::fenced(word) || self.flights.iter().any(there) {
            return None;
        }
        Some(self.begin(query, word, stamp, SmallVec::new()))
    }

    fn begin(&mut self, query: &Query<'_>, word: u64, stamp: Stamp, waiters: SmallVec<[Waiter; 2]>) -> Fill {
        self.next_number += 1;
        let number = self.next_number;
        self.flights.push(Flight { number, word, stamp, form: FormKey::of(query), waiters });
        Fill { hash: query.hash, word, stamp, flight: Some(number) }
    }

    /// Ends a fill's flight: who waits for it, and for which reply.
    pub fn end(&mut self, fill: &Fill) -> Option<(FormKey, SmallVec<[Waiter; 2]>)> {
        let number = fill.flight?;
        let at = self.flights.iter().position(|flight| flight.number == number)?;
        let flight = self.flights.swap_remove(at);
        Some((flight.form, flight.waiters))
    }
}

impl Fill {
    /// Hash of upstream and key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether nothing has happened to the key since the read was planned. Under the stripe's lock.
    pub fn still_holds(&self, fills: &Fills, current: Stamp) -> bool {
        fills.word(self.hash) == self.word && self.stamp == current
    }
}

impl FormKey {
    /// Which reply a query asks for.
    pub fn of(query: &Query<'_>) -> Self {
        let Query { hash, upstream, database, command, key, args } = *query;
        Self { hash, upstream, database, command, key: key.into(), args: args.into() }
    }

    fn is_for(&self, query: &Query<'_>) -> bool {
        self.hash == query.hash
            && self.command == query.command
            && self.database == query.database
            && self.upstream == query.upstream
            && *self.key == *query.key
            && *self.args == *query.args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_fenced_however_many_writes_of_it_are_under_way() {
        let fills = Fills::default();
        let fences: Vec<Fence> = (0..=u32::from(u16::MAX)).map(|_| fills.fence(7, || {})).collect();
        assert!(fills.begin(7, Stamp::NONE).is_none());
        fences.into_iter().for_each(|fence| fills.lift(fence));
        assert!(fills.begin(7, Stamp::NONE).is_some());
    }
}
