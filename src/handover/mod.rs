//! The handover: a new process takes over the listening sockets of the one before, and no connection is refused or reset.
//!
//! ```text
//!   new                                     old
//!   connects to the handover socket
//!   larder handover 1                  ->
//!                                      <-   {"protocol":1,...,"sockets":[...]} and the sockets
//!   starts its workers, learns its
//!   upstreams, accepts
//!   serving                            ->
//!                                           accepts no more, drains
//!                                      <-   leaving
//!   listens on the handover socket
//! ```
//!
//! The sockets themselves are passed on (SCM_RIGHTS), not bound once more: who waits in their queues is accepted by the new process
//! (`docs/decisions/0021-drain-and-handover.md`). Until `serving`, nothing changes for the old one, whatever becomes of the new. The
//! handover socket is passed on too, so that there is always one who answers there.
//!
//! * [`give`]: the old process's side.
//! * [`take`]: the new one's.
//! * `message`: what is said.

pub mod give;
mod message;
pub mod take;

use tokio::net::UnixStream;

/// The other side, if it runs as the same user.
///
/// # Errors
/// It does not: to hand over sockets is to hand over the clients.
fn same_user(stream: &UnixStream) -> Result<Option<i32>, String> {
    let peer = stream.peer_cred().map_err(|error| format!("who is there cannot be told: {error}"))?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() == own {
        Ok(peer.pid())
    } else {
        Err(format!("it runs as user {}, this process as {own}", peer.uid()))
    }
}
