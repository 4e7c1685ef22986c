//! What is in `docker/`: read against what others publish of these files, and run as far as that goes without a container engine.

mod alerts;
mod compose;
mod container;
mod health;
mod kubernetes;
mod pages;
mod schemas;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;

/// What a drain takes where nothing is configured, with what comes after it: `drain_timeout` and 5 s (`docs/operation.md`).
const ENDING_SECONDS: u64 = 15;

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of a file of the repository.
#[track_caller]
fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML or JSON file of the repository, `<<` resolved.
#[track_caller]
fn parsed(path: &str) -> Value {
    parsed_text(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed_text(text: &str) -> Result<Value, serde_yaml::Error> {
    let mut value: Value = serde_yaml::from_str(text)?;
    // What is merged may itself merge.
    for _ in 0..3 {
        value.apply_merge()?;
    }
    Ok(value)
}

/// The strings of a list.
#[track_caller]
fn words(list: &Value) -> Vec<String> {
    let items = list.as_sequence().unwrap_or_else(|| panic!("{list:?} is no list"));
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("{item:?} is no text")).to_owned()).collect()
}

/// A time such as `20s` or `1m`, in seconds.
#[track_caller]
fn seconds(time: &str) -> u64 {
    let (number, unit) = time.split_at(time.len() - 1);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{time} is no time"));
    number * if unit == "m" { 60 } else { 1 }
}

/// Everything that it printed.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that has to succeed; what it said.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    said(&output)
}

/// Copies a folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}
