//! What happens when the upstream's reply to a forwarded command is here, or will never be.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Session;
use crate::app::Origin;
use crate::cache::near::tally;
use crate::cache::{Fence, Waiter};
use crate::clock::Micros;
use crate::coherence;
use crate::resp::encode;
use crate::upstream::lane::Receiver;

/// Receives the replies of one or more commands of a session.
#[derive(Debug)]
pub struct Receipt {
    session: Rc<Session>,
    seq: u64,
    /// What a write has left to be done; reads have nothing.
    write: Option<Box<Write>>,
}

/// What remains to be done for the cache when a write's fate is known.
#[derive(Debug, Default)]
pub struct Write {
    /// Around its keys.
    pub fences: SmallVec<[Fence; 4]>,
    /// It may change every key (FLUSHALL).
    pub wholesale: bool,
    /// It may have changed keys that it does not name (a script).
    pub undeclared: bool,
}

impl Receipt {
    /// For a read.
    pub fn of_read(session: &Rc<Session>, seq: u64) -> Self {
        Self { session: Rc::clone(session), seq, write: None }
    }

    /// For a write.
    pub fn of_write(session: &Rc<Session>, seq: u64, write: Write) -> Self {
        Self { session: Rc::clone(session), seq, write: Some(Box::new(write)) }
    }

    /// Whatever was in the cache before the write is void, before anybody hears of its fate.
    fn settle(&self, origin: &Origin) {
        let Some(write) = &self.write else { return };
        let near = &self.session.worker.app.near;
        for fence in &write.fences {
            near.lift(*fence);
        }
        if write.wholesale {
            tally(&near.tallies.flushes);
            origin.coverage.end_wholesale();
        }
    }
}

impl Receiver for Receipt {
    fn replies(&mut self, bytes: &[u8], count: u32, latency: Micros) {
        let worker = &self.session.worker;
        worker.counters.upstream(count, latency.0);
        let mut opaque = false;
        if let (Some(write), Some(origin)) = (&self.write, worker.app.origin()) {
            self.settle(origin);
            opaque = write.undeclared || write.wholesale;
            if write.undeclared {
                if origin.mode() == Some(crate::upstream::tracked::Mode::Tracking) {
                    // The pushes that the write caused are on their way on another connection. Its reply is held
                    // until a barrier has come back behind them.
                    let waiter = Waiter { worker: worker.number, session: self.session.id, seq: self.seq };
                    if origin.tracked.submit(coherence::barrier(waiter, bytes)).is_ok() {
                        self.session.lane_done(count, 0);
                        return;
                    }
                }
                // No way to learn which keys it changed: nothing that was read before counts any more.
                worker.app.near.flush(&origin.coverage);
            }
        }
        self.session.lane_done(count, u32::from(opaque));
        self.session.deliver(self.seq, count, |out, _| out.extend_from_slice(bytes));
    }

    fn lost(&mut self, count: u32, error: &str) {
        let worker = &self.session.worker;
        worker.counters.upstream_failures.add(u64::from(count));
        let mut opaque = false;
        if let (Some(write), Some(origin)) = (&self.write, worker.app.origin()) {
            self.settle(origin);
            opaque = write.undeclared || write.wholesale;
            if write.undeclared {
                // It may have been carried out, and nothing tells when its pushes are through.
                worker.app.near.flush(&origin.coverage);
            }
        }
        self.session.lane_done(count, u32::from(opaque));
        self.session.deliver(self.seq, count, |out, _| {
            for _ in 0..count {
                encode::error(out, error);
            }
        });
    }

    fn takes(&self, (session, seq): (u64, u64)) -> bool {
        self.write.is_none() && self.session.id == session && self.seq == seq
    }
}
