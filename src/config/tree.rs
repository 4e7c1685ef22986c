//! YAML text as a tree in which every scalar and every key knows its line and column. The only file that knows `serde_yaml`.
//!
//! `serde_yaml` tells positions only in its errors. So each scalar is read by a visitor that keeps the value and then fails on
//! purpose; the failure carries the position, is caught where the scalar was asked for, and reading goes on behind it. One pass
//! gives the whole tree, duplicate keys included. A failure that kept nothing is a real one: there reading ends.
//!
//! Every cost is bounded: bytes, nesting, nodes (which also bounds what aliases can multiply), and brackets, because the parser
//! below takes time in the square of the depth of `[` and `{`.

mod seed;

use super::fault::{Fault, Mark, Path, Step, Wrong};
use seed::{Loading, NodeSeed};
use serde::Deserialize as _;
use serde::de::DeserializeSeed as _;
use std::cell::{Cell, RefCell};

/// Largest configuration in bytes. A file with thousands of routes has a tenth of it.
pub(super) const MOST_BYTES: usize = 1 << 20;
/// Deepest nesting; the deepest key of the format lies at 5.
const MOST_DEPTH: usize = 16;
/// Most values in one file, those behind aliases counted each time.
const MOST_NODES: usize = 100_000;
/// Most `[` and `{`, quoted ones included: 10,000 nested cost the parser a tenth of a second.
const MOST_BRACKETS: usize = 10_000;

/// A value and where it stands.
pub(super) struct Node {
    /// Of the scalar itself; of a list or map its first part, and nothing for an empty one.
    pub mark: Option<Mark>,
    pub value: Value,
    /// The environment has had a part in it.
    pub from_environment: bool,
}

/// What YAML can say, without tags.
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map with its value. Keys may repeat.
pub(super) struct Entry {
    pub key: String,
    pub mark: Mark,
    pub node: Node,
}

/// Reads one YAML document; `None` when it holds nothing.
pub(super) fn read(text: &str) -> Result<Option<Node>, Fault> {
    guard(text)?;
    // Some editors put a byte order mark first, which the parser would count as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let loading = Loading { nodes: Cell::new(0), ended_by: RefCell::new(None) };
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(first) = documents.next() else {
        return Ok(None);
    };
    let seed = NodeSeed { loading: &loading, depth: 0 };
    let node = seed.deserialize(first).map_err(|error| fatal(&error, &loading, text))?;
    if let Some(second) = documents.next() {
        // A syntax error behind the first document also shows up as a second one.
        if let Err(error) = serde::de::IgnoredAny::deserialize(second) {
            return Err(fatal(&error, &loading, text));
        }
        return Err(whole(Wrong::new(
            "there is more than one YAML document in this file",
            "remove the line \"---\" and what follows it; one file is one configuration",
        )));
    }
    Ok(Some(node).filter(|node| !matches!(node.value, Value::Null)))
}

/// Refuses what would take the parser long.
fn guard(text: &str) -> Result<(), Fault> {
    if text.len() > MOST_BYTES {
        return Err(whole(too_large()));
    }
    let brackets = text.bytes().filter(|b| matches!(b, b'[' | b'{')).count();
    if brackets > MOST_BRACKETS {
        return Err(whole(Wrong::new(
            format!("there are {brackets} opening brackets, {MOST_BRACKETS} are allowed"),
            "write lists and maps in block form, one item or key on a line",
        )));
    }
    Ok(())
}

/// The refusal of a text above [`MOST_BYTES`].
pub(super) fn too_large() -> Wrong {
    Wrong::new(
        "the file is larger than 1 MiB",
        "check that this is the right file; a configuration has a few kilobytes",
    )
}

fn whole(wrong: Wrong) -> Fault {
    Fault { path: Path::default(), mark: None, wrong }
}

/// The one fault of a text that could not be read to its end.
fn fatal(error: &serde_yaml::Error, loading: &Loading, text: &str) -> Fault {
    let mark = error.location().map(|location| Mark { line: location.line(), column: location.column() });
    let wrong = loading.ended_by.take().unwrap_or_else(|| syntax(&error.to_string(), mark, text));
    Fault { path: Path::default(), mark, wrong }
}

/// The parser's own complaint in words that say what to do.
fn syntax(message: &str, mark: Option<Mark>, text: &str) -> Wrong {
    let line = mark.and_then(|mark| text.lines().nth(mark.line.saturating_sub(1))).unwrap_or_default();
    let indent = line.trim_start_matches(' ');
    if indent.starts_with('\t') || message.contains("character that cannot start any token") && line.contains('\t') {
        return Wrong::new("a tab stands where YAML wants spaces", "indent with spaces; two for each level are usual");
    }
    if message.contains("unknown anchor") || message.contains("scanning an alias") {
        return Wrong::new(
            "a * at the start of a value means a reference to an anchor, and there is no such anchor",
            "put a value that begins with * in quotes: \"*\"",
        );
    }
    if message.contains("control characters are not allowed") || message.contains("invalid leading") {
        return Wrong::new("there is a character that YAML does not allow", "save the file as plain UTF-8 text");
    }
    if message.contains("repetition limit") {
        return too_many();
    }
    if message.contains("invalid value") || message.contains("invalid type") {
        return Wrong::new("a tag (!!) and its value do not fit", "remove the tag");
    }
    // What is left are the phrases of the YAML parser, such as "did not find expected key"; the position is told elsewhere.
    let phrase = message.split(" at line ").next().unwrap_or_default();
    let phrase = phrase.split(", while").next().unwrap_or_default();
    let context = match message.rsplit_once("while ") {
        Some((_, context)) => format!(" while {}", context.replace(" column ", ", column ")),
        None => String::new(),
    };
    Wrong::new(
        format!("this is not valid YAML: {phrase}{context}"),
        "check the indentation, the space after each colon, and that brackets and quotes are closed",
    )
}

fn too_many() -> Wrong {
    Wrong::new(
        format!("there are more than {MOST_NODES} values, those behind aliases (*) counted each time"),
        "write fewer routes with patterns that cover more keys, and no nested aliases",
    )
}

// === impl Node ===

impl Node {
    fn new(mark: Option<Mark>, value: Value) -> Node {
        Node { mark, value, from_environment: false }
    }

    /// Where to point for a path: the scalar, the key of a list or map, or the nearest thing above that exists.
    pub fn locate(&self, path: &Path) -> Option<Mark> {
        let mut node = self;
        let mut best = self.mark;
        for step in path.steps() {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    // The last of two equal keys is the one that was read.
                    entries.iter().rfind(|entry| entry.key == *key).map(|entry| {
                        best = Some(entry.mark());
                        &entry.node
                    })
                }
                (Step::Index(index), Value::List(items)) => items.get(*index).inspect(|item| {
                    best = item.mark.or(best);
                }),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        best
    }
}

impl Entry {
    /// The environment has nothing to put there.
    pub fn is_left_out(&self) -> bool {
        self.node.from_environment && matches!(&self.node.value, Value::Text(text) if text.is_empty())
    }

    /// The value where it is one word, the key where it is more or nothing.
    pub fn mark(&self) -> Mark {
        match self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => self.mark,
            _ => self.node.mark.unwrap_or(self.mark),
        }
    }
}
