//! A row of the command table: the facts that Redis gives, joined with the proxy's own columns.

use std::sync::Arc;

use super::columns::{self, Cacheable, Form, Lease, Options, Row, Timeout, Way};
use super::data::Rendered;
use super::effect::{self, Effect, Reach};
use super::facts::Facts;
use super::keys::{Begin, Find, KeyFlags, KeySpec};
use super::policy::{self, RequestPolicy, ResponsePolicy};

/// The tip of a command whose replies differ although no key changed.
const UNSTEADY: &str = "nondeterministic_output";

/// A row of the table.
#[derive(Debug)]
pub struct Spec {
    /// By which cached replies know their command: the same in every table, and unique among cacheable commands.
    pub number: u16,
    /// Lower case; a subcommand carries its container: `config|get`.
    pub name: Box<str>,
    /// As Redis counts: the name included, negative when it is a minimum.
    pub arity: i32,
    /// What Redis says of it.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Box<[KeySpec]>,
    /// Whether the key specs name every key there is: no `incomplete` spec, no spec of an unknown kind, no script.
    pub keys_complete: bool,
    /// `@read`, `@string`, ... with the at sign.
    pub categories: Box<[Box<str>]>,
    /// `request_policy:all_shards`, `nondeterministic_output`, ...
    pub tips: Box<[Box<str>]>,
    /// Rows of the subcommands of a container (`CONFIG`, `OBJECT`, ...), sorted by name; empty otherwise.
    pub subcommands: Box<[Arc<Spec>]>,
    /// The proxy's own columns: how the command is served, before its options are looked at ([`super::way`]).
    pub way: Way,
    /// In which form its reply may be cached, if at all; [`super::cacheable`] looks at its options too.
    pub cacheable: Option<Cacheable>,
    /// How many arguments (the name included) a cacheable command has; 0 when that varies.
    pub cacheable_args: usize,
    /// Not known to be harmless and not a read, yet without effect on any key (PUBLISH, TIME, PING, ...).
    pub inert: bool,
    /// Which option grammar decides its effect and its keys.
    pub options: Options,
    /// What it may do to keys, before its options are looked at ([`super::effect()`]).
    pub effect: Effect,
    /// Whether it is administration of the servers that would be forwarded to them.
    pub admin: bool,
    /// Which nodes of an upstream it goes to.
    pub request: RequestPolicy,
    /// How their replies become one.
    pub response: ResponsePolicy,
    /// Who told of it first.
    pub origin: Origin,
    /// Its `COMMAND INFO` row, ready to be sent: the first nine elements, without the subcommands.
    pub info: Rendered,
    /// Its `COMMAND DOCS` entry, ready to be sent, without the subcommands; an upstream's commands have none.
    pub docs: Option<Docs>,
}

/// A `COMMAND DOCS` entry without its header and its subcommands.
#[derive(Clone, Debug)]
pub struct Docs {
    /// How many fields there are.
    pub fields: usize,
    /// The fields.
    pub body: Rendered,
}

/// Who told of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is in the committed data.
    Builtin,
    /// Only an upstream knows it (a module, a newer server): nothing is taken for granted.
    Upstream,
}

/// The flags of `COMMAND` that decide something here, one bit each; `info` keeps them all.
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
    /// Runs while data are loaded.
    pub const LOADING: Self = Self(1 << 9);
    /// Runs on a replica that lost its primary.
    pub const STALE: Self = Self(1 << 10);
    /// Refused when memory is full.
    pub const DENYOOM: Self = Self(1 << 11);
    /// Not allowed in a transaction.
    pub const NO_MULTI: Self = Self(1 << 12);
    /// Takes keys but may have none: the scripts and functions, which may touch keys that they do not name.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 13);
    /// Comes from a module.
    pub const MODULE: Self = Self(1 << 14);

    /// Every word, in the order in which Redis writes them.
    pub const WORDS: [(Self, &'static str); 15] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::MODULE, "module"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLEKEYS, "movablekeys"),
    ];

    /// The bit of Redis's word for a flag; none for a word that decides nothing here.
    pub fn named(word: &str) -> Self {
        Self::WORDS.iter().find(|(_, known)| *known == word).map_or(Self(0), |(flag, _)| *flag)
    }

    /// The words of the bits that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::WORDS.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The name of the row for commands that are in no row, and its number, which is that of every row without columns.
const UNKNOWN: &str = "(unknown)";
const STRANGER: u16 = u16::MAX;

impl Spec {
    /// Whether it stands for every command that nobody has told of.
    pub fn is_stranger(&self) -> bool {
        &*self.name == UNKNOWN
    }

    /// Whether every primary of a cluster is told it, and every upstream where there are several.
    pub fn is_for_all(&self) -> bool {
        matches!(self.request, RequestPolicy::AllShards | RequestPolicy::AllNodes)
    }

    /// The row of a command that nobody has told of: sent to the upstream, and taken for a write of any key.
    pub(super) fn of_stranger() -> Self {
        Self {
            number: STRANGER,
            name: UNKNOWN.into(),
            arity: -1,
            flags: Flags::default(),
            keys: Box::default(),
            keys_complete: false,
            categories: Box::default(),
            tips: Box::default(),
            subcommands: Box::default(),
            way: Way::Forward,
            cacheable: None,
            cacheable_args: 0,
            inert: false,
            options: Options::Plain,
            effect: Effect::Write(Reach::Beyond),
            admin: false,
            request: RequestPolicy::Default,
            response: ResponsePolicy::Default,
            origin: Origin::Upstream,
            info: Rendered::default(),
            docs: None,
        }
    }

    /// A row from `facts` and the columns of its name.
    ///
    /// `before` is the row that it replaces: where the new facts are silent (an old server's short rows, docs) the old
    /// ones stay. `container` is the row of the command that it is a subcommand of.
    pub(super) fn join(facts: Facts, before: Option<&Spec>, container: Option<&Spec>, origin: Origin) -> Self {
        let origin = before.map_or(origin, |before| before.origin);
        let row = columns::row(&facts.name);
        let keys = match (facts.keys, before) {
            (Some(keys), _) => keys,
            (None, Some(before)) => before.keys.clone(),
            (None, None) => KeySpec::from_positions(facts.positions, facts.flags),
        };
        let tips = match (facts.tips, before) {
            (Some(tips), _) => tips,
            (None, Some(before)) => before.tips.clone(),
            (None, None) => Box::default(),
        };
        let info = match (facts.info, before) {
            (Some(info), _) => info,
            (None, Some(before)) => before.info.clone(),
            (None, None) => facts.padded_info,
        };
        let options = row.map_or(Options::Plain, |row| row.options);
        let effect = effect::fixed(row, facts.flags, &keys, origin);
        let (request, response) = policy::of(row, &tips, &keys);
        let mut spec = Self {
            number: columns::number(&facts.name),
            keys_complete: keys_complete(facts.flags, &keys, effect),
            way: way(row, facts.flags, options, container, origin),
            cacheable: None,
            cacheable_args: exact_args(before, facts.arity),
            inert: effect == Effect::Inert,
            docs: facts.docs.or_else(|| before.and_then(|before| before.docs.clone())),
            name: facts.name,
            arity: facts.arity,
            flags: facts.flags,
            keys,
            categories: facts.categories,
            tips,
            subcommands: Box::default(),
            options,
            effect,
            admin: false,
            request,
            response,
            origin,
            info,
        };
        // What is answered here or refused anyhow never reaches a server.
        let forwarded = !matches!(spec.way, Way::Local(_) | Way::Refused);
        spec.admin = forwarded && spec.flags.has(Flags::ADMIN) && !row.is_some_and(|row| row.public);
        spec.cacheable = row.and_then(|row| row.cacheable).filter(|cacheable| spec.permits(*cacheable));
        spec
    }

    /// Whether Redis's own facts allow what the column says: a read, of the keys that the form expects, whose reply
    /// depends on nothing else.
    fn permits(&self, cacheable: Cacheable) -> bool {
        let [KeySpec { begin: Begin::Index(1), find: Find::Range { last, step: 1, .. }, .. }] = *self.keys else {
            return false;
        };
        let last_expected = if cacheable.form == Form::Key { 0 } else { -1 };
        last == last_expected
            && self.effect == Effect::Read
            && self.keys_complete
            && !self.tips.iter().any(|tip| &**tip == UNSTEADY)
    }

    /// How many arguments belong to each key, where the command is nothing but its name and such groups and may be split
    /// between them: 1 for MGET, 2 for MSET.
    pub fn split_step(&self) -> Option<usize> {
        policy::step(&self.keys).filter(|_| self.request == RequestPolicy::MultiShard)
    }

    /// Whether a command of `len` arguments, the name included, has as many as it needs.
    pub fn admits(&self, len: usize) -> bool {
        match usize::try_from(self.arity) {
            Ok(exact) => len == exact,
            Err(_) => len >= self.arity.unsigned_abs() as usize,
        }
    }

    /// The name within its container: `get` of `config|get`; the whole name of a top-level command.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('|').next().unwrap_or(&self.name)
    }

    /// The subcommand of that name, whatever its case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Arc<Spec>> {
        self.subcommands.iter().find(|sub| sub.short_name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A command that the committed data give a fixed number of arguments is cached with that number only: what a newer
/// server's optional argument does to the reply (ZRANK ... WITHSCORE) is not known here.
fn exact_args(before: Option<&Spec>, arity: i32) -> usize {
    match before {
        Some(before) => before.cacheable_args,
        None => usize::try_from(arity).unwrap_or(0),
    }
}

fn way(row: Option<&Row>, flags: Flags, options: Options, container: Option<&Spec>, origin: Origin) -> Way {
    let said = row.map_or(Way::Forward, |row| row.way);
    if said != Way::Forward {
        return said;
    }
    if origin == Origin::Upstream {
        // A new subcommand of CLIENT concerns the client's own connection as much as the known ones do.
        if let Some(way) = container.map(|container| container.way).filter(|way| *way != Way::Forward) {
            return way;
        }
        // It may take its connection over in a way that nobody here knows.
        if flags.has(Flags::PUBSUB) || flags.has(Flags::NO_MULTI) {
            return Way::Refused;
        }
    }
    match flags.has(Flags::BLOCKING) && options != Options::Streams {
        true => Way::Leased(Lease::Block(Timeout::Unknown)),
        false => Way::Forward,
    }
}

fn keys_complete(flags: Flags, keys: &[KeySpec], effect: Effect) -> bool {
    let known = |spec: &KeySpec| {
        spec.begin != Begin::Unknown && spec.find != Find::Unknown && !spec.flags.has(KeyFlags::INCOMPLETE)
    };
    let script = flags.has(Flags::NO_MANDATORY_KEYS);
    let keyless = keys.is_empty() && effect != Effect::Inert;
    let beyond = matches!(effect, Effect::Write(Reach::Beyond) | Effect::Everything);
    !script && !keyless && !beyond && keys.iter().all(known)
}
