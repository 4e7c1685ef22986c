//! What a session is handed by others: replies that another worker's connection got, and streams.

use std::rc::Rc;

use super::{Ending, Session, write_resp3};
use crate::inbox::Payload;
use crate::resp::encode;
use crate::tracking::mode::After;
use crate::tracking::{self, Who};

impl Session {
    /// A reply that came by way of another worker.
    pub fn receive(self: &Rc<Self>, seq: u64, payload: &Payload) {
        match payload {
            Payload::Verbatim(_) => {
                let mut state = self.state.borrow_mut();
                state.opaque_owed = state.opaque_owed.saturating_sub(1);
            }
            _ => {
                let mut state = self.state.borrow_mut();
                state.reads_owed = state.reads_owed.saturating_sub(1);
            }
        }
        match payload {
            Payload::Entry(entry) => {
                let form = entry.facts();
                let (shape, same) = (form.shape(), form.same_in_both());
                self.deliver(seq, 1, |out, proto| write_resp3(out, proto, entry.reply(), shape, same));
            }
            Payload::Resp3(reply, shape) => {
                self.deliver(seq, 1, |out, proto| write_resp3(out, proto, reply, *shape, false));
            }
            Payload::Verbatim(reply) => self.deliver(seq, 1, |out, _| out.extend_from_slice(reply)),
            Payload::Retry(request) => {
                if let Err(error) = crate::serve::forward_again(self, seq, request) {
                    self.deliver(seq, 1, |out, _| encode::error(out, &error));
                }
            }
        }
    }

    /// One of the primaries that a WAIT asks has answered; the next one is asked when the command is served again.
    pub fn waited(&self, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.lane_owed = state.lane_owed.saturating_sub(1);
        if let Some(progress) = &mut state.waiting {
            progress.answered(reply);
        }
        state.wake();
    }

    /// More of a stream that the client has asked for (MONITOR).
    pub fn stream(&self, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        if bytes.is_empty() || state.ending >= Ending::Now {
            return;
        }
        if state.replies.waiting() as u64 > self.worker.rules().config.limits.max_output {
            state.end(Ending::Overfull);
            return;
        }
        state.replies.push(|out| out.extend_from_slice(bytes));
        state.wake();
    }

    /// What a client that tracks has to be told behind a reply that came past the near-cache.
    pub(super) fn tell_after(&self, after: &After, reply: &[u8]) {
        let keys = match after {
            After::Read(keys) => keys,
            After::OwnWrite(keys) if reply.starts_with(b"-") => keys,
            After::OwnWrite(_) => return,
        };
        let who = Who { worker: self.worker.number, session: self.id };
        for key in keys {
            tracking::tell(&self.worker.app, &[who], &tracking::message(&[key]));
        }
    }
}
