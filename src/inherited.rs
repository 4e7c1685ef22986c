//! Sockets that listen already when the process starts: systemd has opened them, or the process before it hands them over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::net::SocketAddrAny;

use crate::config::Address;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Given>,
}

/// One of them.
#[derive(Debug)]
pub struct Given {
    /// The socket.
    pub socket: Bound,
    /// Where it comes from.
    pub from: Source,
    /// The address that the process before had in its configuration, if it comes from there: port 0 is not what it listens on.
    asked: Option<String>,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Bound {
    /// On a TCP address.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

/// Where a socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From systemd, to which it belongs.
    Systemd,
    /// From the process before, which leaves it to this one.
    Process,
}

// === impl Bound ===

impl Bound {
    /// What a descriptor is, if it is a socket of one of the kinds that are listened on.
    ///
    /// # Errors
    /// It is none.
    pub fn of(socket: OwnedFd) -> io::Result<Self> {
        let family = rustix::net::getsockname(&socket).map(|address: SocketAddrAny| address.address_family())?;
        let listens = rustix::net::sockopt::socket_acceptconn(&socket)?;
        match family {
            _ if !listens => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen")),
            rustix::net::AddressFamily::UNIX => Ok(Self::Unix(socket.into())),
            rustix::net::AddressFamily::INET | rustix::net::AddressFamily::INET6 => Ok(Self::Tcp(socket.into())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a Unix socket")),
        }
    }

    fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => Some(socket.local_addr().ok()?.as_pathname()?.to_owned()),
        }
    }

    /// Where it listens, as the configuration would write it.
    pub fn name(&self) -> String {
        let path = self.path().map(|path| format!("unix:{}", path.display()));
        path.or_else(|| Some(self.tcp_address()?.to_string())).unwrap_or_else(|| "an unnamed socket".to_owned())
    }
}

// === impl Inherited ===

impl Inherited {
    /// Adds one.
    pub fn add(&mut self, socket: Bound, from: Source, asked: Option<String>) {
        self.sockets.push(Given { socket, from, asked });
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Self) {
        self.sockets.extend(other.sockets);
    }

    /// The one that listens where a listener is to.
    ///
    /// # Errors
    /// The name of the host cannot be resolved.
    pub async fn take(&mut self, address: &Address) -> io::Result<Option<Given>> {
        if self.sockets.is_empty() {
            return Ok(None);
        }
        let text = address.to_string();
        let found = match address {
            Address::Unix(path) => self.position(|given| given.socket.path().as_ref() == Some(path)),
            Address::Tcp { host, port } => {
                let wanted: Vec<_> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
                self.position(|given| {
                    given.asked.as_ref() == Some(&text)
                        || given.socket.tcp_address().is_some_and(|address| wanted.contains(&address))
                })
            }
        };
        Ok(found.map(|at| self.sockets.remove(at)))
    }

    /// The TCP socket that listens there.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<(TcpListener, Source)> {
        let text = address.to_string();
        let at = self.position(|given| {
            let address_is = given.socket.tcp_address() == Some(address);
            address_is || matches!(given.socket, Bound::Tcp(_)) && given.asked.as_ref() == Some(&text)
        })?;
        let given = self.sockets.remove(at);
        match given.socket {
            Bound::Tcp(socket) => Some((socket, given.from)),
            Bound::Unix(_) => None,
        }
    }

    /// Closes what is left of the process before: this one was not told to listen there.
    ///
    /// # Errors
    /// Something is left that systemd has opened.
    pub fn finish(self) -> Result<(), String> {
        let left = self.sockets.iter().find(|given| given.from == Source::Systemd);
        left.map_or(Ok(()), |given| {
            Err(format!(
                "systemd hands over a socket on {}, and nothing in the configuration listens there: add it to listeners (or make it \
                 admin.address), or remove it from the socket unit",
                given.socket.name()
            ))
        })
    }

    fn position(&self, is_it: impl Fn(&Given) -> bool) -> Option<usize> {
        self.sockets.iter().position(is_it)
    }
}
