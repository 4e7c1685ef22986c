//! Discovering and following a Redis Cluster.
//!
//! Several nodes are asked, and the one that knows of the highest epoch is believed: a node that was cut off from the
//! others repeats an old view. A view older than the one in place is not taken, unless nobody has a newer one for a while
//! (a cluster that was built anew).

use std::collections::HashMap;
use std::sync::Arc;

use super::talk::{Answers, Talk};
use super::{adopt, rest};
use crate::app::App;
use crate::config::{Address, Upstream};
use crate::origin::map::{NOBODY, Primary};
use crate::origin::{Map, Origin};
use crate::upstream::endpoint::Duty;
use crate::upstream::shards::{ClusterInfo, Member, Shards};
use crate::upstream::slots::SLOTS;

/// Nodes that are asked at once.
const ASKED: usize = 3;
/// Rounds without a view as new as the one in place, after which the newest there is is taken.
const PATIENCE: u32 = 200;
/// The first CLUSTER INFO comes before CLUSTER SLOTS, so that the epoch is at most too low for the slots.
const QUESTIONS: &[&[&str]] = &[&["CLUSTER", "INFO"], &["CLUSTER", "SLOTS"]];

/// What a node says.
struct Seen {
    info: ClusterInfo,
    shards: Shards,
}

pub(super) async fn keep(app: &App, origin: &Origin, upstream: &Upstream, first: impl Fn()) {
    let mut talk = Talk::new(&origin.model, origin.model.credentials.clone(), upstream.health_check.timeout);
    let mut shown = Shown::default();
    let mut behind = 0;
    for turn in 0.. {
        let known = candidates(origin, upstream);
        talk.keep_only(&known);
        match ask(&mut talk, &known, &down(origin), turn).await {
            Ok(seen) if seen.info.current_epoch >= origin.epoch() || behind >= PATIENCE => {
                behind = 0;
                if shown.changes(&seen.shards) || origin.map().primaries().is_empty() {
                    let map = map_of(origin, &seen.shards);
                    tracing::info!(
                        upstream = %origin.name,
                        "cluster of {} primaries, epoch {}{}", map.primaries().len(), seen.info.current_epoch,
                        if seen.shards.complete() { "" } else { ", some slots have no owner" }
                    );
                    adopt(app, origin, map);
                }
                origin.note_epoch(seen.info.current_epoch);
                first();
            }
            Ok(_) => behind += 1,
            Err(why) => shown.complain(origin, &why),
        }
        rest(origin, upstream).await;
    }
}

/// Everybody who may be asked: those in the map, then the seeds.
fn candidates(origin: &Origin, upstream: &Upstream) -> Vec<Address> {
    let map = origin.map();
    let replicas = map.primaries().iter().flat_map(|primary| &primary.replicas);
    let nodes = map.primaries().iter().map(|primary| &primary.node).chain(replicas);
    let mut known: Vec<Address> = Vec::new();
    for address in nodes.map(|node| &node.endpoint.address).chain(&upstream.endpoints) {
        if !known.contains(address) {
            known.push(address.clone());
        }
    }
    known
}

/// Those that are not asked by anybody now. They are asked last: their silence would hold up what the others have to tell, which
/// may be who has taken their place.
fn down(origin: &Origin) -> Vec<Address> {
    let map = origin.map();
    map.nodes().filter(|node| !node.breaker.flows()).map(|node| node.endpoint.address.clone()).collect()
}

/// Asks some at a time until one gives a usable answer.
async fn ask(talk: &mut Talk, known: &[Address], down: &[Address], turn: usize) -> Result<Seen, String> {
    let mut why = "no node is known".to_owned();
    let start = turn % known.len().max(1);
    let mut order: Vec<Address> = known[start..].iter().chain(&known[..start]).cloned().collect();
    order.sort_by_key(|address| down.contains(address));
    for some in order.chunks(ASKED) {
        let mut best: Option<Seen> = None;
        for (address, answer) in talk.ask(some, QUESTIONS, None).await {
            match answer.and_then(|answers| seen(&address, &answers)) {
                Ok(seen) if best.as_ref().is_none_or(|best| rank(&seen) > rank(best)) => best = Some(seen),
                Ok(_) => {}
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        if let Some(best) = best {
            return Ok(best);
        }
    }
    Err(why)
}

/// The newest view first; among equals, that of a node that can see all of the cluster.
fn rank(seen: &Seen) -> (u64, bool, bool) {
    (seen.info.current_epoch, seen.info.ok, seen.shards.complete())
}

fn seen(address: &Address, answers: &Answers) -> Result<Seen, String> {
    let [info, slots] = &answers[..] else { return Err("an answer is missing".to_owned()) };
    let host = match address {
        Address::Tcp { host, .. } => host,
        Address::Unix(_) => "",
    };
    let info = ClusterInfo::of(info).map_err(|error| error.to_string())?;
    let shards = Shards::of(slots, host).map_err(|error| error.to_string())?;
    if shards.ranges.is_empty() {
        return Err("it knows of no slot's owner".to_owned());
    }
    Ok(Seen { info, shards })
}

/// The map of a view.
fn map_of(origin: &Origin, shards: &Shards) -> Map {
    let address = |member: &Member| Address::Tcp { host: member.host.clone(), port: member.port };
    let members = shards.primaries();
    let index: HashMap<&str, usize> = members.iter().enumerate().map(|(at, member)| (&*member.id, at)).collect();
    let mut primaries: Vec<Primary> = members
        .iter()
        .map(|member| Primary { node: origin.node(&address(member), Duty::ClusterPrimary), replicas: Vec::new() })
        .collect();
    let mut slots = vec![NOBODY; SLOTS];
    for range in &shards.ranges {
        let Some(at) = index.get(&*range.primary.id) else { continue };
        slots[usize::from(range.first)..=usize::from(range.last)].fill(*at as u16);
        for replica in &range.replicas {
            let node = origin.node(&address(replica), Duty::ClusterReplica);
            let replicas = &mut primaries[*at].replicas;
            if !replicas.iter().any(|known| Arc::ptr_eq(known, &node)) {
                replicas.push(node);
            }
        }
    }
    Map::of_slots(primaries, slots.into(), shards.digest())
}

/// What was adopted and said last, so that only changes are.
#[derive(Default)]
struct Shown {
    shards: Shards,
    complaint: String,
}

impl Shown {
    fn changes(&mut self, shards: &Shards) -> bool {
        self.complaint.clear();
        let changed = self.shards != *shards;
        self.shards.clone_from(shards);
        changed
    }

    fn complain(&mut self, origin: &Origin, why: &str) {
        if self.complaint != why {
            why.clone_into(&mut self.complaint);
            tracing::warn!(upstream = %origin.name, "nobody tells who owns which slots: {why}");
        }
    }
}
