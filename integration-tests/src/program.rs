//! The larder program as a person starts it: with arguments, and what it prints.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::larder::binary_path;
use crate::process::{Process, Signal};
use crate::scratch::Scratch;
use crate::wait;

/// A started program; killed on drop.
#[derive(Debug)]
pub struct Program {
    process: Process,
    _scratch: Scratch,
}

impl Program {
    /// Starts it and waits until it has printed its banner or has ended.
    pub fn start(args: &[&str]) -> Self {
        let scratch = Scratch::new("program");
        let mut command = Command::new(binary_path());
        command.args(args).current_dir(scratch.path()).env_remove("LARDER_LOG").env_remove("LARDER_FAULT");
        let mut process = Process::spawn("larder", command, scratch.file("output"));
        wait::until("a banner, or the end", || process.output().contains("workers") || process.exit_status().is_some());
        Self { process, _scratch: scratch }
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// What the banner says behind a name such as `listening`.
    pub fn banner(&self, name: &str) -> String {
        let output = self.output();
        let found = output.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no `{name}` in the banner:\n{output}")).trim().to_owned()
    }

    /// The TCP address of the banner's first listener.
    pub fn address(&self) -> SocketAddr {
        let listening = self.banner("listening");
        let first = listening.split(", ").next().unwrap_or_default();
        first.parse().unwrap_or_else(|error| panic!("{first} is no address: {error}"))
    }

    /// A new client connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The exit code, once it has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.exit_status().map(|status| status.code().unwrap_or(-1))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM and waits for the end, for at most `limit`; the exit code.
    pub fn terminate(&mut self, limit: Duration) -> i32 {
        self.process.signal(Signal::Terminate);
        let mut code = None;
        wait::until_within(limit, "the end after SIGTERM", || {
            code = self.exit_code();
            code.is_some()
        });
        code.unwrap_or(-1)
    }
}

/// Runs it to its end, which must come by itself; what it printed and how it ended.
pub fn run(args: &[&str]) -> Output {
    let mut command = Command::new(binary_path());
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG").env_remove("LARDER_FAULT");
    command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}
