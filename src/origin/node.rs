//! One server of an upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::cache::Coverage;
use crate::clock::Micros;
use crate::coherence::Tag;
use crate::resp::Proto;
use crate::upstream::tracked::{Mode, Tracked};
use crate::upstream::{Breaker, Endpoint};

/// A server in a role: an address that changes from primary to replica becomes another node, with nothing carried over.
#[derive(Debug)]
pub struct Node {
    /// Its number in this process, never used again.
    pub number: u32,
    /// The number of its upstream.
    pub upstream: u16,
    /// Its address, and how it is spoken to.
    pub endpoint: Arc<Endpoint>,
    /// Whether it may be asked now.
    pub breaker: Arc<Breaker>,
    /// The connection for cacheable reads.
    pub tracked: Arc<Tracked<Tag>>,
    /// Whether its invalidations arrive.
    pub coverage: Coverage,
    mode: AtomicU8,
    old_protocol: AtomicBool,
    followed: AtomicBool,
    retired: AtomicBool,
    lanes: AtomicU32,
}

static NUMBERS: AtomicU32 = AtomicU32::new(0);

impl Node {
    /// A node that is not connected yet.
    pub fn new(upstream: u16, endpoint: Endpoint, breaker: Breaker) -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            upstream,
            endpoint: Arc::new(endpoint),
            breaker: Arc::new(breaker),
            tracked: Arc::default(),
            coverage: Coverage::default(),
            mode: AtomicU8::new(0),
            old_protocol: AtomicBool::new(false),
            followed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            lanes: AtomicU32::new(0),
        }
    }

    /// How far an answered heartbeat proves coverage past the moment it was sent.
    pub fn lease(&self) -> Micros {
        let heartbeat = self.endpoint.heartbeat;
        Micros::of(heartbeat.interval + heartbeat.timeout)
    }

    /// Notes how the tracked connection works now; `None` when it is gone.
    pub fn note_mode(&self, mode: Option<Mode>) {
        let code = match mode {
            None => 0,
            Some(Mode::Tracking) => 1,
            Some(Mode::Ttl) => 2,
        };
        self.mode.store(code, Ordering::Release);
    }

    /// How the tracked connection works now.
    pub fn mode(&self) -> Option<Mode> {
        match self.mode.load(Ordering::Acquire) {
            1 => Some(Mode::Tracking),
            2 => Some(Mode::Ttl),
            _ => None,
        }
    }

    /// Notes the newest protocol version that it speaks.
    pub fn note_proto(&self, proto: Proto) {
        self.old_protocol.store(proto == Proto::Resp2, Ordering::Relaxed);
    }

    /// The newest protocol version that it speaks.
    pub fn proto(&self) -> Proto {
        if self.old_protocol.load(Ordering::Relaxed) { Proto::Resp2 } else { Proto::Resp3 }
    }

    /// Whether the caller is the first to follow its invalidations, hence has to.
    pub fn follow(&self) -> bool {
        !self.followed.swap(true, Ordering::AcqRel)
    }

    /// It serves no key any more: its connections end, and nothing that was read from it is fresh.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.breaker.retire();
        self.coverage.lose();
        self.tracked.end();
    }

    /// One more connection that clients share leads to it.
    pub fn add_lane(&self) {
        self.lanes.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer.
    pub fn remove_lane(&self) {
        self.lanes.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn lanes(&self) -> u32 {
        self.lanes.load(Ordering::Relaxed)
    }

    /// Whether it has retired.
    pub fn retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}
