//! What types cannot say: names that must exist, values that must fit each other, files that must be readable.
//!
//! Works on the finished configuration, wherever it came from (file, URL, flags), and yields findings by key path. A finding
//! rests on its own path and on those in `because`; it is dropped where one of them was already reported.

mod bounds;
mod invalidation;
mod listeners;
mod rings;
mod routes;
mod upstreams;

use super::Config;
use super::fault::{MOST_FAULTS, Path, Wrong};
use super::upstream::open_file;
use std::path::PathBuf;
use std::time::Duration;

/// A fault of the finished configuration.
pub(super) struct Finding {
    pub path: Path,
    pub because: Vec<Path>,
    pub wrong: Wrong,
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, path: Path, problem: impl Into<String>, remedy: impl Into<String>) {
        self.because(path, Vec::new(), problem, remedy);
    }

    pub fn because(&mut self, path: Path, because: Vec<Path>, problem: impl Into<String>, remedy: impl Into<String>) {
        // More would not be printed; this also bounds the work on a file that is wrong throughout.
        if self.0.len() > MOST_FAULTS {
            return;
        }
        self.0.push(Finding { path, because, wrong: Wrong::new(problem, remedy) });
    }

    fn positive(&mut self, path: Path, duration: Duration) {
        if duration.is_zero() {
            self.add(path, "0s is no time at all", "write a duration such as 250ms, 5s, 1m");
        }
    }

    fn at_least_one(&mut self, path: Path, number: u64) {
        if number == 0 {
            self.add(path, "0 would stop everything", "write a number of at least 1");
        }
    }
}

/// Every finding, section by section.
pub(super) fn findings(config: &Config) -> Findings {
    let mut findings = Findings::default();
    listeners::check(config, &mut findings);
    upstreams::check(config, &mut findings);
    invalidation::check(config, &mut findings);
    routes::check(config, &mut findings);
    bounds::check(config, &mut findings);
    findings
}

/// A file that must be readable, if it is given at all.
fn readable(path: Path, file: Option<&PathBuf>, findings: &mut Findings) {
    // An empty path stands for one that was missing and has been reported.
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else {
        return;
    };
    if let Err(wrong) = open_file(file) {
        findings.add(path, wrong.problem, wrong.remedy);
    }
}
