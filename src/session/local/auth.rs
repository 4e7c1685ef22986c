//! AUTH, and the AUTH of HELLO: as whom the client's commands are sent from here on.
//!
//! Users and passwords are the upstream's. Credentials that are the configuration's own change nothing; others are
//! verified by a connection to the upstream (or by its verdict of a moment ago), and from then on the client's commands
//! go over connections of that user, past the cache: another user may be allowed less than the cache holds.

use std::rc::Rc;
use std::sync::Arc;

use super::hello::Greeting;
use super::{Request, SYNTAX_ERROR};
use crate::app::Backend;
use crate::config::Secret;
use crate::resp::encode;
use crate::security::{self, Verdict, login};
use crate::session::{Session, State};
use crate::upstream::Credentials;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?";

/// What the client asked for together with its credentials, done when they are found good.
pub(super) enum Purpose {
    /// AUTH: nothing else.
    Auth,
    /// HELLO ... AUTH.
    Hello(Greeting),
}

/// `AUTH [username] password`
pub(super) fn auth(request: &mut Request<'_>) {
    let command = request.command;
    match command.len() {
        2 => log_in(request, None, command.arg(1), Purpose::Auth),
        3 => log_in(request, Some(command.arg(1)), command.arg(2), Purpose::Auth),
        _ => request.error(SYNTAX_ERROR),
    }
}

/// As whom the client's commands are sent from here on (`None`: the configuration's own user), or why not.
type Outcome = Result<Option<Arc<Credentials>>, String>;

/// Has credentials judged, and answers for the whole command: now where the verdict is known, else when it is.
pub(super) fn log_in(request: &mut Request<'_>, user: Option<&[u8]>, password: &[u8], purpose: Purpose) {
    let session = request.session;
    let Some(credentials) = credentials(user, password) else {
        // The password of a user of Larder's is text; what is none is nobody's.
        return now(request, Err(WRONG_PASSWORD.to_owned()), purpose);
    };
    let origin = match session.worker.app.home() {
        Backend::Memory(_) => return now(request, without_passwords(&credentials), purpose),
        Backend::Servers(origin) if !origin.is_redis() => {
            return now(request, without_passwords(&credentials), purpose);
        }
        Backend::Servers(origin) => origin,
    };
    let credentials = Arc::new(credentials);
    match login::known(&origin.model, &origin.verdicts, &credentials) {
        Some(verdict) => now(request, outcome(verdict, credentials), purpose),
        None => later(session, request.state, credentials, purpose),
    }
}

fn now(request: &mut Request<'_>, outcome: Outcome, purpose: Purpose) {
    let mut reply = Vec::new();
    conclude(request.session, request.state, outcome, purpose, &mut reply);
    request.out().extend_from_slice(&reply);
}

/// Asks the upstream; until it answers, the commands behind wait.
fn later(session: &Rc<Session>, state: &mut State, credentials: Arc<Credentials>, purpose: Purpose) {
    let seq = state.replies.await_one(state.proto);
    state.busy = true;
    let session = Rc::clone(session);
    tokio::task::spawn_local(async move {
        let Some(origin) = session.worker.app.home_origin() else {
            return;
        };
        let map = origin.map();
        let endpoint = map.any().map_or(&origin.model, |node| &node.endpoint);
        let outcome = match security::verify(endpoint, &origin.verdicts, &credentials).await {
            Ok(verdict) => outcome(verdict, credentials),
            Err(failure) => Err(endpoint.error(&failure)),
        };
        let mut reply = Vec::new();
        {
            let mut state = session.state.borrow_mut();
            state.busy = false;
            conclude(&session, &mut state, outcome, purpose, &mut reply);
        }
        session.deliver(seq, 1, |out, _| out.extend_from_slice(&reply));
    });
}

fn outcome(verdict: Verdict, credentials: Arc<Credentials>) -> Outcome {
    match verdict {
        Verdict::Configured => Ok(None),
        Verdict::Own => Ok(Some(credentials)),
        Verdict::Refused(words) => Err(words.to_string()),
    }
}

/// Does what was asked for, or says why not.
fn conclude(session: &Session, state: &mut State, outcome: Outcome, purpose: Purpose, reply: &mut Vec<u8>) {
    let credentials = match outcome {
        Ok(credentials) => credentials,
        Err(words) => {
            session.worker.counters.errors.add(1);
            return encode::error(reply, &words);
        }
    };
    session.client.told().user = credentials.as_ref().map(|own| login::user(own).to_owned());
    if credentials != state.credentials {
        state.change_identity();
        state.credentials = credentials;
    }
    match purpose {
        Purpose::Auth => encode::ok(reply),
        Purpose::Hello(greeting) => greeting.conclude(session, state, reply),
    }
}

fn credentials(user: Option<&[u8]>, password: &[u8]) -> Option<Credentials> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let username = match user {
        Some(user) => Some(text(user)?),
        None => None,
    };
    Some(Credentials { username, password: Secret::new(text(password)?) })
}

/// The answer of a Redis that has only its default user, and no password for it.
fn without_passwords(credentials: &Credentials) -> Outcome {
    match credentials.username.as_deref() {
        None => Err(NO_PASSWORD_SET.to_owned()),
        Some("default") => Ok(None),
        Some(_) => Err(WRONG_PASSWORD.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(user: Option<&[u8]>) -> Outcome {
        without_passwords(&credentials(user, b"any").unwrap())
    }

    #[test]
    fn without_passwords_only_the_default_user_gets_in_and_only_by_name() {
        assert_eq!(answer(Some(b"default")), Ok(None));
        assert_eq!(answer(Some(b"ann")), Err(WRONG_PASSWORD.to_owned()));
        assert!(
            answer(None).is_err_and(|words| { words.starts_with("ERR AUTH <password> called without any password") })
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_nobodys_credentials() {
        assert!(credentials(None, b"\xff").is_none());
        assert!(credentials(Some(b"\xff"), b"x").is_none());
    }
}
