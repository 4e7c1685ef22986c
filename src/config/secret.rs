//! A password or token that cannot be printed by accident.

use super::error::Errors;
use super::fault::Wrong;
use super::listener::path;
use super::section::Section;
use super::units;
use super::upstream::{open_file, shown_path};
use std::fmt;
use std::io::Read as _;
use std::path::Path as FilePath;

/// Largest file with a secret in bytes; secrets are lines.
const MOST_BYTES: u64 = 4096;

/// A password or token: shown as `***` by `Debug` and `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// What stands alone in a file. `place` is what named the file, for messages; `what` is what should be in it.
    ///
    /// # Errors
    /// The file cannot be read, or holds nothing or more than one line.
    pub fn from_file(place: &str, file: &FilePath, what: &str) -> Result<Secret, Errors> {
        read(file, what).map_err(|wrong| Errors::single(place, wrong.problem, wrong.remedy))
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret that stands in the file, or alone in another file: the names of the two keys.
pub(super) fn secret(section: &mut Section<'_>, [key, file_key]: [&'static str; 2]) -> Option<Secret> {
    let given = section.optional(key, units::text).map(Secret::new);
    let from_file = section.optional(file_key, |value| read(&path(value)?, key));
    if section.has(key) && section.has(file_key) {
        let problem = format!("both {key} and {file_key} are given");
        section.report(file_key, Wrong::new(problem, "keep one; the file is the safer place"));
    }
    given.or(from_file)
}

/// The one line of a file that holds nothing but the secret.
fn read(path: &FilePath, what: &str) -> Result<Secret, Wrong> {
    let wrong = |problem: String| {
        let remedy = format!("write the {what} into this file, alone on one line");
        Wrong::new(format!("{} {problem}", shown_path(path)), remedy)
    };
    let file = open_file(path)?;
    let mut content = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut content).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => wrong("is not UTF-8 text".to_owned()),
        _ => wrong(format!("cannot be read: {error}")),
    })?;
    if content.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("is longer than {MOST_BYTES} bytes")));
    }
    let line = content.strip_suffix('\n').unwrap_or(&content);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => Err(wrong("is empty".to_owned())),
        line if line.contains('\n') => Err(wrong("has more than one line".to_owned())),
        line => Ok(Secret::new(line)),
    }
}
