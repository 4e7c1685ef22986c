//! A real Redis Cluster of the test's own: it forms, moves slots, loses a primary and fails over.
//!
//! A node is named by its number in the order of the start: the primaries first, then as many replicas, the replica
//! of primary `n` being `n + primaries`. The numbers stay when the roles change; [`Cluster::primaries`] tells who is
//! what now.

mod migration;
mod router;
mod slot;
mod view;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{Client, shown};
use crate::port;
use crate::redis::Redis;
use crate::reply::Reply;
use crate::wait;

pub use migration::Migration;
pub use router::Router;
pub use slot::{SLOTS, slot_of};
pub use view::Seen;

/// How long a node is silent before the others hold it for failed, in milliseconds. Not less: the tests share few
/// cores, and a node that waits for a core must not be failed over.
const NODE_TIMEOUT_MS: &str = "2000";
/// Agreement takes some rounds of gossip, and a primary waits two seconds after its start.
const AGREEMENT: Duration = Duration::from_secs(60);
/// Asking every node about every other keeps them from what they are asked about.
const PAUSE: Duration = Duration::from_millis(25);

/// A running cluster; its servers are killed on drop.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    password: Option<String>,
}

#[derive(Debug)]
struct Node {
    redis: Redis,
    id: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Frozen,
    Killed,
}

impl Cluster {
    /// Three primaries with one replica each.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments for each server, as `["--requirepass", "x", "--masterauth", "x"]`; the harness
    /// then gives that password itself.
    pub fn start_with(args: &[&str]) -> Self {
        Self::form(3, true, args)
    }

    /// So many primaries and no replicas.
    pub fn start_primaries(count: usize) -> Self {
        Self::form(count, false, &[])
    }

    /// So many primaries and no replicas, which hold nobody for failed and go on without whoever is away: what is seen of
    /// an outage is then Larder's doing alone. Further arguments as above.
    pub fn start_apart(count: usize, args: &[&str]) -> Self {
        let apart = ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "3600000"];
        Self::form(count, false, &[&apart, args].concat())
    }

    fn form(primaries: usize, replicated: bool, args: &[&str]) -> Self {
        let password = args.iter().position(|&arg| arg == "--requirepass").map(|at| args[at + 1].to_owned());
        let count = if replicated { primaries * 2 } else { primaries };
        let nodes = (0..count).map(|_| Node { redis: launch(args), id: String::new(), state: State::Running });
        let mut cluster = Self { nodes: nodes.collect(), password };
        for node in 0..count {
            cluster.nodes[node].id = cluster.say_on(node, "CLUSTER MYID").text().expect("a node has an id");
            // Each an epoch of its own from the start: settling that by gossip takes seconds.
            cluster.ordered(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()]);
        }
        for primary in 0..primaries {
            let edge = |of: usize| of * usize::from(SLOTS) / primaries;
            let (first, last) = (edge(primary).to_string(), (edge(primary + 1) - 1).to_string());
            cluster.ordered(primary, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        cluster.introduce();
        for replica in primaries..count {
            cluster.ordered(replica, &["CLUSTER", "REPLICATE", cluster.id(replica - primaries)]);
        }
        cluster.wait_until_ok();
        cluster
    }

    /// Everybody meets everybody, and knows them afterwards.
    fn introduce(&self) {
        for node in 0..self.nodes.len() {
            for other in node + 1..self.nodes.len() {
                let (address, bus) = (self.address(other), self.bus_port(other));
                let (host, port) = (address.ip().to_string(), address.port().to_string());
                self.ordered(node, &["CLUSTER", "MEET", &host, &port, &bus]);
            }
        }
        wait::until_within(AGREEMENT, "every node knows the others", || {
            (0..self.nodes.len()).all(|node| {
                let known = self.view(node);
                self.nodes.iter().all(|of| known.iter().any(|seen| seen.id == of.id && !seen.failed))
            })
        });
    }

    // --- who is there

    /// Every node that was started.
    pub fn nodes(&self) -> Vec<usize> {
        (0..self.nodes.len()).collect()
    }

    /// The running nodes that hold themselves for primaries now.
    pub fn primaries(&self) -> Vec<usize> {
        self.running().into_iter().filter(|&node| self.myself(node).primary).collect()
    }

    /// The running nodes that hold themselves for replicas now.
    pub fn replicas(&self) -> Vec<usize> {
        self.running().into_iter().filter(|&node| !self.myself(node).primary).collect()
    }

    /// The running replica of that primary.
    pub fn replica_of(&self, primary: usize) -> usize {
        let found = self.replicas().into_iter().find(|&node| {
            let address = self.address(primary);
            self.role_field(node, "master_port") == address.port().to_string()
        });
        found.unwrap_or_else(|| panic!("node {primary} has no running replica"))
    }

    /// Where a node listens.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].redis.address()
    }

    /// Where every node listens: what a client is given to start from.
    pub fn seeds(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.redis.address()).collect()
    }

    /// A node's name in the cluster.
    pub fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    /// The server itself.
    pub fn redis(&self, node: usize) -> &Redis {
        &self.nodes[node].redis
    }

    /// The password of every node, where there is one.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        slot_of(key)
    }

    /// The primary that owns a key's slot now.
    pub fn owner_of(&self, key: &str) -> usize {
        self.owner_of_slot(slot_of(key))
    }

    /// The primary that owns a slot now. Of several that claim it, as after a thaw, the one of the highest epoch.
    pub fn owner_of_slot(&self, slot: u16) -> usize {
        let claims = self.running().into_iter().map(|node| (node, self.myself(node)));
        let best = claims.filter(|(_, seen)| seen.owns(slot)).max_by_key(|(_, seen)| seen.epoch);
        best.unwrap_or_else(|| panic!("nobody owns slot {slot}")).0
    }

    /// The first of `prefix0`, `prefix1`, ... that this primary owns.
    pub fn key_on(&self, primary: usize, prefix: &str) -> String {
        self.keys_on(primary, prefix, 1).remove(0)
    }

    /// The first so many of `prefix0`, `prefix1`, ... that this primary owns.
    pub fn keys_on(&self, primary: usize, prefix: &str, count: usize) -> Vec<String> {
        let seen = self.myself(primary);
        assert!(!seen.slots.is_empty(), "node {primary} owns no slot");
        let keys = (0..).map(|number| format!("{prefix}{number}")).filter(|key| seen.owns(slot_of(key)));
        keys.take(count).collect()
    }

    // --- speaking to a node

    /// A new connection to a node, authenticated where there is a password.
    pub fn connect(&self, node: usize) -> Client {
        self.try_connect(node).unwrap_or_else(|error| panic!("cannot speak to node {node}: {error}"))
    }

    /// One command of plain words for one node on a connection of its own.
    pub fn say_on(&self, node: usize, words: &str) -> Reply {
        self.connect(node).say(words)
    }

    /// One command for one node on a connection of its own.
    pub fn call_on<A: AsRef<[u8]>>(&self, node: usize, command: &[A]) -> Reply {
        self.connect(node).call(command)
    }

    fn try_connect(&self, node: usize) -> std::io::Result<Client> {
        let mut client = Client::try_connect(self.address(node))?;
        if let Some(password) = &self.password {
            client.try_call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// A command that must be answered with OK.
    fn ordered(&self, node: usize, command: &[&str]) {
        let reply = self.call_on(node, command);
        assert_eq!(reply, Reply::ok(), "node {node}: {}", shown(command));
    }

    // --- what happens to nodes

    /// SIGKILL for a primary; nobody is waited for.
    pub fn kill_primary(&mut self, primary: usize) {
        assert!(self.myself(primary).primary, "node {primary} is a primary");
        self.kill(primary);
    }

    /// SIGKILL for any node. What it held is gone: there is no persistence beyond who the nodes are.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].redis.kill();
        self.nodes[node].state = State::Killed;
    }

    /// Starts a killed node again on its port, empty. It takes its part as the others then see it: as a replica
    /// where it has been replaced.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].redis.restart();
        self.nodes[node].state = State::Running;
    }

    /// SIGSTOP: its connections stay open and silent, and the others replace it after the node timeout.
    pub fn freeze(&mut self, node: usize) {
        self.nodes[node].redis.freeze();
        self.nodes[node].state = State::Frozen;
    }

    /// SIGCONT.
    pub fn thaw(&mut self, node: usize) {
        self.nodes[node].redis.thaw();
        self.nodes[node].state = State::Running;
    }

    /// CLUSTER FAILOVER at a primary's replica, both healthy: waits until every node knows; the new primary.
    pub fn fail_over(&self, primary: usize) -> usize {
        let replica = self.replica_of(primary);
        // The manual failover gives up after five seconds without a trace, as when the primary was busy.
        // And a node that was elected within the last eight seconds counts its old votes again, and is put down.
        let taken = wait::holds_within(AGREEMENT, || {
            self.ordered(replica, &["CLUSTER", "FAILOVER"]);
            let taken = wait::holds_within(Duration::from_secs(7), || self.myself(replica).primary);
            self.wait_until_ok();
            taken && self.myself(replica).primary
        });
        assert!(taken, "node {replica} does not take over from node {primary}");
        replica
    }

    /// Waits until another node owns what a killed or frozen primary owned, and every node knows; the new primary.
    pub fn wait_for_takeover(&self, lost: usize, slot: u16) -> usize {
        let mut owner = lost;
        wait::until_within(AGREEMENT, "a replica takes over", || {
            let claims = self.running().into_iter().filter_map(|node| Some((node, self.try_myself(node)?)));
            owner = claims.filter(|(_, seen)| seen.owns(slot)).map(|(node, _)| node).next().unwrap_or(lost);
            owner != lost
        });
        self.wait_until_ok();
        owner
    }

    // --- whether they agree

    /// Waits until the running nodes serve all slots, agree on the owner of each, believe in each other, and their
    /// replicas are linked and told to clients.
    pub fn wait_until_ok(&self) {
        let mut why = String::new();
        let agreed = wait::holds_within_every(PAUSE, AGREEMENT, || match self.disagreement() {
            Some(reason) => {
                why = reason;
                false
            }
            None => true,
        });
        assert!(agreed, "the cluster does not come together within {AGREEMENT:?}: {why}");
    }

    /// What is wrong, if anything is.
    fn disagreement(&self) -> Option<String> {
        let running = self.running();
        let owners: Vec<_> = running.iter().map(|&node| self.owners(node)).collect();
        if owners.iter().any(|of| of.is_none() || *of != owners[0]) {
            return Some(format!("the owners of slots differ: {owners:?}"));
        }
        let replicas: BTreeSet<SocketAddr> =
            running.iter().filter(|&&node| !self.myself(node).primary).map(|&node| self.address(node)).collect();
        running.iter().find_map(|&node| {
            let info = self.call_on(node, &["CLUSTER", "INFO"]).text().unwrap_or_default();
            if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
                return Some(format!("node {node}: {info}"));
            }
            let seen = self.view(node);
            let doubted =
                running.iter().find(|&&other| seen.iter().any(|seen| seen.id == self.id(other) && seen.failed));
            if let Some(doubted) = doubted {
                return Some(format!("node {node} holds node {doubted} for failed"));
            }
            if !self.myself(node).primary && self.role_field(node, "master_link_status") != "up" {
                return Some(format!("node {node} is not linked to its primary"));
            }
            // A replica that is not listed here yet is not known to clients.
            let listed = listed(&self.call_on(node, &["CLUSTER", "SLOTS"]));
            (!replicas.is_subset(&listed)).then(|| format!("node {node} lists {listed:?} and not all of {replicas:?}"))
        })
    }

    /// The owner of each range in a node's eyes, by id, in the order of slots; `None` where a slot has none.
    fn owners(&self, node: usize) -> Option<Vec<(u16, u16, String)>> {
        let seen = self.try_view(node)?;
        let mut owners: Vec<_> = seen
            .iter()
            .filter(|seen| seen.primary)
            .flat_map(|seen| seen.slots.iter().map(|&(first, last)| (first, last, seen.id.clone())))
            .collect();
        owners.sort();
        let covered: u32 = owners.iter().map(|(first, last, _)| u32::from(last - first) + 1).sum();
        (covered == u32::from(SLOTS)).then_some(owners)
    }

    /// What a node knows of the cluster.
    pub fn view(&self, node: usize) -> Vec<Seen> {
        self.try_view(node).unwrap_or_else(|| panic!("node {node} does not tell of the cluster"))
    }

    fn try_view(&self, node: usize) -> Option<Vec<Seen>> {
        let reply = self.try_connect(node).and_then(|mut client| client.try_call(&["CLUSTER", "NODES"])).ok()?;
        Some(view::parse(&reply.text()?))
    }

    /// What a node knows of itself.
    fn myself(&self, node: usize) -> Seen {
        self.try_myself(node).unwrap_or_else(|| panic!("node {node} does not tell of itself"))
    }

    fn try_myself(&self, node: usize) -> Option<Seen> {
        self.try_view(node)?.into_iter().find(|seen| seen.myself)
    }

    fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].state == State::Running).collect()
    }

    fn role_field(&self, node: usize, field: &str) -> String {
        let info = self.call_on(node, &["INFO", "replication"]).text().unwrap_or_default();
        let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    }

    fn bus_port(&self, node: usize) -> String {
        self.call_on(node, &["CONFIG", "GET", "cluster-port"])
            .items()
            .and_then(|pair| pair.get(1)?.text())
            .expect("a node knows its own bus port")
    }
}

/// One server, its bus on a free port too. Roles change by the tests' will only: no replica moves to an orphan.
fn launch(args: &[&str]) -> Redis {
    let started = (0..5).find_map(|_| {
        let bus = port::free().port().to_string();
        let mut all = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
        // A node that is alone would never learn from others where it is.
        all.extend(["--cluster-announce-ip", "127.0.0.1"]);
        all.extend(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-allow-replica-migration", "no"]);
        all.extend(["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]);
        // A replica is told to clients once it has heard from its primary.
        all.extend(["--repl-ping-replica-period", "1"]);
        all.extend(args);
        Redis::try_start_with(&all)
    });
    started.expect("a cluster node starts")
}

/// Every address in a CLUSTER SLOTS reply.
fn listed(slots: &Reply) -> BTreeSet<SocketAddr> {
    let ranges = slots.items().unwrap_or_default().iter();
    let nodes = ranges.flat_map(|range| range.items().unwrap_or_default().iter().skip(2));
    let address = |node: &Reply| {
        let [host, port, ..] = node.items()? else { return None };
        // Where they announce hostnames, it is this one.
        let host = host.text()?.replace("localhost", "127.0.0.1");
        format!("{host}:{}", port.integer()?).parse().ok()
    };
    nodes.filter_map(address).collect()
}
