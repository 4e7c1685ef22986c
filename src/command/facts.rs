//! Reading one row of a COMMAND reply, of any server version and either protocol version.
//!
//! Rows grew with Redis: six elements at first, ACL categories as the seventh (6.0), tips, key specs and subcommands as
//! the last three (7.0). What a row does not have is left open here.

use super::data::{Node, Rendered};
use super::keys::{Access, Begin, Find, KeyFlags, KeySpec};
use super::spec::{Docs, Flags};

/// How many elements of a row come before its subcommands.
const ELEMENTS: usize = 9;

/// What a row of COMMAND says.
pub struct Facts {
    pub(super) name: Box<str>,
    pub(super) arity: i32,
    pub(super) flags: Flags,
    /// First key, last key and step, as old clients know them.
    pub(super) positions: (i32, i32, i32),
    pub(super) categories: Box<[Box<str>]>,
    pub(super) tips: Option<Box<[Box<str>]>>,
    pub(super) keys: Option<Box<[KeySpec]>>,
    pub(super) subcommands: Vec<Facts>,
    /// The row itself, when it has every element.
    pub(super) info: Option<Rendered>,
    /// The row with empty lists for the elements that it lacks.
    pub(super) padded_info: Rendered,
    pub(super) docs: Option<Docs>,
}

impl Facts {
    /// The facts of a row.
    ///
    /// # Errors
    /// What is wrong with the row, in words.
    pub fn read(row: &Node<'_>) -> Result<Self, String> {
        let items = row.items();
        let [name, arity, flags, first, last, step, rest @ ..] = items else {
            return Err(format!("a row has {} elements instead of six or more", items.len()));
        };
        let name = name.text().filter(|name| !name.is_empty()).ok_or("a row has no name")?.to_ascii_lowercase();
        let number = |node: &Node<'_>, what: &str| {
            let value = node.integer().and_then(|value| i32::try_from(value).ok());
            value.ok_or_else(|| format!("{name}: {what} is not a number"))
        };
        let arity = match number(arity, "the arity")? {
            // A name is always there.
            0 => return Err(format!("{name}: the arity is 0")),
            arity => arity,
        };
        let positions = (number(first, "the first key")?, number(last, "the last key")?, number(step, "the step")?);
        let flags = flags.items().iter().filter_map(Node::text).map(Flags::named).fold(Flags::default(), Flags::with);
        let subcommands = rest.get(3).map_or(&[][..], Node::items);
        let padded = (0..ELEMENTS).map(|i| items.get(i).unwrap_or(const { &Node::Set(Vec::new()) }));
        let padded_info = Rendered::of(padded);
        Ok(Self {
            arity,
            flags,
            positions,
            categories: rest.first().map_or_else(Box::default, words),
            tips: rest.get(1).map(words),
            keys: rest.get(2).map(|specs| specs.items().iter().map(key_spec).collect()),
            subcommands: subcommands.iter().map(Self::read).collect::<Result<_, _>>()?,
            info: (items.len() >= ELEMENTS).then(|| padded_info.clone()),
            padded_info,
            docs: None,
            name: name.into(),
        })
    }

    /// Adds what COMMAND DOCS says, of the subcommands too.
    pub fn document(&mut self, docs: &Node<'_>) {
        let fields = || docs.items().chunks_exact(2).filter(|pair| pair[0].text() != Some("subcommands"));
        self.docs = Some(Docs { fields: fields().count(), body: Rendered::of(fields().flatten()) });
        let Some(entries) = docs.field("subcommands") else {
            return;
        };
        for sub in &mut self.subcommands {
            if let Some(entry) = entries.field(&sub.name) {
                sub.document(entry);
            }
        }
    }
}

fn words(list: &Node<'_>) -> Box<[Box<str>]> {
    list.items().iter().filter_map(Node::text).map(Box::from).collect()
}

/// A key spec; what it does not say in a known way becomes an unknown kind, which finds nothing and proves nothing.
fn key_spec(spec: &Node<'_>) -> KeySpec {
    let words = spec.field("flags").map_or(&[][..], Node::items).iter().filter_map(Node::text);
    let flags = words.map(KeyFlags::named).fold(KeyFlags::default(), KeyFlags::with);
    KeySpec {
        access: if flags.has(KeyFlags::RO) { Access::Read } else { Access::Write },
        begin: spec.field("begin_search").and_then(begin).unwrap_or(Begin::Unknown),
        find: spec.field("find_keys").and_then(find).unwrap_or(Find::Unknown),
        flags,
    }
}

fn begin(search: &Node<'_>) -> Option<Begin> {
    let spec = search.field("spec")?;
    match search.field("type")?.text()? {
        "index" => Some(Begin::Index(place(spec, "index")?)),
        "keyword" => {
            Some(Begin::Keyword { word: spec.field("keyword")?.text()?.into(), from: signed(spec, "startfrom")? })
        }
        _ => None,
    }
}

fn find(keys: &Node<'_>) -> Option<Find> {
    let spec = keys.field("spec")?;
    match keys.field("type")?.text()? {
        "range" => Some(Find::Range {
            last: signed(spec, "lastkey")?,
            step: place(spec, "keystep").filter(|step| *step > 0)?,
            limit: place(spec, "limit")?,
        }),
        "keynum" => Some(Find::KeyNum {
            at: place(spec, "keynumidx")?,
            first: place(spec, "firstkey")?,
            step: place(spec, "keystep").filter(|step| *step > 0)?,
        }),
        _ => None,
    }
}

fn signed(spec: &Node<'_>, field: &str) -> Option<i32> {
    i32::try_from(spec.field(field)?.integer()?).ok()
}

/// A number of arguments: within an i32, so that sums of them cannot overflow.
fn place(spec: &Node<'_>, field: &str) -> Option<usize> {
    usize::try_from(signed(spec, field)?).ok()
}
