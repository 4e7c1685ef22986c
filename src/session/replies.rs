//! The replies of a session, in the order of its commands, whatever order they arrive in.
//!
//! A reply that is known at once goes straight to the output, unless an earlier one is still awaited: then it lines
//! up behind it. The usual pipeline of hits therefore never touches the queue.
//!
//! A push (a message, an invalidation) lines up like a reply, so that it neither splits one nor overtakes the reply that
//! it concerns. Only a blocking command holds no push up: it may take for ever.

use std::collections::VecDeque;

use crate::command::Shape;
use crate::resp::{Proto, convert, encode};

/// Output and awaited replies of one session.
#[derive(Debug, Default)]
pub struct Replies {
    out: Vec<u8>,
    sent: usize,
    slots: VecDeque<Slot>,
    /// Number of the slot in front.
    first: u64,
    /// Commands whose replies are awaited.
    owed: usize,
    /// Bytes in the line, behind an awaited reply, but for those of the last slot.
    lined_up: usize,
    /// Replies are not wanted (CLIENT REPLY OFF or SKIP).
    muted: bool,
    /// Where unwanted replies go.
    void: Vec<u8>,
}

#[derive(Debug)]
enum Slot {
    /// Lined up behind an awaited one.
    Ready(Vec<u8>),
    /// Not all here yet.
    Awaited(Awaited),
}

#[derive(Debug)]
struct Awaited {
    /// Replies still to come.
    left: u32,
    /// What came while an earlier slot was still awaited: replies, or before that of a blocking command, pushes.
    early: Vec<u8>,
    /// The protocol version when the command was read.
    proto: Proto,
    /// Whether the reply is wanted.
    muted: bool,
    /// One reply that may take for ever; pushes go before it.
    blocking: bool,
}

impl Replies {
    /// Where a reply that is known now is written.
    #[inline]
    pub fn now(&mut self) -> &mut Vec<u8> {
        if self.muted {
            self.void.clear();
            self.void.shrink_to(KEPT);
            return &mut self.void;
        }
        if self.slots.is_empty() {
            return &mut self.out;
        }
        self.lined_up()
    }

    #[cold]
    fn lined_up(&mut self) -> &mut Vec<u8> {
        if !matches!(self.slots.back(), Some(Slot::Ready(_))) {
            self.slots.push_back(Slot::Ready(Vec::new()));
        }
        match self.slots.back_mut() {
            Some(Slot::Ready(bytes)) => bytes,
            // The line above put one there.
            _ => &mut self.void,
        }
    }

    /// A push is written by `write`: behind every reply that is awaited, but before that of a blocking command. It is
    /// wanted even if replies are not (CLIENT REPLY OFF), as in Redis.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let alone = self.slots.len() == 1;
        match self.slots.back_mut() {
            None => write(&mut self.out),
            Some(Slot::Awaited(slot)) if slot.blocking && slot.left > 0 => {
                if alone {
                    write(&mut self.out);
                } else {
                    let before = slot.early.len();
                    write(&mut slot.early);
                    self.lined_up += slot.early.len() - before;
                }
            }
            _ => write(self.lined_up()),
        }
    }

    /// Replies of the commands from here on are wanted, or not.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Whether they are not.
    pub fn muted(&self) -> bool {
        self.muted
    }

    /// A place for one reply that will come later; its number.
    pub fn await_one(&mut self, proto: Proto) -> u64 {
        self.await_reply(proto, self.muted)
    }

    /// A place for pushes that answer a command (SUBSCRIBE): wanted even if replies are not.
    pub fn await_pushes(&mut self, proto: Proto) -> u64 {
        self.await_reply(proto, false)
    }

    fn await_reply(&mut self, proto: Proto, muted: bool) -> u64 {
        if let Some(Slot::Ready(bytes)) = self.slots.back() {
            self.lined_up += bytes.len();
        }
        self.slots.push_back(Slot::Awaited(Awaited { left: 1, early: Vec::new(), proto, muted, blocking: false }));
        self.owed += 1;
        self.first + self.slots.len() as u64 - 1
    }

    /// The place that was just taken is for the reply of a command that may take for ever.
    pub fn mark_blocking(&mut self, seq: u64) {
        if seq + 1 == self.first + self.slots.len() as u64
            && let Some(Slot::Awaited(slot)) = self.slots.back_mut()
        {
            slot.blocking = true;
        }
    }

    /// The place that was just taken is not needed after all.
    pub fn take_back(&mut self, seq: u64) {
        if seq + 1 == self.first + self.slots.len() as u64 {
            self.slots.pop_back();
            self.owed -= 1;
            if let Some(Slot::Ready(bytes)) = self.slots.back() {
                self.lined_up -= bytes.len();
            }
        }
    }

    /// One more reply from where those of slot `seq` come from, if that slot is the last one.
    #[inline]
    pub fn await_more(&mut self, seq: u64) -> bool {
        let last = self.first + self.slots.len() as u64;
        if seq.wrapping_add(1) != last {
            return false;
        }
        match self.slots.back_mut() {
            Some(Slot::Awaited(slot)) if slot.muted == self.muted && !slot.blocking && slot.left > 0 => {
                slot.left += 1;
                self.owed += 1;
                true
            }
            _ => false,
        }
    }

    /// The protocol version in which slot `seq` is to be answered.
    pub fn proto(&self, seq: u64) -> Option<Proto> {
        match self.slots.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)? {
            Slot::Awaited(slot) => Some(slot.proto),
            Slot::Ready(_) => None,
        }
    }

    /// `count` replies for slot `seq` are written by `write`.
    pub fn arrive(&mut self, seq: u64, count: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(at) = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let Some(Slot::Awaited(slot)) = self.slots.get_mut(at) else { return };
        slot.left -= count.min(slot.left);
        self.owed -= (count as usize).min(self.owed);
        if slot.muted {
            // Not even written.
        } else if at == 0 {
            write(&mut self.out);
        } else {
            let before = slot.early.len();
            write(&mut slot.early);
            self.lined_up += slot.early.len() - before;
        }
        if at == 0 && slot.left == 0 {
            self.advance();
        }
    }

    /// Moves what is complete from the front of the line to the output.
    fn advance(&mut self) {
        while !self.slots.is_empty() {
            let last = self.slots.len() == 1;
            match &mut self.slots[0] {
                Slot::Ready(bytes) => {
                    if !last {
                        self.lined_up -= bytes.len();
                    }
                    append(&mut self.out, bytes);
                }
                Slot::Awaited(slot) => {
                    self.lined_up -= slot.early.len();
                    append(&mut self.out, &mut slot.early);
                    if slot.left > 0 {
                        return;
                    }
                }
            }
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.capacity() > 1024 {
            self.slots.shrink_to(16);
        }
    }

    /// The number of the last place in the line; of none, that of the one before the next.
    pub fn newest(&self) -> u64 {
        (self.first + self.slots.len() as u64).saturating_sub(1)
    }

    /// Commands whose replies are awaited.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Whether every reply is in the output.
    pub fn complete(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that wait for an awaited reply before them.
    pub fn held(&self) -> usize {
        let last = match self.slots.back() {
            Some(Slot::Ready(bytes)) => bytes.len(),
            _ => 0,
        };
        self.lined_up + last
    }

    /// Bytes that the client has not taken yet.
    pub fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Bytes of replies that are kept for the client.
    pub fn waiting(&self) -> usize {
        self.unsent() + self.held()
    }

    /// The bytes to send next.
    pub fn to_send(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The socket took `count` bytes. An emptied buffer is given back: an idle client keeps none.
    pub fn mark_sent(&mut self, count: usize) -> Option<Vec<u8>> {
        self.sent += count;
        if self.sent < self.out.len() {
            // A client that is always a little behind must not make the buffer grow for ever.
            if self.sent >= COMPACT && self.sent >= self.out.len() / 2 {
                self.out.drain(..self.sent);
                self.sent = 0;
            }
            return None;
        }
        self.sent = 0;
        self.out.clear();
        (self.out.capacity() > KEPT).then(|| std::mem::take(&mut self.out))
    }

    /// Takes over an emptied buffer that another session gave back.
    pub fn adopt(&mut self, buffer: Vec<u8>) {
        if self.out.capacity() == 0 {
            self.out = buffer;
        }
    }

    /// Whether the output has no buffer.
    pub fn bare(&self) -> bool {
        self.out.capacity() == 0
    }

    /// The client is gone or will be closed at once: nothing more is kept for it.
    pub fn abandon(&mut self) {
        *self = Self { first: self.first + self.slots.len() as u64, ..Self::default() };
    }
}

/// An output buffer of up to this size stays with its session.
const KEPT: usize = 1024;
/// Sent bytes beyond this leave the buffer as soon as they are half of it, so that each byte moves once on average.
const COMPACT: usize = 64 << 10;

fn append(out: &mut Vec<u8>, bytes: &mut Vec<u8>) {
    if out.is_empty() && bytes.len() > KEPT {
        *out = std::mem::take(bytes);
    } else {
        out.append(bytes);
    }
}

/// Writes a reply that is kept in RESP3 form for a client of either version.
#[inline]
pub fn write_resp3(out: &mut Vec<u8>, proto: Proto, reply: &[u8], shape: Shape, same_in_both: bool) {
    if proto == Proto::Resp3 || same_in_both {
        out.extend_from_slice(reply);
    } else if convert::to_resp2(reply, shape, out).is_err() {
        encode::error(out, "ERR the upstream's reply cannot be told in RESP2");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(replies: &mut Replies, seq: u64, count: u32, text: &[u8]) {
        replies.arrive(seq, count, |out| out.extend_from_slice(text));
    }

    #[test]
    fn replies_leave_in_the_order_of_their_commands() {
        let mut replies = Replies::default();
        replies.now().extend_from_slice(b"1");
        let second = replies.await_one(Proto::Resp2);
        replies.now().extend_from_slice(b"3");
        let fourth = replies.await_one(Proto::Resp2);
        assert!(replies.await_more(fourth) && !replies.await_more(second));
        replies.now().extend_from_slice(b"6");
        arrive(&mut replies, fourth, 1, b"4");
        assert_eq!(replies.to_send(), b"1");
        arrive(&mut replies, second, 1, b"2");
        assert_eq!(replies.to_send(), b"1234");
        arrive(&mut replies, fourth, 1, b"5");
        assert_eq!(replies.to_send(), b"123456");
        assert!(replies.complete() && replies.owed() == 0);
    }

    #[test]
    fn an_unwanted_reply_leaves_no_trace_and_does_not_hold_up_others() {
        let mut replies = Replies::default();
        replies.mute(true);
        replies.now().extend_from_slice(b"no");
        let seq = replies.await_one(Proto::Resp2);
        replies.mute(false);
        replies.now().extend_from_slice(b"yes");
        arrive(&mut replies, seq, 1, b"no");
        assert_eq!(replies.to_send(), b"yes");
    }

    #[test]
    fn what_a_slow_client_has_taken_does_not_stay() {
        let mut replies = Replies::default();
        for _ in 0..1000 {
            replies.now().extend_from_slice(&[b'x'; 100_000]);
            replies.mark_sent(if replies.unsent() > 300_000 { 100_000 } else { 10 });
        }
        assert!(replies.out.capacity() < 4 << 20, "{} bytes", replies.out.capacity());
    }

    #[test]
    fn what_waits_for_a_reply_before_it_is_counted() {
        let mut replies = Replies::default();
        replies.now().extend_from_slice(b"out");
        let first = replies.await_one(Proto::Resp2);
        replies.now().extend_from_slice(b"ready");
        assert_eq!(replies.held(), 5);
        let gone = replies.await_one(Proto::Resp2);
        assert_eq!(replies.held(), 5);
        replies.take_back(gone);
        assert_eq!(replies.held(), 5);
        let second = replies.await_one(Proto::Resp2);
        assert!(replies.await_more(second));
        arrive(&mut replies, second, 1, b"early");
        replies.now().extend_from_slice(b"last");
        assert_eq!(replies.held(), 14);
        arrive(&mut replies, first, 1, b"first");
        assert_eq!((replies.held(), replies.to_send()), (4, &b"outfirstreadyearly"[..]));
        arrive(&mut replies, second, 1, b"second");
        assert_eq!((replies.held(), replies.unsent()), (0, 28));
        assert!(replies.complete());
    }

    #[test]
    fn a_push_lines_up_behind_what_is_awaited_and_in_front_of_what_is_not_yet() {
        let mut replies = Replies::default();
        replies.push(|out| out.extend_from_slice(b"p1"));
        let first = replies.await_one(Proto::Resp3);
        replies.push(|out| out.extend_from_slice(b"p2"));
        replies.now().extend_from_slice(b"r");
        replies.push(|out| out.extend_from_slice(b"p3"));
        assert_eq!(replies.to_send(), b"p1");
        arrive(&mut replies, first, 1, b"first");
        assert_eq!(replies.to_send(), b"p1firstp2rp3");
    }

    #[test]
    fn a_push_does_not_wait_for_a_command_that_may_take_for_ever() {
        let mut replies = Replies::default();
        let first = replies.await_one(Proto::Resp3);
        let blocking = replies.await_one(Proto::Resp3);
        replies.mark_blocking(blocking);
        replies.push(|out| out.extend_from_slice(b"p1"));
        assert_eq!((replies.to_send(), replies.held()), (&b""[..], 2));
        arrive(&mut replies, first, 1, b"first");
        assert_eq!((replies.to_send(), replies.held()), (&b"firstp1"[..], 0));
        replies.push(|out| out.extend_from_slice(b"p2"));
        assert_eq!(replies.to_send(), b"firstp1p2");
        arrive(&mut replies, blocking, 1, b"last");
        replies.push(|out| out.extend_from_slice(b"p3"));
        assert_eq!(replies.to_send(), b"firstp1p2lastp3");
        assert!(replies.complete());
    }

    #[test]
    fn the_reply_of_a_blocking_command_that_came_early_stays_before_later_pushes() {
        let mut replies = Replies::default();
        let first = replies.await_one(Proto::Resp3);
        let blocking = replies.await_one(Proto::Resp3);
        replies.mark_blocking(blocking);
        assert!(!replies.await_more(blocking));
        replies.push(|out| out.extend_from_slice(b"p1"));
        arrive(&mut replies, blocking, 1, b"blocking");
        replies.push(|out| out.extend_from_slice(b"p2"));
        arrive(&mut replies, first, 1, b"first");
        assert_eq!(replies.to_send(), b"firstp1blockingp2");
        assert!(replies.complete() && replies.held() == 0);
    }

    #[test]
    fn pushes_are_wanted_though_replies_are_not() {
        let mut replies = Replies::default();
        replies.mute(true);
        let seq = replies.await_pushes(Proto::Resp2);
        replies.now().extend_from_slice(b"no");
        replies.push(|out| out.extend_from_slice(b"p2"));
        arrive(&mut replies, seq, 1, b"p1");
        assert_eq!(replies.to_send(), b"p1p2");
    }

    #[test]
    fn a_late_reply_for_an_abandoned_session_is_dropped() {
        let mut replies = Replies::default();
        let seq = replies.await_one(Proto::Resp2);
        replies.abandon();
        arrive(&mut replies, seq, 1, b"late");
        assert!(replies.to_send().is_empty() && replies.complete());
    }
}
