//! Faults found while reading, before they have a file name: key paths, marks in the text, and the list that collects them.
//!
//! A fault taints its key path. Checks of the finished configuration (`check`) skip what rests on a tainted value, so that one
//! typing error is reported once and not again by everything that depended on it.

use std::cell::{Cell, RefCell};
use std::fmt;

/// More faults than a person will read; the rest is only counted. It also bounds the work on a file that is wrong throughout.
pub(super) const MOST_FAULTS: usize = 500;

/// A position in the text, both numbers counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// What is wrong with one value and what would be right, not yet placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub problem: String,
    pub remedy: String,
}

/// The keys and indexes that lead to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A placed [`Wrong`].
pub(super) struct Fault {
    pub path: Path,
    pub mark: Option<Mark>,
    pub wrong: Wrong,
}

/// Collects faults through a shared reference, because nested readers report to the same list.
#[derive(Default)]
pub(super) struct Faults {
    list: RefCell<Vec<Fault>>,
    tainted: RefCell<Vec<Path>>,
    more: Cell<usize>,
    /// Every key that a reader asked for, and whether it was there: how a test knows that the example file is complete.
    #[cfg(test)]
    pub asked: RefCell<Vec<(Path, bool)>>,
}

// === impl Wrong ===

impl Wrong {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), remedy: remedy.into() }
    }
}

// === impl Path ===

impl Path {
    /// The path with these keys, from the top of the file.
    pub fn of<const N: usize>(keys: [&str; N]) -> Path {
        Path(keys.map(|key| Step::Key(key.to_owned())).into())
    }

    pub fn key(&self, key: &str) -> Path {
        self.with(Step::Key(key.to_owned()))
    }

    pub fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn with(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }

    /// True when one of the two lies inside the other, or they are the same.
    fn touches(&self, other: &Path) -> bool {
        self.0.iter().zip(&other.0).all(|(one, two)| one == two)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(&shown(key))?,
                Step::Key(key) => write!(f, ".{}", shown(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

// === impl Faults ===

impl Faults {
    pub fn report(&self, path: Path, mark: Option<Mark>, wrong: Wrong) {
        self.taint(path.clone());
        self.push(Fault { path, mark, wrong });
    }

    /// Marks a value as doubtful without a fault of its own: the key that a misspelt one was probably meant to be.
    pub fn taint(&self, path: Path) {
        let mut tainted = self.tainted.borrow_mut();
        if tainted.len() < MOST_FAULTS {
            tainted.push(path);
        }
    }

    /// Adds a fault that taints nothing.
    pub fn push(&self, fault: Fault) {
        let mut list = self.list.borrow_mut();
        if list.len() < MOST_FAULTS {
            list.push(fault);
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    pub fn touches(&self, path: &Path) -> bool {
        self.tainted.borrow().iter().any(|tainted| tainted.touches(path))
    }

    pub fn into_parts(self) -> (Vec<Fault>, usize) {
        (self.list.into_inner(), self.more.get())
    }
}

/// A piece of somebody's text made safe for a terminal and cut to a readable length.
pub(super) fn shown(text: &str) -> String {
    const MOST_CHARS: usize = 60;
    let mut out: String = text
        .chars()
        .take(MOST_CHARS)
        .flat_map(|c| {
            let hidden = c.is_control() || c == '\u{feff}' || ('\u{2028}'..='\u{202e}').contains(&c);
            // Only what a terminal would act on or hide is escaped; quotes and letters of any script stay as written.
            let escaped = hidden.then(|| c.escape_unicode());
            escaped.into_iter().flatten().chain((!hidden).then_some(c))
        })
        .collect();
    if text.chars().nth(MOST_CHARS).is_some() {
        out.push_str("...");
    }
    out
}

/// The entry of `known` that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Beyond these a suggestion would cost more than it helps.
    const LONGEST: usize = 48;
    const MOST_CANDIDATES: usize = 200;
    if word.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .take(MOST_CANDIDATES)
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two short words, letter case and `-` for `_` aside.
fn edits(one: &str, two: &str) -> usize {
    let same = |c: char| {
        if c == '-' { '_' } else { c.to_ascii_lowercase() }
    };
    let one: Vec<char> = one.chars().map(same).collect();
    let two: Vec<char> = two.chars().map(same).collect();
    // Row i holds the edits from the first i characters of `one` to each beginning of `two`.
    let mut rows = vec![(0..=two.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=two.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != two[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == two[j - 2] && one[i - 2] == two[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["endpoints", "password", "tls", "ttl", "max_memory"];
        assert_eq!(nearest("endpoint", known), Some("endpoints"));
        assert_eq!(nearest("max-memory", known), Some("max_memory"));
        assert_eq!(nearest("Password", known), Some("password"));
        assert_eq!(nearest("tsl", known), Some("tls"));
        assert_eq!(nearest("host", known), None);
        assert_eq!(nearest(&"x".repeat(5000), known), None);
    }

    #[test]
    fn paths_read_as_they_are_written_in_the_manual() {
        let path = Path::of(["upstreams", "main"]).key("endpoints").index(0);
        assert_eq!(path.to_string(), "upstreams.main.endpoints[0]");
        assert!(path.touches(&Path::of(["upstreams"])));
        assert!(!path.touches(&Path::of(["upstreams", "other"])));
    }

    #[test]
    fn quoted_text_cannot_steer_a_terminal() {
        assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\u{a}");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 63);
    }
}
