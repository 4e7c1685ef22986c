//! Listeners: accept clients, keep to the limits, hand each to the worker with the fewest.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::app::App;
use crate::clock::Micros;
use crate::config::{self, Address};
use crate::inbox::Letter;
use crate::inherited::{Bound, Inherited, Source};
use crate::logs::sample;
use crate::net::Stream;
use crate::session::clients::{Client, Told};

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Held for its drop.
    file: Option<SocketFile>,
    /// The file of a socket that the process before has handed over: this one's as soon as it accepts.
    heirloom: Option<PathBuf>,
    /// Its place in the configuration.
    number: usize,
    /// Where it listens, for people.
    pub name: String,
    /// Where it was told to listen.
    pub asked: String,
    /// Another process may accept from the same socket when this one does not any more.
    outlives: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a Unix socket that is listened on; removed with the listener, however that ends, unless it is left to another
/// process.
#[derive(Debug)]
pub struct SocketFile(Option<PathBuf>);

/// A client that has connected.
enum Arrived {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// A client on its way to its worker.
#[derive(Debug)]
pub struct Accepted {
    socket: AcceptedSocket,
    tls: Option<Arc<ServerConfig>>,
    /// What is known of it.
    pub client: Arc<Client>,
}

#[derive(Debug)]
enum AcceptedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// What an accepted socket must be.
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
/// A client has this long for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When accepting fails (no file descriptors), the next try waits this long.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the listener in this place of the configuration, or takes the socket that listens there already. The error says what is wrong with
/// which address.
pub async fn bind(number: usize, config: &config::Listener, inherited: &mut Inherited) -> Result<Listener, String> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process listens there: stop it, or choose another address with --listen"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose a higher one",
            _ => "",
        };
        format!("cannot listen on {}: {error}{remedy}", config.address)
    };
    let given = inherited.take(&config.address).await.map_err(failed)?;
    let from = given.as_ref().map(|given| given.from);
    let outlives = from == Some(Source::Systemd);
    let socket = match (given.map(|given| given.socket), &config.address) {
        (Some(given), _) => Socket::of(given).map_err(failed)?,
        (None, Address::Tcp { host, port }) => Socket::Tcp(bind_tcp(host, *port).await.map_err(failed)?),
        (None, Address::Unix(path)) => {
            make_way(path)?;
            Socket::Unix(UnixListener::bind(path).map_err(failed)?)
        }
    };
    // Only now is the file this process's. That of a socket which systemd has opened is systemd's, and one of the process before is
    // that one's until this one serves: it may end before that.
    let path = config.address.unix_path();
    let file = path.filter(|_| from.is_none()).map(SocketFile::of);
    let heirloom = path.filter(|_| from == Some(Source::Process)).map(Path::to_owned);
    let asked = config.address.to_string();
    let name = match &socket {
        Socket::Tcp(socket) => socket.local_addr().map_err(failed)?.to_string(),
        Socket::Unix(_) => asked.clone(),
    };
    Ok(Listener { socket, file, heirloom, number, name, asked, outlives })
}

impl Listener {
    /// The same socket once more, for another process.
    ///
    /// # Errors
    /// What the system says.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Socket::Unix(socket) => socket.as_fd().try_clone_to_owned(),
        }
    }
}

/// Clients that may wait to be accepted: a fleet that reconnects at once should not have to try again. The kernel cuts
/// it to net.core.somaxconn.
const BACKLOG: u32 = 4096;

/// Binds the first address of `host` that can be bound.
async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes a socket that a process before us has left behind. One that answers is not ours to take, and what is no
/// socket is never removed.
pub fn make_way(path: &Path) -> Result<(), String> {
    let Ok(there) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(format!(
            "cannot listen on unix:{}: what is there is not a socket; remove it, or choose another path",
            path.display()
        ));
    }
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// What becomes of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It accepts.
    Open,
    /// It accepts no more. Who has connected already is let in.
    Closed,
    /// Another process accepts from the same socket: the queue and the socket's file are left to it.
    HandedOver,
}

/// Accepts clients until it is told to stop.
pub async fn accept(mut listener: Listener, app: Arc<App>, mut door: watch::Receiver<Door>) {
    if let Some(path) = listener.heirloom.take() {
        listener.file = Some(SocketFile::of(&path));
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            // (An error: nobody is left to tell, so the process ends.)
            _ = door.wait_for(|door| *door != Door::Open) => break,
        };
        match accepted {
            Ok(arrived) => admit(&listener, &app, arrived).await,
            Err(error) => {
                if sample::ACCEPT.admits() {
                    tracing::warn!("accepting on {} failed: {error}", listener.name);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let handed_over = *door.borrow() == Door::HandedOver;
    if (handed_over || app.lent.load(Ordering::Acquire))
        && let Some(file) = listener.file.take()
    {
        file.leave();
    }
    if handed_over {
        return;
    }
    if listener.outlives {
        // Whoever waits in the queue is served by the next process, or has it started.
        return;
    }
    // The kernel resets what it has queued when the socket goes.
    while let Some(arrived) = listener.socket.next_in_queue() {
        admit(&listener, &app, arrived).await;
    }
}

// === impl Socket ===

impl Socket {
    fn of(given: Bound) -> io::Result<Self> {
        match given {
            Bound::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(socket)?))
            }
            Bound::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(socket)?))
            }
        }
    }

    async fn accept(&self) -> io::Result<Arrived> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, from)| Arrived::Tcp(stream, from)),
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| Arrived::Unix(stream)),
        }
    }

    /// The next client that has connected, if there is one. Asks the kernel itself: what tokio knows may be older.
    fn next_in_queue(&self) -> Option<Arrived> {
        loop {
            let arrived = match self {
                Self::Tcp(socket) => rustix::net::acceptfrom_with(socket, FLAGS).map(|(fd, from)| {
                    // (Not asked for later: one that has been reset meanwhile has no other side any more.)
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok())?;
                    Some(Arrived::Tcp(TcpStream::from_std(fd.into()).ok()?, from))
                }),
                Self::Unix(socket) => rustix::net::accept_with(socket, FLAGS)
                    .map(|fd| Some(Arrived::Unix(UnixStream::from_std(fd.into()).ok()?))),
            };
            match arrived {
                Ok(Some(arrived)) => return Some(arrived),
                // One that has left again. Those behind it have not.
                Ok(None) | Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    if error != Errno::AGAIN && sample::ACCEPT.admits() {
                        tracing::warn!("the last clients could not be accepted: {error}");
                    }
                    return None;
                }
            }
        }
    }
}

async fn admit(listener: &Listener, app: &App, arrived: Arrived) {
    let (stream, address, local_address, ip) = match arrived {
        Arrived::Tcp(stream, from) => {
            // A client that asks and waits wants its answer at once.
            let _ = stream.set_nodelay(true);
            let to = stream.local_addr().map(|at| at.to_string()).unwrap_or_default();
            (Stream::Tcp(stream), from.to_string(), to, Some(from.ip()))
        }
        Arrived::Unix(stream) => {
            // As Redis names them: the path, and no port.
            let name = format!("{}:0", listener.name.trim_start_matches("unix:"));
            (Stream::Unix(stream), name.clone(), name, None)
        }
    };
    let fewest = app
        .counters
        .iter()
        .enumerate()
        .min_by_key(|(_, counters)| counters.clients_accepted.value().wrapping_sub(counters.clients_left.value()));
    let worker = fewest.map_or(0, |(number, _)| number);
    let client = Arc::new(Client {
        id: app.clients.next_id(),
        address,
        local_address,
        ip,
        worker: worker as u16,
        since: Micros::now(),
        told: Mutex::new(Told::default()),
        database: AtomicU32::new(app.home_database()),
        proto: AtomicU8::new(2),
        subscriptions: Default::default(),
        active_at: AtomicU64::new(Micros::now().0),
        blocked: Mutex::default(),
        killed: AtomicBool::new(false),
    });
    let rules = app.rules();
    let limits = &rules.config.limits;
    if !app.clients.enter(&client, limits.max_clients, limits.max_clients_per_address) {
        let refused = app.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if sample::TURNED_AWAY.admits() {
            tracing::warn!("client refused: limits.max_clients is reached (refused so far: {refused})");
        }
        refuse(stream).await;
        return;
    }
    app.counters[worker].clients_accepted.add(1);
    let socket = match stream {
        Stream::Tcp(stream) => stream.into_std().map(AcceptedSocket::Tcp),
        Stream::Unix(stream) => stream.into_std().map(AcceptedSocket::Unix),
        Stream::Tls(_) => return,
    };
    match socket {
        Ok(socket) => {
            let accepted = Accepted { socket, tls: rules.tls.get(listener.number).cloned().flatten(), client };
            app.inboxes[worker].post([Letter::Client(Box::new(accepted))]);
        }
        Err(error) => {
            if sample::NOT_ADMITTED.admits() {
                tracing::warn!("client lost: {error}");
            }
            app.clients.leave(&client);
        }
    }
}

/// Redis's words; never waits for the client to take them.
async fn refuse(mut stream: Stream) {
    let words = b"-ERR max number of clients reached\r\n";
    let _ = tokio::time::timeout(Duration::from_millis(10), stream.write_all(words)).await;
}

// === impl SocketFile ===

impl SocketFile {
    /// The file of a socket that listens there.
    pub fn of(path: &Path) -> Self {
        Self(Some(path.to_owned()))
    }

    /// Leaves it to another process.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

// === impl Accepted ===

impl Accepted {
    /// The stream, registered with the calling thread's runtime; after the TLS handshake where there is one.
    pub async fn into_stream(self: Box<Self>) -> io::Result<Stream> {
        match (self.socket, self.tls) {
            (AcceptedSocket::Unix(socket), _) => Ok(Stream::Unix(UnixStream::from_std(socket)?)),
            (AcceptedSocket::Tcp(socket), None) => Ok(Stream::Tcp(TcpStream::from_std(socket)?)),
            (AcceptedSocket::Tcp(socket), Some(tls)) => {
                let handshake = TlsAcceptor::from(tls).accept(TcpStream::from_std(socket)?);
                let stream = tokio::time::timeout(HANDSHAKE, handshake)
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake"))??;
                Ok(Stream::Tls(Box::new(stream.into())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
