//! A primary with replicas and three real Sentinels that watch over them.

mod router;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::port;
use crate::process::Process;
use crate::redis::Redis;
use crate::replicated::Replicated;
use crate::reply::Reply;
use crate::scratch::Scratch;
use crate::wait;

pub use router::Router;

/// The primary's name in the Sentinels' configuration.
const NAME: &str = "larder-primary";
/// How many Sentinels there are; a majority agrees on a failover.
const COUNT: usize = 3;
/// The Sentinels tell each other every two seconds, and repeat an election that failed after six.
const AGREEMENT: Duration = Duration::from_secs(60);

/// A running set; killed on drop.
#[derive(Debug)]
pub struct SentinelSet {
    sentinels: Vec<Sentinel>,
    servers: Replicated,
    killed: Option<SocketAddr>,
}

#[derive(Debug)]
struct Sentinel {
    address: SocketAddr,
    // Before the directory: the process must end before its files go.
    process: Process,
    _scratch: Scratch,
}

impl SentinelSet {
    /// One primary, two replicas, three Sentinels that have found all of them.
    pub fn start() -> Self {
        let servers = Replicated::start(2);
        let primary = servers.primary.address();
        let sentinels = (0..COUNT).map(|_| Sentinel::start(primary)).collect();
        let set = Self { sentinels, servers, killed: None };
        set.wait_until_watched();
        set
    }

    /// The name to ask the Sentinels for.
    pub fn primary_name(&self) -> &'static str {
        NAME
    }

    /// Where the Sentinels listen.
    pub fn sentinel_addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(|sentinel| sentinel.address).collect()
    }

    /// Where the Redis servers listen, the first primary first.
    pub fn server_addresses(&self) -> Vec<SocketAddr> {
        self.servers().map(Redis::address).collect()
    }

    /// The primary in the eyes of the first Sentinel.
    pub fn primary(&self) -> SocketAddr {
        self.sentinels[0].primary().expect("a Sentinel knows the primary")
    }

    /// The server that listens there.
    pub fn server(&self, address: SocketAddr) -> &Redis {
        self.servers().find(|redis| redis.address() == address).expect("a server of this set")
    }

    /// A new connection to a Sentinel.
    pub fn connect_to_sentinel(&self, number: usize) -> Client {
        Client::connect(self.sentinels[number].address)
    }

    /// SIGKILL for the primary; nobody is waited for. Where it listened.
    pub fn kill_primary(&mut self) -> SocketAddr {
        let primary = self.primary();
        self.server_mut(primary).kill();
        self.killed = Some(primary);
        primary
    }

    /// Starts the killed primary again on its port, empty. The Sentinels make it a replica after some seconds;
    /// [`SentinelSet::wait_until_settled`] waits for that.
    pub fn restart_old_primary(&mut self) -> SocketAddr {
        let old = self.killed.take().expect("a primary has been killed");
        self.server_mut(old).restart();
        old
    }

    /// SENTINEL FAILOVER with everybody healthy; the new primary, once all Sentinels and it itself say so.
    pub fn fail_over(&self) -> SocketAddr {
        let old = self.primary();
        // Refused while the Sentinels are busy with the failover before.
        wait::until_within(AGREEMENT, "a Sentinel accepts the failover", || {
            self.connect_to_sentinel(0).call(&["SENTINEL", "FAILOVER", NAME]) == Reply::ok()
        });
        self.wait_for_new_primary(old)
    }

    /// Waits until all Sentinels name the same primary, not `old`, and it holds itself for one.
    pub fn wait_for_new_primary(&self, old: SocketAddr) -> SocketAddr {
        let mut new = old;
        wait::until_within(AGREEMENT, "the Sentinels agree on another primary", || {
            new = self.sentinels[0].primary().unwrap_or(old);
            let agreed = self.sentinels.iter().all(|sentinel| sentinel.primary() == Some(new));
            new != old && agreed && role(new).as_deref() == Some("master")
        });
        new
    }

    /// Waits until every server that runs is the primary or a replica that is linked to it.
    pub fn wait_until_settled(&self) {
        wait::until_within(AGREEMENT, "every other server follows the primary", || {
            let primary = self.primary();
            let running = self.servers().filter(|redis| Some(redis.address()) != self.killed);
            running.filter(|redis| redis.address() != primary).all(|redis| follows(redis.address(), primary))
        });
    }

    /// Waits until each Sentinel has found both replicas and both other Sentinels, and doubts nobody.
    fn wait_until_watched(&self) {
        wait::until_within(AGREEMENT, "each Sentinel has found everybody", || {
            self.sentinels.iter().all(|sentinel| {
                let told = sentinel.told();
                let is = |field: &str, value: &str| told.get(field).is_some_and(|told| told == value);
                is("num-slaves", "2") && is("num-other-sentinels", "2") && is("flags", "master")
            })
        });
    }

    fn servers(&self) -> impl Iterator<Item = &Redis> {
        std::iter::once(&self.servers.primary).chain(&self.servers.replicas)
    }

    fn server_mut(&mut self, address: SocketAddr) -> &mut Redis {
        let mut all = std::iter::once(&mut self.servers.primary).chain(&mut self.servers.replicas);
        all.find(|redis| redis.address() == address).expect("a server of this set")
    }
}

impl Sentinel {
    fn start(primary: SocketAddr) -> Self {
        // A second chance where another process took the port in between.
        for _ in 0..5 {
            let scratch = Scratch::new("sentinel");
            let address = port::free();
            // It writes into its own configuration what it learns.
            let file = scratch.file("sentinel.conf");
            fs::write(&file, configuration(address, primary)).expect("the scratch directory is writable");
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel").current_dir(scratch.path());
            let process = Process::spawn("sentinel", command, scratch.file("sentinel.log"));
            let mut sentinel = Self { address, process, _scratch: scratch };
            wait::holds_within(Duration::from_secs(15), || {
                sentinel.primary() == Some(primary) || sentinel.process.exit_status().is_some()
            });
            if sentinel.process.exit_status().is_none() {
                return sentinel;
            }
        }
        panic!("redis-server --sentinel does not start");
    }

    fn call(&self, command: &[&str]) -> Option<Reply> {
        Client::try_connect(self.address).and_then(|mut client| client.try_call(command)).ok()
    }

    /// Whom it holds for the primary.
    fn primary(&self) -> Option<SocketAddr> {
        let reply = self.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let [host, port] = reply.items()? else { return None };
        format!("{}:{}", host.text()?, port.text()?).parse().ok()
    }

    /// What it knows of the primary.
    fn told(&self) -> BTreeMap<String, String> {
        let reply = self.call(&["SENTINEL", "MASTER", NAME]);
        let fields = reply.as_ref().and_then(Reply::items).unwrap_or_default().chunks(2);
        fields.filter_map(|pair| Some((pair.first()?.text()?, pair.get(1)?.text()?))).collect()
    }
}

/// Quick to see a dead primary, and not so quick that a primary which waits for a core is one.
fn configuration(address: SocketAddr, primary: SocketAddr) -> String {
    format!(
        "bind 127.0.0.1\nport {}\nsentinel monitor {NAME} 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds {NAME} 800\nsentinel failover-timeout {NAME} 3000\n\
         sentinel parallel-syncs {NAME} 1\n",
        address.port(),
        primary.port(),
    )
}

/// What a server says of its role; `None` where it does not answer.
fn role(address: SocketAddr) -> Option<String> {
    told_role(address)?.items()?.first()?.text()
}

/// Whether the server there is a replica of that primary and linked to it.
fn follows(replica: SocketAddr, primary: SocketAddr) -> bool {
    let told = told_role(replica);
    let told: Vec<_> = told.iter().filter_map(Reply::items).flatten().filter_map(shown).collect();
    let [role, host, port, state, ..] = &told[..] else { return false };
    let at = format!("{host}:{port}");
    role == "slave" && at == primary.to_string() && state == "connected"
}

/// What it says of its role; nothing while Sentinel's CONFIG REWRITE and CLIENT KILL close its connections.
fn told_role(address: SocketAddr) -> Option<Reply> {
    Client::try_connect(address).and_then(|mut client| client.try_call(&["ROLE"])).ok()
}

fn shown(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Integer(number) => Some(number.to_string()),
        other => other.text(),
    }
}
