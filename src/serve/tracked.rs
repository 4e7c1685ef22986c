//! What clients that track (CLIENT TRACKING) read and write past the near-cache, where the origin tells of no change.

use crate::command::{Access, Effect, Spec, effect, for_each_key};
use crate::resp::Command;
use crate::session::{Session, State};
use crate::tracking::mode::After;

/// A command was sent on a connection that is not tracked, and its reply goes to slot `seq`: behind it the client is told
/// that what it read may have changed. What it wrote itself is not told to a client that asked for that.
pub(super) fn note_forwarded(session: &Session, state: &mut State, spec: &Spec, command: &Command<'_>, seq: u64) {
    if state.tracking.is_none() {
        return;
    }
    if effect(spec, command) == Effect::Read {
        if state.tracks() {
            note_read(state, keys(spec, command, Access::Read), seq);
        }
        return;
    }
    let Some(tracking) = state.tracking.as_mut().filter(|tracking| tracking.noloop) else { return };
    let written = keys(spec, command, Access::Write);
    for key in &written {
        session.worker.app.register.forget(session.id, key);
    }
    tracking.after.push((seq, After::OwnWrite(written)));
}

/// The reply in slot `seq` has these keys' values, and nobody would tell of changes to them.
pub(super) fn note_read(state: &mut State, keys: Vec<Box<[u8]>>, seq: u64) {
    if !keys.is_empty()
        && let Some(tracking) = state.tracking.as_mut()
    {
        tracking.after.push((seq, After::Read(keys)));
    }
}

/// The keys that a command accesses in one way.
pub(super) fn keys(spec: &Spec, command: &Command<'_>, wanted: Access) -> Vec<Box<[u8]>> {
    let mut keys = Vec::new();
    for_each_key(spec, command, |at, access| {
        if access == wanted {
            keys.push(command.arg(at).into());
        }
    });
    keys
}

/// CLIENT CACHING concerns the next command, or the transaction that it begins.
#[cold]
pub(super) fn end_of_command(state: &mut State, command: &Command<'_>) {
    if let Some(tracking) = state.tracking.as_mut()
        && state.transaction.is_none()
        && !command.is(0, "client")
    {
        tracking.caching = false;
    }
}
