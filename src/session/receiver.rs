//! What happens when the upstream's reply to a forwarded command is here, or will never be.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Session;
use super::gathering::Gathering;
use crate::app::App;
use crate::cache::near::{Cause, tally};
use crate::cache::{Fence, Waiter};
use crate::clock::Micros;
use crate::coherence;
use crate::origin::{Node, Origin};
use crate::resp::encode;
use crate::serve;
use crate::serve::lease::Blocking;
use crate::serve::redirect::{self, Redirect};
use crate::serve::scan::Survey;
use crate::tracking;
use crate::upstream::Identity;
use crate::upstream::cursor;
use crate::upstream::lane::Receiver;
use crate::upstream::subscriber::Kind;
use crate::upstream::tracked::Mode;

/// Receives the replies of one or more commands of a session.
#[derive(Debug)]
pub struct Receipt {
    /// Whose commands they are.
    pub session: Rc<Session>,
    /// Where the replies go.
    pub place: Place,
    /// What a write has left to be done; reads have nothing.
    pub write: Option<Box<Write>>,
    /// What it takes to send the command elsewhere, where it may be redirected.
    pub again: Option<Box<Again>>,
    /// Whether it was sent on a connection leased to the session.
    pub tenure: Tenure,
    /// The number of the upstream that it was sent to.
    pub upstream: u16,
}

/// What a command has to do with a lease of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Nothing: it was sent on a connection that sessions share.
    Shared,
    /// It was sent on the leased connection.
    Leased,
    /// The same, and it is MULTI: only if it is carried out are those behind it queued.
    First,
    /// The same, and the session needs the connection no more when its reply is here.
    Last,
}

/// Where a reply goes.
#[derive(Clone, Debug)]
pub enum Place {
    /// Into a slot of the session's line.
    Slot(u64),
    /// A part of a reply that is put together from several.
    Part(Rc<Gathering>, usize),
    /// The same, of a node that need not be there (a replica): what it was told was told to those that are.
    Spare(Rc<Gathering>, usize),
    /// SCAN of one of several primaries.
    Scan(Scan),
    /// What one of the primaries says of its slots, for a SCAN to go on.
    Survey(Rc<Survey>, usize),
    /// The first one into a slot, what follows to the client as it comes (MONITOR).
    Stream(Option<u64>),
    /// Likewise, with the numbers of subscribers set right that it tells for names of this kind.
    Audience(u64, Kind),
    /// What one of several primaries says to WAIT.
    Waited,
    /// Nowhere: nobody asked for it.
    Nowhere,
}

/// Where a SCAN is.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// The slot for the reply.
    pub seq: u64,
    /// Which stage.
    pub stage: usize,
    /// Of the map by which it was sent.
    pub digest: u64,
    /// How many stages a scan by that map has.
    pub stages: usize,
}

impl Place {
    /// The number of its place in the session's line.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Slot(seq) => Some(*seq),
            Self::Part(gathering, _) | Self::Spare(gathering, _) => Some(gathering.seq),
            Self::Scan(scan) => Some(scan.seq),
            Self::Survey(survey, _) => Some(survey.seq()),
            Self::Audience(seq, _) => Some(*seq),
            Self::Stream(seq) => *seq,
            Self::Waited | Self::Nowhere => None,
        }
    }
}

impl Scan {
    /// Writes the reply with a cursor that holds for all primaries.
    fn write(self, reply: &[u8], out: &mut Vec<u8>) {
        let Some((answered, keys)) = cursor::of_reply(reply) else {
            // An error, in the server's words.
            return out.extend_from_slice(reply);
        };
        match cursor::advance(self.stage, answered, self.digest, self.stages) {
            Some(cursor) => cursor::write_reply(out, cursor, keys),
            None => encode::error(out, "ERR the cursor of this server is too large to be told apart from the others'"),
        }
    }
}

/// What remains to be done for the cache when a write's fate is known.
#[derive(Debug)]
pub struct Write {
    /// Where it was sent.
    pub node: Arc<Node>,
    /// The keys that it may have changed, where the upstream has an invalidation channel.
    pub changed: Vec<Box<[u8]>>,
    /// Around its keys.
    pub fences: SmallVec<[Fence; 4]>,
    /// Keys of a command that may block: void when its reply is here, not fenced for as long as it blocks.
    pub blocked_keys: Vec<Box<[u8]>>,
    /// It may change every key (FLUSHALL).
    pub wholesale: bool,
    /// It may have changed keys that it does not name (a script).
    pub undeclared: bool,
}

/// A command that a node may send elsewhere: it said that it did not carry it out.
#[derive(Debug)]
pub struct Again {
    /// The command.
    pub request: Bytes,
    /// The slot of its keys, if it has keys.
    pub slot: Option<u16>,
    /// As what it is sent.
    pub identity: Identity,
    /// Whom it was sent to last.
    pub node: Arc<Node>,
    /// How often it was redirected so far.
    pub redirections: u32,
    /// It may block: this is how it is sent with what is left of its time.
    pub blocking: Option<Blocking>,
    /// It was sent to a replica: if that fails, the owner of its keys is asked.
    pub to_replica: bool,
    /// A read whose keys nothing covered when it was sent: if its reply is lost the cache may answer, and when it comes what the cache
    /// has is older.
    pub uncovered: bool,
}

impl Receipt {
    /// For a read.
    pub fn of_read(session: &Rc<Session>, upstream: u16, seq: u64) -> Self {
        Self { place: Place::Slot(seq), ..Self::of_nobody(session, upstream) }
    }

    /// For a write.
    pub fn of_write(session: &Rc<Session>, place: Place, write: Write) -> Self {
        let upstream = write.node.upstream;
        Self { place, write: Some(Box::new(write)), ..Self::of_nobody(session, upstream) }
    }

    /// For a command that no client sent.
    pub fn of_nobody(session: &Rc<Session>, upstream: u16) -> Self {
        let (session, tenure) = (Rc::clone(session), Tenure::Shared);
        Self { session, place: Place::Nowhere, write: None, again: None, tenure, upstream }
    }

    /// For a command on a connection leased to the session.
    pub fn of_lease(session: &Rc<Session>, upstream: u16, tenure: Tenure) -> Self {
        Self { tenure, ..Self::of_nobody(session, upstream) }
    }

    /// Whether the command can wait in its place without a change of order: nothing was sent behind a write, no write behind
    /// a read. If so, the session sends nothing more until it has its answer.
    pub fn holds_the_line(&self) -> bool {
        let Some(seq) = self.place.seq() else { return false };
        let mut state = self.session.state.borrow_mut();
        let last = if self.write.is_some() { state.last_sent } else { state.last_write_sent };
        let holds = last <= seq;
        state.drain_lanes |= holds;
        holds
    }

    /// The same receipt for the same command sent elsewhere.
    fn handed_over(&mut self) -> Self {
        Self {
            session: Rc::clone(&self.session),
            place: std::mem::replace(&mut self.place, Place::Nowhere),
            write: self.write.take(),
            again: self.again.take(),
            tenure: self.tenure,
            upstream: self.upstream,
        }
    }

    /// Where it was sent.
    fn origin(&self) -> Option<&Origin> {
        self.session.worker.app.origin(self.upstream)
    }

    /// Whatever was in the cache before the write is void, before anybody hears of its fate.
    fn settle(&self) {
        let Some(write) = &self.write else { return };
        let near = &self.session.worker.app.near;
        for fence in &write.fences {
            near.lift(*fence);
        }
        for key in &write.blocked_keys {
            near.invalidate(write.node.upstream, key, Cause::Write);
        }
        if write.wholesale {
            tally(&near.tallies.flushes);
            write.node.coverage.end_wholesale();
            // SWAPDB is told to nobody by the origin.
            tracking::all_changed(&self.session.worker.app);
        }
        write.announce(&self.session.worker.app);
    }

    /// Whether its effect is not known key by key.
    fn opaque(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.opaque())
    }

    fn deliver(&mut self, count: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let opaque = u32::from(self.opaque());
        match &mut self.place {
            Place::Slot(seq) => {
                self.session.lane_done(count, opaque);
                self.session.deliver(*seq, count, |out, _| write(out));
            }
            Place::Part(gathering, index) | Place::Spare(gathering, index) => {
                self.session.lane_done(count, opaque);
                let mut bytes = Vec::new();
                write(&mut bytes);
                gathering.part(&self.session, *index, &bytes);
            }
            Place::Scan(scan) => {
                let scan = *scan;
                self.session.lane_done(count, 0);
                let mut bytes = Vec::new();
                write(&mut bytes);
                self.session.deliver(scan.seq, 1, |out, _| scan.write(&bytes, out));
            }
            Place::Survey(survey, index) => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                survey.answered(&self.session, *index, &bytes);
            }
            Place::Stream(first) => match first.take() {
                Some(seq) => {
                    self.session.lane_done(1, 0);
                    let mut bytes = Vec::new();
                    write(&mut bytes);
                    // More may have come with it.
                    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
                    let rest = bytes.split_off(end);
                    self.session.deliver(seq, 1, |out, _| out.extend_from_slice(&bytes));
                    if bytes.starts_with(b"-") {
                        self.session.end_monitor();
                    }
                    self.session.stream(&rest);
                }
                None => {
                    let mut bytes = Vec::new();
                    write(&mut bytes);
                    self.session.stream(&bytes);
                }
            },
            Place::Waited => {
                let mut reply = Vec::new();
                write(&mut reply);
                self.session.waited(&reply);
            }
            Place::Audience(seq, kind) => {
                let mut reply = Vec::new();
                write(&mut reply);
                self.session.lane_done(count, 0);
                let hub = &self.session.worker.app.hub;
                self.session.deliver(*seq, count, |out, _| hub.set_right(*kind, &reply, out));
            }
            Place::Nowhere => {}
        }
    }

    /// No reply will come. It may have been carried out.
    fn give_up(&mut self, count: u32, error: &str) {
        self.settle();
        if let Some(write) = self.write.as_ref() {
            if write.undeclared {
                self.flush(write);
            }
            write.announce_later(&self.session.worker.app);
        }
        if self.tenure == Tenure::Last {
            self.session.lease_done(b"-");
        }
        match &self.place {
            Place::Stream(None) => self.session.lose_monitor(error),
            Place::Spare(gathering, index) => {
                self.session.lane_done(count, u32::from(self.opaque()));
                gathering.absent(&self.session, *index);
            }
            // One error is enough for an endless stream.
            Place::Stream(Some(_)) => self.deliver(1, |out| encode::error(out, error)),
            _ => self.deliver(count, |out| (0..count).for_each(|_| encode::error(out, error))),
        }
    }

    /// The reply is held until a barrier has come back behind the pushes that the write caused, which are on their way
    /// on another connection. Whether it is.
    fn hold(&self, write: &Write, bytes: &[u8], count: u32) -> bool {
        let Place::Slot(seq) = self.place else { return false };
        if write.node.mode() != Some(Mode::Tracking) {
            return false;
        }
        let waiter = Waiter { worker: self.session.worker.number, session: self.session.id, seq, tracks: false };
        let held = write.node.tracked.submit(coherence::barrier(waiter, bytes)).is_ok();
        if held {
            self.session.lane_done(count, 0);
        }
        held
    }

    /// It may have changed keys that it does not name, and nothing tells when the pushes for them are through: nothing
    /// that was read before counts any more.
    fn flush(&self, write: &Write) {
        self.session.worker.app.near.flush(&write.node.coverage);
    }
}

/// What a client gets whose transaction met a slot on its way to another node: nothing was done.
const MOVING: &str = "TRYAGAIN the slot of these keys is moving to another node";

impl Write {
    /// Nothing to be done, for what was sent to `node`.
    pub fn at(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            changed: Vec::new(),
            fences: SmallVec::new(),
            blocked_keys: Vec::new(),
            wholesale: false,
            undeclared: false,
        }
    }

    /// Whether its effect is not known key by key.
    pub fn opaque(&self) -> bool {
        self.undeclared || self.wholesale
    }

    /// Tells the upstream's invalidation channel, if it has one, what may have changed.
    fn announce(&self, app: &App) {
        let Some(channel) = app.channels.get(self.node.upstream) else { return };
        if self.opaque() {
            return channel.tell_everything(app);
        }
        channel.tell(app, &self.changed);
        channel.tell(app, &self.blocked_keys);
    }

    /// The same for a write whose fate is not known: it may be carried out when everybody has been told, so they are told once more
    /// when it has had the time that a command may take.
    fn announce_later(&self, app: &Arc<App>) {
        if app.channels.get(self.node.upstream).is_none() || self.opaque() || self.changed.is_empty() {
            return;
        }
        let (app, late) = (Arc::clone(app), Self { changed: self.changed.clone(), ..Self::at(&self.node) });
        tokio::task::spawn_local(async move {
            tokio::time::sleep(late.node.endpoint.command_timeout).await;
            for key in &late.changed {
                app.near.invalidate(late.node.upstream, key, Cause::Write);
            }
            late.announce(&app);
        });
    }
}

impl Again {
    /// A command that has not been redirected yet.
    pub fn new(request: Bytes, slot: Option<u16>, identity: Identity, node: &Arc<Node>) -> Self {
        let node = Arc::clone(node);
        Self { request, slot, identity, node, redirections: 0, blocking: None, to_replica: false, uncovered: false }
    }
}

impl Receiver for Receipt {
    fn replies(&mut self, bytes: &[u8], count: u32, latency: Micros) {
        let worker = Rc::clone(&self.session.worker);
        worker.counters.upstream(count, latency.0);
        if let Some(again) = self.again.as_mut()
            && let Some(redirect) = Redirect::of(bytes)
        {
            if again.to_replica && redirect::unfit(&redirect) {
                again.to_replica = false;
                return redirect::again_by_map(&worker, self.handed_over());
            }
            if redirect::leads_on(&redirect) {
                return redirect::follow(&worker, self.handed_over(), &redirect, bytes);
            }
        }
        if let Some(again) = self.again.as_ref().filter(|again| again.uncovered && !bytes.starts_with(b"-")) {
            serve::outdate(&worker, self.upstream, &again.request);
        }
        self.settle();
        if let Some(write) = self.write.as_ref().filter(|_| !bytes.starts_with(b"-")) {
            write.node.breaker.note_write();
        }
        match self.tenure {
            Tenure::Shared | Tenure::Leased => {}
            Tenure::First if bytes.starts_with(b"-") => self.session.multi_refused(bytes),
            Tenure::First => {}
            Tenure::Last => self.session.lease_done(bytes),
        }
        if self.tenure != Tenure::Shared
            && let Some(Redirect::Moved { .. } | Redirect::Ask { .. }) = Redirect::of(bytes)
        {
            if let Some(origin) = self.origin() {
                origin.doubt.notify_one();
            }
            return self.deliver(1, |out| encode::error(out, MOVING));
        }
        if let Some(write) = &self.write
            && write.undeclared
        {
            if self.hold(write, bytes, count) {
                return;
            }
            self.flush(write);
        }
        self.deliver(count, |out| out.extend_from_slice(bytes));
    }

    fn lost(&mut self, count: u32, error: &str) {
        let worker = Rc::clone(&self.session.worker);
        worker.counters.upstream_failures.add(u64::from(count));
        let origin = worker.app.origin(self.upstream);
        if let Some(origin) = origin {
            origin.doubt.notify_one();
        }
        let may_retry = || origin.is_some_and(|origin| origin.budget.take(origin.answered(), Micros::now()));
        if let Some(again) = self.again.as_mut().filter(|again| again.to_replica)
            && may_retry()
        {
            // A read, and nobody has answered it.
            again.to_replica = false;
            return redirect::again_by_map(&worker, self.handed_over());
        }
        if let (Some(again), None, Place::Slot(seq)) = (&self.again, &self.write, &self.place)
            && self.tenure == Tenure::Shared
            && let Some(answer) = serve::rescue(&self.session, self.upstream, *seq, &again.request)
        {
            return match answer {
                Ok(reply) => self.deliver(count, |out| out.extend_from_slice(&reply)),
                Err(error) => self.give_up(count, &error),
            };
        }
        self.give_up(count, error);
    }

    fn closed(&mut self, count: u32) {
        self.give_up(count, "ERR this command was given up when the client's connection to the upstream was closed");
    }

    fn takes(&self, (session, seq): (u64, u64)) -> bool {
        let same = matches!(self.place, Place::Slot(own) if own == seq);
        let plain = self.write.is_none() && self.again.is_none() && self.tenure == Tenure::Shared;
        plain && self.session.id == session && same
    }
}
