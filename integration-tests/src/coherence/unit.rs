//! The keys of a run: what kinds of units there are, what they are called, and how a value carries its version.

use super::history::{Cell, MEMBERS, Seen};
use crate::reply::Reply;

/// How a unit is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One string: set, deleted, expired.
    Single,
    /// One integer, written by INCRBY.
    Counter,
    /// One hash whose fields are always written together.
    Hash,
    /// Two strings, renamed and copied from one to the other.
    Pair,
    /// Three strings, always written together by one command, script or transaction.
    Group,
}

/// How often a unit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As often as its writer comes round.
    Hot,
    /// Seldom, with more than the foreign bound in between: what stays stale then is seen to be so.
    Slow,
}

/// One unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its keys' common name, as `group:2`. The same names are used in every database.
    pub name: String,
    /// The database that it lives in.
    pub database: u8,
    /// How it is written and read.
    pub kind: Kind,
    /// How often it is written.
    pub pace: Pace,
    /// Its keys, as many as the kind has.
    pub keys: Vec<String>,
}

/// The fields of a hash.
pub const FIELDS: [&str; 3] = ["a", "b", "c"];

/// What stands behind the proxies, hence what keys and commands there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// One server with several databases.
    #[default]
    Server,
    /// A cluster: one database, and the keys of a unit in one slot.
    Cluster,
}

/// How many units of each kind and pace in each database.
const POPULATION: [(Kind, Pace, usize); 9] = [
    (Kind::Single, Pace::Hot, 10),
    (Kind::Single, Pace::Slow, 12),
    (Kind::Counter, Pace::Hot, 3),
    (Kind::Counter, Pace::Slow, 3),
    (Kind::Hash, Pace::Hot, 4),
    (Kind::Hash, Pace::Slow, 6),
    (Kind::Pair, Pace::Hot, 4),
    (Kind::Group, Pace::Hot, 4),
    (Kind::Group, Pace::Slow, 4),
];

/// All units of a run.
pub fn population(world: World) -> Vec<Unit> {
    let mut units = Vec::new();
    for &database in world.databases() {
        for (kind, pace, count) in POPULATION {
            for number in 0..count {
                let name = format!("{}:{}:{number}", kind.word(), pace.word());
                let keys = (0..kind.members()).map(|member| world.key(&name, member)).collect();
                units.push(Unit { name: format!("{name} in db {database}"), database, kind, pace, keys });
            }
        }
    }
    units
}

/// The value of a version: it starts with the number; its length varies so that a torn value would not pass.
pub fn value(version: u64) -> String {
    let filling = usize::try_from(version % 97).expect("below 97");
    format!("v{version}:{}", "x".repeat(filling))
}

/// The state of a unit before its first write.
pub const NOTHING: [Cell; MEMBERS] = [Cell::MISSING; MEMBERS];

/// What a reply with a value says; `None` when it is not one of ours.
pub fn seen(reply: &Reply) -> Option<Seen> {
    let text = match reply {
        Reply::Null => return Some(Seen::Missing),
        // GETRANGE of a missing key.
        Reply::Bulk(bytes) if bytes.is_empty() => return Some(Seen::Missing),
        Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?,
        _ => return None,
    };
    let Some(rest) = text.strip_prefix('v') else {
        return text.parse().ok().map(Seen::Version);
    };
    let (digits, _) = rest.split_once(':')?;
    let version = digits.parse().ok()?;
    (value(version) == text).then_some(Seen::Version(version))
}

// === impl World ===

impl World {
    /// The databases in use.
    pub fn databases(self) -> &'static [u8] {
        match self {
            Self::Server => &[0, 3],
            Self::Cluster => &[0],
        }
    }

    fn key(self, unit: &str, member: usize) -> String {
        match self {
            Self::Server => format!("{unit}:{member}"),
            Self::Cluster => format!("{{{unit}}}:{member}"),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// How many keys a unit of that kind has.
    pub fn members(self) -> usize {
        match self {
            Self::Single | Self::Counter | Self::Hash => 1,
            Self::Pair => 2,
            Self::Group => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Counter => "counter",
            Self::Hash => "hash",
            Self::Pair => "pair",
            Self::Group => "group",
        }
    }
}

impl Pace {
    fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_version_and_a_torn_one_is_not_a_value() {
        for version in [1, 96, 97, 12345] {
            assert_eq!(seen(&Reply::bulk(&value(version))), Some(Seen::Version(version)));
        }
        assert_eq!(seen(&Reply::bulk("41")), Some(Seen::Version(41)));
        assert_eq!(seen(&Reply::Null), Some(Seen::Missing));
        assert_eq!(seen(&Reply::bulk("v5:x")), None);
        assert_eq!(seen(&Reply::Integer(1)), None);
    }
}
