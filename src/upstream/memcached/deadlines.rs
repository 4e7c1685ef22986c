//! Keys that have to go at an instant that memcached cannot count to.
//!
//! The node has a time to live that is too long by one to two seconds ([`super::expiry`]); here stands when each of them
//! really ends. A connection of its own deletes it then, if it is still the same value (its number, `c`) and its life is
//! still as short as it was given: an extension by anybody else (`mg T`) does not change the number.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::Server;
use super::meta::{self, Found, Kind, Request};
use crate::clock::Micros;
use crate::net::{self, Stream};

/// Keys that are remembered. Beyond, those that end last are left to their safety net.
const MOST: usize = 65_536;
/// Keys that one write asks about.
const BATCH: usize = 128;
/// The longest life that is left of a key when its time is over, in seconds: more was given by somebody else.
const SAFETY_NET: i64 = 2;
/// When the connection is given back though nothing has gone wrong.
const IDLE: Duration = Duration::from_secs(10);

/// The keys of one node that end between two of its ticks.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    known: Mutex<Known>,
    count: AtomicUsize,
    kept: AtomicBool,
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<Box<[u8]>, Entry>,
    order: BTreeMap<(Micros, u64), Box<[u8]>>,
    /// Keys that are deleted, and until when they stay known.
    settled: VecDeque<(Micros, Box<[u8]>, u64)>,
    numbers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Micros,
    number: u64,
    cas: u64,
}

impl Deadlines {
    /// Whether no key is known: the usual case, at no cost.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// This version of a key ends then. Whether somebody has to be set to it.
    pub(super) fn note(&self, key: &[u8], cas: u64, at: Micros) -> bool {
        let mut known = self.known();
        known.remove(key);
        while known.keys.len() >= MOST && known.make_room() {}
        known.numbers += 1;
        let number = known.numbers;
        let first = known.order.first_key_value().is_none_or(|((first, _), _)| at < *first);
        known.keys.insert(key.into(), Entry { at, number, cas });
        known.order.insert((at, number), key.into());
        self.count.store(known.keys.len(), Ordering::Relaxed);
        drop(known);
        if first {
            self.sooner.notify_one();
        }
        !self.kept.swap(true, Ordering::AcqRel)
    }

    /// Its value was changed here, and its life was not.
    pub(super) fn renew(&self, key: &[u8], before: u64, cas: u64) {
        if self.is_empty() {
            return;
        }
        if let Some(entry) = self.known().keys.get_mut(key).filter(|entry| entry.cas == before) {
            entry.cas = cas;
        }
    }

    /// It lives for another time now.
    pub(super) fn forget(&self, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        let mut known = self.known();
        known.remove(key);
        self.count.store(known.keys.len(), Ordering::Relaxed);
    }

    /// There is no key any more.
    pub(super) fn clear(&self) {
        let mut known = self.known();
        *known = Known::default();
        self.count.store(0, Ordering::Relaxed);
    }

    /// How long this version of a key still has, if that is known better than the node knows it.
    pub(super) fn left(&self, key: &[u8], cas: Option<u64>, now: Micros) -> Option<Micros> {
        if self.is_empty() {
            return None;
        }
        let known = self.known();
        known.keys.get(key).filter(|entry| Some(entry.cas) == cas).map(|entry| entry.at.since(now))
    }

    /// The keys whose time is over, once. They stay known until they are deleted: a reader has to be told, too.
    fn due(&self, now: Micros) -> Vec<(Box<[u8]>, Entry)> {
        let mut known = self.known();
        let mut due = Vec::new();
        while due.len() < BATCH
            && let Some(first) = known.order.first_entry().filter(|first| first.key().0 < now)
        {
            let key = first.remove();
            if let Some(entry) = known.keys.get(&key) {
                due.push((key, *entry));
            }
        }
        due
    }

    /// These are deleted, but those in the places `alive`. What is deleted stays known `until` then: what the node said of it
    /// before may still be on its way to a reader.
    fn settle(&self, due: Vec<(Box<[u8]>, Entry)>, alive: &[usize], until: Micros) {
        let mut known = self.known();
        for (place, (key, Entry { number, .. })) in due.into_iter().enumerate() {
            if alive.contains(&place) {
                known.drop_entry(&key, number);
            } else {
                known.settled.push_back((until, key, number));
            }
        }
        self.count.store(known.keys.len(), Ordering::Relaxed);
    }

    /// Forgets what no reader can come upon any more.
    fn tidy(&self, now: Micros) {
        let mut known = self.known();
        while known.settled.front().is_some_and(|(until, ..)| *until < now) {
            known.drop_settled();
        }
        self.count.store(known.keys.len(), Ordering::Relaxed);
    }

    fn next(&self) -> Option<Micros> {
        self.known().order.first_key_value().map(|((at, _), _)| *at)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.keys.remove(key) {
            self.order.remove(&(entry.at, entry.number));
        }
    }

    /// Forgets one key, or one that was forgotten before; whether there was any.
    fn make_room(&mut self) -> bool {
        if !self.settled.is_empty() {
            self.drop_settled();
            return true;
        }
        let last = self.order.pop_last();
        last.as_ref().is_some_and(|(_, key)| self.keys.remove(key).is_some())
    }

    fn drop_settled(&mut self) {
        if let Some((_, key, number)) = self.settled.pop_front() {
            self.drop_entry(&key, number);
        }
    }

    /// Forgets a key, unless it has got another end since.
    fn drop_entry(&mut self, key: &[u8], number: u64) {
        if self.keys.get(key).is_some_and(|now| now.number == number) {
            self.keys.remove(key);
        }
    }
}

/// Deletes keys of a node when their time is over, until there have been none for a while.
pub(super) async fn keep(server: Arc<Server>) {
    let deadlines = &server.deadlines;
    let mut stream = None;
    loop {
        deadlines.tidy(Micros::now());
        let Some(next) = deadlines.next() else {
            if tokio::time::timeout(IDLE, deadlines.sooner.notified()).await.is_ok() {
                continue;
            }
            deadlines.kept.store(false, Ordering::Release);
            deadlines.tidy(Micros::NEVER);
            // One may have come in between, and whoever noted it saw that somebody was there.
            if deadlines.next().is_none() || deadlines.kept.swap(true, Ordering::AcqRel) {
                return;
            }
            continue;
        };
        let now = Micros::now();
        if next >= now {
            // A key lives in the very microsecond of its end, as in Redis in the very millisecond.
            let wait = next.since(now).plus(Micros(1)).duration();
            let _ = tokio::time::timeout(wait, deadlines.sooner.notified()).await;
            continue;
        }
        let due = deadlines.due(now);
        let work = delete(&server, &mut stream, &due);
        let alive = match tokio::time::timeout(server.timeout, work).await {
            Ok(Ok(alive)) => alive,
            _ => {
                // The safety net takes them.
                stream = None;
                (0..due.len()).collect()
            }
        };
        deadlines.settle(due, &alive, Micros::now().plus(Micros::of(server.timeout)));
    }
}

/// The places of those that somebody else has given more time.
async fn delete(server: &Server, stream: &mut Option<Stream>, due: &[(Box<[u8]>, Entry)]) -> io::Result<Vec<usize>> {
    if stream.is_none() {
        *stream = Some(net::connect(&server.address, server.tls.as_ref()).await?);
    }
    let Some(stream) = stream else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (key, _) in due {
        Request::get(&mut out, key).flags(" t c").end();
    }
    let (mut ours, mut alive) = (Vec::new(), Vec::new());
    converse(stream, &out, due.len(), |number, kind, flags| {
        let cas = due[number].1.cas;
        let short = flags.ttl.is_some_and(|ttl| (0..=SAFETY_NET).contains(&ttl));
        if kind == Kind::Done && flags.cas == Some(cas) {
            if short { ours.push(number) } else { alive.push(number) }
        }
    })
    .await?;
    out.clear();
    for number in &ours {
        let (key, entry) = &due[*number];
        Request::delete(&mut out, key).only_if(entry.cas).end();
    }
    converse(stream, &out, ours.len(), |_, _, _| {}).await?;
    Ok(alive)
}

/// Sends requests and hands on what each reply says.
async fn converse(
    stream: &mut Stream,
    out: &[u8],
    replies: usize,
    mut heard: impl FnMut(usize, Kind, meta::Flags),
) -> io::Result<()> {
    if replies == 0 {
        return Ok(());
    }
    stream.write_all(out).await?;
    let mut input = Vec::new();
    let (mut at, mut number) = (0, 0);
    while number < replies {
        match meta::find(&input[at..]) {
            Ok(Found::Whole(reply, used)) => {
                heard(number, reply.kind, reply.flags);
                number += 1;
                at += used;
            }
            Ok(Found::Part(_)) => {
                if stream.read_buf(&mut input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(fault) => return Err(io::Error::new(io::ErrorKind::InvalidData, fault.0)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_in_the_order_of_their_ends() {
        let deadlines = Deadlines::default();
        assert!(deadlines.is_empty());
        assert!(deadlines.note(b"late", 1, Micros(300)), "somebody has to be set to it");
        assert!(!deadlines.note(b"soon", 2, Micros(100)), "and is");
        deadlines.note(b"gone", 3, Micros(50));
        deadlines.forget(b"gone");
        assert_eq!(deadlines.next(), Some(Micros(100)));
        assert_eq!(deadlines.due(Micros(100)), []);
        let due = deadlines.due(Micros(101));
        assert_eq!(due.iter().map(|(key, entry)| (&**key, entry.cas)).collect::<Vec<_>>(), [(&b"soon"[..], 2)]);
        assert_eq!(deadlines.left(b"soon", Some(2), Micros(101)), Some(Micros(0)), "over, though not deleted yet");
        deadlines.settle(due, &[], Micros(120));
        deadlines.tidy(Micros(120));
        assert_eq!(deadlines.left(b"soon", Some(2), Micros(120)), Some(Micros(0)), "a reader may be told late");
        deadlines.tidy(Micros(121));
        assert_eq!(deadlines.left(b"soon", Some(2), Micros(121)), None);
        assert_eq!(deadlines.left(b"late", Some(1), Micros(250)), Some(Micros(50)));
        assert_eq!(deadlines.left(b"late", Some(9), Micros(250)), None);
        deadlines.settle(deadlines.due(Micros(301)), &[0], Micros(320));
        assert_eq!(deadlines.left(b"late", Some(1), Micros(301)), None, "somebody has given it more time");
        assert!(deadlines.is_empty());
    }

    #[test]
    fn a_key_that_is_noted_again_has_one_end() {
        let deadlines = Deadlines::default();
        deadlines.note(b"k", 1, Micros(100));
        deadlines.note(b"k", 2, Micros(200));
        deadlines.renew(b"k", 1, 7);
        deadlines.renew(b"k", 2, 3);
        assert_eq!(deadlines.due(Micros(150)), []);
        let due = deadlines.due(Micros(201));
        assert_eq!((due.len(), due[0].1.cas), (1, 3));
        deadlines.note(b"k", 4, Micros(300));
        deadlines.settle(due, &[], Micros(202));
        deadlines.tidy(Micros(203));
        assert!(!deadlines.is_empty(), "a later end is another");
    }

    #[test]
    fn beyond_the_bound_those_that_end_last_are_forgotten() {
        let deadlines = Deadlines::default();
        for number in 0..MOST as u64 + 10 {
            deadlines.note(number.to_string().as_bytes(), 1, Micros(1_000_000 - number));
        }
        assert_eq!(deadlines.known().keys.len(), MOST);
        assert_eq!(deadlines.known().order.len(), MOST);
        assert_eq!(deadlines.left(b"0", Some(1), Micros(0)), None);
        // Those that are over give way, too.
        for _ in 0..=MOST / BATCH {
            deadlines.settle(deadlines.due(Micros(2_000_000)), &[], Micros(9_000_000));
        }
        for number in 0..10u64 {
            deadlines.note(format!("new {number}").as_bytes(), 1, Micros(3_000_000 + number));
        }
        assert_eq!(deadlines.known().keys.len(), MOST);
        assert_eq!(deadlines.known().order.len(), 10);
    }
}
