//! The systemd units, by `systemd-analyze`.

use std::fs;
use std::process::Command;

use larder_integration_tests::larder::binary_path;
use larder_integration_tests::scratch::Scratch;

use crate::{ENDING_SECONDS, repository, said, seconds, text};

const INSTALLED: &str = "/usr/local/bin/larder";

/// The units with the program of this test; `None` where there is no systemd to ask.
fn units(change: impl Fn(String) -> String) -> Option<Scratch> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert_ne!(std::env::consts::OS, "linux", "no systemd-analyze: the package is systemd in Debian");
        eprintln!("not tested: no systemd here");
        return None;
    }
    let scratch = Scratch::new("units");
    for unit in ["larder.service", "larder.socket"] {
        let text = text(&format!("docker/systemd/{unit}"));
        let text = change(text.replace(INSTALLED, &binary_path().display().to_string()));
        fs::write(scratch.file(unit), text).expect("the scratch directory is writable");
    }
    Some(scratch)
}

/// `systemd-analyze` with these words and the units; whether it is content, and what it says.
fn analyze(units: &Scratch, words: &[&str], names: &[&str]) -> (bool, String) {
    let paths = names.iter().map(|name| units.file(name));
    let output = Command::new("systemd-analyze").args(words).args(paths).output().expect("it was there a moment ago");
    // `verify` only warns of keys that it does not know.
    (
        output.status.success() && !said(&output).contains(".service:") && !said(&output).contains(".socket:"),
        said(&output),
    )
}

#[test]
fn the_units_are_right_and_a_misspelled_key_is_noticed() {
    let Some(scratch) = units(|text| text) else { return };
    let (content, words) = analyze(&scratch, &["verify", "--man=no"], &["larder.service", "larder.socket"]);
    assert!(content, "{words}");
    for (right, wrong) in
        [("ProtectSystem=", "ProtectSystems="), ("Type=notify", "Type=notified"), ("Backlog=", "Backlogs=")]
    {
        let Some(scratch) = units(|text| text.replace(right, wrong)) else { return };
        let (content, words) = analyze(&scratch, &["verify", "--man=no"], &["larder.service", "larder.socket"]);
        assert!(!content, "{wrong}: {words}");
    }
}

#[test]
fn the_service_has_next_to_no_rights() {
    // In tenths: from 0, nothing exposed, to 100. A service without any of it has 96.
    let words = ["security", "--offline=yes", "--threshold=15", "--no-pager"];
    let Some(scratch) = units(|text| text) else { return };
    let (content, told) = analyze(&scratch, &words, &["larder.service"]);
    let overall = told.lines().last().unwrap_or_default().to_owned();
    assert!(content || overall.contains("OK"), "{told}");
    assert!(!overall.contains("UNSAFE") && !overall.contains("EXPOSED") && !overall.contains("MEDIUM"), "{overall}");
    let Some(scratch) = units(|text| text.replace("SystemCallFilter=", "#").replace("CapabilityBoundingSet=\n", "\n"))
    else {
        return;
    };
    let output =
        Command::new("systemd-analyze").args(words).arg(scratch.file("larder.service")).output().expect("it runs");
    assert!(!output.status.success(), "without its filters: {}", said(&output));
}

#[test]
fn the_service_starts_what_there_is_and_leaves_time_to_drain() {
    let service = text("docker/systemd/larder.service");
    let value = |key: &str| {
        let found = service.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    assert!(seconds(&value("TimeoutStopSec")) >= ENDING_SECONDS);
    assert_eq!(value("Type"), "notify");
    assert!(seconds(&value("WatchdogSec")) >= 10, "a busy machine is no hung one");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    // Its own words, for the example configuration.
    let example = repository("config.example.yaml").display().to_string();
    let words = value("ExecStartPre").replace("/etc/larder/larder.yaml", &example);
    let words = words.strip_prefix(INSTALLED).expect("the program").trim();
    let output = Command::new(binary_path()).args(words.split(' ')).output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(format!("{} --check", value("ExecStart")), value("ExecStartPre"));
}
