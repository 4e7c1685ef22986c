//! The commands that a memcached node serves: what each asks of the node, and what it makes of the answers.
//!
//! * [`plain`]: one request for each key, sent at once.
//! * [`change`]: look, then write if nobody else has (compare and swap), again and again up to a bound.
//! * [`batch`]: the transaction of the tracked connection: a value and its time to live as of one instant.

pub(super) mod batch;
pub(super) mod change;
mod intent;
pub(super) mod plain;

use super::desk::Desk;
use super::meta::Reply;
use crate::keyvalue::Refusal;
use crate::resp::Command;
use batch::Batch;
use change::Change;
use plain::Plain;

/// A command that the node is at work on.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing is awaited: the reply is written.
    Answered,
    /// Its requests are sent, whatever they will say.
    Plain(Plain),
    /// What it sends next depends on the answers; nothing that touches its key may pass it.
    Change(Box<Change>),
    /// A transaction of reads.
    Batch(Box<Batch>),
}

/// How it goes on after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The command's reply is written.
    Done,
    /// More is awaited.
    More,
}

type Begin = fn(&Command<'_>, &mut Desk<'_>) -> Result<Work, Refusal>;

/// Every command that is served, by its row's name, with the fewest arguments. Sorted, since it is searched by halves.
const COMMANDS: &[(&str, usize, Begin)] = &[
    ("append", 3, intent::append),
    ("decr", 2, intent::decr),
    ("decrby", 3, intent::decrby),
    ("del", 2, plain::del),
    ("exists", 2, plain::exists),
    ("expire", 3, intent::expire),
    ("expireat", 3, intent::expireat),
    ("expiretime", 2, plain::expiretime),
    ("flushall", 1, plain::flush),
    ("flushdb", 1, plain::flush),
    ("get", 2, plain::get),
    ("getdel", 2, intent::getdel),
    ("getex", 2, intent::getex),
    ("getset", 3, intent::getset),
    ("incr", 2, intent::incr),
    ("incrby", 3, intent::incrby),
    ("incrbyfloat", 3, intent::incrbyfloat),
    ("mget", 2, plain::mget),
    ("mset", 3, plain::mset),
    ("persist", 2, intent::persist),
    ("pexpire", 3, intent::pexpire),
    ("pexpireat", 3, intent::pexpireat),
    ("pexpiretime", 2, plain::pexpiretime),
    ("psetex", 4, plain::psetex),
    ("pttl", 2, plain::pttl),
    ("set", 3, intent::set),
    ("setex", 4, plain::setex),
    ("setnx", 3, plain::setnx),
    ("strlen", 2, plain::strlen),
    ("touch", 2, plain::exists),
    ("ttl", 2, plain::ttl),
    ("type", 2, plain::r#type),
    ("unlink", 2, plain::del),
];

/// Whether the command of this row name is served.
pub(super) fn serves(name: &str) -> bool {
    COMMANDS.binary_search_by_key(&name, |row| row.0).is_ok()
}

/// Begins a command: its first requests are written, or its reply is.
pub(super) fn begin(command: &Command<'_>, desk: &mut Desk<'_>) -> Result<Work, Refusal> {
    let name = command.name().to_ascii_lowercase();
    let name = std::str::from_utf8(&name).unwrap_or_default();
    let Ok(at) = COMMANDS.binary_search_by_key(&name, |row| row.0) else {
        return Err(Refusal::of(super::not_served(name)));
    };
    let (name, least, begin) = COMMANDS[at];
    if command.len() < least {
        return Err(Refusal::arity(name));
    }
    begin(command, desk)
}

impl Work {
    /// Takes the next reply that it is owed.
    pub(super) fn take(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Step {
        match self {
            Self::Answered => Step::Done,
            Self::Plain(plain) => plain.take(reply, desk),
            Self::Change(change) => change.take(reply, desk),
            Self::Batch(batch) => batch.take(reply, desk),
        }
    }

    /// The key that nothing may pass while it is at work.
    pub(super) fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Change(change) => Some(change.key()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name() {
        assert!(COMMANDS.is_sorted_by_key(|row| row.0));
        assert!(COMMANDS.iter().all(|row| serves(row.0)));
        assert!(!serves("msetnx") && !serves("hget"));
    }
}
