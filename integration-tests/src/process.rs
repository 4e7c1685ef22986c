//! One child process: signals, memory, its stderr, and its certain end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// A signal by the name that `kill` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGSTOP: the process freezes, its sockets stay open.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
    /// SIGTERM: the polite end.
    Terminate,
    /// SIGHUP: reload.
    Hangup,
}

/// A running child. Dropping it kills it, also while the test panics; then what it wrote to stderr is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr in the file `log`.
    pub fn spawn(name: &str, mut command: Command, log: PathBuf) -> Self {
        let out = File::options().create(true).append(true).open(&log).expect("the log file can be opened");
        let err = out.try_clone().expect("a file handle can be cloned");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal. By the shell's own `kill`, which is there where no `kill` program is.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Terminate => "TERM",
            Signal::Hangup => "HUP",
        };
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name} to {}", self.name);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let of_proc = fs::read_to_string(format!("/proc/{}/status", self.id())).ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        let kib = of_proc.unwrap_or_else(|| {
            let ps = Command::new("ps").args(["-o", "rss=", "-p", &self.id().to_string()]).output();
            let ps = ps.expect("ps runs where there is no /proc");
            String::from_utf8_lossy(&ps.stdout).trim().parse().expect("ps prints a number of KiB")
        });
        kib * 1024
    }

    /// All that it has written to stdout and stderr.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!(
                "--- {} said (last {} of {} lines):\n{}\n---",
                self.name,
                tail.len(),
                lines.len(),
                tail.join("\n")
            );
        }
    }
}
