//! Finding the keys of a command by its row's key specs.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/key-specs/>.

/// Where to find keys: `begin_search` and `find_keys` of Redis's key specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What the command does with these keys.
    pub access: Access,
}

/// What a command does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it (RO).
    Read,
    /// May change it (RW, OW, RM, or not said).
    Write,
}
