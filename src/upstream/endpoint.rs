//! One address of an upstream and what it takes to speak to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::memcached;
use crate::config::{self, Address, Kind, Secret};
use crate::net::ClientTls;
use crate::resp::Proto;

/// What a server is needed for, hence what is made sure of when a connection to it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Whatever it is.
    Any,
    /// It has to be a primary and is asked so (ROLE): Sentinel may have made it a replica a moment ago.
    Primary,
    /// It owns slots of a cluster, and its heartbeat tells whether it knows of changes to them (CLUSTER INFO).
    ClusterPrimary,
    /// It is read though it may lag behind.
    Replica,
    /// The same in a cluster, where a replica has to be told (READONLY).
    ClusterReplica,
}

/// An address of an upstream.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The upstream's name in the configuration.
    pub upstream: String,
    /// Where it is.
    pub address: Address,
    /// What it is needed for.
    pub duty: Duty,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<ClientTls>>,
    /// Who we are there, unless a client brings its own credentials.
    pub credentials: Option<Arc<Credentials>>,
    /// The longest wait for a connection and its handshake.
    pub connect_timeout: Duration,
    /// The longest wait for a reply.
    pub command_timeout: Duration,
    /// How often the tracked connection proves that it is alive, and how long a proof may take.
    pub heartbeat: config::Heartbeat,
    /// Leave to make a connection: see [`DIALING`].
    pub dialing: Arc<Semaphore>,
    /// What is spoken there.
    pub speaks: Speaks,
}

/// The protocol of a server.
#[derive(Clone, Debug)]
pub enum Speaks {
    /// Redis's.
    Redis,
    /// memcached's, behind an adapter that looks like a Redis; what its connections share.
    Memcached(Arc<memcached::Server>),
}

/// Connections to one address that are made at the same time. A crowd of clients that each need one of their own would
/// overrun the server's queue of connections to accept (511 in Redis), which answers the rest with a reset.
pub const DIALING: usize = 64;

/// A user and password; without a user, the password of the default user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// ACL user.
    pub username: Option<String>,
    /// Its password; never printed.
    pub password: Secret,
}

/// As what a shared connection speaks. Sessions that differ in any of this never share one, so that no SELECT, HELLO
/// or AUTH of one client can reach another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Selected database.
    pub database: u32,
    /// Protocol version.
    pub proto: Proto,
    /// Upstream user; `None` without authentication.
    pub credentials: Option<Arc<Credentials>>,
}

/// Why an endpoint gave no answer. Its text reaches clients, hence names no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect(String),
    /// The endpoint refused the handshake; its own words.
    Refused(String),
    /// The connection broke while the answer was awaited; a write may have been carried out.
    Lost(String),
    /// No answer in time; a write may have been carried out.
    Timeout(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "cannot be reached ({why})"),
            Self::Refused(why) => write!(f, "refused the connection ({why})"),
            Self::Lost(why) => {
                write!(
                    f,
                    "closed the connection before it answered ({why}); a write may or may not have been carried out"
                )
            }
            Self::Timeout(limit) => {
                write!(f, "did not answer within {limit:?}; a write may or may not have been carried out")
            }
        }
    }
}

impl Endpoint {
    /// The endpoint of an upstream with servers. Reads the TLS files.
    pub fn of(name: &str, upstream: &config::Upstream, address: &Address) -> Result<Self, String> {
        let tls = upstream.tls.as_ref().map(|tls| ClientTls::load(tls).map(Arc::new)).transpose()?;
        let credentials = upstream
            .password
            .clone()
            .map(|password| Arc::new(Credentials { username: upstream.username.clone(), password }));
        let speaks = match upstream.kind {
            Kind::Memcached => {
                let timeout = upstream.command_timeout;
                Speaks::Memcached(Arc::new(memcached::Server::new(address.clone(), tls.clone(), timeout)))
            }
            _ => Speaks::Redis,
        };
        Ok(Self {
            upstream: name.to_owned(),
            address: address.clone(),
            duty: Duty::Any,
            tls,
            credentials,
            connect_timeout: upstream.connect_timeout,
            command_timeout: upstream.command_timeout,
            heartbeat: upstream.heartbeat,
            dialing: Arc::new(Semaphore::new(DIALING)),
            speaks,
        })
    }

    /// Another server of the same upstream.
    pub fn at(&self, address: Address, duty: Duty) -> Self {
        let speaks = match &self.speaks {
            Speaks::Redis => Speaks::Redis,
            // What is known of one node's keys is no news of another's.
            Speaks::Memcached(_) => {
                let server = memcached::Server::new(address.clone(), self.tls.clone(), self.command_timeout);
                Speaks::Memcached(Arc::new(server))
            }
        };
        Self { address, duty, dialing: Arc::new(Semaphore::new(DIALING)), speaks, ..self.clone() }
    }

    /// The error that a client gets for a failure.
    pub fn error(&self, failure: &Failure) -> String {
        if let Failure::Refused(own_words) = failure
            && own_words.starts_with(|first: char| first.is_ascii_uppercase())
        {
            // With the code in front that client libraries go by: NOAUTH, WRONGPASS, LOADING.
            return own_words.clone();
        }
        // Nothing was sent to a server that cannot be reached: the command may be repeated, which MASTERDOWN says to client
        // libraries. What was sent may have been carried out.
        let code = if matches!(failure, Failure::Connect(_)) { "MASTERDOWN" } else { "ERR" };
        format!("{code} upstream '{}' at {} {failure}", self.upstream, self.address)
    }
}
