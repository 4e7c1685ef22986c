//! A script in `clients/` that does what an application does, with a real client library, against one port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// None of them takes longer on a busy machine unless it hangs; then the test shall fail and show what it said.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it to its end, which must be `fine` and nothing else: no warning either.
///
/// `integration-tests/run` installs what the scripts need; without it this fails and says so.
pub fn run(script: &str, server: SocketAddr) {
    run_with(script, server, &[]);
}

/// The same with further arguments behind the port.
pub fn run_with(script: &str, server: SocketAddr, args: &[String]) {
    let path = here("clients").join(script);
    assert!(path.exists(), "no script {}", path.display());
    let mut command = interpreter(script);
    command.arg(path).arg(server.port().to_string()).args(args);
    let scratch = Scratch::new("client");
    let mut process = Process::spawn(script, command, scratch.file("output"));
    let mut status = None;
    wait::holds_within(PATIENCE, || {
        status = process.exit_status();
        status.is_some()
    });
    let status = status.unwrap_or_else(|| panic!("{script} has not ended within {PATIENCE:?}:\n{}", process.output()));
    assert!(status.success() && process.output().trim() == "fine", "{script}: {status}\n{}", process.output());
}

/// Runs one that needs no server to its end; how it ended and what it said.
pub fn run_alone(script: &str, args: &[&Path]) -> Output {
    let output = interpreter(script).arg(here("clients").join(script)).args(args).output();
    output.unwrap_or_else(|error| panic!("cannot run {script}: {error}"))
}

/// Python with its warnings as errors, or Node.
fn interpreter(script: &str) -> Command {
    if script.ends_with(".py") {
        let python = here(".venv/bin/python");
        assert!(python.exists(), "{} is missing: run integration-tests/run", python.display());
        let mut command = Command::new(python);
        command.args(["-W", "error"]);
        return command;
    }
    let modules = here("clients/node_modules");
    assert!(modules.exists(), "{} is missing: run integration-tests/run", modules.display());
    Command::new("node")
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
