//! Upstreams: named groups of endpoints that commands are forwarded to.
//!
//! Data plane and control plane are apart. The data plane is ours, because every command passes it:
//!
//! * [`wire`]: one connection's bytes: buffers, the handshake, replies split and matched in order;
//! * [`lane`]: a shared connection of one worker, for one identity (database, protocol version, user);
//! * [`breaker`]: whether an endpoint may be asked now; [`health`]: asking it whether it is well;
//! * [`progress`]: whether a connection that owes a reply is getting anywhere;
//! * [`budget`]: how often what failed may be tried again;
//! * [`leases`]: how many connections belong to one session alone for a while, and who waits for one;
//! * [`tracked`]: the one connection of the process over which an endpoint's cacheable reads go, so that replies and
//!   invalidations come in one order;
//! * [`subscriber`]: the one connection of the process for what the clients of one identity have subscribed to at an
//!   endpoint.
//!
//! Where a command belongs in a cluster is read from its key ([`slots`]) and, when that was wrong, from the reply
//! ([`redirect`]). Who owns which slots a node tells ([`shards`]), and who is primary a Sentinel ([`sentinel`]).
//! On a ring of nodes that know nothing of each other the key's hash decides ([`ring`]).
//! A SCAN over all of them has a cursor of its own ([`cursor`]).
//!
//! A node that speaks memcached's protocol has an adapter in front of it ([`memcached`]), which looks like a Redis server that
//! knows key-value commands only.
//!
//! The control plane ([`control`]) asks an endpoint about itself through the fred client library, which is far too
//! slow for the data plane and does not keep tracking alive (`docs/decisions/0003-data-plane.md`).
//!
//! Nothing here knows the cache or the sessions: replies and pushes are handed to whoever sent the request.

pub mod breaker;
pub mod budget;
pub mod claims;
pub mod control;
pub mod cursor;
pub mod endpoint;
pub mod health;
pub mod lane;
pub mod leases;
pub mod memcached;
pub mod progress;
pub mod redirect;
pub mod ring;
pub mod sentinel;
pub mod shards;
pub mod slots;
pub mod subscriber;
pub mod tracked;
pub mod wire;

pub use breaker::Breaker;
pub use endpoint::{Credentials, Endpoint, Failure, Identity};
