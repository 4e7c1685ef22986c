//! A real twemproxy (`nutcracker`) in front of memcached or Redis nodes: whom the ring has to agree with.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::memcached::TextClient;
use crate::port;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// A running nutcracker; killed on drop.
#[derive(Debug)]
pub struct Twemproxy {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl Twemproxy {
    /// Starts one over these `servers`, each as `host:port:weight` or `host:port:weight name`; `pool` holds further lines.
    pub fn start(servers: &[String], pool: &[String]) -> Self {
        let started = (0..5).find_map(|_| Self::try_start(servers, pool));
        started.expect("nutcracker starts; the package is nutcracker in Debian, twemproxy elsewhere")
    }

    fn try_start(servers: &[String], pool: &[String]) -> Option<Self> {
        let (scratch, address, stats) = (Scratch::new("twemproxy"), port::free(), port::free());
        let mut text = format!("pool:\n  listen: {address}\n  auto_eject_hosts: false\n");
        pool.iter().for_each(|line| text += &format!("  {line}\n"));
        text += "  servers:\n";
        servers.iter().for_each(|server| text += &format!("    - {server}\n"));
        let config = scratch.file("nutcracker.yml");
        fs::write(&config, text).expect("the scratch directory is writable");
        let mut command = Command::new("nutcracker");
        command.arg("-c").arg(&config).args(["-a", "127.0.0.1", "-s"]).arg(stats.port().to_string());
        let mut process = Process::spawn("nutcracker", command, scratch.file("nutcracker.log"));
        let mut answered = false;
        wait::holds_within(Duration::from_secs(15), || {
            answered = TcpStream::connect(address).is_ok();
            answered || process.exit_status().is_some()
        });
        (answered && process.exit_status().is_none()).then_some(Self { address, _process: process, _scratch: scratch })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it, where the nodes are memcached.
    pub fn connect(&self) -> TextClient {
        TextClient::try_connect(self.address).expect("nutcracker takes a connection")
    }
}
