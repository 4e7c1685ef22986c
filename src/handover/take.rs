//! The new process: asks the one before for its sockets.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::message::{self, ASK, LEAVING, Offer, PROTOCOL, Role, SERVING, TOO_LATE};
use super::same_user;
use crate::inherited::{Bound, Inherited, Source};

/// What the process before has given.
#[derive(Debug)]
pub struct Taken {
    /// The sockets for clients and for the admin page.
    pub sockets: Inherited,
    /// The handover socket.
    pub office: Option<UnixListener>,
    /// The process itself, which serves until it is told that this one does.
    pub predecessor: Predecessor,
}

/// The process before.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// A living process answers within this time, unless it hands over to somebody else at this moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for the sockets; `None` where nobody is asked.
///
/// # Errors
/// Somebody is there and does not give them.
pub async fn take(path: &Path) -> Result<Option<Taken>, String> {
    let place = path.display();
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        // Nobody, or one that was killed.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("cannot ask at unix:{place} (handover): {error}")),
    };
    same_user(&stream).map_err(|why| format!("unix:{place} (handover) is somebody else's: {why}"))?;
    let talk = async {
        message::send(&stream, ASK, &[]).await?;
        message::receive(&stream).await
    };
    let (line, given) = match tokio::time::timeout(PATIENCE, talk).await {
        Ok(Ok(answer)) => answer,
        // It ended meanwhile.
        Ok(Err(error)) if error.kind() != io::ErrorKind::InvalidData => return Ok(None),
        Ok(Err(error)) => return Err(format!("unix:{place} (handover): {error}")),
        Err(_) => {
            return Err(format!(
                "the Larder at unix:{place} (handover) does not answer: it hands over to another process at this moment, or hangs; try \
                 again, or stop it first"
            ));
        }
    };
    let offer: Offer =
        serde_json::from_str(&line).map_err(|error| format!("unix:{place} (handover): that is no Larder: {error}"))?;
    if let Some(why) = offer.refused {
        return Err(format!("the Larder at unix:{place} (handover) hands nothing over: {why}; stop it first"));
    }
    if offer.protocol != PROTOCOL || offer.sockets.len() != given.len() {
        let what = format!("protocol {}, {} of {} sockets", offer.protocol, given.len(), offer.sockets.len());
        return Err(format!("the Larder at unix:{place} (handover) speaks otherwise ({what}); stop it first"));
    }
    let (mut sockets, mut office) = (Inherited::default(), None);
    for (role, socket) in offer.sockets.into_iter().zip(given) {
        let bound = Bound::of(socket).map_err(|error| format!("unix:{place} (handover): {error}"))?;
        match (role, bound) {
            (Role::Handover, Bound::Unix(socket)) => {
                socket.set_nonblocking(true).map_err(|error| format!("unix:{place} (handover): {error}"))?;
                office =
                    Some(UnixListener::from_std(socket).map_err(|error| format!("unix:{place} (handover): {error}"))?);
            }
            (Role::Handover, Bound::Tcp(_)) => {}
            (Role::Listener(asked) | Role::Admin(asked), bound) => sockets.add(bound, Source::Process, Some(asked)),
        }
    }
    let predecessor = Predecessor { stream, pid: offer.pid, version: offer.version };
    Ok(Some(Taken { sockets, office, predecessor }))
}

impl Predecessor {
    /// Looks whether the one before still waits for this process.
    ///
    /// # Errors
    /// It does not, and goes on serving: this process must not.
    pub async fn still_waits(&self) -> Result<(), String> {
        // Nothing else comes before it is told anything. If it has ended, this process is on its own.
        match tokio::time::timeout(Duration::ZERO, message::receive(&self.stream)).await {
            Ok(Ok((line, _))) if line == TOO_LATE => Err(self.too_late()),
            _ => Ok(()),
        }
    }

    /// Says that this process serves; returns when the one before accepts no more, or has ended.
    ///
    /// # Errors
    /// As of [`still_waits`](Self::still_waits).
    pub async fn relieve(self) -> Result<(), String> {
        let talk = async {
            // If nobody hears it any more, there may still be a word for this process.
            let sent = message::send(&self.stream, SERVING, &[]).await;
            let heard = message::receive(&self.stream).await;
            sent.err().filter(|_| heard.is_err()).map_or(heard, Err)
        };
        match tokio::time::timeout(PATIENCE, talk).await {
            Ok(Ok((line, _))) if line == LEAVING => {}
            Ok(Ok((line, _))) if line == TOO_LATE => return Err(self.too_late()),
            other => tracing::warn!("process {} does not say that it leaves ({other:?})", self.pid),
        }
        Ok(())
    }

    fn too_late(&self) -> String {
        format!(
            "process {} has waited too long for this one to serve in its place, and serves on; see above what took so long, then start again",
            self.pid
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_comes_too_late_does_not_serve() {
        let (stream, there) = UnixStream::pair().expect("a pair");
        let late = Predecessor { stream, pid: 7, version: String::new() };
        late.still_waits().await.expect("nothing was said");
        message::send(&there, TOO_LATE, &[]).await.expect("it is told");
        late.stream.readable().await.expect("it has come");
        assert!(late.still_waits().await.expect_err("it is too late").contains("process 7"));
    }

    #[tokio::test]
    async fn a_process_that_is_told_at_the_last_moment_that_it_is_too_late_does_not_serve_either() {
        let (stream, there) = UnixStream::pair().expect("a pair");
        message::send(&there, TOO_LATE, &[]).await.expect("it is told");
        drop(there);
        let late = Predecessor { stream, pid: 7, version: String::new() };
        late.relieve().await.expect_err("it is too late");
    }

    #[tokio::test]
    async fn a_process_whose_predecessor_has_ended_serves() {
        let (stream, there) = UnixStream::pair().expect("a pair");
        drop(there);
        let heir = Predecessor { stream, pid: 7, version: String::new() };
        heir.stream.readable().await.expect("the end has come");
        heir.still_waits().await.expect("nobody else serves");
        heir.relieve().await.expect("nobody else serves");
    }
}
