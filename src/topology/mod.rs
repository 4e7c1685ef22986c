//! Where an upstream's description of itself becomes the map by which commands are sent.
//!
//! * `cluster`: what the nodes of a Redis Cluster say (CLUSTER SLOTS).
//! * `sentinel`: what Sentinels say of a primary.
//! * `talk`: connections for asking; `news`: connections on which Sentinels tell of a switch.
//!
//! A new map is put in place in an order that leaves no gap: first commands and lookups go by it, so that entries of a
//! slot's former owner are no longer fresh; then fills under way are voided, since they were asked of the former owner;
//! then the entries of slots that moved are removed, in case a slot comes back.

mod cluster;
mod news;
mod sentinel;
mod talk;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app::App;
use crate::config::{Kind, Upstream};
use crate::inbox::Letter;
use crate::origin::map::Primary;
use crate::origin::{Map, Origin};
use crate::tracking;
use crate::upstream::endpoint::Duty;
use crate::upstream::ring::{Ring, RingNode};
use crate::upstream::slots::SLOTS;

/// The map of a standalone Redis: it never changes.
pub fn standalone(origin: &Origin, upstream: &Upstream) -> Map {
    let replicas = upstream.replicas.iter().map(|address| origin.node(address, Duty::Replica)).collect();
    Map::of_one(Primary { node: origin.node(&origin.model.address, Duty::Any), replicas })
}

/// The map of an upstream whose nodes are on a ring. It never changes either. A node that is down keeps its keys, which degrade:
/// were they given to others, two proxies that do not notice at the same moment would write them to two nodes, and the node that
/// comes back would answer with what it held before.
pub fn ring(origin: &Origin, upstream: &Upstream) -> Map {
    let (endpoints, rule) = (&upstream.endpoints, &upstream.ring);
    let primary = |address| Primary { node: origin.node(address, Duty::Any), replicas: Vec::new() };
    if let [only] = &endpoints[..] {
        return Map::of_one(primary(only));
    }
    let node = |address| RingNode { name: rule.name_of(address), weight: rule.weight_of(address) };
    let nodes: Vec<_> = endpoints.iter().map(node).collect();
    Map::of_ring(endpoints.iter().map(primary).collect(), Ring::new(&nodes, rule))
}

/// Keeps the map of an upstream right, for ever: asks who owns what, at regular times and whenever somebody has reason to
/// doubt what is known. `first` is called when there is a map.
pub async fn keep(app: Arc<App>, upstream: u16, first: impl Fn()) {
    let Some(origin) = app.origin(upstream) else { return };
    // (What is said here of an upstream changes with a restart only.)
    let rules = app.rules();
    let upstream = &rules.config.upstreams[&origin.name];
    match origin.kind {
        Kind::RedisCluster => cluster::keep(&app, origin, upstream, first).await,
        Kind::RedisSentinel => sentinel::keep(&app, origin, upstream, first).await,
        _ => {
            follow(&app, &origin.map());
            first();
        }
    }
}

/// The shortest time between two rounds of asking, however much doubt there is.
const PAUSE: Duration = Duration::from_millis(25);

/// Waits until it is time to ask again.
async fn rest(origin: &Origin, upstream: &Upstream) {
    tokio::time::sleep(PAUSE).await;
    let _ = tokio::time::timeout(upstream.health_check.interval, origin.doubt.notified()).await;
}

/// Puts a map in place.
fn adopt(app: &App, origin: &Origin, map: Map) {
    let before = origin.publish(map);
    let map = origin.map();
    let moved: Vec<bool> = (0..SLOTS as u16).map(|slot| map.moved(&before, slot)).collect();
    if !before.primaries().is_empty() && moved.contains(&true) {
        for slot in (0..SLOTS as u16).filter(|slot| moved[usize::from(*slot)]) {
            if let (Some(now), Some(then)) = (map.owner_of_slot(slot), before.owner_of_slot(slot)) {
                now.node.coverage.inherit(then.node.coverage.stamp());
            }
        }
        origin.changes.fetch_add(1, Ordering::Relaxed);
        app.near.void_fills();
        app.near.remove_where(origin.number, |key| moved[usize::from(map.slot(key))]);
        // (One node of all keys counts as one slot.)
        let count = moved.iter().filter(|moved| **moved).count();
        tracing::info!(upstream = %origin.name, "{count} slots have another owner now");
    }
    if !before.primaries().is_empty() {
        // Behind the former owners' connections changes may have been missed.
        tracking::all_changed(app);
        app.inboxes.iter().take(1).for_each(|inbox| inbox.post([Letter::NewPrimaries]));
    }
    follow(app, &map);
    app.hub.endpoints_changed(app);
}

/// Has the tracked connection of every primary kept that has none yet.
fn follow(app: &App, map: &Map) {
    for primary in map.primaries().iter().filter(|primary| primary.node.follow()) {
        let worker = primary.node.number as usize % app.inboxes.len();
        app.inboxes[worker].post([Letter::Follow(Arc::clone(&primary.node))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::upstream::Endpoint;

    fn map_of(text: &str) -> Map {
        let text = format!("listeners: [{{address: 127.0.0.1:1}}]\nupstreams: {{u: {{{text}}}}}");
        let config = config::parse(&text, "t.yaml").unwrap();
        let upstream = &config.upstreams["u"];
        let model = Endpoint::of("u", upstream, &upstream.endpoints[0]).unwrap();
        ring(&Origin::new(0, "u", upstream, model), upstream)
    }

    #[test]
    fn every_key_has_the_owner_that_its_slot_has() {
        let map = map_of("kind: memcached, endpoints: [h:1, h:2, h:3], ring: {weights: {'h:2': 2}}");
        let mut counts = [0; 3];
        for number in 0..4000 {
            let key = format!("key:{number}");
            let slot = map.slot(key.as_bytes());
            let owner = map.owner(key.as_bytes()).unwrap();
            assert!(Arc::ptr_eq(owner, &map.owner_of_slot(slot).unwrap().node));
            assert_eq!(map.owner_number(slot), Some(usize::from(slot)));
            counts[usize::from(slot)] += 1;
        }
        assert!(counts[1] > counts[0] && counts[1] > counts[2] && counts[0] > 500, "{counts:?}");
        assert!(map.is_split() && map.is_complete() && !map.redirects());
        assert!(map.owner_of_slot(3).is_none() && map.owner_number(3).is_none());
        let addresses: Vec<_> = map.nodes().map(|node| node.endpoint.address.to_string()).collect();
        assert_eq!(addresses, ["h:1", "h:2", "h:3"]);
    }

    #[test]
    fn a_ring_of_one_node_splits_nothing() {
        let map = map_of("kind: memcached, endpoints: [h:1]");
        assert!(!map.is_split() && map.is_complete() && map.ring().is_none());
    }
}
