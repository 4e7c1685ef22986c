//! A transaction of a session: from WATCH or MULTI to what ends it.

use bytes::Bytes;

use super::lease::Lease;
use crate::cache::NearCache;
use crate::cache::near::Cause;

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    /// Its connection; `None` in a cluster until the first key tells which node it is for, and when it was lost.
    pub lease: Option<Lease>,
    /// The slot of its keys, in a cluster.
    pub slot: Option<u16>,
    /// How far it is.
    pub phase: Phase,
    /// A command was refused here: the transaction must not be carried out.
    pub aborted: bool,
    /// Why it cannot be carried out, when it is [`Phase::Lost`] or [`Phase::Void`].
    pub why: String,
    /// Commands that were answered QUEUED and wait for a connection to be sent on.
    pub waiting: Waiting,
    /// A message is among them: it is heard by those who listen at the home upstream.
    pub publishes: bool,
    /// What its commands may change.
    pub changes: Changes,
    /// Replies awaited to EXEC, DISCARD or UNWATCH on the connection: its own and those of transactions before it.
    ends_owed: u32,
    /// One of them was refused: the connection is of no use to others.
    spoiled: bool,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Behind WATCH.
    Watching,
    /// Behind MULTI: commands are queued.
    Queueing,
    /// EXEC, DISCARD or UNWATCH is on its way. The commands behind it wait for its reply, but for another transaction:
    /// that one follows on the same connection.
    Ending,
    /// Behind WATCH, but nothing is watched: the connection was lost or could not be had. Commands are served as usual, a
    /// transaction must fail.
    Lost(Told),
    /// Behind MULTI, but it cannot be carried out: nothing is, until EXEC or DISCARD.
    Void,
}

/// Whether the client knows already that nothing is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its WATCH got an error.
    Yes,
    /// Its WATCH was answered OK.
    No,
}

/// Commands that wait for a connection.
#[derive(Debug, Default)]
pub struct Waiting {
    commands: Vec<Bytes>,
    bytes: usize,
}

/// What the queued commands may change when they are carried out.
#[derive(Debug, Default)]
pub struct Changes {
    /// These keys.
    pub keys: Vec<Box<[u8]>>,
    /// (And these are read, by a client that tracks what it reads.)
    pub read: Vec<Box<[u8]>>,
    /// Keys that they do not name.
    pub undeclared: bool,
    /// Every key.
    pub wholesale: bool,
}

/// Commands, and bytes of them, that may wait for the first key of a transaction in a cluster.
const MOST_WAITING: usize = 1024;
const MOST_WAITING_BYTES: usize = 1 << 20;
/// Keys of a transaction that are remembered one by one. One that changes more is taken to change every key: the cache
/// is voided, which costs less than so many fences.
const MOST_KEYS: usize = 1 << 16;

// === impl Transaction ===

impl Transaction {
    /// A transaction that begins.
    pub fn new(lease: Option<Lease>, slot: Option<u16>, phase: Phase) -> Self {
        Self {
            lease,
            slot,
            phase,
            aborted: false,
            why: String::new(),
            waiting: Waiting::default(),
            publishes: false,
            changes: Changes::default(),
            ends_owed: 0,
            spoiled: false,
        }
    }

    /// One that follows this one, which is ending, on the same connection.
    pub fn next(&mut self, phase: Phase) -> Self {
        Self { ends_owed: self.ends_owed, spoiled: self.spoiled, ..Self::new(self.lease.take(), self.slot, phase) }
    }

    /// One that cannot be carried out.
    pub fn without(phase: Phase, error: &str) -> Self {
        Self { why: bare(error).to_owned(), ..Self::new(None, None, phase) }
    }

    /// The upstream that it belongs to, if that is known.
    pub fn upstream(&self) -> Option<u16> {
        self.lease.as_ref().map(|lease| lease.node.upstream)
    }

    /// Whether nothing is watched or queued any more, so that commands are served as usual.
    pub fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost(_))
    }

    /// Whether a MULTI has failed behind which nothing is carried out.
    pub fn is_void(&self) -> bool {
        self.phase == Phase::Void
    }

    /// Whether commands are queued instead of being carried out.
    pub fn queues(&self) -> bool {
        self.phase == Phase::Queueing
    }

    /// The error of its connection, if that was lost since it was last asked. From then on it cannot be carried out.
    pub fn lose(&mut self, error: impl FnOnce(&Lease) -> Option<String>) -> Option<String> {
        let phase = match self.phase {
            Phase::Watching => Phase::Lost(Told::No),
            Phase::Queueing => Phase::Void,
            Phase::Ending | Phase::Lost(_) | Phase::Void => return None,
        };
        let error = error(self.lease.as_ref()?)?;
        *self = Self::without(phase, &error);
        Some(error)
    }

    /// What ends it is on its way.
    pub fn note_end(&mut self) {
        self.phase = Phase::Ending;
        self.ends_owed += 1;
    }

    /// Whether EXEC, DISCARD or UNWATCH is on its way.
    pub(super) fn owes_an_end(&self) -> bool {
        self.ends_owed > 0
    }

    /// EXEC, DISCARD or UNWATCH was answered, this one's or one's before it. If it was not refused, nothing of it is left
    /// at the server.
    pub(super) fn note_answer(&mut self, reply: &[u8]) {
        self.ends_owed = self.ends_owed.saturating_sub(1);
        self.spoiled |= reply.starts_with(b"-") && !reply.starts_with(b"-EXECABORT");
        if let (Phase::Ending, 0, false, Some(lease)) = (self.phase, self.ends_owed, self.spoiled, &self.lease) {
            lease.mark_clean();
        }
    }

    /// MULTI got this error. What was sent behind it and has arrived is carried out at once: its keys are void, and the
    /// connection is closed, so that no more is.
    pub(super) fn refused_with(&mut self, reply: &[u8], near: &NearCache) {
        let error = String::from_utf8_lossy(reply.strip_prefix(b"-").unwrap_or(reply)).trim_end().to_owned();
        let Self { lease, changes, .. } = std::mem::replace(self, Self::without(Phase::Void, &error));
        let Some(lease) = lease else { return };
        for key in &changes.keys {
            near.invalidate(lease.node.upstream, key, Cause::Write);
        }
        if changes.undeclared || changes.wholesale {
            near.flush(&lease.node.coverage);
        }
    }
}

/// An error without the code that says nothing.
fn bare(error: &str) -> &str {
    error.strip_prefix("ERR ").unwrap_or(error)
}

// === impl Waiting ===

impl Waiting {
    /// One more; `false` when there are too many.
    pub fn push(&mut self, command: &[u8]) -> bool {
        let fits = self.commands.len() < MOST_WAITING && self.bytes + command.len() <= MOST_WAITING_BYTES;
        if fits {
            self.bytes += command.len();
            self.commands.push(Bytes::copy_from_slice(command));
        }
        fits
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// All of them.
    pub fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(self).commands
    }
}

// === impl Changes ===

impl Changes {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.keys.is_empty() || self.undeclared || self.wholesale
    }

    /// A key that may be changed.
    pub fn add(&mut self, key: &[u8]) {
        if self.wholesale {
            return;
        }
        if self.keys.len() == MOST_KEYS {
            return self.all();
        }
        self.keys.push(key.into());
    }

    /// Keys that are read by a client that tracks what it reads; `false` when there are too many.
    pub fn add_read(&mut self, mut keys: Vec<Box<[u8]>>) -> bool {
        self.read.append(&mut keys);
        self.read.len() <= MOST_KEYS
    }

    /// Every key may be changed.
    pub fn all(&mut self) {
        self.wholesale = true;
        self.keys = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_of_very_many_keys_is_remembered_as_one_of_all_keys() {
        let mut changes = Changes::default();
        for number in 0..MOST_KEYS {
            changes.add(format!("key:{number}").as_bytes());
        }
        assert!(!changes.wholesale);
        changes.add(b"one more");
        assert!(changes.wholesale && changes.keys.capacity() == 0);
        changes.add(b"and another");
        assert!(changes.any() && changes.keys.is_empty());
    }

    #[test]
    fn what_waits_for_the_first_key_is_bounded_in_number_and_bytes() {
        let mut waiting = Waiting::default();
        assert!(waiting.push(&vec![b'x'; MOST_WAITING_BYTES - 1]) && waiting.push(b"y") && !waiting.push(b"z"));
        assert_eq!(waiting.take().len(), 2);
        assert!(waiting.is_empty());
        assert!((0..MOST_WAITING).all(|_| waiting.push(b"PING")) && !waiting.push(b"PING"));
    }
}
