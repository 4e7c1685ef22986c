//! The old process: answers who asks for its sockets, one at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::message::{self, ASK, LEAVING, MOST_SOCKETS, Offer, PROTOCOL, Role, SERVING, TOO_LATE};
use super::same_user;
use crate::app::App;
use crate::events::Kind;
use crate::listener::{self, Listener, SocketFile};

/// Where it is asked, and what it has to give.
#[derive(Debug)]
pub struct Office {
    socket: UnixListener,
    path: PathBuf,
    /// Of a socket that this process has bound. One that it was given is the process before's until this one serves.
    file: Option<SocketFile>,
    sockets: Vec<(Role, OwnedFd)>,
}

/// A process that serves in place of this one.
#[derive(Debug)]
pub struct Successor {
    /// Its number, if the system tells.
    pub pid: Option<i32>,
    /// Where it is told that this process accepts no more.
    pub told: oneshot::Sender<()>,
}

/// A process that asks has said what it wants after so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// One that has the sockets serves after so long, a large snapshot read and slow upstreams waited for; or else the next one may ask.
const START: Duration = Duration::from_secs(120);

/// The handover socket: only its owner may connect.
pub(super) fn bind(path: &Path) -> Result<UnixListener, String> {
    listener::make_way(path)?;
    let failed = |error: io::Error| {
        format!(
            "cannot listen on unix:{} (handover): {error}; the directory must be there and Larder's to write to",
            path.display()
        )
    };
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // Before it has a name, so that it is nobody else's for no moment.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    socket.bind(path).and_then(|()| socket.listen(4)).map_err(failed)
}

impl Office {
    /// What is given away: the listeners and, if there is one, the socket of the admin page with the address that was asked for. `socket` is
    /// the one of the process before, if that has handed over its own.
    ///
    /// # Errors
    /// The handover socket cannot be had.
    pub fn open(
        path: &Path,
        socket: Option<UnixListener>,
        listeners: &[Listener],
        admin: Option<(String, OwnedFd)>,
    ) -> Result<Self, String> {
        let (socket, file) = match socket {
            Some(given) => (given, None),
            None => (bind(path)?, Some(SocketFile::of(path))),
        };
        let copy = |error: io::Error| format!("cannot copy a socket for the handover: {error}");
        let mut sockets = Vec::new();
        for listener in listeners {
            sockets.push((Role::Listener(listener.asked.clone()), listener.copy().map_err(copy)?));
        }
        sockets.extend(admin.map(|(asked, socket)| (Role::Admin(asked), socket)));
        sockets.push((Role::Handover, socket.as_fd().try_clone_to_owned().map_err(copy)?));
        Ok(Self { socket, path: path.to_owned(), file, sockets })
    }

    /// Answers until another process serves, and `successors` has heard of it.
    pub async fn keep(mut self, app: Arc<App>, successors: mpsc::Sender<Successor>) {
        let mut file = self.file.take().unwrap_or_else(|| SocketFile::of(&self.path));
        loop {
            let Ok((stream, _)) = self.socket.accept().await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let answer = match self.give(&app, &stream).await {
                Ok(pid) => {
                    // Should this process be told to end now, the other one still needs the files of the sockets that it has.
                    file.leave();
                    app.lent.store(true, Ordering::Release);
                    let answer = hear(&stream, pid, START).await;
                    app.lent.store(answer.is_ok(), Ordering::Release);
                    file = SocketFile::of(&self.path);
                    answer
                }
                Err(why) => Err(why),
            };
            match answer {
                Ok(pid) => {
                    let (told, hears) = oneshot::channel();
                    if successors.send(Successor { pid, told }).await.is_err() {
                        return;
                    }
                    file.leave();
                    if hears.await.is_ok() {
                        let _ = message::send(&stream, LEAVING, &[]).await;
                    }
                    return;
                }
                Err(why) => app.events.warn(Kind::Process, None, format!("no handover, serving on: {why}")),
            }
        }
    }

    /// Gives the sockets to one who asks; his number.
    async fn give(&self, app: &App, stream: &UnixStream) -> Result<Option<i32>, String> {
        let pid = same_user(stream)?;
        let asked = tokio::time::timeout(PATIENCE, message::receive(stream)).await;
        let (ask, _) = asked.map_err(|_| "who asked says nothing".to_owned())?.map_err(|error| error.to_string())?;
        let refused = match ask == ASK {
            false => Some(format!("protocol {PROTOCOL} is spoken here, not \"{}\"", ask.escape_default())),
            true if self.sockets.len() > MOST_SOCKETS => Some(format!("there are more than {MOST_SOCKETS} sockets")),
            true => None,
        };
        let sockets = if refused.is_some() { &[][..] } else { &self.sockets[..] };
        let offer = Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            sockets: sockets.iter().map(|(role, _)| role.clone()).collect(),
            refused: refused.clone(),
        };
        let line = serde_json::to_string(&offer).map_err(|error| error.to_string())?;
        let borrowed: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        message::send(stream, &line, &borrowed).await.map_err(|error| format!("who asked has gone: {error}"))?;
        if let Some(why) = refused {
            return Err(why);
        }
        let text = format!("{} has been given the sockets; serving on until it serves", name(pid));
        app.events.info(Kind::Process, None, text);
        Ok(pid)
    }
}

/// Waits until the one who has the sockets serves, for so long.
async fn hear(stream: &UnixStream, pid: Option<i32>, start: Duration) -> Result<Option<i32>, String> {
    match tokio::time::timeout(start, message::receive(stream)).await {
        Ok(Ok((line, _))) if line == SERVING => Ok(pid),
        Ok(Ok((line, _))) => Err(format!("{} says \"{}\"", name(pid), line.escape_default())),
        Ok(Err(_)) => Err(format!("{} ended before it served", name(pid))),
        Err(_) => {
            // One that cannot even be told is not waited for either.
            let _ = tokio::time::timeout(PATIENCE, message::send(stream, TOO_LATE, &[])).await;
            Err(format!(
                "{} has had the sockets for {} s and does not serve; end it, or it keeps them open",
                name(pid),
                start.as_secs()
            ))
        }
    }
}

fn name(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_hangs_with_the_sockets_is_told_that_it_is_too_late() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let why = hear(&here, Some(7), Duration::from_millis(20)).await.expect_err("nobody serves");
        assert_eq!(why, "process 7 has had the sockets for 0 s and does not serve; end it, or it keeps them open");
        assert_eq!(message::receive(&there).await.expect("a line").0, TOO_LATE);
    }
}
