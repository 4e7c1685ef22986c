//! An upstream of Redis servers: its nodes, who of them owns which keys, and what stands between each and the cache.
//!
//! * [`node`]: one server: its address, its tracked connection, its coverage.
//! * [`map`]: which node owns which slot, at one moment; replaced as a whole when that changes.
//!
//! A standalone Redis and the primary that Sentinel names own every key; a Redis Cluster shares the slots out among its
//! primaries. Whoever serves a command asks the [`Map`] and never needs to know which of these it is.

pub mod map;
pub mod node;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::config::{Address, Kind};
use crate::resp::Proto;
use crate::security::Verdicts;
use crate::upstream::Endpoint;
use crate::upstream::endpoint::Duty;
use crate::upstream::leases::Leases;
pub use map::Map;
pub use node::Node;

/// The number of the upstream in the near-cache: all routes of this version lead to one.
pub const UPSTREAM: u16 = 0;

/// An upstream of kind `redis`, `redis-sentinel` or `redis-cluster`.
#[derive(Debug)]
pub struct Origin {
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
    /// Connections that sessions have to themselves.
    pub leases: Leases,
    /// Tracked connections that were lost.
    pub losses: AtomicU64,
    /// Times that keys got another owner.
    pub changes: AtomicU64,
    /// What it said of clients' own credentials.
    pub verdicts: Verdicts,
    /// Somebody has reason to believe that the map is no longer right.
    pub doubt: Notify,
}

impl Origin {
    /// An upstream of which nothing is known yet but its configuration.
    pub fn new(name: &str, kind: Kind, model: Endpoint) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            model: Arc::new(model),
            map: ArcSwap::from_pointee(Map::default()),
            version: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            nodes: Mutex::default(),
            leases: Leases::default(),
            losses: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            verdicts: Verdicts::default(),
            doubt: Notify::new(),
        }
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
        let node = Arc::new(Node::new(self.model.at(address.clone(), duty)));
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

/// Nodes that are remembered. A cluster has at most a thousand; the rest are addresses that redirections gave.
const MOST_NODES: usize = 4096;
