//! What happens on a lane, as its endpoint's breaker hears of it.

use super::{ENDLESS, Lane, Receiver};
use crate::clock::Micros;
use crate::upstream::Failure;
use crate::upstream::breaker;

impl<R: Receiver + 'static> Lane<R> {
    /// What a reply says of the endpoint's health.
    #[inline]
    pub(super) fn judge(&self, reply: &[u8], now: Micros) {
        if reply[0] == b'-'
            && let Some(why) = breaker::signal(reply, &self.breaker)
        {
            return self.breaker.failed(now, 1, None, || why.to_owned());
        }
        self.breaker.succeeded();
    }

    /// Tells the breaker of a failure. Nobody is to blame for a connection that ended while nothing was awaited.
    pub(super) fn blame(&self, failure: &Failure, begun: Micros) {
        let inner = self.inner.borrow();
        let awaited = inner.pending.iter().fold(0u32, |sum, pending| match pending.count {
            ENDLESS => sum.saturating_add(1),
            count => sum.saturating_add(count),
        });
        let oldest = inner.pending.front().map(|pending| pending.sent_at);
        let cut = inner.cut;
        drop(inner);
        breaker::blame(&self.breaker, failure, if cut { 0 } else { awaited }, begun.max(oldest.unwrap_or(begun)));
    }
}
