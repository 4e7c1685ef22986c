//! What changes during a session.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use super::lease::Lease;
use super::receiver::Receipt;
use super::replies::Replies;
use super::subscriptions::Subscriptions;
use super::transaction::Transaction;
use crate::clock::Micros;
use crate::inbox::Leaving;
use crate::origin::Origin;
use crate::resp::Proto;
use crate::serve::wait::Progress;
use crate::traces::trace::Trace;
use crate::tracking::Tracking;
use crate::upstream::lane::Lane;
use crate::upstream::{Credentials, Identity};

/// What changes during a session.
#[derive(Debug)]
pub struct State {
    /// Output and awaited replies.
    pub replies: Replies,
    /// Protocol version that the client speaks now.
    pub proto: Proto,
    /// Selected database.
    pub database: u32,
    /// Database that the session started in, and returns to with RESET.
    home_database: u32,
    /// The client's own credentials, where they are not those of the configuration.
    pub credentials: Option<Arc<Credentials>>,
    /// What becomes of replies (CLIENT REPLY).
    pub reply_mode: ReplyMode,
    /// The lanes for the present identity, by the number of their node, once they were needed.
    pub lanes: SmallVec<[(u32, Rc<Lane<Receipt>>); 1]>,
    /// The slot into which the last forwarded command's reply goes, and the node that it was sent to.
    pub lane_seq: (u32, u64),
    /// The places of the last forwarded command and of the last forwarded write that have one of their own.
    pub last_sent: u64,
    /// See `last_sent`.
    pub last_write_sent: u64,
    /// A command that was sent has to wait: those behind it are not sent before it has its answer.
    pub drain_lanes: bool,
    /// The number of the map by which the last command was sent, for each upstream; 0 where none was.
    pub map_versions: SmallVec<[u64; 2]>,
    /// Replies awaited on lanes.
    pub lane_owed: u32,
    /// Reads awaited on the tracked connection.
    pub reads_owed: u32,
    /// Writes awaited that may change keys they do not name: until they are done the cache is not asked.
    pub opaque_owed: u32,
    /// The identity changed while replies were awaited: the next forwarded command waits for them.
    pub drain_first: bool,
    /// An answer is being worked out (AUTH); the commands behind it wait.
    pub busy: bool,
    /// What becomes of replies that are not fresh (LARDER STALENESS).
    pub staleness: Staleness,
    /// CLIENT TRACKING, while it is on.
    pub tracking: Option<Box<Tracking>>,
    /// A transaction under way.
    pub transaction: Option<Box<Transaction>>,
    /// A command that may block, and whose reply the commands behind it wait for.
    pub blocked: Option<Lease>,
    /// How far a WAIT over several primaries has come.
    pub waiting: Option<Box<Progress>>,
    /// MONITOR.
    pub monitor: Option<Lease>,
    /// Of which upstream, and since when, a command has waited for a connection to lease.
    pub wants_lease: Option<(u16, Micros)>,
    /// What it is subscribed to, or asks for; most clients are not subscribers.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// Bytes of pushes that the client may not have taken yet: never less than there are.
    pub(super) pushed: usize,
    /// When the present batch of commands was read.
    pub now: Micros,
    /// The command of which a trace is made.
    pub(super) trace: Option<Box<Trace>>,
    /// How the session ends, if it does.
    pub ending: Ending,
    /// How much the process wants it to end.
    pub leaving: Leaving,
    /// It ends because the process wants it to.
    pub(super) left: bool,
    /// The server was asked to end the command that blocks.
    pub(super) unblocked: bool,
    pub(super) stalled: bool,
    /// It is blocked and has sent so much that no more is read.
    pub(super) sated: bool,
    /// The client has taken something since the last tick.
    pub(super) took: bool,
    /// For how many ticks it has taken nothing while more than limits.max_output waited for it.
    pub(super) unread_for: u32,
    /// How much output may be unsent before commands wait; grows while the client takes nothing.
    pub(super) output_allowance: usize,
    pub(super) starved: bool,
    pub(super) waker: Option<Waker>,
}

/// What becomes of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// They are sent.
    On,
    /// They are not.
    Off,
    /// That of the next command is not.
    SkipNext,
    /// That of the command being served is not.
    Skip,
}

/// What becomes of replies that are not fresh, where the ladder or the route would serve them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// They are sent.
    Allowed,
    /// They are sent with their age, to a client that speaks RESP3.
    Stated,
    /// They are not sent.
    Refused,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Not yet.
    Open,
    /// When every reply has been sent; nothing more is read.
    AfterReplies,
    /// At once.
    Now,
    /// At once: more replies than limits.max_output were left unread.
    Overfull,
}

/// Output beyond which a client's further commands wait until it has taken some.
pub(super) const ALLOWANCE: usize = 256 << 10;

/// No slot that a further reply could share.
pub const NO_SLOT: (u32, u64) = (u32::MAX, u64::MAX);

// === impl State ===

impl State {
    pub(super) fn new(database: u32) -> Self {
        Self {
            replies: Replies::default(),
            proto: Proto::Resp2,
            database,
            home_database: database,
            credentials: None,
            reply_mode: ReplyMode::On,
            lanes: SmallVec::new(),
            lane_seq: NO_SLOT,
            last_sent: 0,
            last_write_sent: 0,
            drain_lanes: false,
            map_versions: SmallVec::new(),
            lane_owed: 0,
            reads_owed: 0,
            opaque_owed: 0,
            drain_first: false,
            busy: false,
            staleness: Staleness::Allowed,
            tracking: None,
            transaction: None,
            blocked: None,
            waiting: None,
            monitor: None,
            wants_lease: None,
            subscriptions: None,
            pushed: 0,
            now: Micros(0),
            trace: None,
            ending: Ending::Open,
            leaving: Leaving::Stays,
            left: false,
            unblocked: false,
            stalled: false,
            sated: false,
            took: false,
            unread_for: 0,
            output_allowance: ALLOWANCE,
            starved: false,
            waker: None,
        }
    }

    /// As what the session's commands are forwarded to an upstream.
    pub fn identity(&self, origin: &Origin) -> Identity {
        let login = self.credentials.as_ref().filter(|_| origin.takes_logins);
        let credentials = login.or(origin.model.credentials.as_ref()).cloned();
        Identity { database: origin.databases.of(self.database), proto: self.proto, credentials }
    }

    /// The number of the map of an upstream by which the last command was sent there.
    #[inline]
    pub fn map_version(&mut self, upstream: u16) -> &mut u64 {
        let at = usize::from(upstream);
        if at >= self.map_versions.len() {
            self.map_versions.resize(at + 1, 0);
        }
        &mut self.map_versions[at]
    }

    /// Whether a trace waits for its reply. (Of what is confirmed by pushes, as SUBSCRIBE is, no trace is made.)
    pub(super) fn awaits_traced(&self) -> bool {
        let waits_for = self.trace.as_ref().and_then(|trace| trace.waits_for);
        waits_for.is_some_and(|seq| self.replies.proto(seq).is_some())
    }

    /// It is known where the command belongs.
    #[inline]
    pub fn note_routed(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.routed_at = Some(Micros::now());
        }
    }

    /// The database, protocol version or user is about to change.
    pub fn change_identity(&mut self) {
        self.lanes = SmallVec::new();
        self.lane_seq = NO_SLOT;
        self.drain_first = self.lane_owed > 0 || self.reads_owed > 0;
    }

    /// Forgets what HELLO, AUTH, SELECT and CLIENT have set.
    pub fn reset(&mut self) {
        self.change_identity();
        self.proto = Proto::Resp2;
        self.database = self.home_database;
        self.free_leases();
        self.credentials = None;
        self.staleness = Staleness::Allowed;
        self.set_reply_mode(ReplyMode::On);
    }

    /// Whether the client wants to hear of changes to what the present command reads.
    #[inline]
    pub fn tracks(&self) -> bool {
        self.tracking.as_ref().is_some_and(|tracking| tracking.tracks())
    }

    /// Ends everything that holds a connection of its own.
    fn free_leases(&mut self) {
        self.transaction = None;
        self.blocked = None;
        self.waiting = None;
        self.monitor = None;
    }

    /// The same for a session that ends. But EXEC, once sent, is carried out: its connection is freed by its reply.
    pub(super) fn leave_leases(&mut self) {
        let ending = self.transaction.take_if(|transaction| transaction.owes_an_end());
        self.free_leases();
        self.transaction = ending;
    }

    /// Switches replies on or off from the next command on.
    pub fn set_reply_mode(&mut self, mode: ReplyMode) {
        self.reply_mode = mode;
        self.replies.mute(mode == ReplyMode::Off || mode == ReplyMode::Skip);
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ends the session, at the latest so.
    pub fn end(&mut self, ending: Ending) {
        self.ending = self.ending.max(ending);
        self.wake();
    }
}
