//! Reads one map of the file key by key.
//!
//! The keys that a reader asks for are the keys that exist: there is no second list of them. Whatever else stands in the map is
//! reported when the reader is done, with the key that was probably meant.

use super::fault::{Faults, Mark, Path, Wrong, nearest, shown};
use super::tree::{Entry, Node, Value};
use super::{units, variables};
use std::collections::HashMap;

/// A map that is being read. Ends with [`Section::finish`].
pub(super) struct Section<'a> {
    path: Path,
    mark: Option<Mark>,
    entries: &'a [Entry],
    faults: &'a Faults,
    known: Vec<&'static str>,
    /// Required keys that are not there: reported at the end, when it is known whether one was only misspelt.
    missing: Vec<(&'static str, String)>,
}

/// One item of a list, or one named member of a map of names.
pub(super) struct Item<'a> {
    pub name: &'a str,
    pub path: Path,
    pub mark: Option<Mark>,
    pub node: &'a Node,
}

impl<'a> Section<'a> {
    /// Opens a value that should be a map; anything else is reported and read as an empty one.
    pub fn open(node: &'a Node, path: Path, mark: Option<Mark>, faults: &'a Faults) -> Section<'a> {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let wrong = units::misplaced(other, "a map of keys", "write its keys below it, one on a line");
                faults.report(path.clone(), mark.or(node.mark), wrong);
                &[]
            }
        };
        let mut seen = HashMap::new();
        for entry in entries {
            if let Some(line) = seen.insert(entry.key.as_str(), entry.mark.line) {
                let wrong = Wrong::new(format!("this key is already there in line {line}"), "keep one of the two");
                faults.report(path.key(&entry.key), Some(entry.mark), wrong);
            }
        }
        Section { path, mark: mark.or(node.mark), entries, faults, known: Vec::new(), missing: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reports a fault of one key of this section.
    pub fn report(&self, key: &str, wrong: Wrong) {
        let mark = self.find(key).map(Entry::mark).or(self.mark);
        self.faults.report(self.path.key(key), mark, wrong);
    }

    /// True when the key stands in the file.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some_and(|entry| !entry.is_left_out())
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().rfind(|entry| entry.key == key)
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        let found = self.find(key).filter(|entry| !entry.is_left_out());
        #[cfg(test)]
        self.faults.asked.borrow_mut().push((self.path.key(key), found.is_some()));
        found
    }

    /// A value that may be left out.
    pub fn optional<T>(&mut self, key: &'static str, read: impl Fn(&Value) -> Result<T, Wrong>) -> Option<T> {
        let entry = self.ask(key)?;
        match variables::read(&entry.node, read) {
            Ok(value) => Some(value),
            Err(wrong) => {
                // (What could not be filled in has been reported.)
                if !self.faults.touches(&self.path.key(key)) {
                    self.report(key, wrong);
                }
                None
            }
        }
    }

    /// A value with a default.
    pub fn value<T>(&mut self, key: &'static str, default: T, read: impl Fn(&Value) -> Result<T, Wrong>) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// A value that must be there; `remedy` says what to write.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.require(key, remedy);
        self.optional(key, read)
    }

    fn require(&mut self, key: &'static str, remedy: &str) {
        if !self.has(key) {
            self.missing.push((key, remedy.to_owned()));
        }
    }

    /// A map inside this one, opened empty when it is left out, so that its defaults are read the same way.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        self.optional_section(key).unwrap_or(Section {
            path: self.path.key(key),
            mark: self.mark,
            entries: &[],
            faults: self.faults,
            known: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// A map inside this one, if it stands in the file.
    pub fn optional_section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let entry = self.ask(key)?;
        let path = self.path.key(key);
        Some(Section::open(&entry.node, path, Some(entry.mark()), self.faults))
    }

    /// The members of a map of names that must be there.
    pub fn required_names(&mut self, key: &'static str, remedy: &str) -> Vec<Item<'a>> {
        self.require(key, remedy);
        self.names(key).unwrap_or_default()
    }

    /// The items of a list that must be there.
    pub fn required_list(&mut self, key: &'static str, remedy: &str) -> Vec<Item<'a>> {
        self.require(key, remedy);
        self.list(key, remedy).unwrap_or_default()
    }

    /// The items of a list; `None` when it is left out. `remedy` says how such a list is written.
    pub fn list(&mut self, key: &'static str, remedy: &str) -> Option<Vec<Item<'a>>> {
        let entry = self.ask(key)?;
        let path = self.path.key(key);
        match &entry.node.value {
            Value::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Item {
                        name: "",
                        path: path.index(index),
                        mark: node.mark.or(Some(entry.mark)),
                        node,
                    })
                    .collect(),
            ),
            Value::Null => None,
            other => {
                self.report(key, units::misplaced(other, "a list", remedy));
                Some(Vec::new())
            }
        }
    }

    /// A list of single values, each read alone; a faulty one is reported and left out.
    pub fn values<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let items = self.list(key, remedy)?;
        let values = items.into_iter().filter_map(|item| match variables::read(item.node, &read) {
            Ok(value) => Some(value),
            Err(wrong) => {
                if !self.faults.touches(&item.path) {
                    self.faults.report(item.path, item.mark, wrong);
                }
                None
            }
        });
        Some(values.collect())
    }

    /// The members of a map whose keys are names chosen by the user.
    pub fn names(&mut self, key: &'static str) -> Option<Vec<Item<'a>>> {
        let entry = self.ask(key).filter(|entry| !matches!(entry.node.value, Value::Null))?;
        let path = self.path.key(key);
        let members = Section::open(&entry.node, path.clone(), Some(entry.mark()), self.faults);
        let mut items = Vec::new();
        for entry in members.entries {
            let member = path.key(&entry.key);
            if !is_name(&entry.key) {
                let wrong = Wrong::new(
                    format!("\"{}\" is not a name", shown(&entry.key)),
                    "use letters, digits, - and _, at most 64 of them",
                );
                self.faults.report(member.clone(), Some(entry.mark), wrong);
            }
            items.push(Item { name: &entry.key, path: member, mark: Some(entry.mark()), node: &entry.node });
        }
        Some(items)
    }

    /// The members of a map whose keys are addresses; a faulty one is reported and left out.
    pub fn by_address<A, T>(
        &mut self,
        key: &'static str,
        address: impl Fn(&Value) -> Result<A, Wrong>,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Vec<(A, T)> {
        let Some(entry) = self.ask(key) else { return Vec::new() };
        let path = self.path.key(key);
        let members = Section::open(&entry.node, path.clone(), Some(entry.mark()), self.faults);
        let pairs = members.entries.iter().filter_map(|entry| {
            let pair = address(&Value::Text(entry.key.clone()))
                .and_then(|address| Ok((address, variables::read(&entry.node, &read)?)));
            pair.map_err(|wrong| self.faults.report(path.key(&entry.key), Some(entry.mark()), wrong)).ok()
        });
        pairs.collect()
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let mut known = self.known.clone();
            known.sort_unstable();
            let remedy = match nearest(&entry.key, known.iter().copied()) {
                _ if entry.key == "<<" => "write the keys out; merging maps is not supported".to_owned(),
                Some(near) => {
                    self.faults.taint(self.path.key(near));
                    format!("did you mean {near}? The keys here are {}", known.join(", "))
                }
                None => format!("the keys here are {}", known.join(", ")),
            };
            let wrong = Wrong::new("there is no such key", remedy);
            self.faults.report(self.path.key(&entry.key), Some(entry.mark), wrong);
        }
        for (key, remedy) in &self.missing {
            if !self.faults.touches(&self.path.key(key)) {
                self.report(key, Wrong::new("this key is required and missing", remedy));
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)
}
