//! The proxy's own columns of the command table: what Redis cannot say, because it concerns a proxy.
//!
//! `rows` is the one list of them, by full name. A command that it does not name is forwarded, not cached, and has the
//! effect that its flags tell.

mod rows;

use super::effect::Effect;
use super::policy::{RequestPolicy, ResponsePolicy};

/// The columns of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// How it is served.
    pub way: Way,
    /// In which form its reply may be kept.
    pub cacheable: Option<Cacheable>,
    /// What it does to keys, where its flags do not tell.
    pub effect: Option<Effect>,
    /// Which option grammar decides its effect and its keys.
    pub options: Options,
    /// Which nodes it goes to, where Redis's tips do not tell.
    pub request: Option<RequestPolicy>,
    /// How their replies become one, where Redis's tips do not tell.
    pub response: Option<ResponsePolicy>,
    /// For everybody, although Redis counts it as administration.
    pub public: bool,
}

/// The columns of the command or subcommand of that full name, in lower case.
pub fn row(name: &str) -> Option<&'static Row> {
    let index = rows::ROWS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    Some(&rows::ROWS[index].1)
}

/// A number for the command of that full name, the same in every table; `u16::MAX` for one without columns.
pub fn number(name: &str) -> u16 {
    let index = rows::ROWS.binary_search_by_key(&name, |(known, _)| known);
    index.ok().and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX)
}

/// Every name that has columns.
pub fn names() -> impl Iterator<Item = &'static str> {
    rows::ROWS.iter().map(|(name, _)| *name)
}

/// Commands whose effect, keys or reply depend on their options, or on what Larder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// The row says it all.
    Plain,
    /// ZRANGE and its kin: WITHSCORES changes the shape of the reply.
    Scores,
    /// SET: reads only with GET.
    Set,
    /// BITFIELD: writes unless every operation is a GET.
    Bitfield,
    /// SORT and SORT_RO: STORE, BY and GET.
    Sort,
    /// GEORADIUS and GEORADIUSBYMEMBER: STORE and STOREDIST.
    Georadius,
    /// MIGRATE: KEYS.
    Migrate,
    /// XREAD and XREADGROUP: BLOCK and STREAMS.
    Streams,
    /// PUBSUB NUMSUB and SHARDNUMSUB: the upstream counts all clients here as one subscriber.
    Audience,
}

/// How a command is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sent to the upstream on a shared connection, its reply returned unchanged.
    Forward,
    /// Answered by Larder itself.
    Local(Local),
    /// Needs an upstream connection of its own for a while.
    Leased(Lease),
    /// Never served: it would change a shared connection for everybody, or take it out of the protocol.
    Refused,
}

/// What an upstream connection is leased for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// MULTI, WATCH and what ends them.
    Transaction,
    /// A command that may block, for at most the time that stands there.
    Block(Timeout),
    /// WAIT: concerns the writes that the same connection sent before.
    Wait,
    /// MONITOR: a stream without an end.
    Monitor,
}

/// Where a blocking command says how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Seconds, in the first argument.
    First,
    /// Seconds, in the last argument.
    Last,
    /// Milliseconds, behind the option BLOCK.
    Option,
    /// Not known: it may block for ever.
    Unknown,
}

/// Which of Larder's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Local {
    Auth,
    Client,
    Cluster,
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
    Subscribe,
    Unsubscribe,
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
    /// What a key gets that does not exist.
    pub missing: Missing,
}

/// The reply to a read of a key that does not exist, as Redis's command reference has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It depends on the options.
    Unknown,
    /// Null.
    Null,
    /// 0.
    Zero,
    /// -2.
    MinusTwo,
    /// An empty bulk string.
    Text,
    /// The word `none`.
    None,
    /// An empty array.
    Array,
    /// An empty map.
    Map,
    /// An empty set.
    Set,
    /// A null for each argument behind the key.
    NullEach,
    /// A null array for each of them.
    NullArrayEach,
    /// 0 for each of them.
    ZeroEach,
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
