//! Finding the keys of a command by its row's key specs.
//!
//! A key spec says where to begin (an index, or behind a keyword) and which arguments from there are keys (a range, or
//! as many as an argument says). Where Redis itself needs code because its specs are incomplete, [`options`] reads
//! the command's own grammar.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/key-specs/>.

pub mod options;

use super::columns::Options;
use super::spec::{Flags, Spec};
use crate::resp::Command;

#[cfg(test)]
mod tests;

/// Where to find keys: `begin_search` and `find_keys` of Redis's key specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What the command does with these keys.
    pub access: Access,
    /// Where the search begins.
    pub begin: Begin,
    /// Which arguments from there are keys.
    pub find: Find,
    /// Redis's words about these keys.
    pub flags: KeyFlags,
}

/// Where the search for keys begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind a keyword, whatever its case, looked for from an argument on; a negative `from` counts from the end and
    /// searches backwards.
    Keyword {
        /// The word.
        word: Box<str>,
        /// The first place to look at.
        from: i32,
    },
    /// Redis cannot say.
    Unknown,
}

/// Which arguments are keys, counted from where the search began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`-th argument up to `last`, which counts from the beginning, or from the end when it is negative;
    /// then a `limit` of n above 1 means only the first n-th part of what is left.
    Range {
        /// The last key.
        last: i32,
        /// The distance of two keys; at least 1.
        step: usize,
        /// The part of the arguments that holds keys; 0 and 1 for all.
        limit: usize,
    },
    /// As many keys as an argument says.
    KeyNum {
        /// Where the number is.
        at: usize,
        /// Where the first key is.
        first: usize,
        /// The distance of two keys; at least 1.
        step: usize,
    },
    /// Redis cannot say.
    Unknown,
}

/// What a command does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it (RO).
    Read,
    /// May change it (RW, OW, RM, or not said).
    Write,
}

/// Whether all keys of a command were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// These are provably all keys that it names, and it touches no other.
    Complete,
    /// There may be more: a script, a pattern, a malformed command, a spec that Redis calls incomplete.
    Partial,
}

/// Redis's words about the keys of a spec, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFlags(u16);

impl KeyFlags {
    /// Reads the value.
    pub const RO: Self = Self(1);
    /// Reads and modifies it.
    pub const RW: Self = Self(1 << 1);
    /// Overwrites it.
    pub const OW: Self = Self(1 << 2);
    /// Deletes it.
    pub const RM: Self = Self(1 << 3);
    /// Returns or copies data of the user.
    pub const ACCESS: Self = Self(1 << 4);
    /// Changes data of the user.
    pub const UPDATE: Self = Self(1 << 5);
    /// Adds data without changing what is there.
    pub const INSERT: Self = Self(1 << 6);
    /// Deletes data.
    pub const DELETE: Self = Self(1 << 7);
    /// Not a key, but routed like one (a sharded channel).
    pub const NOT_KEY: Self = Self(1 << 8);
    /// The spec may miss keys.
    pub const INCOMPLETE: Self = Self(1 << 9);
    /// The other words depend on the options.
    pub const VARIABLE: Self = Self(1 << 10);

    /// Every word, in the order in which Redis writes them.
    pub const WORDS: [(Self, &'static str); 11] = [
        (Self::RO, "RO"),
        (Self::RW, "RW"),
        (Self::OW, "OW"),
        (Self::RM, "RM"),
        (Self::ACCESS, "access"),
        (Self::UPDATE, "update"),
        (Self::INSERT, "insert"),
        (Self::DELETE, "delete"),
        (Self::NOT_KEY, "not_key"),
        (Self::INCOMPLETE, "incomplete"),
        (Self::VARIABLE, "variable_flags"),
    ];

    /// The bit of a word; none for a word of a later server.
    pub fn named(word: &str) -> Self {
        Self::WORDS.iter().find(|(_, known)| *known == word).map_or(Self(0), |(flag, _)| *flag)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The words of the bits that are set, in Redis's order.
    pub fn words(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::WORDS.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }
}

/// What one spec finds in one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Keys at `first`, `first + step`, ... up to `last`.
    Keys {
        /// The first key.
        first: usize,
        /// The last place where one may be.
        last: usize,
        /// The distance of two keys.
        step: usize,
    },
    /// The command has none of these (`PFMERGE dest`).
    Nothing,
    /// The arguments do not fit the spec, or the spec is of an unknown kind.
    Unclear,
}

/// Calls `visit` with the position of every key of `cmd` and says whether these are all.
///
/// Commands whose specs Redis calls incomplete or variable are read by their own grammar. Nothing panics on malformed
/// arguments: their coverage is partial, and the server will refuse them.
pub fn for_each_key(spec: &Spec, cmd: &Command<'_>, visit: impl FnMut(usize, Access)) -> Coverage {
    match spec.options {
        Options::Plain | Options::Scores | Options::Set | Options::Bitfield | Options::Audience => {
            by_specs(spec, cmd, visit)
        }
        Options::Sort => options::sort(cmd, visit),
        Options::Georadius => options::georadius(spec, cmd, visit),
        Options::Migrate => options::migrate(cmd, visit),
        Options::Streams => options::streams(spec, cmd, visit),
    }
}

/// Calls `visit` with the position of everything that is no key and yet decides which node of several a command is for: the channels of
/// shards (SPUBLISH).
pub fn for_each_shard_channel(spec: &Spec, cmd: &Command<'_>, mut visit: impl FnMut(usize)) {
    for channels in spec.keys.iter().filter(|keys| keys.flags.has(KeyFlags::NOT_KEY)) {
        if let Found::Keys { first, last, step } = channels.find_in(cmd) {
            (first..=last).step_by(step).for_each(&mut visit);
        }
    }
}

fn by_specs(spec: &Spec, cmd: &Command<'_>, mut visit: impl FnMut(usize, Access)) -> Coverage {
    let mut complete = spec.keys_complete;
    for keys in &spec.keys {
        if keys.flags.has(KeyFlags::NOT_KEY) {
            continue;
        }
        match keys.find_in(cmd) {
            Found::Keys { first, last, step } => {
                (first..=last).step_by(step).for_each(|key| visit(key, keys.access));
            }
            Found::Nothing => {}
            Found::Unclear => complete = false,
        }
    }
    if complete { Coverage::Complete } else { Coverage::Partial }
}

impl KeySpec {
    /// The spec that an old server's first, last and step amount to; none when there is no first key.
    pub(super) fn from_positions((first, last, step): (i32, i32, i32), flags: Flags) -> Box<[Self]> {
        let (Ok(first @ 1..), Ok(step @ 1..)) = (usize::try_from(first), usize::try_from(step)) else {
            return Box::default();
        };
        let read = flags.has(Flags::READONLY);
        let words = if read { KeyFlags::RO } else { KeyFlags::RW };
        let partial = if flags.has(Flags::MOVABLEKEYS) { KeyFlags::INCOMPLETE } else { KeyFlags::default() };
        // Positions count from the command, a spec's last key from its first.
        let last = i32::try_from(first).map_or(last, |first| if last >= first { last - first } else { last });
        Box::new([Self {
            access: if read { Access::Read } else { Access::Write },
            begin: Begin::Index(first),
            find: Find::Range { last, step, limit: 0 },
            flags: words.with(partial),
        }])
    }

    /// Which arguments of `cmd` are keys by this spec.
    #[inline]
    pub(super) fn find_in(&self, cmd: &Command<'_>) -> Found {
        let len = cmd.len();
        let begin = match &self.begin {
            Begin::Index(index) => *index,
            Begin::Keyword { word, from } => match behind_keyword(cmd, word, *from) {
                Some(begin) => begin,
                None => return Found::Unclear,
            },
            Begin::Unknown => return Found::Unclear,
        };
        match self.find {
            Find::Range { last, step, limit } => {
                let end = match usize::try_from(last) {
                    // One past the last key, so that an empty range needs no negative number.
                    Ok(last) => begin + last + 1,
                    Err(_) => {
                        let back = last.unsigned_abs() as usize - 1;
                        let left = len.saturating_sub(begin);
                        let part = if limit > 1 { left / limit } else { left };
                        begin + part.saturating_sub(back)
                    }
                };
                match begin {
                    _ if end > len => Found::Unclear,
                    _ if end <= begin && last < 0 => Found::Nothing,
                    _ => Found::Keys { first: begin, last: end - 1, step },
                }
            }
            Find::KeyNum { at, first, step } => {
                let Some(count) = cmd.opt(begin + at).and_then(number) else {
                    return Found::Unclear;
                };
                if count == 0 {
                    return Found::Nothing;
                }
                let first = begin + first;
                match (count - 1).checked_mul(step).and_then(|width| width.checked_add(first)) {
                    Some(last) if last < len => Found::Keys { first, last, step },
                    _ => Found::Unclear,
                }
            }
            Find::Unknown => Found::Unclear,
        }
    }
}

/// The place behind `word`, looked for from `from` on: forwards from a positive place, backwards from a negative one.
fn behind_keyword(cmd: &Command<'_>, word: &str, from: i32) -> Option<usize> {
    let len = cmd.len();
    let back = from.unsigned_abs() as usize;
    let found = if from > 0 {
        (back..len).find(|i| cmd.is(*i, word))
    } else {
        (1..=len.checked_sub(back.max(1))?).rev().find(|i| cmd.is(*i, word))
    };
    found.map(|i| i + 1).filter(|begin| *begin < len)
}

/// A count as Redis reads it strictly: digits without a sign or a leading zero.
fn number(arg: &[u8]) -> Option<usize> {
    if arg.is_empty() || arg.len() > 9 || (arg[0] == b'0' && arg.len() > 1) {
        return None;
    }
    arg.iter().try_fold(0usize, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit - b'0')))
}
