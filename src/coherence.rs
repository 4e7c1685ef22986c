//! Where the tracked connection meets the near-cache: pushes and replies are applied in the order of the stream.
//!
//! This is the only code that fills the cache. It runs inside the reader of the tracked connection, frame by frame,
//! so whatever it stores is true as of one position of the stream, and whatever a push voids is void before the next
//! frame is looked at. Replies for waiting sessions are gathered per worker and handed over once per read.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::app::App;
use crate::cache::near::{Cause, Filled, tally};
use crate::cache::policy::{Known, Lifetime};
use crate::cache::{Fill, Query, Waiter};
use crate::clock::Micros;
use crate::command::Shape;
use crate::events::Kind;
use crate::inbox::{Letter, Payload};
use crate::logs::sample;
use crate::origin::{Node, Origin};
use crate::resp::{Proto, convert, scan};
use crate::tracking::{self, Who};
use crate::upstream::endpoint::Duty;
use crate::upstream::redirect::Redirect;
use crate::upstream::shards::ClusterInfo;
use crate::upstream::tracked::{Event, Job, Mode};

/// What a session leaves with a job for the tracked connection.
#[derive(Debug)]
pub enum Tag {
    /// One reply that others may join.
    One(Box<One>),
    /// A reply for the cache alone.
    Quiet(Box<Quiet>),
    /// MGET: parts of one reply.
    Many(Box<Many>),
    /// The reply of a command that may have changed any key: held back until every push that it caused has been seen.
    Barrier(Waiter, Bytes),
}

/// A cacheable read of one key.
#[derive(Debug)]
pub struct One {
    /// Leave to store it.
    pub fill: Fill,
    /// The command, should the read not be done.
    pub request: Bytes,
    /// How the reply may be kept.
    pub terms: Terms,
}

/// A cacheable read of one key that nobody waits for.
#[derive(Debug)]
pub struct Quiet {
    /// Leave to store it.
    pub fill: Fill,
    /// Which reply it is.
    pub form: Part,
    /// How the reply may be kept.
    pub terms: Terms,
}

/// Several keys read by one MGET.
#[derive(Debug)]
pub struct Many {
    /// Who asked.
    pub waiter: Waiter,
    /// The command, should the read not be done.
    pub request: Bytes,
    /// All keys, if the client wants to hear of changes to them.
    pub tracked: Vec<Box<[u8]>>,
    /// The keys to store, in the order in which their expiries were asked for, and how each may be kept: they may be of several routes.
    pub parts: Vec<(Fill, Part, Terms)>,
}

/// A key of a read, and its place in the reply.
#[derive(Debug)]
pub struct Part {
    /// Hash of upstream and key.
    pub hash: u64,
    /// Database it was read in.
    pub database: u16,
    /// Row of the command that the part stands for.
    pub command: u16,
    /// The key.
    pub key: Box<[u8]>,
    /// Which element of the reply.
    pub element: usize,
}

/// How replies of a route and command may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Caps of the route.
    pub lifetime: Lifetime,
    /// How the reply is rewritten for RESP2.
    pub shape: Shape,
    /// Its fields may expire unseen.
    pub unseen_expiry: bool,
}

/// The state of the reader of one node's tracked connection.
pub struct Reader {
    app: Arc<App>,
    node: Arc<Node>,
    mode: Mode,
    /// Coverage was lost, and has not come back yet.
    lost: bool,
    letters: RefCell<Vec<Vec<Letter>>>,
    /// When the last reply was read, as its entry tells it.
    last_read_at: Cell<Micros>,
}

const ARRAY_OF_BULKS: Shape = Shape { nulls: crate::command::Nulls::Bulk, pairs: false };

impl Reader {
    /// A reader that fills `app`'s near-cache from `node`.
    pub fn new(app: Arc<App>, node: Arc<Node>) -> Self {
        let workers = app.inboxes.len();
        let letters = RefCell::new((0..workers).map(|_| Vec::new()).collect());
        Self { app, node, mode: Mode::Tracking, lost: false, letters, last_read_at: Cell::default() }
    }

    /// Applies one event of the stream.
    pub fn apply(&mut self, event: Event<'_, Tag>) {
        let (near, node) = (&self.app.near, &self.node);
        let coverage = &node.coverage;
        match event {
            Event::Up(mode, proto) => {
                node.note_proto(proto);
                self.mode = mode;
                if std::mem::take(&mut self.lost) && mode == Mode::Tracking {
                    let text =
                        format!("near-cache covered again: tracked connection to {} is back", node.endpoint.address);
                    self.app.events.info(Kind::Coverage, Some(&node.endpoint.upstream), text);
                }
                node.note_mode(Some(mode));
                match (mode, self.app.channels.get(node.upstream)) {
                    // The first heartbeat has to say that the map is right.
                    (Mode::Tracking, _) if node.endpoint.duty == Duty::ClusterPrimary => coverage.begin(Micros::now()),
                    (Mode::Tracking, _) => coverage.begin(Micros::now().plus(node.lease())),
                    (Mode::Ttl, Some(channel)) => channel.cover(coverage),
                    (Mode::Ttl, None) => coverage.begin(Micros::NEVER),
                }
                if self.app.stale_told.swap(false, Ordering::AcqRel) {
                    // What clients have kept of the time without it may have been old.
                    tracking::all_changed(&self.app);
                }
            }
            Event::Lost(why) => {
                // In TTL mode nothing depends on the connection.
                if self.mode == Mode::Tracking {
                    coverage.lose();
                    tally(&near.tallies.coverage_lost);
                    if sample::UNCOVERED.admits() {
                        self.lost = true;
                        let address = &node.endpoint.address;
                        let text = format!("near-cache not covered: tracked connection to {address} lost: {why}");
                        self.app.events.warn(Kind::Coverage, Some(&node.endpoint.upstream), text);
                    }
                }
                node.note_mode(None);
                self.deliver();
                tracking::all_changed(&self.app);
                if let Some(origin) = self.origin() {
                    tally(&origin.losses);
                    origin.doubt.notify_one();
                }
            }
            Event::Alive { sent_at, reply } => {
                if self.mode == Mode::Tracking && self.owns_its_keys(reply) {
                    coverage.extend(sent_at, sent_at.plus(node.lease()));
                }
            }
            Event::Invalidate(key) => {
                if !crate::faults::drops_invalidations() {
                    near.invalidate(node.upstream, key, Cause::Push);
                    // Behind the replies of the stream so far, which have to be on their way first.
                    self.deliver();
                    tracking::changed(&self.app, key);
                }
            }
            Event::InvalidateAll => {
                if !crate::faults::drops_invalidations() {
                    near.flush(coverage);
                    near.sweep(node.upstream, coverage.stamp());
                    self.deliver();
                    tracking::all_changed(&self.app);
                }
            }
            Event::Done { tag, pttls, reply, sent_at } => self.done(tag, pttls, reply, sent_at),
            Event::Failed(tag) => self.failed(tag),
            Event::Batch => self.deliver(),
        }
    }

    /// Whether an answered heartbeat says that the node still owns what the map gives it: it knows of no later epoch than
    /// that of the map. If it does, the proof of its entries is not prolonged until the map is as new.
    fn owns_its_keys(&self, reply: &[u8]) -> bool {
        let (Duty::ClusterPrimary, Some(origin)) = (self.node.endpoint.duty, self.origin()) else { return true };
        let right = ClusterInfo::of(reply).is_ok_and(|info| info.ok && info.current_epoch <= origin.epoch());
        if !right {
            origin.doubt.notify_one();
        }
        right
    }

    fn origin(&self) -> Option<&Origin> {
        self.app.origin(self.node.upstream)
    }

    fn query<'p>(&self, part: &'p Part) -> Query<'p> {
        let Part { hash, database, command, ref key, .. } = *part;
        Query { hash, upstream: self.node.upstream, database, command, key, args: b"" }
    }

    /// Hands over what has gathered.
    fn deliver(&self) {
        for (letters, inbox) in self.letters.borrow_mut().iter_mut().zip(&self.app.inboxes) {
            if !letters.is_empty() {
                inbox.post(letters.drain(..));
            }
        }
    }

    fn post(&self, waiter: Waiter, payload: Payload) {
        if let Some(letters) = self.letters.borrow_mut().get_mut(usize::from(waiter.worker)) {
            letters.push(Letter::Reply(waiter, payload));
        }
    }

    fn done(&self, tag: Tag, pttls: &[Option<i64>], reply: &[u8], sent_at: Micros) {
        let coverage = &self.node.coverage;
        if Redirect::of(reply).is_some() {
            // It is not this node that has the answer, or not now: each does the read on its own connection, which knows
            // how to follow.
            if let Some(origin) = self.origin() {
                origin.doubt.notify_one();
            }
            return self.failed(tag);
        }
        // Many reads are sent at one moment. Their entries shall tell which of them came first (C7 in a cluster asks).
        self.last_read_at.set(sent_at.max(self.last_read_at.get().plus(Micros(1))));
        match tag {
            Tag::Barrier(waiter, held) => self.post(waiter, Payload::Verbatim(held)),
            Tag::One(one) => {
                let filled = self.filled(&one.terms, one.fill.hash(), pttls.first().copied().flatten(), reply, sent_at);
                if let Some((entry, waiters)) = self.app.near.finish(one.fill, coverage, &filled) {
                    for waiter in waiters {
                        self.note_reader(waiter, std::iter::once(entry.key()));
                        self.post(waiter, Payload::Entry(entry.clone()));
                    }
                }
            }
            Tag::Quiet(quiet) => {
                let filled =
                    self.filled(&quiet.terms, quiet.fill.hash(), pttls.first().copied().flatten(), reply, sent_at);
                self.app.near.finish_alone(&quiet.fill, &self.query(&quiet.form), coverage, &filled);
            }
            Tag::Many(many) => {
                self.keep_parts(&many, pttls, reply, sent_at);
                self.note_reader(many.waiter, many.tracked.iter().map(AsRef::as_ref));
                self.post(many.waiter, Payload::Resp3(Bytes::copy_from_slice(reply), ARRAY_OF_BULKS));
            }
        }
    }

    /// From this position of the stream on, changes of the keys are told to a client that tracks.
    fn note_reader<'k>(&self, waiter: Waiter, keys: impl Iterator<Item = &'k [u8]>) {
        if waiter.tracks {
            let who = Who { worker: waiter.worker, session: waiter.session };
            tracking::note(&self.app, who, keys);
        }
    }

    /// Stores the elements of an MGET's reply as what GET would have answered.
    fn keep_parts(&self, many: &Many, pttls: &[Option<i64>], reply: &[u8], sent_at: Micros) {
        let Some(elements) = elements(reply) else { return };
        for ((fill, part, terms), pttl) in many.parts.iter().zip(pttls) {
            let Some(element) = elements.get(part.element).map(|range| &reply[range.clone()]) else { continue };
            // A null also stands for a key of another type, for which GET answers an error.
            if !element.starts_with(b"$") && *pttl != Some(-2) {
                continue;
            }
            let filled = self.filled(terms, part.hash, *pttl, element, sent_at);
            self.app.near.finish_alone(fill, &self.query(part), &self.node.coverage, &filled);
        }
    }

    /// Judges a reply: may it be kept, and until when.
    fn filled<'a>(&self, terms: &Terms, hash: u64, pttl: Option<i64>, reply: &'a [u8], sent_at: Micros) -> Filled<'a> {
        // Without the origin's expiry nothing says how long the reply is true.
        let told = pttl.is_some();
        let pttl = pttl.unwrap_or(-2);
        let negative = matches!(reply, b"_\r\n" | b"$-1\r\n" | b"*-1\r\n") || pttl == -2;
        let known = Known {
            read_at: sent_at,
            pttl,
            negative,
            // Whoever needs no proof has none; with a channel that tells of changes there is one. (If that is lost meanwhile the stamp
            // is another, and the reply is not kept.)
            untracked: self.mode == Mode::Ttl && self.node.coverage.until() == Micros::NEVER || terms.unseen_expiry,
            dice: hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sent_at.0.wrapping_mul(0xbf58_476d_1ce4_e5b9),
        };
        let expires_at = terms.lifetime.expires_at(&known);
        let expires_at = match self.node.endpoint.duty {
            // While a slot moves, keys that its owner does not have are made at the node that it moves to, and the owner
            // has nothing to push. Neither it nor any epoch tells of the move, so that "not there" is proven no further
            // than a heartbeat proves the rest. (What is there is pushed when it goes.)
            Duty::ClusterPrimary if pttl == -2 => expires_at.min(sent_at.plus(self.node.lease())),
            _ => expires_at,
        };
        let old_protocol = self.node.proto() == Proto::Resp2;
        Filled {
            reply,
            shape: terms.shape,
            same_in_both: old_protocol || convert::same_in_both(reply, terms.shape),
            negative,
            read_at: self.last_read_at.get(),
            expires_at,
            ends_at: known.ends_at(),
            keep: told && !reply.starts_with(b"-") && !reply.starts_with(b"!"),
        }
    }

    /// Whoever waited does the read without the cache.
    fn failed(&self, tag: Tag) {
        match tag {
            // The connection is gone, hence nothing is fresh: there is nothing left to wait for.
            Tag::Barrier(waiter, held) => self.post(waiter, Payload::Verbatim(held)),
            Tag::One(one) => {
                for waiter in self.app.near.abandon(&one.fill) {
                    self.post(waiter, Payload::Retry(one.request.clone()));
                }
            }
            Tag::Many(many) => self.post(many.waiter, Payload::Retry(many.request)),
            Tag::Quiet(_) => {}
        }
    }
}

/// Where the elements of an array lie.
fn elements(reply: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    let header = reply.iter().position(|byte| *byte == b'\n')? + 1;
    if reply.first() != Some(&b'*') {
        return None;
    }
    let mut found = Vec::new();
    let mut at = header;
    let mut scanner = scan::Scanner::default();
    while at < reply.len() {
        let length = scanner.scan(&reply[at..]).ok()??;
        found.push(at..at + length);
        at += length;
    }
    Some(found)
}

/// A single-key read as a job.
pub fn one_key(key: &[u8], database: u32, request: &[u8], tag: Tag) -> Job<Tag> {
    Job { database, keys: SmallVec::from_iter([Box::from(key)]), request: request.to_vec(), tag }
}

/// A barrier as a job.
pub fn barrier(waiter: Waiter, held: &[u8]) -> Job<Tag> {
    Job {
        database: 0,
        keys: SmallVec::new(),
        request: Vec::new(),
        tag: Tag::Barrier(waiter, Bytes::copy_from_slice(held)),
    }
}
