//! What is reported when a configuration is refused: every error at once, each with its place.

use std::fmt;

/// One thing that is wrong with the configuration, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the text came from: a file name, or the flag (`--upstream`, `--listen`, `--admin`).
    pub place: String,
    /// Line in the file, counted from 1.
    pub line: Option<usize>,
    /// Column in that line in characters, counted from 1.
    pub column: Option<usize>,
    /// Key path such as `upstreams.main.endpoints[0]`; empty where the whole text is meant.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

/// All errors of one configuration, in the order of the file. Never empty when returned as an `Err`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    list: Vec<ConfigError>,
    /// Errors beyond the number that is kept, see `fault::MOST_FAULTS`; a lower bound, since work stops there.
    more: usize,
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}\n    {}", self.problem, self.remedy)
    }
}

// === impl Errors ===

impl Errors {
    pub(super) fn new(mut list: Vec<ConfigError>, more: usize) -> Errors {
        list.sort_by_key(|error| (error.line, error.column));
        Errors { list, more }
    }

    /// The one error that ended everything, such as a file that cannot be opened.
    pub fn single(place: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Errors {
        let error = ConfigError {
            place: place.to_owned(),
            line: None,
            column: None,
            path: String::new(),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        Errors::new(vec![error], 0)
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The errors, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.list.iter()
    }

    /// How many errors are kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        if self.more > 0 {
            write!(f, "\n... and at least {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
