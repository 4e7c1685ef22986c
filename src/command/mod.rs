//! The command table: one row per command and subcommand, every fact about it in its row.
//!
//! Redis's facts come from its own `COMMAND` and `COMMAND DOCS` replies ([`data`], committed with the script that
//! makes them); the proxy's own columns are in [`columns`]; [`table`] joins both into rows. An upstream's own
//! `COMMAND` reply adds what the table lacks and is believed over it. [`keys`] finds the keys of a parsed command,
//! [`effect`] says what it may do to them.

pub mod columns;
pub mod data;
pub mod docs;
pub mod effect;
pub mod keys;
pub mod table;

use std::sync::Arc;

pub use columns::{Cacheable, Local, Nulls, Shape, Way};
pub use effect::Effect;
pub use keys::{Access, KeySpec};
pub use table::Table;

/// A row of the table.
#[derive(Debug)]
pub struct Spec {
    /// Lower case; a subcommand carries its container: `config|get`.
    pub name: Box<str>,
    /// As Redis counts: the name included, negative when it is a minimum.
    pub arity: i32,
    /// What Redis says of it.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Box<[KeySpec]>,
    /// Whether the key specs name every key there is (no `incomplete` spec, no spec of an unknown kind).
    pub keys_complete: bool,
    /// `@read`, `@string`, ... with the at sign.
    pub categories: Box<[Box<str>]>,
    /// `request_policy:all_shards`, `nondeterministic_output`, ...
    pub tips: Box<[Box<str>]>,
    /// Rows of the subcommands of a container (`CONFIG`, `OBJECT`, ...); empty otherwise.
    pub subcommands: Box<[Arc<Spec>]>,
    /// The proxy's own columns: how the command is served.
    pub way: Way,
    /// In which form its reply may be cached, if at all.
    pub cacheable: Option<Cacheable>,
    /// Not known to be harmless and not a read, yet without effect on any key (PUBLISH, TIME, PING, ...).
    pub inert: bool,
}

/// The flags of `COMMAND`, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Reads data only.
    pub const READONLY: Self = Self(1);
    /// May modify data.
    pub const WRITE: Self = Self(1 << 1);
    /// Administration.
    pub const ADMIN: Self = Self(1 << 2);
    /// Publish/subscribe.
    pub const PUBSUB: Self = Self(1 << 3);
    /// May block the connection.
    pub const BLOCKING: Self = Self(1 << 4);
    /// Keys cannot all be found from fixed positions.
    pub const MOVABLEKEYS: Self = Self(1 << 5);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 6);
    /// Not allowed in a script.
    pub const NOSCRIPT: Self = Self(1 << 7);
    /// May run without authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Every other flag's bit lies above this one; `table` gives them out.
    pub const FIRST_FREE: u32 = 9;

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
