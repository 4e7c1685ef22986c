//! What the workers share: the composition root's one structure.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::cache::hotkeys::Hot;
use crate::cache::{Coverage, NearCache};
use crate::clock::Micros;
use crate::coherence::Tag;
use crate::command::Table;
use crate::config::Config;
use crate::counters::Counters;
use crate::inbox::Inbox;
use crate::memory::Memory;
use crate::resp::Proto;
use crate::route::Routes;
use crate::security::Verdicts;
use crate::session::clients::Clients;
use crate::upstream::Endpoint;
use crate::upstream::control::Learned;
use crate::upstream::tracked::{Mode, Tracked};

/// Everything that is shared.
#[derive(Debug)]
pub struct App {
    /// What was asked for.
    pub config: Config,
    /// Where the configuration came from, for people.
    pub source: String,
    /// Command table; replaced when the upstream tells of more commands.
    pub table: ArcSwap<Table>,
    /// Key pattern -> policy.
    pub routes: Routes,
    /// The near-cache.
    pub near: NearCache,
    /// Where commands go.
    pub backend: Backend,
    /// What the upstream has told of itself.
    pub learned: ArcSwap<Learned>,
    /// Connected clients.
    pub clients: Clients,
    /// One letter box per worker.
    pub inboxes: Vec<Arc<Inbox>>,
    /// One set of counters per worker.
    pub counters: Vec<Arc<Counters>>,
    /// Each worker's hottest keys, published now and then.
    pub hot: Vec<Mutex<Vec<Hot>>>,
    /// Addresses listened on.
    pub listening: Mutex<Vec<String>>,
    /// Address of the admin page, if it is up.
    pub admin: Mutex<Option<String>>,
    /// When the process started.
    pub started: (Instant, SystemTime),
    /// 40 hex digits that differ from run to run.
    pub run_id: String,
    /// Clients turned away because there were too many.
    pub refused: AtomicU64,
    /// The process is ending.
    pub stopping: AtomicBool,
}

/// Where commands go.
#[derive(Debug)]
pub enum Backend {
    /// A Redis server.
    Redis(Box<Origin>),
    /// The store in this process.
    Memory(Box<Memory>),
}

/// A Redis server and what stands between it and the cache.
#[derive(Debug)]
pub struct Origin {
    /// Name of the upstream.
    pub name: String,
    /// Its address.
    pub endpoint: Arc<Endpoint>,
    /// The connection for cacheable reads.
    pub tracked: Arc<Tracked<Tag>>,
    /// Whether invalidations arrive.
    pub coverage: Coverage,
    mode: AtomicU8,
    /// Protocol version 2 only (before Redis 6).
    pub old_protocol: AtomicBool,
    /// Connection attempts and losses of the tracked connection.
    pub losses: AtomicU64,
    /// What it said of clients' own credentials.
    pub verdicts: Verdicts,
}

impl Origin {
    /// An origin that is not connected yet.
    pub fn new(name: &str, endpoint: Endpoint) -> Self {
        Self {
            name: name.to_owned(),
            endpoint: Arc::new(endpoint),
            tracked: Arc::default(),
            coverage: Coverage::default(),
            mode: AtomicU8::new(0),
            old_protocol: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            verdicts: Verdicts::default(),
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
        if mode.is_none() {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How the tracked connection works now.
    pub fn mode(&self) -> Option<Mode> {
        match self.mode.load(Ordering::Acquire) {
            1 => Some(Mode::Tracking),
            2 => Some(Mode::Ttl),
            _ => None,
        }
    }

    /// The newest protocol version that the origin speaks.
    pub fn proto(&self) -> Proto {
        if self.old_protocol.load(Ordering::Relaxed) { Proto::Resp2 } else { Proto::Resp3 }
    }
}

impl App {
    /// The Redis server behind, if it is one.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.backend {
            Backend::Redis(origin) => Some(origin),
            Backend::Memory(_) => None,
        }
    }

    /// The database in which clients start (`upstreams.*.database`).
    pub fn home_database(&self) -> u32 {
        self.config.upstreams.values().next().map_or(0, |upstream| upstream.database)
    }

    /// The sum of one counter over all workers.
    pub fn total(&self, pick: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| pick(counters)).sum()
    }
}
