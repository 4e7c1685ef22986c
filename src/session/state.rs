//! What changes during a session.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::receiver::Receipt;
use super::replies::Replies;
use crate::clock::Micros;
use crate::resp::Proto;
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
    /// The lane for the present identity, once one was needed.
    pub lane: Option<Rc<Lane<Receipt>>>,
    /// The slot into which the last forwarded command's reply goes.
    pub lane_seq: u64,
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
    /// A MULTI was refused and its EXEC has not come yet: writes are refused too.
    pub in_refused_transaction: bool,
    /// When the present batch of commands was read.
    pub now: Micros,
    /// How the session ends, if it does.
    pub ending: Ending,
    pub(super) stalled: bool,
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
            lane: None,
            lane_seq: u64::MAX,
            lane_owed: 0,
            reads_owed: 0,
            opaque_owed: 0,
            drain_first: false,
            busy: false,
            in_refused_transaction: false,
            now: Micros(0),
            ending: Ending::Open,
            stalled: false,
            took: false,
            unread_for: 0,
            output_allowance: ALLOWANCE,
            starved: false,
            waker: None,
        }
    }

    /// As what the session's commands are forwarded.
    pub fn identity(&self, own: Option<&Arc<Credentials>>) -> Identity {
        Identity { database: self.database, proto: self.proto, credentials: self.credentials.as_ref().or(own).cloned() }
    }

    /// The database, protocol version or user is about to change.
    pub fn change_identity(&mut self) {
        self.lane = None;
        self.lane_seq = u64::MAX;
        self.drain_first = self.lane_owed > 0 || self.reads_owed > 0;
    }

    /// Forgets what HELLO, AUTH, SELECT and CLIENT have set.
    pub fn reset(&mut self) {
        self.change_identity();
        self.proto = Proto::Resp2;
        self.database = self.home_database;
        self.in_refused_transaction = false;
        self.credentials = None;
        self.set_reply_mode(ReplyMode::On);
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
