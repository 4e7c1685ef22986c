//! WAIT and WAITAOF: until the replicas have what this client has written.
//!
//! They speak of the writes of their own connection. This session's were sent on shared ones, and all of them have been
//! answered; a command on the leased connection takes note of how far the server is now, as every command does.
//!
//! In a cluster every primary may have writes of the client. They are asked one after the other, with what is left of the
//! time: their replicas are at work meanwhile, so that the last one is done when the slowest is. The least of their counts
//! is the answer.

use std::rc::Rc;
use std::time::Duration;

use super::Flow;
use super::lease::{Leased, send, take};
use crate::clock::Micros;
use crate::origin::{Map, Origin};
use crate::resp::gather::{Gather, How, Others};
use crate::resp::{Command, encode, number};
use crate::session::lease::Lease;
use crate::session::receiver::{Place, Receipt, Tenure};
use crate::session::{Session, State};

/// How far a WAIT over several primaries has come.
#[derive(Debug)]
pub struct Progress {
    since: Micros,
    /// By which map they are asked.
    version: u64,
    /// Which of the primaries is next.
    next: usize,
    /// The least of the answers so far, or an error.
    answer: Vec<u8>,
}

impl Progress {
    /// A primary has answered.
    pub fn answered(&mut self, reply: &[u8]) {
        self.next += 1;
        if self.answer.is_empty() || reply.starts_with(b"-") {
            self.answer = reply.to_vec();
            return;
        }
        let mut least = Gather::new(How::Min, Others::Harmless, 2);
        least.part(0, &self.answer);
        least.part(1, reply);
        self.answer.clear();
        least.finish(&mut self.answer);
    }
}

/// WAIT in a cluster: served again when a primary has answered, until all have.
pub(super) fn everywhere(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    command: &Command<'_>,
) -> Flow {
    let mut progress = match state.waiting.take().filter(|progress| progress.version == map.version) {
        Some(progress) => progress,
        None => Box::new(Progress { since: state.now, version: map.version, next: 0, answer: Vec::new() }),
    };
    let next = map.primaries().get(progress.next).filter(|_| !progress.answer.starts_with(b"-"));
    let Some(primary) = next else {
        match progress.answer.is_empty() {
            true => encode::error(state.replies.now(), &origin.nobody()),
            false => state.replies.now().append(&mut progress.answer),
        }
        return Flow::Next;
    };
    let lease = match take(session, state, origin, &primary.node) {
        Leased::Yes(lease) => lease,
        Leased::Later => {
            state.waiting = Some(progress);
            return Flow::Stall;
        }
        Leased::No(error) => {
            encode::error(state.replies.now(), &error);
            return Flow::Next;
        }
    };
    let time = time(command).map(|time| match time {
        0 => 0,
        time => time.saturating_sub(state.now.since(progress.since).0 / 1000).max(1),
    });
    let text = time.map(|time| time.to_string());
    let last = command.len() - 1;
    let mut words: Vec<&[u8]> = command.args(0).collect();
    if let Some(text) = &text {
        words[last] = text.as_bytes();
    }
    let mut request = Vec::new();
    encode::command(&mut request, &words);
    state.waiting = Some(progress);
    state.lane_owed += 1;
    ask(session, state, &lease, time);
    let receipt = Receipt { place: Place::Waited, ..Receipt::of_lease(session, origin.number, Tenure::Last) };
    lease.lane.send(&request, (0, 0), state.now, || receipt);
    super::lease::hold(session, state, lease);
    session.worker.counters.forwarded.add(1);
    Flow::Stall
}

/// WAIT at the one primary that there is.
pub(super) fn wait(session: &Rc<Session>, state: &mut State, lease: Lease, command: &Command<'_>) {
    ask(session, state, &lease, time(command));
    send(session, state, lease, command.wire(), None, None);
}

/// Has the server take note of how far it is.
fn ask(session: &Rc<Session>, state: &State, lease: &Lease, time: Option<u64>) {
    let time = time.unwrap_or(1);
    lease.lane.wait_for((time > 0).then(|| Duration::from_millis(time)));
    let mut ping = Vec::new();
    encode::command(&mut ping, &[b"PING"]);
    lease.lane.send(&ping, (0, 0), state.now, || Receipt::of_lease(session, lease.node.upstream, Tenure::Leased));
}

/// How long it may take, in milliseconds; 0 for ever. `None`: the server will say what is wrong with it.
fn time(command: &Command<'_>) -> Option<u64> {
    command.opt(command.len() - 1).and_then(number::integer).and_then(|time| u64::try_from(time).ok())
}
