//! The committed data: what redis-server says of its own commands, and the rows that Larder adds.
//!
//! `commands.jsonl` is written by the script `regenerate` beside it and never by hand; `own.jsonl` holds, in the same
//! form, LARDER and the subcommands of CLIENT that Larder answers though the server of the data did not have them yet.
//! The form is told at the head of the script.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::resp::{Proto, encode};

/// One line of the data.
#[derive(Deserialize)]
pub struct Line<'a> {
    /// The full name, lower case.
    pub name: &'a str,
    /// The row of COMMAND INFO.
    #[serde(borrow)]
    pub info: Node<'a>,
    /// The entry of COMMAND DOCS.
    #[serde(borrow)]
    pub docs: Node<'a>,
}

/// A reply with its RESP3 types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// A null.
    Null,
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bulk(Cow<'a, str>),
    /// A simple string.
    Simple(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// A set.
    Set(Vec<Node<'a>>),
    /// A map: key, value, key, value, ...
    Map(Vec<Node<'a>>),
}

/// Bytes of a reply in both protocol versions.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    resp2: Box<[u8]>,
    resp3: Box<[u8]>,
}

/// The lines about Redis's own commands, sorted by name.
pub fn redis() -> Vec<Line<'static>> {
    lines(include_str!("commands.jsonl"))
}

/// The lines about the commands and subcommands that Larder adds.
pub fn own() -> Vec<Line<'static>> {
    lines(include_str!("own.jsonl"))
}

fn lines(text: &'static str) -> Vec<Line<'static>> {
    text.lines()
        // The text is part of the program, and a test reads all of it.
        .map(|line| serde_json::from_str(line).expect("the committed data are in their own form"))
        .collect()
}

// === impl Node ===

impl<'a> Node<'a> {
    /// The text of a bulk or simple string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Bulk(text) | Self::Simple(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// What is in an array, a set or a map; nothing in anything else.
    pub fn items(&self) -> &[Node<'a>] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Map(items) => items,
            _ => &[],
        }
    }

    /// The value of a key of a map, which may come as a flat array.
    pub fn field(&self, key: &str) -> Option<&Node<'a>> {
        self.items().chunks_exact(2).find(|pair| pair[0].text() == Some(key)).map(|pair| &pair[1])
    }

    /// Appends it as `proto` has it.
    pub fn write(&self, proto: Proto, out: &mut Vec<u8>) {
        match self {
            Self::Null => encode::null(out, proto),
            Self::Integer(value) => encode::integer(out, *value),
            Self::Bulk(text) => encode::bulk(out, text.as_bytes()),
            Self::Simple(text) => encode::simple(out, text),
            Self::Array(items) => encode::array(out, items.len()),
            Self::Set(items) => encode::set(out, proto, items.len()),
            Self::Map(items) => encode::map(out, proto, items.len() / 2),
        }
        self.items().iter().for_each(|item| item.write(proto, out));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

/// Reads the JSON form of a [`Node`]: the first character of a string, or the first item of a list, is its RESP3 type.
struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a typed reply")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        i64::try_from(value).map(Node::Integer).map_err(E::custom)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Node<'de>, E> {
        match (text.get(..1), text.get(1..)) {
            (Some("$"), Some(rest)) => Ok(Node::Bulk(rest.into())),
            (Some("+"), Some(rest)) => Ok(Node::Simple(rest.into())),
            _ => Err(E::custom("a string without its type")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node<'de>, E> {
        match (text.get(..1), text.get(1..)) {
            (Some("$"), Some(rest)) => Ok(Node::Bulk(rest.to_owned().into())),
            (Some("+"), Some(rest)) => Ok(Node::Simple(rest.to_owned().into())),
            _ => Err(E::custom("a string without its type")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let kind: &str = seq.next_element()?.ok_or_else(|| A::Error::custom("a list without its type"))?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        match kind {
            "*" => Ok(Node::Array(items)),
            "~" => Ok(Node::Set(items)),
            "%" if items.len().is_multiple_of(2) => Ok(Node::Map(items)),
            _ => Err(A::Error::custom("a list of an unknown type")),
        }
    }
}

// === impl Rendered ===

impl Rendered {
    /// The bytes of `nodes`, one behind the other.
    pub fn of<'a, 'b: 'a>(nodes: impl Iterator<Item = &'a Node<'b>> + Clone) -> Self {
        let render = |proto| {
            let mut out = Vec::new();
            nodes.clone().for_each(|node| node.write(proto, &mut out));
            out.into_boxed_slice()
        };
        Self { resp2: render(Proto::Resp2), resp3: render(Proto::Resp3) }
    }

    /// The bytes for that protocol version.
    pub fn bytes(&self, proto: Proto) -> &[u8] {
        match proto {
            Proto::Resp2 => &self.resp2,
            Proto::Resp3 => &self.resp3,
        }
    }
}
