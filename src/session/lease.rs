//! An upstream connection that one session has to itself for a while.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::receiver::Receipt;
use super::transaction::Phase;
use super::{Ending, Session, State};
use crate::origin::Node;
use crate::resp::encode;
use crate::upstream::Identity;
use crate::upstream::lane::Lane;
use crate::worker::Worker;

/// A leased connection. Whichever way the lease ends, dropping it frees the connection: it goes back to be used again if
/// it was marked clean and owes nothing, else it is closed, which ends whatever it held at the server.
#[derive(Debug)]
pub struct Lease {
    /// The connection.
    pub lane: Rc<Lane<Receipt>>,
    /// Where it goes.
    pub node: Arc<Node>,
    worker: Rc<Worker>,
    clean: Cell<bool>,
    /// It is one of those that may be out.
    counts: Cell<bool>,
}

impl Lease {
    /// A lease that counts from now on.
    pub fn new(worker: &Rc<Worker>, node: &Arc<Node>, lane: Rc<Lane<Receipt>>) -> Self {
        Self {
            lane,
            node: Arc::clone(node),
            worker: Rc::clone(worker),
            clean: Cell::new(false),
            counts: Cell::new(true),
        }
    }

    /// A connection to another node in its place: nobody who waits for one can come in between.
    pub fn elsewhere(self, node: &Arc<Node>, identity: &Identity) -> Self {
        self.mark_clean();
        self.counts.set(false);
        let worker = Rc::clone(&self.worker);
        drop(self);
        worker.lease(node, identity)
    }

    /// Nothing of this session is left on the connection: no MULTI, no WATCH, no reply to come.
    pub fn mark_clean(&self) {
        self.clean.set(true);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.worker.put_by(&self.node, &self.lane, self.clean.get());
        if self.counts.get() {
            self.worker.give_back_lease(self.node.upstream);
        }
    }
}

// === impl Session ===

impl Session {
    /// The last reply that the session awaits on a connection leased to it is here.
    pub fn lease_done(&self, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        let gone = state.ending >= Ending::Now;
        if let Some(lease) = state.blocked.take() {
            self.client.block(None);
            state.unblocked = false;
            lease.mark_clean();
        } else if let Some(transaction) = &mut state.transaction {
            transaction.note_answer(reply);
            if !transaction.owes_an_end() && (gone || transaction.phase == Phase::Ending) {
                state.transaction = None;
            }
        }
        // What the client has sent meanwhile is served now.
        state.wake();
    }

    /// MULTI got an error: the server carries out what comes behind it instead of queueing it.
    pub fn multi_refused(&self, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        if let Some(transaction) = state.transaction.as_mut().filter(|transaction| transaction.queues()) {
            transaction.refused_with(reply, &self.worker.app.near);
        }
    }

    /// Ends MONITOR.
    pub fn end_monitor(&self) {
        self.state.borrow_mut().monitor = None;
    }

    /// The connection of MONITOR is gone. If the client has not ended it itself, it is told and closed, since it may wait
    /// for further lines and do nothing else.
    pub fn lose_monitor(&self, error: &str) {
        let lost = self.state.borrow_mut().monitor.take_if(|lease| lease.lane.closed());
        if lost.is_some() {
            let mut bytes = Vec::new();
            encode::error(&mut bytes, error);
            self.stream(&bytes);
            self.state.borrow_mut().end(Ending::AfterReplies);
        }
    }

    /// Gives up its place in the queue for a lease, if it has one.
    pub(super) fn want_no_lease(&self, state: &mut State) {
        if let Some((upstream, _)) = state.wants_lease.take() {
            self.worker.want_no_lease(upstream, self.id);
        }
    }
}
