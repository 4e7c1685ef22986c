//! Look, decide, and write on the condition that nobody has written since: compare and swap.
//!
//! What is written again with the time that it had left must not live longer for it: the node tells whole seconds, and
//! when its clock ticks between the look and the write, the same number means an end one second later. So the time left
//! is asked for once more right in front of the write, in the same bytes; if it has ticked, the write is corrected.
//! Without that, a counter that is written many times in a second would never expire.

use super::{Step, Work};
use crate::keyvalue::{Condition, Conditions, Extended, Refusal};
use crate::resp::{encode, number};
use crate::upstream::memcached::desk::{Desk, Guard, Item};
use crate::upstream::memcached::expiry::Life;
use crate::upstream::memcached::meta::{Flags, Kind, Reply, Request};

/// Looks at most; each but the first because somebody else was quicker.
const MOST_LOOKS: u32 = 64;
/// Corrections of a time at most: each needs a tick of the node's clock between two requests.
const MOST_CORRECTIONS: u32 = 4;
/// Redis's longest string.
const LONGEST: u64 = 512 * 1024 * 1024;

/// What is to be done to a key.
#[derive(Debug)]
pub(super) enum What {
    /// Put behind what is there.
    Append(Box<[u8]>),
    /// `life`: `None` keeps the one that is there. `old`: the reply is what was there.
    Set {
        value: Box<[u8]>,
        condition: Condition,
        life: Option<Life>,
        old: bool,
    },
    /// Read and delete.
    Take,
    Add(i64),
    AddFloat(Extended),
    /// End at an instant, if the conditions hold.
    EndIf(Conditions, i64),
    /// Live for ever.
    Persist,
}

/// A command of several steps.
#[derive(Debug)]
pub(in crate::upstream::memcached) struct Change {
    key: Box<[u8]>,
    what: What,
    looks: u32,
    /// The version that the node did not append to.
    refused: Option<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The look's answer is awaited.
    Looking,
    /// That of the write.
    Writing(Writing),
    /// That of the look before a correction.
    Correcting(Writing),
}

/// A write under way.
#[derive(Debug, Default)]
struct Writing {
    /// The command's reply, if it succeeds.
    answer: Vec<u8>,
    /// The version that it replaces.
    before: Option<u64>,
    /// When the key ends, if the node would do so too late.
    life: Option<Life>,
    /// Where the key is to keep its time.
    kept: Option<Kept>,
}

/// A value that is written again with the time that its key had left.
#[derive(Debug)]
struct Kept {
    value: Box<[u8]>,
    client: u32,
    /// Seconds left at the look, of which `less` are too many.
    ttl: i64,
    less: i64,
    /// Seconds left, and the version, right in front of the write.
    again: Option<Flags>,
    corrections: u32,
}

impl Change {
    pub(super) fn begin(key: &[u8], what: What, desk: &mut Desk<'_>) -> Work {
        let mut change = Self { key: key.into(), what, looks: 0, refused: None, stage: Stage::Looking };
        change.look(desk);
        Work::Change(Box::new(change))
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    fn look(&mut self, desk: &mut Desk<'_>) {
        self.looks += 1;
        self.stage = Stage::Looking;
        let flags = match &self.what {
            What::Append(_) => " s c",
            What::Set { life: None, old: true, .. } | What::Add(_) | What::AddFloat(_) => " v c t f",
            What::Set { life: None, old: false, .. } => " c t f",
            What::Set { .. } | What::Take => " v c",
            What::EndIf(..) | What::Persist => " t c",
        };
        desk.get(&self.key, flags);
    }

    pub(super) fn take(&mut self, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Step {
        if reply.kind == Kind::ServerError {
            // (A look in front of a write is refused where the write is, too: its own answer is still to come.)
            if let Stage::Writing(Writing { kept: Some(kept), .. }) = &mut self.stage
                && kept.again.is_none()
            {
                kept.again = Some(Flags::default());
                return Step::More;
            }
            desk.fail(reply);
            return Step::Done;
        }
        match std::mem::replace(&mut self.stage, Stage::Looking) {
            Stage::Looking => match self.decide(reply, desk) {
                Ok(Some(writing)) => {
                    self.stage = Stage::Writing(writing);
                    Step::More
                }
                Ok(None) => Step::Done,
                Err(refusal) => {
                    encode::error(desk.reply, refusal.text());
                    Step::Done
                }
            },
            Stage::Writing(writing) => self.written(writing, reply, desk),
            Stage::Correcting(mut writing) => {
                let ours = reply.flags.cas.is_some() && reply.flags.cas == writing.before;
                match (&mut writing.kept, reply.flags.ttl) {
                    (Some(kept), Some(ttl)) if ours && ttl >= 0 => {
                        kept.ttl = ttl;
                        self.rewrite(&writing, desk);
                        self.stage = Stage::Writing(writing);
                        Step::More
                    }
                    // Somebody else has written meanwhile: it is no longer ours to correct.
                    _ => finish(&writing, desk),
                }
            }
        }
    }

    /// The answer to a write.
    fn written(&mut self, mut writing: Writing, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Step {
        if let Some(kept) = &mut writing.kept
            && kept.again.is_none()
        {
            kept.again = Some(reply.flags);
            self.stage = Stage::Writing(writing);
            return Step::More;
        }
        let corrected = writing.kept.as_ref().is_some_and(|kept| kept.corrections > 0);
        if !matches!(reply.kind, Kind::Done | Kind::Value) {
            if corrected {
                return finish(&writing, desk);
            }
            if self.looks >= MOST_LOOKS {
                let address = &desk.server.address;
                let text = format!(
                    "ERR other clients of memcached at {address} kept changing this key; nothing was written in \
                     {MOST_LOOKS} attempts, try again"
                );
                encode::error(desk.reply, &text);
                return Step::Done;
            }
            if reply.kind == Kind::NotStored {
                self.refused = writing.before;
            }
            self.look(desk);
            return Step::More;
        }
        let cas = reply.flags.cas;
        match writing.life {
            // EXPIRE sets a life and leaves the version as it is.
            Some(life) if life.exact.is_some() => desk.note(&self.key, cas, life.exact),
            Some(_) => desk.server.deadlines.forget(&self.key),
            None => {
                if let (Some(before), Some(cas)) = (writing.before, cas) {
                    desk.server.deadlines.renew(&self.key, before, cas);
                }
            }
        }
        if let (Some(kept), Some(cas)) = (&mut writing.kept, cas) {
            let again = kept.again.take().unwrap_or_default();
            let less = again.ttl.map_or(0, |now| kept.ttl - now);
            if again.cas == writing.before && less > 0 && kept.corrections < MOST_CORRECTIONS {
                kept.less = less;
                kept.corrections += 1;
                writing.before = Some(cas);
                desk.get(&self.key, " t c");
                self.stage = Stage::Correcting(writing);
                return Step::More;
            }
        }
        finish(&writing, desk)
    }

    /// Writes a kept value, behind one more look at the time that is left.
    fn rewrite(&self, writing: &Writing, desk: &mut Desk<'_>) {
        let (Some(kept), Some(before)) = (&writing.kept, writing.before) else { return };
        desk.get(&self.key, " t c");
        let left = if kept.ttl < 0 { -1 } else { (kept.ttl - kept.less).max(0) };
        let life = Life::left(left, desk.now());
        let mut request = Request::set(desk.out, &self.key, &kept.value);
        for (flag, number) in [(b'T', life.seconds), (b'F', kept.client.into())] {
            if number != 0 {
                request = request.number(flag, number);
            }
        }
        request.only_if(before).flags(" c").value(&kept.value);
        desk.asked += 1;
    }

    /// What the look makes of the command: a write under way, or its reply.
    fn decide(&self, reply: &Reply<'_>, desk: &mut Desk<'_>) -> Result<Option<Writing>, Refusal> {
        let flags = reply.flags;
        // (A reply without the number that was asked for cannot be guarded: taken for a key that changes all the time.)
        let cas = matches!(reply.kind, Kind::Done | Kind::Value).then(|| flags.cas.unwrap_or(u64::MAX));
        match &self.what {
            What::Append(tail) => {
                let size = cas.and(flags.size).unwrap_or_default();
                let len = size + tail.len() as u64;
                if len > LONGEST {
                    return Err(Refusal::TOO_LONG);
                }
                let Some(cas) = cas else {
                    return Ok(Some(self.create(tail, Life::FOREVER, integer(len as i64), desk)));
                };
                if self.refused == Some(cas) {
                    // Nobody else was quicker: this is how the node says that the whole does not fit.
                    return Err(desk.too_large());
                }
                Request::set(desk.out, &self.key, tail).flags(" MA c").only_if(cas).value(tail);
                desk.asked += 1;
                Ok(Some(Writing { answer: integer(len as i64), before: Some(cas), ..Writing::default() }))
            }
            What::Set { value, condition, life, old } => {
                let mut answer = Vec::new();
                match (old, cas) {
                    (false, _) => encode::ok(&mut answer),
                    (true, None) => encode::null(&mut answer, desk.proto),
                    (true, Some(_)) => encode::bulk(&mut answer, reply.value),
                }
                let Some(cas) = cas else {
                    if *condition == Condition::Present {
                        desk.null();
                        return Ok(None);
                    }
                    return Ok(Some(self.create(value, life.unwrap_or(Life::FOREVER), answer, desk)));
                };
                if *condition == Condition::Absent {
                    if *old {
                        desk.reply.append(&mut answer);
                    } else {
                        desk.null();
                    }
                    return Ok(None);
                }
                let Some(life) = *life else {
                    return Ok(Some(self.keep(value, cas, flags, answer, desk)));
                };
                desk.set(&self.key, Item { value, life, flags: 0 }, Guard::Unchanged(cas));
                Ok(Some(Writing { answer, before: Some(cas), life: Some(life), kept: None }))
            }
            What::Take => {
                let Some(cas) = cas else {
                    desk.null();
                    return Ok(None);
                };
                desk.delete(&self.key, Some(cas));
                let mut answer = Vec::new();
                encode::bulk(&mut answer, reply.value);
                Ok(Some(Writing { answer, before: Some(cas), ..Writing::default() }))
            }
            What::Add(increment) => self.add(*increment, cas, reply, desk).map(Some),
            What::AddFloat(increment) => {
                let old = match cas {
                    Some(_) => Extended::parse(reply.value).ok_or(Refusal::FLOAT)?,
                    None => Extended::ZERO,
                };
                let text = old.plus(*increment).text().ok_or(Refusal::FLOAT_OVERFLOW)?;
                let mut answer = Vec::new();
                encode::bulk(&mut answer, text.as_bytes());
                Ok(Some(match cas {
                    None => self.create(text.as_bytes(), Life::FOREVER, answer, desk),
                    Some(cas) => self.keep(text.as_bytes(), cas, flags, answer, desk),
                }))
            }
            What::EndIf(conditions, unix_ms) => {
                let left = desk.left_ms(&self.key, &flags);
                let current = (left >= 0).then(|| desk.now().unix_ms().saturating_add(left));
                let Some(cas) = cas.filter(|_| conditions.allow(current, *unix_ms)) else {
                    desk.integer(0);
                    return Ok(None);
                };
                let life = desk.until(*unix_ms);
                if life.is_over() {
                    desk.delete(&self.key, Some(cas));
                } else {
                    desk.touch(&self.key, life, "");
                }
                Ok(Some(Writing { answer: integer(1), before: Some(cas), life: Some(life), kept: None }))
            }
            What::Persist => {
                if cas.is_none() || flags.ttl.is_none_or(|ttl| ttl < 0) {
                    desk.integer(0);
                    return Ok(None);
                }
                desk.touch(&self.key, Life::FOREVER, "");
                Ok(Some(Writing { answer: integer(1), life: Some(Life::FOREVER), ..Writing::default() }))
            }
        }
    }

    /// INCR and its kin. The node's own arithmetic keeps the time to live as it is, and is used where it does what Redis
    /// does: it knows no sign, and pads a number that has become shorter with spaces.
    fn add(
        &self,
        increment: i64,
        cas: Option<u64>,
        reply: &Reply<'_>,
        desk: &mut Desk<'_>,
    ) -> Result<Writing, Refusal> {
        let old = match cas {
            Some(_) => number::integer(reply.value).ok_or(Refusal::INTEGER)?,
            None => 0,
        };
        let new = old.checked_add(increment).ok_or(Refusal::OVERFLOW)?;
        let mut text = Vec::new();
        number::write(&mut text, new);
        let Some(cas) = cas else {
            return Ok(self.create(&text, Life::FOREVER, integer(new), desk));
        };
        if old < 0 || new < 0 || text.len() < reply.value.len() {
            return Ok(self.keep(&text, cas, reply.flags, integer(new), desk));
        }
        let mode = if increment < 0 { " MD c" } else { " c" };
        let request = Request::arithmetic(desk.out, &self.key).flags(mode).only_if(cas);
        // Of two numbers that are not negative the difference is one of 63 bits.
        request.number(b'D', increment.saturating_abs()).end();
        desk.asked += 1;
        Ok(Writing { answer: integer(new), before: Some(cas), ..Writing::default() })
    }

    /// A key that was not there.
    fn create(&self, value: &[u8], life: Life, answer: Vec<u8>, desk: &mut Desk<'_>) -> Writing {
        desk.set(&self.key, Item { value, life, flags: 0 }, Guard::Absent);
        Writing { answer, life: Some(life), ..Writing::default() }
    }

    /// Another value in a key that keeps its time and its flags.
    fn keep(&self, value: &[u8], cas: u64, seen: Flags, answer: Vec<u8>, desk: &mut Desk<'_>) -> Writing {
        let ttl = seen.ttl.unwrap_or(-1);
        let kept = Kept { value: value.into(), client: seen.client, ttl, less: 0, again: None, corrections: 0 };
        let writing = Writing { answer, before: Some(cas), life: None, kept: Some(kept) };
        self.rewrite(&writing, desk);
        writing
    }
}

fn finish(writing: &Writing, desk: &mut Desk<'_>) -> Step {
    desk.reply.extend_from_slice(&writing.answer);
    Step::Done
}

fn integer(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    encode::integer(&mut out, value);
    out
}

#[cfg(test)]
mod tests;
