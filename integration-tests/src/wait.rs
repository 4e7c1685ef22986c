//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen at all, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(3);

/// Looks until `condition` holds; fails the test when it does not within [`PATIENCE`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// Looks until `condition` holds; fails the test when it does not within `limit`.
pub fn until_within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "not within {limit:?}: {what}");
}

/// Whether `condition` comes to hold within `limit`.
pub fn holds_within(limit: Duration, condition: impl FnMut() -> bool) -> bool {
    holds_within_every(PAUSE, limit, condition)
}

/// The same, looking less often, where looking costs much.
pub fn holds_within_every(pause: Duration, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(pause);
    }
}

/// Whether `condition` holds every time that it is looked at for `span`.
pub fn stays_for(span: Duration, mut condition: impl FnMut() -> bool) -> bool {
    !holds_within(span, || !condition())
}
