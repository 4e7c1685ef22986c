//! A reply that is put together from the replies of several nodes.

use std::cell::RefCell;
use std::rc::Rc;

use super::Session;
use crate::resp::gather::Gather;

/// The parts that have come so far, and where the whole goes.
#[derive(Debug)]
pub struct Gathering {
    /// The place of the whole in the session's line.
    pub seq: u64,
    /// What stands before the whole.
    preface: Vec<u8>,
    gather: RefCell<Option<Gather>>,
}

impl Gathering {
    /// Waits for the parts of `gather`; the whole goes into slot `seq`.
    pub fn new(seq: u64, preface: Vec<u8>, gather: Gather) -> Rc<Self> {
        Rc::new(Self { seq, preface, gather: RefCell::new(Some(gather)) })
    }

    /// A part is here. With the last one the whole is delivered.
    pub fn part(&self, session: &Session, index: usize, reply: &[u8]) {
        self.take(session, |gather| gather.part(index, reply));
    }

    /// A part will never come, and the whole does without it.
    pub fn absent(&self, session: &Session, index: usize) {
        self.take(session, |gather| gather.absent(index));
    }

    fn take(&self, session: &Session, last: impl FnOnce(&mut Gather) -> bool) {
        let mut held = self.gather.borrow_mut();
        if held.as_mut().is_some_and(last)
            && let Some(gather) = held.take()
        {
            session.deliver(self.seq, 1, |out, _| {
                out.extend_from_slice(&self.preface);
                gather.finish(out);
            });
        }
    }
}
