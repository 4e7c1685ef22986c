//! Upstreams: named groups of endpoints that commands are forwarded to.
//!
//! Data plane and control plane are apart. The data plane is ours, because every command passes it:
//!
//! * [`wire`]: one connection's bytes: buffers, the handshake, replies split and matched in order;
//! * [`lane`]: a shared connection of one worker, for one identity (database, protocol version, user);
//! * [`tracked`]: the one connection of the process over which an endpoint's cacheable reads go, so that replies and
//!   invalidations come in one order.
//!
//! The control plane ([`control`]) asks an endpoint about itself through the fred client library, which is far too
//! slow for the data plane and does not keep tracking alive (`docs/decisions/0003-data-plane.md`).
//!
//! Nothing here knows the cache or the sessions: replies and pushes are handed to whoever sent the request.

pub mod control;
pub mod endpoint;
pub mod lane;
pub mod tracked;
pub mod wire;

pub use endpoint::{Credentials, Endpoint, Failure, Identity};
