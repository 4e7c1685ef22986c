//! Joins the replies to the parts of a split command into the one reply that the client is waiting for.
//!
//! How they are joined is the command's response policy ([`How`]); what comes out is in the protocol version of what
//! went in. Pure: whoever sends the parts hands their replies over as they come, in any order. A part that could not be
//! sent, or was not answered, is handed over as the error that the client would have got for it; or as absent, if it is of
//! a node that need not be there.
//!
//! **Errors.** One part that failed fails the whole, with that part's own error (the first one, in the order of the
//! parts), because a reply cannot be half an error. A write that was split is not atomic: its error then says that the
//! other parts may have been carried out, behind the server's own words, so that the code word stays in front; unless all parts say the
//! same.

use super::encode;
use super::view::{Elements, View};

#[cfg(test)]
mod tests;

/// How replies become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The first of them, when all have succeeded.
    AllSucceeded,
    /// The first that is no error; an error when all are.
    OneSucceeded,
    /// Added up; lists of numbers place by place.
    Sum,
    /// The least; lists of numbers place by place.
    Min,
    /// The greatest; lists of numbers place by place.
    Max,
    /// 1 where all say 1; lists place by place.
    And,
    /// 1 where any says 1; lists place by place.
    Or,
    /// One list, set or map with what is in all of them.
    Concat,
    /// Texts one below the other.
    Texts,
    /// One that is not null, whichever this number picks.
    Any(u64),
    /// One list in the order of the keys: for each part the places that its elements take.
    Places(Vec<Vec<u32>>),
}

/// What a failed part says about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing: they change no data.
    Harmless,
    /// They may have been carried out.
    MayBeDone,
}

/// The replies so far.
#[derive(Debug)]
pub struct Gather {
    how: How,
    others: Others,
    parts: Vec<Option<Box<[u8]>>>,
    missing: usize,
}

/// What stands behind the error of one part of a write.
const MAY_BE_DONE: &str =
    " (this command was split over several nodes: what it does on the others may have been carried out)";

/// Stands for a part that the whole does without: no reply is empty.
const ABSENT: &[u8] = b"";

/// Why replies were not joined: the nodes do not agree on what kind of reply this is.
const UNLIKE: &str = "ERR the nodes that this command was split over have answered in ways that do not fit together";

impl Gather {
    /// Waits for so many parts.
    pub fn new(how: How, others: Others, parts: usize) -> Self {
        Self { how, others, parts: vec![None; parts], missing: parts }
    }

    /// Takes the reply to part `index`, whole, as it came; true when no part is missing any more.
    pub fn part(&mut self, index: usize, reply: &[u8]) -> bool {
        if let Some(part) = self.parts.get_mut(index)
            && part.replace(reply.into()).is_none()
        {
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// Part `index` will never come, and the whole does without it; true when no part is missing any more.
    pub fn absent(&mut self, index: usize) -> bool {
        self.part(index, ABSENT)
    }

    /// Writes the one reply. A part that never came counts as one that does not fit.
    pub fn finish(self, out: &mut Vec<u8>) {
        let start = out.len();
        let parts: Vec<&[u8]> =
            self.parts.iter().flatten().map(AsRef::as_ref).filter(|part: &&[u8]| *part != ABSENT).collect();
        let error = parts.iter().find(|part| is_error(part));
        match error {
            Some(error) if self.how != How::OneSucceeded => return self.fail(error, &parts, out),
            _ => {}
        }
        let joined = match &self.how {
            _ if self.missing > 0 || parts.is_empty() => None,
            How::AllSucceeded => first(&parts, out),
            How::OneSucceeded => match parts.iter().find(|part| !is_error(part)) {
                Some(part) => first(&[part], out),
                None => return self.fail(parts[0], &parts, out),
            },
            How::Sum => numbers(&parts, i64::saturating_add, out),
            How::Min => numbers(&parts, Ord::min, out),
            How::Max => numbers(&parts, Ord::max, out),
            How::And => numbers(&parts, |a, b| i64::from(a != 0 && b != 0), out),
            How::Or => numbers(&parts, |a, b| i64::from(a != 0 || b != 0), out),
            How::Concat => concat(&parts, out),
            How::Texts => texts(&parts, out),
            How::Any(pick) => picked(&parts, *pick, out),
            How::Places(places) => in_place(&parts, places, out),
        };
        if joined.is_none() {
            out.truncate(start);
            encode::error(out, UNLIKE);
        }
    }

    fn fail(&self, error: &[u8], parts: &[&[u8]], out: &mut Vec<u8>) {
        // Where all say the same (a syntax error), the whole is what one server would have said.
        let agreed = parts.len() == self.parts.len() && parts.iter().all(|part| *part == error);
        let alone = agreed || self.others == Others::Harmless;
        match View::of(error) {
            Some(View::Error(text)) if !alone => {
                encode::error(out, &format!("{}{MAY_BE_DONE}", String::from_utf8_lossy(text)));
            }
            _ => out.extend_from_slice(error),
        }
    }
}

fn is_error(reply: &[u8]) -> bool {
    matches!(View::of(reply), Some(View::Error(_)))
}

// === the ways, each None when the replies do not fit ===

fn first(parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    View::whole(parts.first()?).ok()?;
    out.extend_from_slice(parts[0]);
    Some(())
}

/// Numbers, or lists of equally many numbers.
fn numbers(parts: &[&[u8]], join: impl Fn(i64, i64) -> i64, out: &mut Vec<u8>) -> Option<()> {
    match View::whole(parts.first()?).ok()? {
        View::Integer(mut total) => {
            for part in &parts[1..] {
                let View::Integer(value) = View::whole(part).ok()? else { return None };
                total = join(total, value);
            }
            encode::integer(out, total);
        }
        View::List(elements) => {
            let mut totals = integers(elements)?;
            for part in &parts[1..] {
                let View::List(elements) = View::whole(part).ok()? else { return None };
                let values = integers(elements)?;
                if values.len() != totals.len() {
                    return None;
                }
                totals.iter_mut().zip(values).for_each(|(total, value)| *total = join(*total, value));
            }
            encode::array(out, totals.len());
            totals.into_iter().for_each(|total| encode::integer(out, total));
        }
        _ => return None,
    }
    Some(())
}

fn integers(elements: Elements<'_>) -> Option<Vec<i64>> {
    elements
        .map(|element| match View::of(element)? {
            View::Integer(value) => Some(value),
            _ => None,
        })
        .collect()
}

/// Lists, sets or maps, all of one kind. A null is an empty one, unless all are null.
fn concat(parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let mut kind = None;
    let mut elements = Vec::new();
    for part in parts {
        let (this, inside) = match View::whole(part).ok()? {
            View::Null => continue,
            View::List(inside) => (b'*', inside),
            View::Set(inside) => (b'~', inside),
            View::Map(inside) => (b'%', inside),
            _ => return None,
        };
        if *kind.get_or_insert(this) != this {
            return None;
        }
        elements.extend(inside);
    }
    let Some(kind) = kind else { return first(parts, out) };
    let count = if kind == b'%' { elements.len() / 2 } else { elements.len() };
    encode::head(out, kind, count);
    elements.iter().for_each(|element| out.extend_from_slice(element));
    Some(())
}

/// Texts with a blank line between them, in the form of the first: a bulk string, or RESP3's verbatim string.
fn texts(parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let mut joined = Vec::new();
    for part in parts {
        let View::Text(text) = View::whole(part).ok()? else { return None };
        if !joined.is_empty() {
            joined.extend_from_slice(b"\n\n");
        }
        joined.extend_from_slice(text);
    }
    match parts.first()?.first() {
        Some(b'=') => encode::verbatim(out, super::Proto::Resp3, "txt", &joined),
        _ => encode::bulk(out, &joined),
    }
    Some(())
}

fn picked(parts: &[&[u8]], pick: u64, out: &mut Vec<u8>) -> Option<()> {
    let views: Option<Vec<View<'_>>> = parts.iter().map(|part| View::whole(part).ok()).collect();
    let some: Vec<_> = views?.into_iter().zip(parts).filter(|(view, _)| *view != View::Null).collect();
    let chosen = match some.len() as u64 {
        0 => parts.first()?,
        // Less than their number, which is a usize.
        count => some[(pick % count) as usize].1,
    };
    out.extend_from_slice(chosen);
    Some(())
}

/// Every element where its key stood in the command.
fn in_place(parts: &[&[u8]], places: &[Vec<u32>], out: &mut Vec<u8>) -> Option<()> {
    let mut line: Vec<Option<&[u8]>> = vec![None; places.iter().map(Vec::len).sum()];
    if parts.len() != places.len() {
        return None;
    }
    for (part, places) in parts.iter().zip(places) {
        let View::List(elements) = View::whole(part).ok()? else { return None };
        if elements.announced() != places.len() as u64 {
            return None;
        }
        for (element, place) in elements.zip(places) {
            *line.get_mut(*place as usize)? = Some(element);
        }
    }
    encode::array(out, line.len());
    for element in line {
        out.extend_from_slice(element?);
    }
    Some(())
}
