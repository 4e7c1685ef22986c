//! A memcached node behind the face of a Redis server that knows key-value commands only.
//!
//! [`Adapter`] stands between a [`super::wire::Wire`] and the socket: the wire speaks RESP to it, it speaks the meta
//! protocol to the node. Nothing above knows of memcached: lanes, the tracked connection, the breaker and health checks
//! work as with Redis.
//!
//! ```text
//! adapter     bytes in, bytes out; commands in order, as many on their way as there are
//! commands    what each command asks of the node, and makes of the answers
//! meta        the protocol: requests are written, replies are found
//! key         how a key of Redis becomes one of memcached
//! expiry      how a time becomes whole seconds, and deadlines the rest of it
//! ```
//!
//! What the node cannot do atomically is not served (`docs/memcached.md`).

mod adapter;
mod commands;
mod deadlines;
mod desk;
mod expiry;
mod key;
mod meta;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Address;
use crate::keyvalue::Clock;
use crate::net::ClientTls;
pub use adapter::Adapter;
use deadlines::Deadlines;

/// What the connections to one node share.
#[derive(Debug)]
pub struct Server {
    address: Address,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
    clock: Clock,
    deadlines: Deadlines,
}

impl Server {
    /// A node at an address; `timeout` bounds what is done for it in the background.
    pub fn new(address: Address, tls: Option<Arc<ClientTls>>, timeout: Duration) -> Self {
        Self { address, tls, timeout, clock: Clock::start(), deadlines: Deadlines::default() }
    }
}

/// Whether a memcached node serves the command of this row name.
pub fn serves(name: &str) -> bool {
    commands::serves(name)
}

/// The error for a command that is not served.
pub fn not_served(name: &str) -> String {
    let name = name.replace('|', " ").to_uppercase();
    format!(
        "ERR the memcached upstream does not serve {name}: it keeps strings only, and changes one key at a time; route \
         such keys to a Redis"
    )
}
