//! An upstream of servers: its nodes, who of them owns which keys, and what stands between each and the cache.
//!
//! * [`node`]: one server: its address, its tracked connection, its coverage.
//! * [`map`]: which node owns which keys, at one moment; replaced as a whole when that changes.
//!
//! A standalone Redis and the primary that Sentinel names own every key; a Redis Cluster shares the slots out among its
//! primaries, and on a ring of nodes their names say whose a key is. Whoever serves a command asks the [`Map`] and never needs to
//! know which of these it is.

pub mod map;
pub mod node;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use crate::clock::Micros;
use crate::config::{self, Address, Kind};
use crate::ladder::{Forced, Ladder, RUNGS, Rung, Standing};
use crate::resp::Proto;
use crate::security::Verdicts;
use crate::upstream::budget::Budget;
use crate::upstream::control::{DATABASES, Learned};
use crate::upstream::endpoint::Duty;
use crate::upstream::leases::Leases;
use crate::upstream::{Breaker, Endpoint};
pub use map::Map;
pub use node::Node;

/// An upstream of servers: every kind but `memory`.
#[derive(Debug)]
pub struct Origin {
    /// Its number: that of its keys in the near-cache.
    pub number: u16,
    /// Name of the upstream.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How its servers are spoken to; the address is that of the first configured one.
    pub model: Arc<Endpoint>,
    map: ArcSwap<Map>,
    version: AtomicU64,
    epoch: AtomicU64,
    nodes: Mutex<Vec<Arc<Node>>>,
    /// Stands for the owner of keys whose owner is not known.
    pub vacancy: Arc<Node>,
    breaker: config::Breaker,
    /// Breakers that are not closed, and one more while a rung is forced: what every command looks at first.
    trouble: Arc<AtomicU32>,
    forced: ArcSwapOption<Forced>,
    /// Retries.
    pub budget: Budget,
    /// Health checks that succeeded, and that failed.
    pub checks: [AtomicU64; 2],
    /// How often each rung was entered.
    pub rungs: [AtomicU64; RUNGS.len()],
    /// Connections that sessions have to themselves.
    pub leases: Leases,
    /// Tracked connections that were lost.
    pub losses: AtomicU64,
    /// Times that keys got another owner.
    pub changes: AtomicU64,
    /// What it said of clients' own credentials.
    pub verdicts: Verdicts,
    /// Clients log in here: it is the home upstream. The others are spoken to as the configuration says, whoever asks.
    pub takes_logins: bool,
    /// Which of its databases a client is in.
    pub databases: Databases,
    /// What it has told of itself.
    pub learned: ArcSwap<Learned>,
    /// Somebody has reason to believe that the map is no longer right.
    pub doubt: Notify,
    /// There is a new map.
    pub mapped: Notify,
}

/// In which database of an upstream a client is. Where it begins, the configuration says for each upstream
/// (`upstreams.*.database`); with SELECT it chooses the same number everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Databases {
    /// The number that a client has which has chosen none: that of the home upstream.
    pub first: u32,
    /// The database of this upstream that it is in then.
    pub own: u32,
}

impl Databases {
    /// The database of a client that has chosen this number.
    #[inline]
    pub fn of(self, chosen: u32) -> u32 {
        if chosen == self.first { self.own } else { chosen }
    }
}

impl Origin {
    /// An upstream of which nothing is known yet but its configuration.
    pub fn new(number: u16, name: &str, upstream: &config::Upstream, model: Endpoint) -> Self {
        let (kind, breaker) = (upstream.kind, upstream.breaker);
        let trouble = Arc::<AtomicU32>::default();
        let vacancy = Node::new(number, model.clone(), Breaker::new(breaker, Arc::clone(&trouble)));
        vacancy.breaker.supervise();
        vacancy.breaker.open(Micros::now(), NOBODY_YET);
        Self {
            number,
            name: name.to_owned(),
            kind,
            model: Arc::new(model),
            map: ArcSwap::from_pointee(Map::default()),
            version: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            nodes: Mutex::default(),
            vacancy: Arc::new(vacancy),
            breaker,
            trouble,
            forced: ArcSwapOption::empty(),
            budget: Budget::default(),
            checks: Default::default(),
            rungs: Default::default(),
            leases: Leases::default(),
            losses: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            verdicts: Verdicts::default(),
            takes_logins: false,
            databases: Databases { first: upstream.database, own: upstream.database },
            learned: ArcSwap::from_pointee(Learned { databases: DATABASES, ..Learned::default() }),
            doubt: Notify::new(),
            mapped: Notify::new(),
        }
    }

    /// Whether every node may be asked: what does not hold is looked into key by key.
    #[inline]
    pub fn is_well(&self) -> bool {
        self.trouble.load(Ordering::Acquire) == 0
    }

    /// The node that answers for a key; where nobody is known, one that stands for nobody.
    pub fn answering<'a>(&'a self, map: &'a Map, key: &[u8]) -> &'a Arc<Node> {
        map.owner(key).unwrap_or(&self.vacancy)
    }

    /// The nodes whose flushes void what the near-cache holds: the primaries, and the one that stands for nobody as long as keys have no
    /// owner, since it is there that replies of a snapshot are found meanwhile.
    pub fn keepers<'a>(&'a self, map: &'a Map) -> impl Iterator<Item = &'a Arc<Node>> {
        map.primaries().iter().map(|primary| &primary.node).chain((!map.is_complete()).then_some(&self.vacancy))
    }

    /// Where a node stands on a ladder.
    pub fn standing(&self, node: &Node, ladder: &Ladder, now: Micros) -> Standing {
        if self.is_well() {
            return Standing::NORMAL;
        }
        match (self.forced(now), node.breaker.outage()) {
            (Some(Forced { rung: Rung::Normal, since, .. }), _) => Standing { since, ..Standing::NORMAL },
            (Some(forced), _) => ladder.forced(&forced),
            (None, Some(outage)) => ladder.standing(outage.since, now),
            (None, None) => Standing::NORMAL,
        }
    }

    /// Why a node is not asked, in words.
    pub fn reason(&self, node: &Node, now: Micros) -> Arc<str> {
        match (self.forced(now), node.breaker.outage()) {
            (Some(_), _) => "forced by an operator".into(),
            (None, Some(outage)) => outage.why,
            (None, None) => "it is well again".into(),
        }
    }

    /// The rung that an operator has set, while it holds.
    pub fn forced(&self, now: Micros) -> Option<Forced> {
        self.forced.load().as_deref().copied().filter(|forced| forced.holds(now))
    }

    /// Sets the rung of all nodes, or leaves it to their breakers again.
    pub fn force(&self, forced: Option<Forced>) {
        let after = u32::from(forced.is_some());
        // First the mark that makes commands look, last the one that lets them pass by.
        self.trouble.fetch_add(after, Ordering::AcqRel);
        let before = self.forced.swap(forced.map(Arc::new)).is_some();
        self.trouble.fetch_sub(u32::from(before), Ordering::AcqRel);
        self.mapped.notify_one();
    }

    /// Leaves the rung to the breakers again, if the time is over for which one was forced.
    pub fn end_forced(&self, now: Micros) {
        if self.forced.load().as_deref().is_some_and(|forced| !forced.holds(now)) {
            self.force(None);
        }
    }

    /// Commands of its nodes that were answered so far.
    pub fn answered(&self) -> u64 {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().map(|node| node.breaker.answered()).sum()
    }

    /// The present map.
    pub fn map(&self) -> Arc<Map> {
        self.map.load_full()
    }

    /// The number of the present map: changes whenever the map does, so that holders of an old one know.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The cluster's epoch when the map was read: a node that knows of a later one knows of changes that the map lacks.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The map is as of this epoch.
    pub fn note_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Whether its servers pass on messages, run scripts and lend connections: those of Redis do.
    pub fn is_redis(&self) -> bool {
        self.kind != Kind::Memcached
    }

    /// In what role the owner of a key is spoken to.
    pub fn duty(&self) -> Duty {
        match self.kind {
            Kind::RedisCluster => Duty::ClusterPrimary,
            Kind::RedisSentinel => Duty::Primary,
            _ => Duty::Any,
        }
    }

    /// Replaces the map. From now on every command goes by the new one; nodes that are in neither role any more retire.
    /// Returns the map before.
    pub fn publish(&self, mut map: Map) -> Arc<Map> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        map.version = self.version() + 1;
        let version = map.version;
        if self.map.load().primaries().is_empty() {
            let before = self.vacancy.coverage.stamp();
            map.primaries().iter().for_each(|primary| primary.node.coverage.inherit(before));
        }
        let map = Arc::new(map);
        let before = self.map.swap(Arc::clone(&map));
        self.version.store(version, Ordering::Release);
        nodes.retain(|node| {
            let stays = map.contains(node);
            if !stays && before.contains(node) {
                node.retire();
            }
            // One that a redirection named and no map has had yet is kept for the next command that needs it.
            stays || !before.contains(node)
        });
        drop(nodes);
        match self.map.load().is_complete() {
            true => self.vacancy.breaker.close(),
            false => self.vacancy.breaker.open(Micros::now(), NOBODY),
        }
        self.mapped.notify_one();
        before
    }

    /// The node at an address in a role; made when there is none.
    pub fn node(&self, address: &Address, duty: Duty) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = nodes.iter().find(|node| node.endpoint.address == *address && node.endpoint.duty == duty);
        if let Some(node) = known {
            return Arc::clone(node);
        }
        if nodes.len() >= MOST_NODES {
            // Redirections have named many that no map knows: whoever still speaks to them keeps them himself.
            let map = self.map.load();
            nodes.retain(|node| map.contains(node));
        }
        let breaker = Breaker::new(self.breaker, Arc::clone(&self.trouble));
        let node = Arc::new(Node::new(self.number, self.model.at(address.clone(), duty), breaker));
        nodes.push(Arc::clone(&node));
        node
    }

    /// The newest protocol version that the upstream speaks.
    pub fn proto(&self) -> Proto {
        self.map.load().any().map_or(Proto::Resp3, |node| node.proto())
    }

    /// What a client gets while nobody is known who owns its keys.
    pub fn nobody(&self) -> String {
        match self.kind {
            Kind::RedisCluster => "CLUSTERDOWN Hash slot not served".to_owned(),
            _ => format!("MASTERDOWN upstream '{}' has no primary that could be reached so far", self.name),
        }
    }
}

/// Why keys without an owner are not asked for.
const NOBODY_YET: &str = "nobody has told yet who owns which keys";
const NOBODY: &str = "nobody owns these keys";

/// Nodes that are remembered. A cluster has at most a thousand; the rest are addresses that redirections gave.
const MOST_NODES: usize = 4096;
