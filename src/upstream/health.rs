//! Asking an endpoint whether it is well, on a connection of its own.
//!
//! PING; of a cluster's node CLUSTER INFO, which also says whether the cluster lets it serve its keys. What is asked of a connection
//! when it is made (ROLE, AUTH) is asked here too. An error that is about us (NOAUTH, NOPERM, BUSY) comes from a server that is alive.

use std::time::Duration;

use super::breaker::{self, Breaker};
use super::endpoint::{Duty, Endpoint, Failure, Identity};
use super::shards::ClusterInfo;
use super::wire::{self, Wire};
use crate::resp::Proto;

/// The health checks of one endpoint.
#[derive(Debug, Default)]
pub struct Check {
    wire: Option<Wire>,
}

/// The name of these connections (CLIENT SETNAME).
const NAME: &str = "larder-health";

impl Check {
    /// Asks once; why it is not well, if it is not. Takes at most twice `limit`: connecting, and the answer.
    pub async fn ask(&mut self, endpoint: &Endpoint, breaker: &Breaker, limit: Duration) -> Result<(), String> {
        // A connection that was kept may have been closed for being idle: that alone says nothing.
        if let Some(mut wire) = self.wire.take()
            && let Ok(reply) = wire.ask(question(endpoint), limit).await
        {
            self.wire = Some(wire);
            return judge(endpoint, breaker, &reply);
        }
        let mut wire = match self.open(endpoint, limit).await {
            Ok(wire) => wire,
            Err(Failure::Refused(words)) if breaker::signal(format!("-{words}").as_bytes(), breaker).is_none() => {
                return Ok(());
            }
            Err(failure) => return Err(failure.to_string()),
        };
        let reply = wire.ask(question(endpoint), limit).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => format!("did not answer within {limit:?}"),
            _ => format!("closed the connection before it answered ({error})"),
        })?;
        self.wire = Some(wire);
        judge(endpoint, breaker, &reply)
    }

    async fn open(&self, endpoint: &Endpoint, limit: Duration) -> Result<Wire, Failure> {
        let identity = Identity { database: 0, proto: Proto::Resp2, credentials: endpoint.credentials.clone() };
        let endpoint = Endpoint { connect_timeout: endpoint.connect_timeout.min(limit), ..endpoint.clone() };
        wire::open(&endpoint, &identity, NAME, &[]).await
    }
}

fn question(endpoint: &Endpoint) -> &'static [&'static [u8]] {
    match endpoint.duty {
        Duty::ClusterPrimary => &[b"CLUSTER", b"INFO"],
        _ => &[b"PING"],
    }
}

fn judge(endpoint: &Endpoint, breaker: &Breaker, reply: &[u8]) -> Result<(), String> {
    if reply.starts_with(b"-") {
        return breaker::signal(reply, breaker).map_or(Ok(()), |why| Err(why.to_owned()));
    }
    match endpoint.duty {
        Duty::ClusterPrimary if ClusterInfo::of(reply).is_ok_and(|info| !info.ok) => {
            Err("CLUSTERDOWN the cluster is down".to_owned())
        }
        _ => Ok(()),
    }
}
