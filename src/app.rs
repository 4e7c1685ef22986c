//! What the workers share: the composition root's one structure.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::cache::NearCache;
use crate::cache::hotkeys::Hot;
use crate::command::Table;
use crate::config::Config;
use crate::counters::Counters;
use crate::inbox::Inbox;
use crate::ladder::Ladders;
use crate::ladder::runway::Runway;
use crate::memory::Memory;
use crate::origin::Origin;
use crate::pubsub::Hub;
use crate::route::Routes;
use crate::session::clients::Clients;
use crate::tracking::Register;
use crate::tracking::broadcast::Broadcasts;
use crate::upstream::control::Learned;

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
    /// What is answered while a node is down.
    pub ladders: Ladders,
    /// How far the cache would carry.
    pub runway: Runway,
    /// Clients that keep replies have been given some that were not fresh.
    pub stale_told: AtomicBool,
    /// The near-cache.
    pub near: NearCache,
    /// Where commands go.
    pub backend: Backend,
    /// What the upstream has told of itself.
    pub learned: ArcSwap<Learned>,
    /// Which clients want to hear of changes to what they have read.
    pub register: Register,
    /// Which clients want to hear of changes under prefixes.
    pub broadcasts: Broadcasts,
    /// Who is subscribed to what.
    pub hub: Hub,
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
    /// Redis servers.
    Redis(Box<Origin>),
    /// The store in this process.
    Memory(Box<Memory>),
}

impl App {
    /// The Redis servers behind, if it is such.
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
