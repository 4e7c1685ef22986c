//! Finding out how coherence can be kept with an endpoint, each time it is connected to.

use super::{How, Mode};
use crate::config::Coherence;
use crate::resp::Proto;
use crate::upstream::endpoint::{Endpoint, Failure, Identity, Speaks};
use crate::upstream::wire::{self, Wire};

/// Says in the log how coherence is kept.
pub(super) fn announce(endpoint: &Endpoint, mode: Mode) {
    match mode {
        Mode::Tracking => tracing::info!(
            upstream = %endpoint.upstream,
            "near-cache covered: {} pushes invalidations (CLIENT TRACKING)", endpoint.address
        ),
        Mode::Ttl if matches!(endpoint.speaks, Speaks::Memcached(_)) => tracing::info!(
            upstream = %endpoint.upstream,
            "coherence: ttl: what others change in memcached at {} is seen when near_cache.untracked_ttl is over, or an \
             invalidation channel tells of it", endpoint.address
        ),
        Mode::Ttl => tracing::warn!(
            upstream = %endpoint.upstream,
            "coherence: ttl: {} does not push invalidations, so changes made by others are seen only when \
             near_cache.untracked_ttl is over, or they are told on an invalidation channel", endpoint.address
        ),
    }
}

/// Connects and finds out in which mode: asks for tracking and whether it is really on.
pub(super) async fn open(endpoint: &Endpoint, how: How<'_>) -> Result<(Wire, Mode, Proto), Failure> {
    let coherence = how.coherence;
    let identity = |proto| Identity { database: 0, proto, credentials: endpoint.credentials.clone() };
    let untracked = async |proto| {
        let wire = wire::open(endpoint, &identity(proto), "larder-reads", &[]).await?;
        Ok((wire, Mode::Ttl, proto))
    };
    // (memcached has nothing to push: there is no need to ask.)
    if coherence == Coherence::Ttl || matches!(endpoint.speaks, Speaks::Memcached(_)) {
        return match untracked(Proto::Resp3).await {
            Err(Failure::Refused(_)) => untracked(Proto::Resp2).await,
            opened => opened,
        };
    }
    let mut tracking: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON"];
    if let Some(prefix) = how.prefix {
        tracking.extend([&b"BCAST"[..], b"PREFIX", prefix]);
    }
    let name = if how.prefix.is_some() { "larder-broadcast" } else { "larder-tracked" };
    let opened = wire::open(endpoint, &identity(Proto::Resp3), name, &[&tracking]).await;
    let refused = match opened {
        Ok(mut wire) => {
            // Some managed services say OK and do nothing.
            let info = wire.ask(&[b"CLIENT", b"TRACKINGINFO"], endpoint.connect_timeout).await;
            let info = info.map_err(|error| Failure::Lost(error.to_string()))?;
            // Redis 6.0 has tracking and no word about it.
            let silent = info.to_ascii_lowercase().starts_with(b"-err unknown subcommand");
            if silent || info.windows(4).any(|window| window == b"\r\non") {
                return Ok((wire, Mode::Tracking, Proto::Resp3));
            }
            Failure::Refused("ERR CLIENT TRACKING was accepted and is not on".into())
        }
        Err(refused @ Failure::Refused(_)) => refused,
        Err(failure) => return Err(failure),
    };
    if coherence == Coherence::Tracking || !unable(&refused) {
        return Err(refused);
    }
    match untracked(Proto::Resp3).await {
        Err(Failure::Refused(_)) => untracked(Proto::Resp2).await,
        opened => opened,
    }
}

/// Whether a refusal says that the origin has no tracking to give, now or later. A wrong password, a dataset that is
/// being loaded or a busy script say nothing of the sort.
pub(super) fn unable(refused: &Failure) -> bool {
    let Failure::Refused(words) = refused else { return false };
    match words.split(' ').next() {
        Some("ERR") => !words.contains("max number of clients"),
        Some("NOPROTO") => true,
        Some("NOPERM") => words.contains("'client"),
        _ => false,
    }
}
