//! The commands whose keys depend on their options, read by their own grammar.
//!
//! SORT's STORE may stand anywhere and its BY and GET name keys by pattern; GEORADIUS stores only on demand; MIGRATE
//! takes one key or KEYS and a list; XREAD and XREADGROUP list their keys behind STREAMS, which may also be the name of
//! a group.

use super::{Access, Coverage};
use crate::command::spec::{Flags, Spec};
use crate::resp::Command;

/// SORT and SORT_RO. A BY or GET pattern reads keys that the command does not name.
pub fn sort(cmd: &Command<'_>, mut visit: impl FnMut(usize, Access)) -> Coverage {
    visit(1, Access::Read);
    let mut coverage = Coverage::Complete;
    let mut i = 2;
    while i < cmd.len() {
        i += match () {
            () if cmd.is(i, "limit") => 3,
            () if cmd.is(i, "store") => {
                if i + 1 < cmd.len() {
                    visit(i + 1, Access::Write);
                }
                2
            }
            () if cmd.is(i, "by") || cmd.is(i, "get") => {
                // Without a star the pattern names no key: BY nosort, GET #.
                if cmd.opt(i + 1).is_some_and(|pattern| pattern.contains(&b'*')) {
                    coverage = Coverage::Partial;
                }
                2
            }
            () => 1,
        };
    }
    coverage
}

/// Whether SORT stores its result.
pub fn sort_has_store(cmd: &Command<'_>) -> bool {
    let mut stores = false;
    sort(cmd, |_, access| stores |= access == Access::Write);
    stores
}

/// Where COMMAND GETKEYS says that SORT stores its result. Redis looks for it in another way than the command itself
/// does: what stands behind STORE is looked at as an option too.
pub fn sort_store_shown(cmd: &Command<'_>) -> Option<usize> {
    let mut store = None;
    let mut i = 2;
    while i < cmd.len() {
        i += match () {
            () if cmd.is(i, "limit") => 3,
            () if cmd.is(i, "by") || cmd.is(i, "get") => 2,
            () => {
                if cmd.is(i, "store") && i + 1 < cmd.len() {
                    store = Some(i + 1);
                }
                1
            }
        };
    }
    store
}

/// GEORADIUS and GEORADIUSBYMEMBER. Every STORE and STOREDIST is visited, although only the last one counts.
pub fn georadius(spec: &Spec, cmd: &Command<'_>, mut visit: impl FnMut(usize, Access)) -> Coverage {
    visit(1, Access::Read);
    let mut i = georadius_options(spec);
    while i < cmd.len() {
        match georadius_stores(cmd, i) {
            true => {
                visit(i + 1, Access::Write);
                i += 2;
            }
            false => i += 1,
        }
    }
    Coverage::Complete
}

/// Whether a result is stored.
pub fn georadius_has_store(spec: &Spec, cmd: &Command<'_>) -> bool {
    (georadius_options(spec)..cmd.len()).any(|i| georadius_stores(cmd, i))
}

/// Where COMMAND GETKEYS says that a result is stored when a STORE or STOREDIST is missing: behind the last of them.
pub fn georadius_store_shown(spec: &Spec, cmd: &Command<'_>) -> Option<usize> {
    let mut store = None;
    let mut i = georadius_options(spec);
    while i < cmd.len() {
        if georadius_stores(cmd, i) {
            i += 1;
            store = Some(i);
        }
        i += 1;
    }
    store
}

/// Options come behind key, place (longitude and latitude, or a member), radius and unit.
fn georadius_options(spec: &Spec) -> usize {
    usize::try_from(spec.arity.unsigned_abs()).unwrap_or(usize::MAX)
}

fn georadius_stores(cmd: &Command<'_>, i: usize) -> bool {
    (cmd.is(i, "store") || cmd.is(i, "storedist")) && i + 1 < cmd.len()
}

/// MIGRATE: the key in argument 3, or, when that is empty, everything behind KEYS.
pub fn migrate(cmd: &Command<'_>, mut visit: impl FnMut(usize, Access)) -> Coverage {
    match migrate_keys(cmd) {
        Some(first) if cmd.arg(3).is_empty() => (first..cmd.len()).for_each(|key| visit(key, Access::Write)),
        // A key and a list is a syntax error.
        Some(_) => {
            visit(3, Access::Write);
            return Coverage::Partial;
        }
        None => visit(3, Access::Write),
    }
    Coverage::Complete
}

/// Where the list behind KEYS begins, when it has a key. The passwords of AUTH and AUTH2 are not options.
pub fn migrate_keys(cmd: &Command<'_>) -> Option<usize> {
    let mut i = 6;
    while i + 1 < cmd.len() {
        if cmd.is(i, "keys") {
            return Some(i + 1);
        }
        i += match () {
            () if cmd.is(i, "auth") => 2,
            () if cmd.is(i, "auth2") => 3,
            () => 1,
        };
    }
    None
}

/// XREAD and XREADGROUP: the first half of what stands behind STREAMS.
pub fn streams(spec: &Spec, cmd: &Command<'_>, mut visit: impl FnMut(usize, Access)) -> Coverage {
    // XREADGROUP changes its group, though its spec calls the key read-only.
    let access = if spec.flags.has(Flags::READONLY) { Access::Read } else { Access::Write };
    let Some(first) = stream_options(cmd).streams else {
        return Coverage::Partial;
    };
    let left = cmd.len() - first;
    (first..first + left / 2).for_each(|key| visit(key, access));
    if left > 0 && left.is_multiple_of(2) { Coverage::Complete } else { Coverage::Partial }
}

/// Where XREAD or XREADGROUP says how long it may block, if it may.
pub fn streams_block(cmd: &Command<'_>) -> Option<usize> {
    stream_options(cmd).block
}

/// The options of XREAD and XREADGROUP.
struct StreamOptions {
    /// Where the time behind BLOCK is.
    block: Option<usize>,
    /// Where the keys begin; at most the length of the command.
    streams: Option<usize>,
}

/// Unknown options (of a newer server) are stepped over one argument at a time.
fn stream_options(cmd: &Command<'_>) -> StreamOptions {
    let mut found = StreamOptions { block: None, streams: None };
    let mut i = 1;
    while i < cmd.len() {
        i += match () {
            () if cmd.is(i, "streams") => {
                found.streams = Some(i + 1);
                break;
            }
            () if cmd.is(i, "block") => {
                found.block = Some(i + 1);
                2
            }
            () if cmd.is(i, "count") => 2,
            () if cmd.is(i, "group") => 3,
            () => 1,
        };
    }
    found
}

/// Whether a BITFIELD only reads: every operation is a GET.
pub fn bitfield_reads(cmd: &Command<'_>) -> bool {
    let mut i = 2;
    while i < cmd.len() {
        i += match () {
            () if cmd.is(i, "get") && i + 2 < cmd.len() => 3,
            () if cmd.is(i, "overflow") => 2,
            () => return false,
        };
    }
    true
}

/// Whether a SET also returns the old value.
pub fn set_reads(cmd: &Command<'_>) -> bool {
    (3..cmd.len()).any(|i| cmd.is(i, "get"))
}
