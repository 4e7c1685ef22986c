//! Logging in: the upstream's users are the users, so it is the upstream that says whether a password is good.

use std::sync::Arc;

use super::verdicts::{Verdict, Verdicts};
use crate::resp::Proto;
use crate::upstream::{Credentials, Endpoint, Failure, Identity, wire};

/// The name under which the connections that are opened for this only are seen at the upstream.
const NAME: &str = "larder-auth";
/// Redis's user for who gives none.
const DEFAULT_USER: &str = "default";

/// What can be said of credentials without asking the upstream.
pub fn known(endpoint: &Endpoint, verdicts: &Verdicts, credentials: &Credentials) -> Option<Verdict> {
    if endpoint.credentials.as_ref().is_some_and(|own| same(own, credentials)) {
        return Some(Verdict::Configured);
    }
    verdicts.known(credentials)
}

/// Has the upstream judge credentials: by a connection that is opened with them.
///
/// # Errors
/// The upstream gave no answer.
pub async fn verify(
    endpoint: &Endpoint,
    verdicts: &Verdicts,
    credentials: &Arc<Credentials>,
) -> Result<Verdict, Failure> {
    let _turn = verdicts.turn().await;
    // While this one waited for its turn, another client may have come with the same.
    if let Some(verdict) = verdicts.known(credentials) {
        return Ok(verdict);
    }
    let verdict = ask(endpoint, credentials).await?;
    verdicts.keep(credentials, &verdict);
    Ok(verdict)
}

async fn ask(endpoint: &Endpoint, credentials: &Arc<Credentials>) -> Result<Verdict, Failure> {
    // RESP2, since AUTH and HELLO differ: with a password alone AUTH says when none is needed, HELLO takes any.
    let identity = |credentials| Identity { database: 0, proto: Proto::Resp2, credentials };
    match wire::open(endpoint, &identity(Some(Arc::clone(credentials))), NAME, &[]).await {
        Ok(wire) => wire.close().await,
        Err(Failure::Refused(words)) => return Ok(Verdict::Refused(words.into())),
        Err(failure) => return Err(failure),
    }
    let default_user = user(credentials) == DEFAULT_USER;
    if !default_user || endpoint.credentials.is_some() {
        return Ok(Verdict::Own);
    }
    // The default user, as which the configuration speaks too, if the upstream lets it without a password.
    match wire::open(endpoint, &identity(None), NAME, &[&[b"PING"]]).await {
        Ok(wire) => {
            wire.close().await;
            Ok(Verdict::Configured)
        }
        Err(_) => Ok(Verdict::Own),
    }
}

/// Whose credentials they are.
pub fn user(credentials: &Credentials) -> &str {
    credentials.username.as_deref().unwrap_or(DEFAULT_USER)
}

/// Whether both are the same user's with the same password. The time does not tell how much of a guess was right.
fn same(own: &Credentials, guess: &Credentials) -> bool {
    let (password, guessed) = (own.password.expose().as_bytes(), guess.password.expose().as_bytes());
    let mut difference = password.len() ^ guessed.len();
    for (at, byte) in guessed.iter().enumerate() {
        // An empty password has no byte to compare with, and differs in length from every guess that has one.
        let expected = password.get(at % password.len().max(1)).copied().unwrap_or_default();
        difference |= usize::from(expected ^ byte);
    }
    (user(own) == user(guess)) & (std::hint::black_box(difference) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn of(user: Option<&str>, password: &str) -> Credentials {
        Credentials { username: user.map(str::to_owned), password: Secret::new(password) }
    }

    #[test]
    fn only_the_same_user_with_the_same_password_is_the_configured_one() {
        assert!(same(&of(None, "pw"), &of(Some("default"), "pw")));
        assert!(same(&of(Some("app"), "pw"), &of(Some("app"), "pw")));
        assert!(same(&of(None, ""), &of(None, "")));
        for (user, password) in [(Some("app"), "pw"), (None, "p"), (None, "pwpw"), (None, ""), (None, "pW")] {
            assert!(!same(&of(None, "pw"), &of(user, password)), "{user:?} {password}");
        }
        assert!(!same(&of(None, ""), &of(None, "x")));
    }
}
