//! The dashboard in a real browser: `clients/dashboard.mjs` looks at every panel while this side kills the origin, brings it back, and ends
//! Larder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use larder_integration_tests::client_script;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::port;
use larder_integration_tests::program::Program;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::scratch::Scratch;

/// A child that does not outlive the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_panel_shows_traffic_an_outage_and_the_recovery() {
    let mut origin = Redis::start();
    let settings = Settings::new(origin.address())
        .upstream("connect_timeout: 500ms")
        .upstream("command_timeout: 500ms")
        .section("ladders: {default: [{rung: local-only, for: 4s}, {rung: stale-read-only, for: 5m}, {rung: reject}]}");
    let mut larder = Larder::start_with(&settings);
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    assert!(
        clients.join("node_modules/playwright-core").exists(),
        "playwright-core is missing: run integration-tests/run"
    );
    let mut command = Command::new("node");
    command.arg(clients.join("dashboard.mjs")).arg(larder.address().port().to_string()).arg(larder.admin().to_string());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut browser = Browser(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")));
    let mut answers = browser.0.stdin.take().expect("its input is a pipe");
    let wishes = BufReader::new(browser.0.stdout.take().expect("its output is a pipe"));
    let mut last = String::new();
    for wish in wishes.lines() {
        last = wish.expect("it writes text");
        match &*last {
            "kill" => origin.kill(),
            "restart" => origin.restart(),
            "end" => larder.process_mut().kill(),
            _ => continue,
        }
        answers.write_all(b"done\n").expect("it waits for the answer");
    }
    let status = browser.0.wait().expect("a child can be waited for");
    assert!(status.success() && last == "fine", "{status}; its last word was {last:?}");
}

#[test]
fn a_larder_with_a_token_is_shown_to_those_who_have_it() {
    let (scratch, address, admin) = (Scratch::new("login"), port::free(), port::free());
    let config = scratch.file("larder.yaml");
    let yaml = format!(
        "listeners: [{{address: {address}}}]\nupstreams: {{main: {{kind: memory}}}}\nadmin: {{address: \"{admin}\", token: s3cret}}\n"
    );
    fs::write(&config, yaml).expect("the scratch directory is writable");
    let _larder = Program::start(&["--config", &config.display().to_string()]);
    client_script::run_with("dashboard_login.mjs", address, &[admin.to_string(), "s3cret".to_owned()]);
}
