//! The command table: one row per command and subcommand, every fact about it in its row.
//!
//! Redis's facts come from its own `COMMAND` and `COMMAND DOCS` replies ([`data`], committed with the script that
//! makes them); the proxy's own columns are in [`columns`]; [`spec`] joins both into a row and [`table`] holds them all.
//! An upstream's own `COMMAND` reply adds what the table lacks and is believed over it ([`upstream`]). [`keys`] finds
//! the keys of a parsed command, [`mod@effect`] says what it may do to them and how it is served, [`policy`] how it is
//! spread over several nodes, and [`docs`] answers `COMMAND` itself.

pub mod columns;
pub mod data;
pub mod docs;
pub mod effect;
pub mod facts;
pub mod keys;
pub mod names;
pub mod pattern;
pub mod policy;
pub mod quoted;
pub mod refusal;
pub mod spec;
pub mod table;
pub mod upstream;

#[cfg(test)]
mod testing;

pub use columns::{Cacheable, Form, Lease, Local, Missing, Nulls, Options, Shape, Timeout, Way};
pub use effect::{Effect, Reach, block_time, cacheable, effect, way, with_block_time};
pub use keys::{Access, Coverage, KeySpec, for_each_key, for_each_shard_channel};
pub use policy::{RequestPolicy, ResponsePolicy};
pub use quoted::Quoted;
pub use refusal::CommandError;
pub use spec::{Flags, Origin, Spec};
pub use table::Table;
