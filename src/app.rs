//! What the workers share: the composition root's one structure.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::cache::NearCache;
use crate::cache::hotkeys::Hot;
use crate::command::{Spec, Table};
use crate::config::{Config, Kind};
use crate::counters::Counters;
use crate::events::Events;
use crate::history::History;
use crate::inbox::Inbox;
use crate::invalidation::Channels;
use crate::ladder::runway::Runway;
use crate::logs::Logs;
use crate::memory::Memory;
use crate::orders::Orders;
use crate::origin::{Databases, Origin};
use crate::pubsub::Hub;
use crate::reloads::Reloads;
use crate::rules::Rules;
use crate::session::clients::Clients;
use crate::traces::Tracer;
use crate::tracking::Register;
use crate::tracking::broadcast::Broadcasts;
use crate::upstream::memcached;

/// Everything that is shared.
#[derive(Debug)]
pub struct App {
    /// What is asked for now; a reload replaces it as a whole.
    pub(crate) rules: ArcSwap<Rules>,
    /// The number of the set that each worker goes by.
    pub(crate) taken: Vec<AtomicU64>,
    /// A worker goes by another set now.
    pub taken_news: Notify,
    /// Where the configuration came from, for people.
    pub source: String,
    /// Command table; replaced when the upstream tells of more commands.
    pub table: ArcSwap<Table>,
    /// How far the cache would carry.
    pub runway: Runway,
    /// Clients that keep replies have been given some that were not fresh.
    pub stale_told: AtomicBool,
    /// The near-cache.
    pub near: NearCache,
    /// Where commands go, in the order of the upstreams' names: the place of each is its number.
    pub upstreams: Vec<Backend>,
    /// Their names.
    pub names: Vec<String>,
    /// The upstream for what concerns no key.
    pub home: u16,
    /// There are several upstreams.
    pub several: bool,
    /// For each of them, in which of its databases a client is.
    pub databases: Vec<Databases>,
    /// The channels on which changes are told where an upstream tells of none.
    pub channels: Channels,
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
    /// The log, whose levels may be changed.
    pub logs: Logs,
    /// Makes traces, if that is asked for.
    pub tracer: Option<Tracer>,
    /// What has happened of late.
    pub events: Events,
    /// How a few numbers were in the last quarter of an hour.
    pub history: History,
    /// What came of the reloads so far.
    pub reloads: Reloads,
    /// Where the process as a whole is asked for something.
    pub orders: Orders,
    pub(crate) at_stage: AtomicU8,
    /// Another process has been given the listening sockets, and needs their files.
    pub lent: AtomicBool,
}

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It accepts no clients yet.
    Starting,
    /// It serves.
    Serving,
    /// It accepts no clients any more, and those that it has may finish.
    Draining,
    /// It ends.
    Ending,
}

/// Where commands go.
#[derive(Debug)]
pub enum Backend {
    /// Servers.
    Servers(Box<Origin>),
    /// The store in this process.
    Memory(Box<Memory>),
}

impl App {
    /// What is asked for now. For those who have time: a worker goes by the set that it holds.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Replaces the rules by those of this configuration, which names the same upstreams; workers have to be told. One caller at a time.
    ///
    /// # Errors
    /// What is wrong with which file of a certificate or key; then nothing is replaced.
    pub fn replace_rules(&self, config: Config) -> Result<Arc<Rules>, String> {
        let rules = Arc::new(Rules::of(self.rules.load().number + 1, config, self.home)?);
        self.rules.store(Arc::clone(&rules));
        Ok(rules)
    }

    /// A worker goes by this set from now on.
    pub fn rules_taken(&self, worker: u16, number: u64) {
        if let Some(taken) = self.taken.get(usize::from(worker)) {
            taken.store(number, Ordering::Release);
            self.taken_news.notify_one();
        }
    }

    /// Whether every worker goes by this set or a newer one.
    pub fn all_go_by(&self, number: u64) -> bool {
        self.taken.iter().all(|taken| taken.load(Ordering::Acquire) >= number)
    }

    /// An upstream by its number.
    #[inline]
    pub fn backend(&self, number: u16) -> &Backend {
        // Numbers come from the routes, which were compiled from the same list.
        &self.upstreams[usize::from(number)]
    }

    /// The upstream for what concerns no key.
    #[inline]
    pub fn home(&self) -> &Backend {
        self.backend(self.home)
    }

    /// The same, if it has servers.
    pub fn home_origin(&self) -> Option<&Origin> {
        self.home().origin()
    }

    /// The servers that pass on what is published; without any, clients of this process hear each other.
    pub fn broker(&self) -> Option<&Origin> {
        self.home_origin().filter(|origin| origin.is_redis())
    }

    /// The servers of an upstream, by its number.
    #[inline]
    pub fn origin(&self, number: u16) -> Option<&Origin> {
        self.backend(number).origin()
    }

    /// All upstreams that have servers.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.upstreams.iter().filter_map(Backend::origin)
    }

    /// All stores in this process, with their numbers.
    pub fn memories(&self) -> impl Iterator<Item = (u16, &Memory)> {
        (0..).zip(&self.upstreams).filter_map(|(number, backend)| match backend {
            Backend::Memory(memory) => Some((number, memory.as_ref())),
            Backend::Servers(_) => None,
        })
    }

    /// The upstream's name, by its number.
    pub fn upstream_name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("", String::as_str)
    }

    /// The database in which clients start (`upstreams.*.database` of the home upstream).
    pub fn home_database(&self) -> u32 {
        self.databases[usize::from(self.home)].own
    }

    /// Which of an upstream's databases a client is in that has chosen this one.
    pub fn database(&self, number: u16, chosen: u32) -> u32 {
        self.databases[usize::from(number)].of(chosen)
    }

    /// What the process is doing.
    pub fn stage(&self) -> Stage {
        match self.at_stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            2 => Stage::Draining,
            _ => Stage::Ending,
        }
    }

    /// It goes on to a later stage; never back.
    pub fn enter(&self, stage: Stage) {
        self.at_stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// The sum of one counter over all workers.
    pub fn total(&self, pick: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| pick(counters)).sum()
    }
}

impl Backend {
    /// What it is, in the word of the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Servers(origin) => origin.kind.name(),
            Self::Memory(_) => Kind::Memory.name(),
        }
    }

    /// Whether it serves a command that it is told because all upstreams are.
    pub fn serves(&self, spec: &Spec) -> bool {
        match self {
            Self::Servers(origin) => origin.is_redis() || memcached::serves(&spec.name),
            Self::Memory(_) => Memory::serves(&spec.name),
        }
    }

    /// Its servers, if it has any.
    #[inline]
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Servers(origin) => Some(origin),
            Self::Memory(_) => None,
        }
    }
}
