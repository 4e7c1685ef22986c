//! What happened: writes in the order of each unit, and reads. Times are nanoseconds since the start of the run.

use std::fmt;
use std::time::Duration;

/// When another writer's change must be seen at the latest. Pushes take less than a millisecond; the rest is for
/// a machine where every process waits for a core.
pub const FOREIGN_BOUND: Duration = Duration::from_secs(1);

/// What the clocks of two processes may differ by in judging an expiry: Redis counts in milliseconds.
pub const EXPIRY_SLACK: Duration = Duration::from_millis(25);

/// The most keys that a unit has.
pub const MEMBERS: usize = 3;

/// Which way a command took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Through the proxy of this number.
    Proxy(usize),
    /// Straight to the origin.
    Origin,
    /// Straight to the node of a cluster that holds itself for the owner. In a failover that may be two for a moment: such a
    /// read shows what is foreign to it.
    Beside,
    /// A write through a proxy that cannot know which keys it meets: foreign to that proxy too.
    Unseen,
}

/// The state of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The version that it holds; 0 when it does not exist.
    pub version: u64,
    /// The first moment at which it may have expired.
    pub earliest_expiry: u64,
    /// The moment at which it surely has.
    pub latest_expiry: u64,
}

/// One write and the state of the whole unit after it.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Before it was sent.
    pub start: u64,
    /// After its answer was read.
    pub ack: u64,
    /// Its way.
    pub via: Via,
    /// Which keys it wrote.
    pub keys: [bool; MEMBERS],
    /// The state of each key.
    pub cells: [Cell; MEMBERS],
}

/// The keys of a write of all there are.
pub const ALL: [bool; MEMBERS] = [true; MEMBERS];

/// What a read showed of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The read did not ask for it.
    NotAsked,
    /// It is not there.
    Missing,
    /// It is there, with some value.
    Present,
    /// It has the value of this version.
    Version(u64),
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The unit's number.
    pub unit: u32,
    /// Its way.
    pub via: Via,
    /// Before it was sent.
    pub start: u64,
    /// After its answer was read.
    pub end: u64,
    /// The start of the last write that the same connection had sent before it; 0 when that does not matter.
    pub after: u64,
    /// What it showed of each key.
    pub seen: [Seen; MEMBERS],
    /// The command's name, for the message.
    pub form: &'static str,
}

/// A promise of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Same connection: own writes are seen.
    C1,
    /// Same proxy: acknowledged writes are seen.
    C2,
    /// Other writers: changes are seen when the push has arrived.
    C3,
    /// Nothing beyond its expiry.
    C4,
    /// Deletes do not come back.
    C5,
    /// One instant for several keys.
    C7,
    /// The origin's own bytes: no value that nobody wrote here, none lost.
    C8,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What was read and what should have been.
    pub detail: String,
}

// === impl Cell ===

impl Cell {
    /// No such key.
    pub const MISSING: Self = Self { version: 0, earliest_expiry: u64::MAX, latest_expiry: u64::MAX };

    /// A value without an expiry.
    pub fn holding(version: u64) -> Self {
        Self { version, ..Self::MISSING }
    }

    /// The same value with an expiry that lies between these moments.
    pub fn expiring(self, earliest_expiry: u64, latest_expiry: u64) -> Self {
        Self { earliest_expiry, latest_expiry, ..self }
    }

    /// Whether it has an expiry.
    pub fn expires(&self) -> bool {
        self.latest_expiry != u64::MAX
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.detail)
    }
}
