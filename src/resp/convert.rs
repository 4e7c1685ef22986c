//! A RESP3 reply as a RESP2 client would have got it from Redis.
//!
//! The near-cache is filled over RESP3 and serves both versions. Most types have one RESP2 form whatever the command
//! (`addReplyDouble`, `addReplyBool`, `addReplyVerbatim`, ... in Redis's `networking.c` write one or the other), but two
//! things are the command's own, hence its [`Shape`]: which null it answers with, and whether scores stand beside their
//! members (`ZRANGE ... WITHSCORES` is pairs in RESP3 and one flat list in RESP2).

use super::scan::{Head, Malformed};
use super::{Proto, encode};
use crate::command::{Nulls, Shape};

/// Appends to `out` the RESP2 form of `reply`, which is one whole reply.
///
/// # Errors
/// `reply` is not one whole reply, or is a push; `out` is then as it was.
pub fn to_resp2(reply: &[u8], shape: Shape, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let before = out.len();
    out.reserve(reply.len());
    let converted = Reader { reply, pos: 0 }.convert(shape, out);
    if converted.is_err() {
        out.truncate(before);
    }
    converted
}

/// Whether [`to_resp2`] would change no byte: strings, integers, statuses, errors, and arrays of those.
pub fn same_in_both(reply: &[u8], shape: Shape) -> bool {
    let mut reader = Reader { reply, pos: 0 };
    let mut owed = 1u64;
    while owed > 0 {
        owed -= 1;
        let outermost = reader.pos == 0;
        match reader.head() {
            Ok(Head::Line { kind: b'+' | b'-' | b':', .. } | Head::Text { kind: b'$', .. } | Head::Null { .. }) => {}
            Ok(Head::Aggregate { kind: b'*', elements, .. }) => {
                if outermost && shape.pairs && reader.pairs_follow() {
                    return false;
                }
                owed = owed.saturating_add(elements);
            }
            _ => return false,
        }
    }
    reader.pos == reply.len()
}

/// Goes through the elements of a reply, from its outside to its inside, without recursion.
struct Reader<'a> {
    reply: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    fn convert(&mut self, shape: Shape, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let head = self.element()?;
        match head {
            Head::Aggregate { kind: b'*', elements, .. } if shape.pairs && self.pairs_follow() => {
                // `elements` is at most 2^31, see `scan`.
                encode::array(out, 2 * elements as usize);
                for _ in 0..elements {
                    if !is_pair(self.element()?) {
                        return Err(Malformed("a pair was expected"));
                    }
                    self.write_elements(2, shape.nulls, out)?;
                }
            }
            _ => {
                let inside = self.write(head, shape.nulls, out)?;
                self.write_elements(inside, shape.nulls, out)?;
            }
        }
        if self.pos == self.reply.len() { Ok(()) } else { Err(Malformed("bytes behind the reply")) }
    }

    /// Writes the next `owed` elements and all that is inside them.
    fn write_elements(&mut self, mut owed: u64, nulls: Nulls, out: &mut Vec<u8>) -> Result<(), Malformed> {
        while owed > 0 {
            let head = self.element()?;
            owed = (owed - 1).saturating_add(self.write(head, nulls, out)?);
        }
        Ok(())
    }

    /// Writes one element; returns how many elements it holds, which are to be written next.
    fn write(&self, head: Head, nulls: Nulls, out: &mut Vec<u8>) -> Result<u64, Malformed> {
        match head {
            Head::Line { kind, start, end } => self.write_line(kind, &self.reply[start..end], nulls, out),
            Head::Text { kind: b'$', start, end } => encode::bulk(out, &self.reply[start..end]),
            Head::Text { kind: b'!', start, end } => {
                out.push(b'-');
                out.extend(self.reply[start..end].iter().copied().map(encode::one_line));
                out.extend_from_slice(b"\r\n");
            }
            // Verbatim: three bytes say the format, and RESP2 has no place for them.
            Head::Text { start, end, .. } => match &self.reply[start..end] {
                [_, _, _, b':', text @ ..] => encode::bulk(out, text),
                _ => return Err(Malformed("a verbatim string without a format")),
            },
            Head::Null { kind: b'*', .. } => encode::null_array(out, Proto::Resp2),
            Head::Null { .. } => encode::null(out, Proto::Resp2),
            Head::Aggregate { kind: b'>', .. } => return Err(Malformed("a push is no reply")),
            Head::Aggregate { elements, .. } => {
                // At most twice 2^31, see `scan`.
                encode::array(out, elements as usize);
                return Ok(elements);
            }
        }
        Ok(0)
    }

    fn write_line(&self, kind: u8, text: &[u8], nulls: Nulls, out: &mut Vec<u8>) {
        match kind {
            b'_' => match nulls {
                Nulls::Bulk => encode::null(out, Proto::Resp2),
                Nulls::Array => encode::null_array(out, Proto::Resp2),
            },
            b'#' => encode::boolean(out, Proto::Resp2, text == b"t"),
            // Doubles and big numbers: the same digits, as a string.
            b',' | b'(' => encode::bulk(out, text),
            _ => {
                out.push(kind);
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The next element, attributes before it left out.
    fn element(&mut self) -> Result<Head, Malformed> {
        let mut inside_attribute = 0u64;
        loop {
            let head = self.head()?;
            match head {
                Head::Aggregate { kind: b'|', elements, .. } => {
                    inside_attribute = inside_attribute.saturating_add(elements);
                }
                _ if inside_attribute == 0 => return Ok(head),
                Head::Aggregate { elements, .. } => {
                    inside_attribute = (inside_attribute - 1).saturating_add(elements);
                }
                _ => inside_attribute -= 1,
            }
        }
    }

    /// The next element's own bytes, whatever it is.
    fn head(&mut self) -> Result<Head, Malformed> {
        let head = Head::read(self.reply, self.pos, &mut 0)?.ok_or(Malformed("the reply is cut off"))?;
        self.pos = head.end(self.reply)?;
        Ok(head)
    }

    /// Whether the next element is an array of two. If the first one of an array is, all are.
    fn pairs_follow(&self) -> bool {
        Reader { reply: self.reply, pos: self.pos }.element().is_ok_and(is_pair)
    }
}

fn is_pair(head: Head) -> bool {
    matches!(head, Head::Aggregate { kind: b'*', elements: 2, .. })
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
