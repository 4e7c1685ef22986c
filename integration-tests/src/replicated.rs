//! A primary with replicas, and nobody who watches over them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::redis::Redis;
use crate::wait;

/// A replica asks its primary for everything once a second at the most, and then it is sent.
const SYNC: Duration = Duration::from_secs(30);

/// A running primary and its running replicas; killed on drop.
#[derive(Debug)]
pub struct Replicated {
    /// The one that takes writes.
    pub primary: Redis,
    /// Those that follow it.
    pub replicas: Vec<Redis>,
}

impl Replicated {
    /// Starts one primary and so many replicas and waits until they follow it.
    pub fn start(replicas: usize) -> Self {
        Self::start_with(replicas, &[])
    }

    /// The same with further arguments for each server.
    pub fn start_with(replicas: usize, args: &[&str]) -> Self {
        // The default waits five seconds for further replicas.
        let prompt = [&["--repl-diskless-sync-delay", "0"], args].concat();
        let primary = Redis::start_with(&prompt);
        let of = format!("127.0.0.1 {}", primary.address().port());
        let following = [&["--replicaof", &of], prompt.as_slice()].concat();
        let replicas = (0..replicas).map(|_| Redis::start_with(&following)).collect();
        let all = Self { primary, replicas };
        all.wait_until_linked();
        all
    }

    /// Where the replicas listen.
    pub fn replica_addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Redis::address).collect()
    }

    /// Waits until every replica follows its primary.
    pub fn wait_until_linked(&self) {
        wait::until_within(SYNC, "the replicas are linked", || {
            self.replicas.iter().all(|replica| replica.info("master_link_status") == "up")
        });
    }

    /// Waits until every replica has what the primary had when this was called.
    pub fn wait_until_caught_up(&self) {
        let offset = |redis: &Redis, field: &str| redis.info(field).parse::<u64>().unwrap_or(0);
        let written = offset(&self.primary, "master_repl_offset");
        wait::until_within(SYNC, "the replicas have caught up", || {
            self.replicas.iter().all(|replica| offset(replica, "slave_repl_offset") >= written)
        });
    }
}
