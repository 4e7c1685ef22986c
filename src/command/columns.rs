//! The proxy's own columns of the command table.

/// How a command is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sent to the upstream on a shared connection, its reply returned unchanged.
    Forward,
    /// Answered by Larder itself.
    Local(Local),
    /// Needs a connection of its own (MULTI, BLPOP, SUBSCRIBE, MONITOR, ...).
    Pinned,
    /// Never served: it would change a shared connection for everybody, or take it out of the protocol.
    Refused,
}

/// Which of Larder's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Local {
    Auth,
    Client,
    Command,
    ConfigGet,
    Echo,
    Hello,
    Info,
    Larder,
    Ping,
    Quit,
    Reset,
    Select,
}

/// How replies of a command may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cacheable {
    /// Which part of the command the entry stands for.
    pub form: Form,
    /// How its RESP3 reply turns into the RESP2 one.
    pub shape: Shape,
    /// A hash's field may expire unseen (HEXPIRE); such replies are kept only shortly where the upstream has it.
    pub hash_fields: bool,
}

/// Which part of a command a cached reply stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One key in argument 1; the form is the command with every other argument, exact bytes.
    Key,
    /// MGET: a reply per key, shared with GET where the value is a string.
    Mget,
    /// EXISTS: a reply per key.
    Exists,
}

/// How a RESP3 reply is rewritten for a RESP2 client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What a RESP3 null becomes.
    pub nulls: Nulls,
    /// A top-level array of pairs becomes one flat array (ZRANGE ... WITHSCORES).
    pub pairs: bool,
}

/// What a RESP3 null is in RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// `$-1`
    Bulk,
    /// `*-1`
    Array,
}
