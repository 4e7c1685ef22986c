//! Where does a reply end? Lengths only, RESP2 and RESP3, resumable, without recursion and without a stack.
//!
//! A reply is a sequence of elements, and an aggregate only says how many more are to come. One number is therefore
//! all there is to remember: how many elements are still owed. An array of `n` adds `n`, a map `2n`; an attribute
//! (`|n`, data about the element behind it) adds `2n` and does not pay for itself. Nesting of any depth costs nothing.
//!
//! Streamed types (`$?`, `*?`, `;`, `.`) are refused: no Redis sends them. A push inside a reply is refused too. It
//! belongs to no reply, though old servers could send one there (<https://github.com/redis/redis/issues/8935>); to count
//! it as an element would hand clients each other's replies, and to step over it would lose an invalidation. Dropping
//! the connection does neither.

use super::number;

/// The longest string and the largest count that are believed: Redis's own bound is 512 MB unless it is raised, and
/// it never counts beyond an `int`.
const MOST: usize = i32::MAX as usize;

/// The most elements that a reply may owe at any time: enough for a map of the largest count.
const MOST_OWED: u64 = 2 * (MOST as u64 + 1);

/// The bytes are no reply; nothing behind them on that connection can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply: {0}")]
pub struct Malformed(pub &'static str);

/// The state of one stream of replies between two reads.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Up to where `buf` is understood.
    pos: usize,
    /// Up to where an unfinished line has been searched for its end.
    searched: usize,
    /// Elements still to come; 0 in front of a reply.
    owed: u64,
    /// Whether an element other than an attribute has begun.
    begun: bool,
    /// Where the string that has begun ends with its CR LF; 0 if none has.
    wanted: usize,
}

impl Scanner {
    /// Goes on in `buf`, which starts at the first byte of the reply that this scanner is at.
    ///
    /// `Some(len)`: `buf[..len]` is one whole reply, attributes in front of it included, and the next call begins
    /// another. `None`: more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not RESP. The scanner is of no more use, and neither is the connection.
    #[inline]
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, Malformed> {
        if self.owed == 0 {
            // Most replies are one whole string or one short line.
            if let Some(end) = whole(buf) {
                return Ok(Some(end));
            }
            self.owed = 1;
        }
        self.elements(buf)
    }

    /// Bytes that the unfinished reply needs in all, as far as the lengths read so far tell; 0 if nothing is known.
    /// Only what the other side claims, up to 2 GiB.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    fn elements(&mut self, buf: &[u8]) -> Result<Option<usize>, Malformed> {
        while self.owed > 0 {
            if buf.len() < self.wanted {
                return Ok(None);
            }
            let Some(head) = Head::read(buf, self.pos, &mut self.searched)? else {
                return Ok(None);
            };
            if let Head::Text { end, .. } = head
                && buf.len() < end + 2
            {
                self.wanted = end + 2;
                return Ok(None);
            }
            self.pos = head.end(buf)?;
            self.wanted = 0;
            self.owed -= 1;
            if let Head::Aggregate { kind, elements, .. } = head {
                if kind == b'>' && (self.begun || self.owed > 0) {
                    return Err(Malformed("a push inside a reply"));
                }
                if kind == b'|' {
                    // The element that it speaks of is still to come.
                    self.owed += 1;
                } else if self.owed == 0 {
                    // Only the reply itself: inside an attribute that element is owed as well.
                    self.begun = true;
                }
                self.owed += elements;
                if self.owed > MOST_OWED {
                    return Err(Malformed("more elements than a reply can have"));
                }
            }
        }
        let end = self.pos;
        *self = Self::default();
        Ok(Some(end))
    }
}

/// The end of a reply that is one whole string or one whole short line; `None` for anything else, right or wrong.
#[inline]
fn whole(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'$' => {
            let (length, start) = number::length(buf, 1)?;
            if length > MOST {
                return None;
            }
            let end = start + length;
            (buf.get(end..end + 2)? == b"\r\n").then_some(end + 2)
        }
        b'+' | b'-' | b':' => {
            let end = buf.iter().take(SHORT_LINE).position(|byte| *byte == b'\n')?;
            (buf[end - 1] == b'\r').then_some(end + 1)
        }
        _ => None,
    }
}

/// How far a line's end is looked for before the resumable way takes over.
const SHORT_LINE: usize = 64;

/// The longest line that can carry a length; a correct one has ten digits, a sign, CR and LF.
const LENGTH_LINE: usize = 24;

/// An element's own bytes, without the elements that an aggregate announces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    /// `+ - : _ # , (`: the text is `start..end`, CR LF behind it.
    Line { kind: u8, start: usize, end: usize },
    /// `$ ! =`: the text is `start..end`, CR LF behind it if it has arrived.
    Text { kind: u8, start: usize, end: usize },
    /// RESP2's `$-1` and `*-1`.
    Null { kind: u8, end: usize },
    /// `* ~ > % |`: so many elements follow, twice the pairs for the last two.
    Aggregate { kind: u8, elements: u64, end: usize },
}

impl Head {
    /// Reads the element at `at`; `searched` remembers how far an unfinished line was seen. `None`: the line that it
    /// begins with is not whole.
    #[inline]
    pub(super) fn read(buf: &[u8], at: usize, searched: &mut usize) -> Result<Option<Self>, Malformed> {
        let Some(&kind) = buf.get(at) else {
            return Ok(None);
        };
        match kind {
            b'+' | b'-' | b':' | b',' | b'(' | b'_' | b'#' => Self::line(buf, at, kind, searched),
            b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|' => match number::length(buf, at + 1) {
                Some((length, start)) => Self::sized(kind, length, start).map(Some),
                None => Self::odd(buf, at, kind),
            },
            b';' | b'.' => Err(Malformed("a part of a streamed type")),
            _ => Err(Malformed("an unknown type")),
        }
    }

    /// Where the element ends, once the bytes are there: checks what a string must end with.
    pub(super) fn end(&self, buf: &[u8]) -> Result<usize, Malformed> {
        match *self {
            Self::Line { end, .. } => Ok(end + 2),
            Self::Null { end, .. } | Self::Aggregate { end, .. } => Ok(end),
            Self::Text { end, .. } if buf.get(end..end + 2) == Some(b"\r\n") => Ok(end + 2),
            Self::Text { .. } => Err(Malformed("no CR LF behind a string")),
        }
    }

    /// A line ends with the first CR LF; a CR or LF alone is part of it, as client libraries have it.
    fn line(buf: &[u8], at: usize, kind: u8, searched: &mut usize) -> Result<Option<Self>, Malformed> {
        let mut from = (*searched).max(at + 1);
        loop {
            let Some(i) = buf.get(from..).and_then(|unseen| unseen.iter().position(|byte| *byte == b'\n')) else {
                *searched = buf.len();
                return Ok(None);
            };
            from += i;
            if buf[from - 1] == b'\r' {
                break;
            }
            from += 1;
        }
        let (start, end) = (at + 1, from - 1);
        match (kind, &buf[start..end]) {
            (b'_', text) if !text.is_empty() => Err(Malformed("a null with a text")),
            (b'#', text) if !matches!(text, b"t" | b"f") => Err(Malformed("a boolean neither true nor false")),
            _ => Ok(Some(Self::Line { kind, start, end })),
        }
    }

    fn sized(kind: u8, length: usize, start: usize) -> Result<Self, Malformed> {
        if length > MOST {
            return Err(Malformed("a length beyond any reply's"));
        }
        let count = length as u64;
        Ok(match kind {
            b'$' | b'!' | b'=' => Self::Text { kind, start, end: start + length },
            b'%' | b'|' => Self::Aggregate { kind, elements: 2 * count, end: start },
            _ => Self::Aggregate { kind, elements: count, end: start },
        })
    }

    /// A length that the short way could not read: a RESP2 null, an unfinished line, a streamed type or nonsense.
    #[cold]
    fn odd(buf: &[u8], at: usize, kind: u8) -> Result<Option<Self>, Malformed> {
        let line = &buf[at + 1..buf.len().min(at + 1 + LENGTH_LINE)];
        if line.first() == Some(&b'?') {
            return Err(Malformed("a streamed type"));
        }
        match line.iter().position(|byte| *byte == b'\n') {
            None if line.len() < LENGTH_LINE => Ok(None),
            Some(end) if &line[..end] == b"-1\r" && matches!(kind, b'$' | b'*') => {
                Ok(Some(Self::Null { kind, end: at + 1 + end + 1 }))
            }
            _ => Err(Malformed("not a length")),
        }
    }
}

#[cfg(test)]
mod tests;
