//! A real `memcached` of the test's own, and a client that says what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::client::REPLY_TIMEOUT;
use crate::port;
use crate::process::{Process, Signal};
use crate::scratch::Scratch;
use crate::wait;

/// A running node on loopback; killed on drop.
#[derive(Debug)]
pub struct Memcached {
    address: SocketAddr,
    args: Vec<String>,
    // Before the directory: the process must end before its files go.
    process: Process,
    scratch: Scratch,
}

impl Memcached {
    /// Starts one with the defaults.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, as `["-I", "2m"]`.
    pub fn start_with(args: &[&str]) -> Self {
        // A second chance where another process took the port in between.
        let started = (0..5).find_map(|_| {
            let scratch = Scratch::new("memcached");
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            let address = port::free();
            let mut process = launch(address, &args, &scratch);
            ready(address, &mut process).then_some(Self { address, args, process, scratch })
        });
        started.expect("memcached starts")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> TextClient {
        TextClient::try_connect(self.address).expect("memcached takes a connection")
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
        assert!(ready(self.address, &mut self.process), "memcached does not start again");
    }
}

/// A connection on which lines are said and heard, in whichever of memcached's text protocols.
#[derive(Debug)]
pub struct TextClient {
    stream: BufReader<TcpStream>,
}

impl TextClient {
    /// Connects.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request, its value included, and takes one line.
    pub fn say(&mut self, request: &str) -> String {
        self.try_say(request.as_bytes()).expect("memcached answers")
    }

    /// The same.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_say(&mut self, request: &[u8]) -> std::io::Result<String> {
        let stream = self.stream.get_mut();
        stream.write_all(request)?;
        stream.write_all(b"\r\n")?;
        self.line()
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// `set` of the text protocol.
    pub fn set(&mut self, key: &str, flags: u32, seconds: i64, value: &str) {
        let said = self.say(&format!("set {key} {flags} {seconds} {}\r\n{value}", value.len()));
        assert_eq!(said, "STORED");
    }

    /// `get` of the text protocol: flags and value.
    pub fn get(&mut self, key: &str) -> Option<(u32, String)> {
        let head = self.say(&format!("get {key}"));
        if head == "END" {
            return None;
        }
        let mut words = head.split(' ').skip(2);
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).expect("flags and size");
        let (flags, size) = (number(), number());
        let mut value = vec![0; size as usize + 2];
        self.stream.read_exact(&mut value).expect("the value is there");
        value.truncate(size as usize);
        assert_eq!(self.line().expect("an end"), "END");
        Some((flags, String::from_utf8_lossy(&value).into_owned()))
    }

    /// The seconds that a key has left: -1 for ever; `None` without the key.
    pub fn ttl(&mut self, key: &str) -> Option<i64> {
        self.say(&format!("mg {key} t")).strip_prefix("HD t").and_then(|left| left.parse().ok())
    }

    /// A figure of `stats`.
    pub fn stat(&mut self, name: &str) -> u64 {
        let mut found = None;
        let mut line = self.say("stats");
        while line != "END" {
            found = line.strip_prefix(&format!("STAT {name} ")).and_then(|value| value.parse().ok()).or(found);
            line = self.line().expect("statistics go on");
        }
        found.unwrap_or_else(|| panic!("there is no {name} in stats"))
    }
}

fn launch(address: SocketAddr, args: &[String], scratch: &Scratch) -> Process {
    let mut command = Command::new("memcached");
    command.current_dir(scratch.path());
    // One that speaks TLS (`-Z`) where its arguments say, stays open here to those who look on.
    let plain = if args.iter().any(|arg| arg == "-Z") { "notls:" } else { "" };
    command.args(["-U", "0", "-l", &format!("{plain}{address}")]);
    // It refuses to run as root unless it is told who else to be.
    command.args(["-u", "nobody"]).args(args);
    Process::spawn("memcached", command, scratch.file("memcached.log"))
}

/// Whether it answers before it ends, within a bound.
fn ready(address: SocketAddr, process: &mut Process) -> bool {
    let mut answered = false;
    wait::holds_within(Duration::from_secs(15), || {
        answered = TextClient::try_connect(address)
            .and_then(|mut client| client.try_say(b"mn"))
            .is_ok_and(|said| said == "MN");
        answered || process.exit_status().is_some()
    });
    // Somebody else's server on the same port would answer while ours has ended.
    answered && process.exit_status().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_starts_keeps_values_and_restarts_empty() {
        let mut node = Memcached::start();
        let mut client = node.connect();
        client.set("k", 7, 0, "value");
        assert_eq!(client.get("k"), Some((7, "value".to_owned())));
        assert_eq!(client.ttl("k"), Some(-1));
        assert_eq!(client.stat("curr_items"), 1);
        node.restart();
        assert_eq!(node.connect().get("k"), None);
    }
}
