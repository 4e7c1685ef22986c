//! The embedded upstream: a key-value store in this process that speaks Redis's string, key and expiry commands.
//!
//! It makes `larder` useful with no argument and no server beside it, and it is where `local:*` keys live. Replies and
//! error texts are those of Redis 7.0, byte for byte, so that a client cannot tell the difference within the commands
//! that are served. A command that is not served is refused by name and changes nothing: strings are all there is.
//!
//! ```text
//! execute ── COMMANDS (name -> fn) ── strings, ranges, counters, bits, lcs   what is in a key
//!                                     keys, expiry, scan                     which keys there are
//!                                         └── store                    the data: 16 databases, deadlines, byte budget
//! ```
//!
//! One lock for everything: a command holds it only while it runs and never across an await, and it makes every
//! command atomic, as in Redis.

mod bitfield;
mod bits;
mod call;
mod counters;
mod expiry;
mod keys;
mod lcs;
mod object;
mod ranges;
mod refusal;
mod scan;
mod store;
mod strings;
mod text;

#[cfg(test)]
mod shell;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::keyvalue::Refusal;
use crate::keyvalue::{Clock, Now};
use crate::resp::{Command, Proto, encode};
use call::Call;
use store::Store;

/// How many databases there are, as in a Redis with default settings.
pub const DATABASES: u32 = 16;

/// Expired keys that one [`Memory::sweep`] removes at most; about a millisecond of work.
const SWEEP: usize = 1000;

type Run = fn(&mut Call<'_>) -> Result<(), Refusal>;

/// Every command that is served, by its row's name. Sorted, since it is searched by halves.
const COMMANDS: &[(&str, Run)] = &[
    ("append", ranges::append),
    ("bitcount", bits::bitcount),
    ("bitfield", bitfield::bitfield),
    ("bitfield_ro", bitfield::bitfield_ro),
    ("bitop", bits::bitop),
    ("bitpos", bits::bitpos),
    ("copy", keys::copy),
    ("dbsize", keys::dbsize),
    ("decr", counters::decr),
    ("decrby", counters::decrby),
    ("del", keys::del),
    ("exists", keys::exists),
    ("expire", expiry::expire),
    ("expireat", expiry::expireat),
    ("expiretime", expiry::expiretime),
    ("flushall", keys::flushall),
    ("flushdb", keys::flushdb),
    ("get", strings::get),
    ("getbit", bits::getbit),
    ("getdel", strings::getdel),
    ("getex", strings::getex),
    ("getrange", ranges::getrange),
    ("getset", strings::getset),
    ("incr", counters::incr),
    ("incrby", counters::incrby),
    ("incrbyfloat", counters::incrbyfloat),
    ("keys", scan::keys),
    ("lcs", lcs::lcs),
    ("mget", strings::mget),
    ("move", keys::r#move),
    ("mset", strings::mset),
    ("msetnx", strings::msetnx),
    ("object|encoding", object::encoding),
    ("object|freq", object::freq),
    ("object|help", object::help),
    ("object|idletime", object::idletime),
    ("object|refcount", object::refcount),
    ("persist", expiry::persist),
    ("pexpire", expiry::pexpire),
    ("pexpireat", expiry::pexpireat),
    ("pexpiretime", expiry::pexpiretime),
    ("psetex", strings::psetex),
    ("pttl", expiry::pttl),
    ("randomkey", scan::randomkey),
    ("rename", keys::rename),
    ("renamenx", keys::renamenx),
    ("scan", scan::scan),
    ("set", strings::set),
    ("setbit", bits::setbit),
    ("setex", strings::setex),
    ("setnx", strings::setnx),
    ("setrange", ranges::setrange),
    ("strlen", ranges::strlen),
    ("substr", ranges::getrange),
    ("swapdb", keys::swapdb),
    ("time", expiry::time),
    ("touch", keys::touch),
    ("ttl", expiry::ttl),
    ("type", keys::r#type),
    ("unlink", keys::del),
];

fn handler(name: &str) -> Option<Run> {
    COMMANDS.binary_search_by_key(&name, |row| row.0).ok().map(|at| COMMANDS[at].1)
}

/// The store, shared by all workers.
#[derive(Debug)]
pub struct Memory {
    clock: Clock,
    store: Mutex<Store>,
}

impl Memory {
    /// An empty store that keeps at most `max_memory` bytes (keys, values and their measured overhead).
    pub fn new(max_memory: u64) -> Self {
        Self { clock: Clock::start(), store: Mutex::new(Store::new(max_memory)) }
    }

    /// Whether [`Memory::execute`] serves the command of this row name.
    pub fn serves(name: &str) -> bool {
        handler(name).is_some()
    }

    /// Runs one command and appends exactly one reply to `out`.
    ///
    /// `name` is the row's lower-case name (`get`, `object|encoding`); the command table has checked the arity.
    /// Errors are replies too; after one of them nothing was changed.
    pub fn execute(&self, name: &str, cmd: &Command<'_>, db: u32, proto: Proto, out: &mut Vec<u8>) {
        self.execute_at(self.clock.now(), name, cmd, db, proto, out);
    }

    fn execute_at(&self, now: Now, name: &str, cmd: &Command<'_>, db: u32, proto: Proto, out: &mut Vec<u8>) {
        let start = out.len();
        let outcome = match handler(name) {
            None => Err(Refusal::not_served(name)),
            Some(_) if db >= DATABASES => Err(Refusal::DATABASE),
            Some(run) => {
                let store = &mut *self.lock();
                run(&mut Call { store, cmd: *cmd, name, db: db as usize, now, proto, out })
            }
        };
        if let Err(refusal) = outcome {
            out.truncate(start);
            encode::error(out, refusal.text());
        }
    }

    /// How many keys database `db` holds.
    pub fn keys(&self, db: u32) -> usize {
        if db >= DATABASES {
            return 0;
        }
        self.lock().len(db as usize, self.clock.now())
    }

    /// How many keys of database `db` will expire.
    pub fn expiring(&self, db: u32) -> usize {
        if db >= DATABASES {
            return 0;
        }
        self.lock().expiring(db as usize)
    }

    /// Bytes held, as counted against the budget.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Removes some of the keys that have expired unseen, oldest first. For a timer; the work of one call is bounded.
    pub fn sweep(&self) {
        self.lock().purge(self.clock.now(), SWEEP);
    }

    /// A panic under the lock (none is known) leaves whole entries behind, so the store goes on after it.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
