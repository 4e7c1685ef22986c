//! How a session ends when the process wants it to: between two commands, and owing nothing.
//!
//! ```text
//!   Stays      served as ever
//!   WhenIdle   closed as soon as nothing is lost by it; a transaction, a blocking command, a subscription may go on
//!   Soon       the same, but a blocking command is ended with an error
//!   Last       the same, and subscriptions end
//! ```
//!
//! A client that speaks often is closed right behind a reply, in the same segment: who looks at his connection before he
//! uses it again (most pools do) sees the end and loses nothing. One that is silent is closed in the midst of its silence. What
//! a client has sent in the very moment of the close is not carried out: whatever was carried out has been answered.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Ending, Io, ReplyMode, Session, State};
use crate::clock::Micros;
use crate::inbox::Leaving;
use crate::resp::encode;
use crate::serve::forward;

/// Clients that have said nothing for so long are closed without waiting for their next command.
const SILENCE: Duration = Duration::from_secs(1);
/// The same when there is little time.
const SHORT_SILENCE: Duration = Duration::from_millis(100);

// === impl Session ===

impl Session {
    /// It is to end. Said again and again until it has.
    pub fn ask_to_leave(self: &Rc<Self>, how: Leaving) {
        // If it is being served this moment, the next time will do.
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        state.leaving = state.leaving.max(how);
        if state.leaving >= Leaving::Soon && state.blocked.is_some() {
            self.unblock(&mut state);
        }
        state.wake();
    }

    /// It ends: it is no longer shown, and counted if the process wanted it to.
    pub(super) fn note_end(&self, state: &State) {
        self.client.killed.store(true, Ordering::Release);
        self.worker.counters.clients_drained.add(u64::from(state.left));
    }

    /// Whether it may end behind what is in the output now, if the client has sent nothing more.
    pub(super) fn may_leave(&self, state: &mut State, io: &Io) -> bool {
        let leaving = state.leaving;
        if leaving == Leaving::Stays || state.ending != Ending::Open || io.end_of_input {
            return false;
        }
        let listens = state.subscriptions.is_some() || state.monitor.is_some();
        let between = io.served == io.input.len()
            && state.replies.complete()
            && state.transaction.is_none()
            && !(listens && leaving < Leaving::Last)
            && !self.must_wait(state);
        let answered = state.replies.unsent() > 0 || state.reply_mode != ReplyMode::On;
        let silent = || {
            let active_at = Micros(self.client.active_at.load(Ordering::Relaxed));
            let silence = if leaving == Leaving::WhenIdle { SILENCE } else { SHORT_SILENCE };
            state.now.since(active_at) >= Micros::of(silence)
        };
        between && (answered || listens || silent())
    }

    /// Has the server end the command that blocks: its reply is an error that clients know from failovers. Closing the connection instead
    /// could lose an element that is on its way.
    fn unblock(self: &Rc<Self>, state: &mut State) {
        let Some(blocked) = self.client.blocked().filter(|_| !state.unblocked) else { return };
        let number = blocked.number.load(Ordering::Acquire);
        if number == 0 {
            // Not connected yet.
            return;
        }
        let mut wire = Vec::new();
        encode::command(&mut wire, &[b"CLIENT", b"UNBLOCK", number.to_string().as_bytes(), b"ERROR"]);
        state.unblocked = forward::send_unasked(self, state, &blocked.node, &wire);
    }
}
