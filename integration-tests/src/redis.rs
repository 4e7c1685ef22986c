//! A real `redis-server` of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::port;
use crate::process::{Process, Signal};
use crate::reply::Reply;
use crate::scratch::Scratch;
use crate::wait;

/// A running server on loopback, without persistence; killed on drop.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    args: Vec<String>,
    // Before the directory: the process must end before its files go.
    process: Process,
    scratch: Scratch,
}

impl Redis {
    /// Starts one with the defaults.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, as `["--maxmemory", "10mb"]`; they win over the harness's own.
    pub fn start_with(args: &[&str]) -> Self {
        // A second chance where another process took the port in between.
        let started = (0..5).find_map(|_| Self::try_start_with(args));
        started.expect("redis-server starts")
    }

    /// One attempt at the same: `None` when it ended at once, as where a port was taken in between.
    pub fn try_start_with(args: &[&str]) -> Option<Self> {
        let scratch = Scratch::new("redis");
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let address = port::free();
        let mut process = launch(address, &args, &scratch);
        ready(address, &mut process).then_some(Self { address, args, process, scratch })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One command of plain words on a connection of its own.
    pub fn say(&self, words: &str) -> Reply {
        self.connect().say(words)
    }

    /// The process, to signal it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// SIGSTOP: its connections stay open and silent.
    pub fn freeze(&self) {
        self.process.signal(Signal::Stop);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::Continue);
    }

    /// SIGKILL: connections are reset, connecting is refused, the data is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.address, &self.args, &self.scratch);
        assert!(ready(self.address, &mut self.process), "redis-server does not start again");
    }

    /// CLIENT LIST, each client as its fields.
    pub fn clients(&self) -> Vec<BTreeMap<String, String>> {
        let list = self.say("CLIENT LIST").text().expect("CLIENT LIST is text");
        list.lines()
            .map(|line| {
                let fields = line.split(' ').filter_map(|field| field.split_once('='));
                fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            })
            .collect()
    }

    /// How many clients go by that name.
    pub fn clients_named(&self, name: &str) -> usize {
        self.clients().iter().filter(|client| client.get("name").is_some_and(|of| of == name)).count()
    }

    /// CLIENT KILL for each client of that name; how many there were.
    pub fn kill_clients_named(&self, name: &str) -> usize {
        let mut admin = self.connect();
        let clients = self.clients();
        let named = clients.iter().filter(|client| client.get("name").is_some_and(|of| of == name));
        let killed = named.filter(|client| {
            let id = client.get("id").map_or("", String::as_str);
            admin.call(&["CLIENT", "KILL", "ID", id]) == Reply::Integer(1)
        });
        killed.count()
    }

    /// A field of INFO.
    pub fn info(&self, field: &str) -> String {
        let text = self.say("INFO everything").text().expect("INFO is text");
        let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("INFO has no {field}")).trim().to_owned()
    }
}

fn launch(address: SocketAddr, args: &[String], scratch: &Scratch) -> Process {
    let mut command = Command::new("redis-server");
    command.current_dir(scratch.path());
    command.arg("--port").arg(address.port().to_string()).args(["--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--loglevel", "warning"]);
    command.args(args);
    Process::spawn("redis-server", command, scratch.file("redis.log"))
}

/// Whether it answers PING before it ends, within a bound.
fn ready(address: SocketAddr, process: &mut Process) -> bool {
    let mut answered = false;
    wait::holds_within(Duration::from_secs(15), || {
        answered =
            Client::try_connect(address).and_then(|mut client| client.try_call(&["PING"])).is_ok_and(
                |reply| match reply {
                    Reply::Error(words) => words.starts_with("NOAUTH"),
                    reply => reply == Reply::Simple("PONG".to_owned()),
                },
            );
        answered || process.exit_status().is_some()
    });
    // Somebody else's server on the same port would answer while ours has ended.
    answered && process.exit_status().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_freezes_restarts_empty_and_lists_its_clients() {
        let mut redis = Redis::start();
        assert_eq!(redis.say("SET a 1"), Reply::ok());
        let mut client = redis.connect();
        client.say("CLIENT SETNAME somebody");
        assert_eq!(redis.clients_named("somebody"), 1);
        assert_eq!(redis.kill_clients_named("somebody"), 1);
        redis.freeze();
        let mut waiting = redis.connect();
        waiting.set_reply_timeout(Duration::from_millis(50));
        assert!(waiting.try_call(&["PING"]).is_err());
        redis.thaw();
        assert_eq!(redis.say("GET a"), Reply::bulk("1"));
        redis.restart();
        assert_eq!(redis.say("GET a"), Reply::Null);
        assert!(redis.info("redis_version").contains('.'));
    }
}
