//! How many connections of an upstream are leased, and whose turn it is when there are no more.
//!
//! First come, first served, whichever workers the sessions live on: a lease that comes back while sessions wait is not
//! free for anybody, it is granted to the one that has waited longest, which takes it when it is woken.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A session that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The worker it lives on.
    pub worker: u16,
    /// Its number.
    pub session: u64,
}

/// The leases of one upstream.
#[derive(Debug, Default)]
pub struct Leases {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Leases that are taken or granted.
    out: usize,
    /// Who waits. At most one place for each session, which goes on with nothing else meanwhile.
    queue: VecDeque<Ticket>,
    /// Whose turn it is.
    granted: HashSet<Ticket>,
}

/// What came of asking for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is taken.
    Now,
    /// Later: the session will be told.
    Later,
}

impl Leases {
    /// Takes a lease if fewer than `most` are out, or it was granted; else waits for one.
    pub fn take(&self, ticket: Ticket, most: usize) -> Turn {
        let mut inner = self.lock();
        if inner.granted.remove(&ticket) {
            return Turn::Now;
        }
        if inner.out < most {
            inner.out += 1;
            return Turn::Now;
        }
        inner.queue.push_back(ticket);
        Turn::Later
    }

    /// The same for a session that waits already.
    pub fn take_granted(&self, ticket: Ticket) -> Turn {
        if self.lock().granted.remove(&ticket) { Turn::Now } else { Turn::Later }
    }

    /// A lease comes back. Whose turn it is now, to be told.
    #[must_use]
    pub fn give_back(&self) -> Option<Ticket> {
        self.lock().pass_on()
    }

    /// A session waits no more. Whose turn it is instead, to be told.
    #[must_use]
    pub fn leave(&self, ticket: Ticket) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.granted.remove(&ticket) {
            return inner.pass_on();
        }
        inner.queue.retain(|waiting| *waiting != ticket);
        None
    }

    /// How many are out.
    pub fn out(&self) -> usize {
        self.lock().out
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let inner = self.lock();
        inner.queue.len() + inner.granted.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every section under this lock leaves the three in step or has not begun to change them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn pass_on(&mut self) -> Option<Ticket> {
        let next = self.queue.pop_front();
        match next {
            Some(ticket) => {
                self.granted.insert(ticket);
            }
            None => self.out = self.out.saturating_sub(1),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(session: u64) -> Ticket {
        Ticket { worker: 0, session }
    }

    #[test]
    fn who_has_waited_longest_is_next_and_nobody_overtakes() {
        let leases = Leases::default();
        assert_eq!(
            [1, 2, 3, 4].map(|session| leases.take(ticket(session), 2)),
            [Turn::Now, Turn::Now, Turn::Later, Turn::Later]
        );
        assert_eq!(leases.give_back(), Some(ticket(3)));
        assert_eq!(leases.take(ticket(5), 2), Turn::Later, "the lease that came back is the third's");
        assert_eq!(leases.take_granted(ticket(4)), Turn::Later);
        assert_eq!(leases.take_granted(ticket(3)), Turn::Now);
        assert_eq!(leases.out(), 2);
        assert_eq!((leases.give_back(), leases.give_back()), (Some(ticket(4)), Some(ticket(5))));
        assert_eq!(leases.out(), 2, "two are granted");
    }

    #[test]
    fn what_is_granted_to_one_that_has_left_goes_to_the_next() {
        let leases = Leases::default();
        assert_eq!(
            [1, 2, 3, 4].map(|session| leases.take(ticket(session), 1)),
            [Turn::Now, Turn::Later, Turn::Later, Turn::Later]
        );
        assert_eq!(leases.leave(ticket(3)), None, "it was not its turn");
        assert_eq!(leases.give_back(), Some(ticket(2)));
        assert_eq!(leases.leave(ticket(2)), Some(ticket(4)));
        assert_eq!(leases.leave(ticket(4)), None);
        assert_eq!((leases.leave(ticket(4)), leases.out()), (None, 0));
    }
}
