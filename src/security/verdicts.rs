//! Verdicts on credentials, kept for a short time, so that a fleet of clients that reconnects at once does not cost the
//! upstream a connection per client.
//!
//! A verdict needs a time to live, a bound and nothing else, and is asked for once per login: what mini-moka is for. (The
//! near-cache, which is asked for every read, has a store of its own.)

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mini_moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::upstream::Credentials;

/// A good verdict is taken for this long: a password that was changed at the upstream opens new sessions no longer than
/// this. (Redis itself lets connections that have logged in live on.)
const GOOD: Duration = Duration::from_secs(60);
/// A refusal is taken for this long: enough to spare the upstream a client that tries again and again, too short to
/// keep out one whose user is being created.
const REFUSED: Duration = Duration::from_secs(1);
/// Verdicts of each sort; beyond, some are asked for again.
const MOST: u64 = 1000;
/// Verifications at the same time; the others wait, and mostly find their verdict then.
const AT_ONCE: usize = 8;

/// What the upstream says of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are those of the configuration, or as good as those: the same user.
    Configured,
    /// They are good, and of another user.
    Own,
    /// They are not; the upstream's words.
    Refused(Arc<str>),
}

/// The verdicts of one upstream.
pub struct Verdicts {
    good: Cache<Credentials, Verdict>,
    refused: Cache<Credentials, Verdict>,
    turns: Semaphore,
}

impl Default for Verdicts {
    fn default() -> Self {
        let cache = |life| Cache::builder().max_capacity(MOST).time_to_live(life).build();
        Self { good: cache(GOOD), refused: cache(REFUSED), turns: Semaphore::new(AT_ONCE) }
    }
}

impl fmt::Debug for Verdicts {
    /// Names neither users nor passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

impl Verdicts {
    /// What the upstream said of these credentials lately.
    pub fn known(&self, credentials: &Credentials) -> Option<Verdict> {
        self.good.get(credentials).or_else(|| self.refused.get(credentials))
    }

    /// Keeps what it said.
    pub fn keep(&self, credentials: &Credentials, verdict: &Verdict) {
        let cache = match verdict {
            Verdict::Refused(_) => &self.refused,
            Verdict::Configured | Verdict::Own => &self.good,
        };
        cache.insert(credentials.clone(), verdict.clone());
    }

    /// Waits until the upstream may be asked; the turn lasts until the permit is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_verdict_is_of_one_user_and_one_password() {
        let verdicts = Verdicts::default();
        let of = |user: Option<&str>, password: &str| Credentials {
            username: user.map(str::to_owned),
            password: Secret::new(password),
        };
        verdicts.keep(&of(Some("a"), "x"), &Verdict::Own);
        verdicts.keep(&of(Some("a"), "y"), &Verdict::Refused("WRONGPASS".into()));
        assert_eq!(verdicts.known(&of(Some("a"), "x")), Some(Verdict::Own));
        assert_eq!(verdicts.known(&of(Some("a"), "y")), Some(Verdict::Refused("WRONGPASS".into())));
        assert_eq!(verdicts.known(&of(Some("b"), "x")), None);
        assert_eq!(verdicts.known(&of(None, "x")), None);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let verdicts = Verdicts::default();
        let credentials = Credentials { username: Some("ann".into()), password: Secret::new("hush") };
        verdicts.keep(&credentials, &Verdict::Own);
        let printed = format!("{verdicts:?}");
        assert!(!printed.contains("ann") && !printed.contains("hush"), "{printed}");
    }
}
