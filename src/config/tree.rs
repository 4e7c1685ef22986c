//! YAML text as a tree in which every scalar and every key knows its line and column. The only file that knows `serde_yaml`.
//!
//! `serde_yaml` tells positions only in its errors. So each scalar is read by a visitor that keeps the value and then fails on
//! purpose; the failure carries the position, is caught where the scalar was asked for, and reading goes on behind it. One pass
//! gives the whole tree, duplicate keys included. A failure that kept nothing is a real one: there reading ends.
//!
//! Every cost is bounded: bytes, nesting, nodes (which also bounds what aliases can multiply), and brackets, because the parser
//! below takes time in the square of the depth of `[` and `{`.

use super::fault::{Fault, Mark, Path, Step, Wrong};
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::fmt;

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
    let loading = Loading {
        nodes: Cell::new(0),
        ended_by: RefCell::new(None),
    };
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(first) = documents.next() else {
        return Ok(None);
    };
    let seed = NodeSeed {
        loading: &loading,
        depth: 0,
    };
    let node = seed
        .deserialize(first)
        .map_err(|error| fatal(&error, &loading, text))?;
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
    Fault {
        path: Path::default(),
        mark: None,
        wrong,
    }
}

/// The one fault of a text that could not be read to its end.
fn fatal(error: &serde_yaml::Error, loading: &Loading, text: &str) -> Fault {
    let mark = error.location().map(|location| Mark {
        line: location.line(),
        column: location.column(),
    });
    let wrong = loading
        .ended_by
        .take()
        .unwrap_or_else(|| syntax(&error.to_string(), mark, text));
    Fault {
        path: Path::default(),
        mark,
        wrong,
    }
}

/// The parser's own complaint in words that say what to do.
fn syntax(message: &str, mark: Option<Mark>, text: &str) -> Wrong {
    let line = mark
        .and_then(|mark| text.lines().nth(mark.line.saturating_sub(1)))
        .unwrap_or_default();
    let indent = line.trim_start_matches(' ');
    if indent.starts_with('\t')
        || message.contains("character that cannot start any token") && line.contains('\t')
    {
        return Wrong::new(
            "a tab stands where YAML wants spaces",
            "indent with spaces; two for each level are usual",
        );
    }
    if message.contains("unknown anchor") {
        return Wrong::new(
            "a * starts a reference to an anchor, and there is none of that name",
            "put a value that begins with * in quotes: \"*\"",
        );
    }
    if message.contains("control characters are not allowed") || message.contains("invalid leading")
    {
        return Wrong::new(
            "there is a character that YAML does not allow",
            "save the file as plain UTF-8 text",
        );
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
        format!(
            "there are more than {MOST_NODES} values, those behind aliases (*) counted each time"
        ),
        "write fewer routes with patterns that cover more keys, and no nested aliases",
    )
}

// === impl Node ===

impl Node {
    /// Where to point for a path: the scalar, the key of a list or map, or the nearest thing above that exists.
    pub fn locate(&self, path: &Path) -> Option<Mark> {
        let mut node = self;
        let mut best = self.mark;
        for step in path.steps() {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    // The last of two equal keys is the one that was read.
                    entries
                        .iter()
                        .rfind(|entry| entry.key == *key)
                        .map(|entry| {
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
    /// The value where it is one word, the key where it is more or nothing.
    pub fn mark(&self) -> Mark {
        match self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => self.mark,
            _ => self.node.mark.unwrap_or(self.mark),
        }
    }
}

// === reading ===

/// Shared by all readers of one text.
struct Loading {
    nodes: Cell<usize>,
    /// Why reading was given up, when it was not the parser that did.
    ended_by: RefCell<Option<Wrong>>,
}

impl Loading {
    /// Ends the reading of the text with this fault.
    fn end<E: Error>(&self, wrong: Wrong) -> E {
        self.ended_by.replace(Some(wrong));
        E::custom("")
    }
}

/// Reads one value of any shape.
struct NodeSeed<'a> {
    loading: &'a Loading,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let kept = Cell::new(None);
        let visitor = NodeVisitor {
            loading: self.loading,
            depth: self.depth,
            kept: &kept,
        };
        match deserializer.deserialize_any(visitor) {
            Ok(node) => Ok(node),
            Err(error) => match kept.take() {
                Some(value) => Ok(Node {
                    mark: Some(mark_in(&error.to_string())),
                    value,
                }),
                None => Err(error),
            },
        }
    }
}

/// Reads one key.
struct KeySeed<'a> {
    loading: &'a Loading,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = (String, Mark);

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<(String, Mark), D::Error> {
        let kept = Cell::new(None);
        let visitor = NodeVisitor {
            loading: self.loading,
            // A list or map as a key is refused as if it lay too deep.
            depth: usize::MAX,
            kept: &kept,
        };
        // A node cannot come back at this depth; if it did, the key would be an odd name and be refused as unknown.
        let error = match deserializer.deserialize_any(visitor) {
            Ok(_) => return Ok((String::new(), Mark { line: 1, column: 1 })),
            Err(error) => error,
        };
        let key = match kept.take() {
            Some(Value::Text(text)) => text,
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Integer(value)) => value.to_string(),
            Some(Value::Float(value)) => value.to_string(),
            Some(_) => "~".to_owned(),
            None => return Err(error),
        };
        Ok((key, mark_in(&error.to_string())))
    }
}

/// The position at the end of an error's text; the very first position is not printed.
fn mark_in(message: &str) -> Mark {
    message
        .rsplit_once(" at line ")
        .and_then(|(_, position)| position.split_once(" column "))
        .and_then(|(line, column)| {
            Some(Mark {
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            })
        })
        .unwrap_or(Mark { line: 1, column: 1 })
}

struct NodeVisitor<'a> {
    loading: &'a Loading,
    depth: usize,
    kept: &'a Cell<Option<Value>>,
}

impl NodeVisitor<'_> {
    /// Keeps the scalar and fails, so that the failure tells where it stood.
    fn keep<E: Error>(&self, value: Value) -> Result<Node, E> {
        self.count()?;
        self.kept.set(Some(value));
        Err(E::custom(""))
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        let nodes = &self.loading.nodes;
        nodes.set(nodes.get() + 1);
        if nodes.get() > MOST_NODES {
            return Err(self.loading.end(too_many()));
        }
        Ok(())
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        self.count()?;
        if self.depth == usize::MAX {
            return Err(self.loading.end(Wrong::new(
                "a list or a map stands where a key belongs",
                "write a plain word as the key; put a value that begins with [ or { in quotes",
            )));
        }
        if self.depth >= MOST_DEPTH {
            return Err(self.loading.end(Wrong::new(
                format!("lists and maps are nested more than {MOST_DEPTH} deep"),
                "compare with config.example.yaml; no key lies deeper than 5",
            )));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.keep(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.keep(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.keep(Value::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.keep(Value::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        self.keep(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.keep(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.keep(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.keep(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.keep(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        while let Some(node) = items.next_element_seed(NodeSeed {
            loading: self.loading,
            depth,
        })? {
            list.push(node);
        }
        Ok(Node {
            mark: list.first().and_then(|node: &Node| node.mark),
            value: Value::List(list),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let depth = self.deeper()?;
        let mut map = Vec::new();
        while let Some((key, mark)) = entries.next_key_seed(KeySeed {
            loading: self.loading,
        })? {
            let node = entries.next_value_seed(NodeSeed {
                loading: self.loading,
                depth,
            })?;
            map.push(Entry { key, mark, node });
        }
        Ok(Node {
            mark: map.first().map(|entry: &Entry| entry.mark),
            value: Value::Map(map),
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.loading.end(Wrong::new(
            "a YAML tag (!) stands here, and none are used",
            "remove the tag; put a value that begins with ! in quotes",
        )))
    }
}
