//! The transaction in which the tracked connection reads: PTTL of each key, then the read itself.
//!
//! The node has no transactions. But one `mg` tells a value and its time to live as of one instant, and that is all this
//! one needs: each key is asked for once, and both answers are made of it. Nothing else is taken between MULTI and EXEC.

use super::Step;
use crate::clock::Micros;
use crate::keyvalue::Refusal;
use crate::resp::{Command, encode};
use crate::upstream::memcached::desk::Desk;
use crate::upstream::memcached::meta::{Kind, Reply};

/// What is gathered between MULTI and EXEC, and then the answers.
#[derive(Debug)]
pub(in crate::upstream::memcached) struct Batch {
    keys: Vec<Box<[u8]>>,
    read: Option<Read>,
    fault: Option<Refusal>,
    answered: usize,
    lives: Vec<u8>,
    values: Vec<u8>,
    count: i64,
    error: Vec<u8>,
}

/// The read of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Get,
    Mget,
    Exists,
    Strlen,
    Type,
}

impl Batch {
    /// MULTI.
    pub(in crate::upstream::memcached) fn new() -> Self {
        Self {
            keys: Vec::new(),
            read: None,
            fault: None,
            answered: 0,
            lives: Vec::new(),
            values: Vec::new(),
            count: 0,
            error: Vec::new(),
        }
    }

    /// Takes one command of it.
    pub(in crate::upstream::memcached) fn queue(&mut self, command: &Command<'_>) {
        let reads = [
            ("get", Read::Get),
            ("mget", Read::Mget),
            ("exists", Read::Exists),
            ("strlen", Read::Strlen),
            ("type", Read::Type),
        ];
        let read = reads.iter().find(|(name, _)| command.is(0, name)).map(|(_, read)| *read);
        if command.is(0, "pttl") && command.len() == 2 && self.read.is_none() {
            self.keys.push(command.arg(1).into());
        } else if let Some(read) = read
            && self.read.is_none()
            // One answer for each key, in this order.
            && command.args(1).eq(self.keys.iter().map(|key| &**key))
            && (command.len() == 2 || matches!(read, Read::Mget | Read::Exists))
        {
            self.read = Some(read);
        } else {
            self.fault =
                Some(Refusal::new("EXECABORT memcached has no transactions but PTTL and one read of the same keys"));
        }
    }

    /// EXEC: asks for each key once.
    pub(in crate::upstream::memcached) fn execute(&mut self, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        let Some(read) = self.read.filter(|_| self.fault.is_none() && !self.keys.is_empty()) else {
            let nothing =
                Refusal::new("EXECABORT memcached has no transactions but PTTL and one read of the same keys");
            return Err(self.fault.take().unwrap_or(nothing));
        };
        let flags = match read {
            Read::Get | Read::Mget => " v t c",
            Read::Strlen => " s t c",
            Read::Exists | Read::Type => " t c",
        };
        self.keys.iter().for_each(|key| desk.get(key, flags));
        Ok(())
    }

    pub(super) fn take(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Step {
        let key = &self.keys[self.answered];
        let over = desk.server.deadlines.left(key, reply.flags.cas, Micros::now()).is_some_and(|left| left.0 < 1000);
        // One that is about to be deleted is gone already for whoever would keep it.
        let there = matches!(reply.kind, Kind::Done | Kind::Value) && !over;
        encode::integer(&mut self.lives, if there { certain_ms(key, reply, desk) } else { -2 });
        match self.read {
            Some(Read::Get | Read::Mget) if there => encode::bulk(&mut self.values, reply.value),
            Some(Read::Get | Read::Mget) => encode::null(&mut self.values, desk.proto),
            Some(Read::Strlen) => {
                self.count =
                    reply.flags.size.filter(|_| there).map_or(0, |size| i64::try_from(size).unwrap_or(i64::MAX));
            }
            _ => self.count += i64::from(there),
        }
        if reply.kind == Kind::ServerError && self.error.is_empty() {
            let start = desk.reply.len();
            desk.fail(reply);
            self.error = desk.reply.split_off(start);
        }
        self.answered += 1;
        if self.answered < self.keys.len() {
            return Step::More;
        }
        self.finish(desk);
        Step::Done
    }

    fn finish(&self, desk: &mut Desk<'_>) {
        if !self.error.is_empty() {
            desk.reply.extend_from_slice(&self.error);
            return;
        }
        encode::array(desk.reply, self.keys.len() + 1);
        desk.reply.extend_from_slice(&self.lives);
        match self.read {
            Some(Read::Type) => encode::simple(desk.reply, if self.count > 0 { "string" } else { "none" }),
            Some(Read::Exists | Read::Strlen) => desk.integer(self.count),
            read => {
                if read == Some(Read::Mget) {
                    encode::array(desk.reply, self.keys.len());
                }
                desk.reply.extend_from_slice(&self.values);
            }
        }
    }
}

/// How long the key lives at least: the last of its seconds may be over at any moment.
fn certain_ms(key: &[u8], reply: &Reply<'_>, desk: &Desk<'_>) -> i64 {
    let known = desk.server.deadlines.left(key, reply.flags.cas, Micros::now());
    match (known, reply.flags.ttl) {
        (Some(left), _) => i64::try_from(left.0 / 1000).unwrap_or(i64::MAX),
        (None, None | Some(..0)) => -1,
        (None, Some(seconds)) => (seconds - 1).max(0).saturating_mul(1000),
    }
}

/// The reply to a command between MULTI and EXEC.
pub(in crate::upstream::memcached) fn queued(out: &mut Vec<u8>) {
    encode::simple(out, "QUEUED");
}
