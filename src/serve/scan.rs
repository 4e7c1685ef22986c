//! SCAN over several primaries: one after the other, each key that was there from beginning to end at least once.
//!
//! ```text
//!   stage 0 .. n-1     each primary, in the order of their ids
//!   then               what do the primaries say of their slots now?
//!                        not what the map says   -> from the beginning
//!                        some are importing      -> stage n + i, that primary once more
//!                        neither                 -> the end
//! ```
//!
//! A key may go from a primary that is still to be scanned to one that has been. If its slot has gone too, the slots'
//! owners are no longer those of the cursor, and the scan begins again. If the slot is still half-way, the primary that it
//! goes to says that it is importing, and is scanned once more. Both are asked of the primaries themselves at the end,
//! since the map may be a moment old. (Keys that move to a node without any slot, which no client knows yet, cannot be
//! returned: the client is told to try again.) On a ring of servers keys do not move, and the scan ends with the last of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::Flow;
use super::forward::{Nowhere, lane, own_place};
use crate::clock::Micros;
use crate::origin::{Map, Node, Origin};
use crate::resp::{Command, encode};
use crate::session::receiver::{Place, Receipt, Scan};
use crate::session::{Session, State};
use crate::upstream::Identity;
use crate::upstream::claims::Claims;
use crate::upstream::cursor::{self, Step};
use crate::upstream::lane::Receiver;

/// The primaries' answers to what they own, and how the scan goes on when all are here.
#[derive(Debug)]
pub struct Survey {
    /// The client's command, but for its name and cursor.
    options: Vec<Bytes>,
    scan: Scan,
    upstream: u16,
    identity: Identity,
    map: Arc<Map>,
    answers: RefCell<Vec<Option<Box<[u8]>>>>,
}

/// Serves one step of a scan.
pub(super) fn scan(
    session: &Rc<Session>,
    state: &mut State,
    origin: &Origin,
    map: &Map,
    command: &Command<'_>,
) -> Flow {
    let primaries = map.primaries();
    let stages = 2 * primaries.len();
    let place = match cursor::decode(command.arg(1), map.digest, stages) {
        None => {
            encode::error(state.replies.now(), cursor::INVALID);
            return Flow::Next;
        }
        Some(Step::At(place)) => place,
        Some(Step::Anew) => cursor::Place::default(),
    };
    let surveyed = place.stage >= primaries.len() && place.cursor == 0;
    if surveyed && !map.redirects() {
        // Keys of a ring do not move.
        cursor::write_reply(state.replies.now(), 0, b"*0\r\n");
        return Flow::Next;
    }
    let one = primaries.get(place.stage % primaries.len().max(1));
    let asked = if surveyed { primaries } else { one.map_or(&[][..], std::slice::from_ref) };
    if asked.is_empty() {
        encode::error(state.replies.now(), &Nowhere::Nobody.error(origin));
        return Flow::Next;
    }
    let mut lanes = Vec::with_capacity(asked.len());
    for primary in asked {
        let lane = lane(session, state, origin, &primary.node);
        if let Some(error) = lane.refusal(state.now) {
            origin.doubt.notify_one();
            encode::error(state.replies.now(), &error);
            return Flow::Next;
        }
        lanes.push(lane);
    }
    session.worker.counters.forwarded.add(lanes.len() as u64);
    state.lane_owed += 1;
    let scan = Scan { seq: own_place(state), stage: place.stage, digest: map.digest, stages };
    if !surveyed {
        let request = request(place.cursor, command.args(2));
        lanes[0].send(&request, (0, 0), state.now, || Receipt {
            place: Place::Scan(scan),
            ..Receipt::of_nobody(session, origin.number)
        });
        return Flow::Next;
    }
    let survey = Rc::new(Survey {
        options: command.args(2).map(Bytes::copy_from_slice).collect(),
        scan,
        upstream: origin.number,
        identity: state.identity(origin),
        map: origin.map(),
        answers: RefCell::new(vec![None; lanes.len()]),
    });
    let mut request = Vec::new();
    encode::command(&mut request, &[b"CLUSTER", b"NODES"]);
    for (index, lane) in lanes.iter().enumerate() {
        let place = Place::Survey(Rc::clone(&survey), index);
        lane.send(&request, (0, 0), state.now, || Receipt { place, ..Receipt::of_nobody(session, origin.number) });
    }
    Flow::Next
}

fn request<'a>(cursor: u64, options: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let cursor = cursor.to_string();
    let options: Vec<&[u8]> = options.collect();
    let mut request = Vec::new();
    encode::command(&mut request, &[&[b"SCAN", cursor.as_bytes()], &options[..]].concat());
    request
}

/// What comes next.
enum Next {
    /// Everything has been returned.
    End,
    /// The slots have other owners than when the scan began.
    Anew,
    /// This primary once more.
    Again(usize),
}

impl Survey {
    /// An answer is here; with the last one the scan goes on.
    pub fn answered(&self, session: &Rc<Session>, index: usize, reply: &[u8]) {
        {
            let mut answers = self.answers.borrow_mut();
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(reply.into());
            }
            if answers.iter().any(Option::is_none) {
                return;
            }
        }
        let worker = &session.worker;
        let Some(origin) = worker.app.origin(self.upstream) else { return };
        let (stage, map) = match self.next() {
            Err(error) => return self.deliver(session, |out| out.extend_from_slice(&error)),
            Ok(Next::End) => return self.deliver(session, |out| cursor::write_reply(out, 0, b"*0\r\n")),
            Ok(Next::Again(primary)) => (self.map.primaries().len() + primary, Arc::clone(&self.map)),
            Ok(Next::Anew) => {
                origin.doubt.notify_one();
                (0, origin.map())
            }
        };
        let count = map.primaries().len();
        let node: Option<&Arc<Node>> = map.primaries().get(stage % count.max(1)).map(|primary| &primary.node);
        let Some(node) = node else {
            return self.deliver(session, |out| encode::error(out, &origin.nobody()));
        };
        let lane = worker.lane(node, self.identity.clone());
        let scan = Scan { stage, digest: map.digest, stages: 2 * count, ..self.scan };
        let mut receipt = Receipt { place: Place::Scan(scan), ..Receipt::of_nobody(session, origin.number) };
        let now = Micros::now();
        match lane.refusal(now) {
            Some(error) => receipt.lost(1, &error),
            None => lane.send(&request(0, self.options.iter().map(|option| &**option)), (0, 0), now, || receipt),
        }
    }

    fn next(&self) -> Result<Next, Vec<u8>> {
        let answers = self.answers.borrow();
        let mut claims = Vec::with_capacity(answers.len());
        for answer in answers.iter().flatten() {
            let claim = Claims::of(answer).map_err(|unusable| match answer.first() {
                Some(b'-') => answer.to_vec(),
                _ => {
                    let mut error = Vec::new();
                    encode::error(&mut error, &format!("ERR {unusable}"));
                    error
                }
            });
            claims.push(claim?);
        }
        if !self.map.is_as_claimed(claims.iter().map(|claims| &*claims.ranges)) {
            return Ok(Next::Anew);
        }
        let stranger =
            claims.iter().flat_map(|claims| &claims.migrating).find(|id| claims.iter().all(|of| of.id != **id));
        if let Some(id) = stranger {
            let mut error = Vec::new();
            encode::error(&mut error, &format!("TRYAGAIN keys are moving to node {id}, which owns no slot yet"));
            return Err(error);
        }
        let from = self.scan.stage - self.map.primaries().len();
        let importing = claims.iter().enumerate().skip(from).find(|(_, claims)| claims.importing);
        Ok(importing.map_or(Next::End, |(primary, _)| Next::Again(primary)))
    }

    fn deliver(&self, session: &Session, write: impl FnOnce(&mut Vec<u8>)) {
        session.lane_done(1, 0);
        session.deliver(self.scan.seq, 1, |out, _| write(out));
    }

    /// The place of the client's reply in its line.
    pub fn seq(&self) -> u64 {
        self.scan.seq
    }
}
