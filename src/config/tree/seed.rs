//! The visitor that keeps a scalar and then fails, so that the failure tells where it stood; see the parent's header.

use super::super::fault::{Mark, Wrong};
use super::{Entry, MOST_DEPTH, MOST_NODES, Node, Value, too_many};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Shared by all readers of one text.
pub(super) struct Loading {
    pub nodes: Cell<usize>,
    /// Why reading was given up, when it was not the parser that did.
    pub ended_by: RefCell<Option<Wrong>>,
}

impl Loading {
    /// Ends the reading of the text with this fault.
    fn end<E: Error>(&self, wrong: Wrong) -> E {
        self.ended_by.replace(Some(wrong));
        E::custom("")
    }
}

/// Reads one value of any shape.
pub(super) struct NodeSeed<'a> {
    pub loading: &'a Loading,
    pub depth: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let kept = Cell::new(None);
        let visitor = NodeVisitor { loading: self.loading, depth: self.depth, kept: &kept };
        match deserializer.deserialize_any(visitor) {
            Ok(node) => Ok(node),
            Err(error) => match kept.take() {
                Some(value) => Ok(Node::new(Some(mark_in(&error.to_string())), value)),
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

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(String, Mark), D::Error> {
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
        .and_then(|(line, column)| Some(Mark { line: line.parse().ok()?, column: column.parse().ok()? }))
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
        while let Some(node) = items.next_element_seed(NodeSeed { loading: self.loading, depth })? {
            list.push(node);
        }
        Ok(Node::new(list.first().and_then(|node: &Node| node.mark), Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let depth = self.deeper()?;
        let mut map = Vec::new();
        while let Some((key, mark)) = entries.next_key_seed(KeySeed { loading: self.loading })? {
            let node = entries.next_value_seed(NodeSeed { loading: self.loading, depth })?;
            map.push(Entry { key, mark, node });
        }
        Ok(Node::new(map.first().map(|entry: &Entry| entry.mark), Value::Map(map)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.loading.end(Wrong::new(
            "a YAML tag (!) stands here, and none are used",
            "remove the tag; put a value that begins with ! in quotes",
        )))
    }
}
