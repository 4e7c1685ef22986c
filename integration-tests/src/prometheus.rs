//! A real Prometheus of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::metrics::{http, try_http};
use crate::port;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// A running Prometheus on loopback; killed on drop.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts one with this configuration and waits until it is ready.
    pub fn start(config: &Path) -> Self {
        let started = (0..5).find_map(|_| Self::try_start(config));
        started.expect("prometheus starts; the package is prometheus in Debian and in Homebrew")
    }

    fn try_start(config: &Path) -> Option<Self> {
        let (scratch, address) = (Scratch::new("prometheus"), port::free());
        let mut command = Command::new("prometheus");
        command.current_dir(scratch.path()).arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", scratch.file("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let mut process = Process::spawn("prometheus", command, scratch.file("prometheus.log"));
        let mut ready = false;
        wait::holds_within(Duration::from_secs(20), || {
            ready = matches!(try_http(address, "GET", "/-/ready"), Ok((200, _)));
            ready || process.exit_status().is_some()
        });
        (ready && process.exit_status().is_none()).then_some(Self { address, _process: process, _scratch: scratch })
    }

    /// A path of its API, as `/api/v1/rules`; the status and the JSON.
    pub fn ask(&self, path: &str) -> (u16, String) {
        http(self.address, "GET", path)
    }

    /// Evaluates an expression now.
    pub fn query(&self, expression: &str) -> (u16, String) {
        self.ask(&format!("/api/v1/query?query={}", percent_encoded(expression)))
    }
}

/// For the query of a URL.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
