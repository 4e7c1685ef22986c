//! A look inside a reply that has arrived whole: value by value, without decoding or copying it.
//!
//! [`super::scan`] finds where a value ends without recursion, and a view goes exactly as deep as its reader asks. So
//! neither nesting nor a count that lies can do harm; nothing is reserved for elements that have not been seen.

use super::number;
use super::scan::{Head, Malformed, Scanner};

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// `$-1`, `*-1`, `_`
    Null,
    /// `:`
    Integer(i64),
    /// `+ $ =` (without the three letters of its format), and the digits of `,` and `(`
    Text(&'a [u8]),
    /// `- !`
    Error(&'a [u8]),
    /// `#`
    Boolean(bool),
    /// `* >`
    List(Elements<'a>),
    /// `~`
    Set(Elements<'a>),
    /// `%`: key and value in turn
    Map(Elements<'a>),
}

/// The values inside an array, a set or a map, each as its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> View<'a> {
    /// A reply of which there are exactly all bytes.
    ///
    /// # Errors
    /// They are something else.
    pub fn whole(reply: &'a [u8]) -> Result<Self, Malformed> {
        match Scanner::default().scan(reply)? {
            Some(end) if end == reply.len() => Self::of(reply).ok_or(Malformed("a value that is not of its type")),
            Some(_) => Err(Malformed("more than one reply")),
            None => Err(Malformed("a reply that is cut short")),
        }
    }

    /// The value at the start of `bytes`, behind its attributes; `None` if there is none.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            let head = Head::read(bytes, at, &mut 0).ok()??;
            let behind = head.end(bytes).ok()?;
            return match head {
                Head::Null { .. } | Head::Line { kind: b'_', .. } => Some(Self::Null),
                Head::Line { kind, start, end } => {
                    let text = &bytes[start..end];
                    match kind {
                        b':' => number::integer(text).map(Self::Integer),
                        b'-' => Some(Self::Error(text)),
                        b'#' => Some(Self::Boolean(text == b"t")),
                        _ => Some(Self::Text(text)),
                    }
                }
                Head::Text { kind, start, end } => {
                    let text = &bytes[start..end];
                    match kind {
                        b'!' => Some(Self::Error(text)),
                        b'=' => text.get(4..).map(Self::Text),
                        _ => Some(Self::Text(text)),
                    }
                }
                Head::Aggregate { kind, elements, .. } => {
                    let mut inside = Elements { rest: &bytes[behind..], left: elements };
                    match kind {
                        b'%' => Some(Self::Map(inside)),
                        b'~' => Some(Self::Set(inside)),
                        b'|' => {
                            // About the value behind it.
                            inside.by_ref().for_each(drop);
                            if inside.left > 0 {
                                return None;
                            }
                            at = bytes.len() - inside.rest.len();
                            continue;
                        }
                        _ => Some(Self::List(inside)),
                    }
                }
            };
        }
    }

    /// The bytes of a text.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer, or a text that spells one.
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(value),
            Self::Text(text) => number::integer(text),
            _ => None,
        }
    }

    /// The values of an array or set, or the keys and values of a map in turn.
    pub fn elements(self) -> Option<Elements<'a>> {
        match self {
            Self::List(elements) | Self::Set(elements) | Self::Map(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value of a key of a map, which RESP2 has as a flat array.
    pub fn field(self, key: &[u8]) -> Option<View<'a>> {
        let mut elements = self.elements()?;
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            if View::of(name).and_then(View::text) == Some(key) {
                return View::of(value);
            }
        }
        None
    }
}

// === impl Elements ===

impl<'a> Elements<'a> {
    /// How many there are still, as their head says; the values themselves end earlier if it lies.
    pub fn announced(&self) -> u64 {
        self.left
    }

    /// The next one, looked into.
    pub fn view(&mut self) -> Option<View<'a>> {
        self.next().and_then(View::of)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let Ok(Some(end)) = Scanner::default().scan(self.rest) else {
            // Bytes that were not checked before, and are no reply: there is no next one, whatever the head has said.
            self.rest = &[];
            return None;
        };
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::values;
    use proptest::prelude::*;

    #[test]
    fn every_type_is_seen() {
        for (bytes, view) in [
            ("$-1\r\n", View::Null),
            ("*-1\r\n", View::Null),
            ("_\r\n", View::Null),
            (":-7\r\n", View::Integer(-7)),
            ("+OK\r\n", View::Text(b"OK")),
            ("$2\r\nab\r\n", View::Text(b"ab")),
            ("=6\r\ntxt:ab\r\n", View::Text(b"ab")),
            (",1.5\r\n", View::Text(b"1.5")),
            ("-ERR x\r\n", View::Error(b"ERR x")),
            ("!5\r\nERR x\r\n", View::Error(b"ERR x")),
            ("#t\r\n", View::Boolean(true)),
            ("|1\r\n+a\r\n*1\r\n+b\r\n|0\r\n:1\r\n", View::Integer(1)),
        ] {
            assert_eq!(View::whole(bytes.as_bytes()), Ok(view), "{bytes:?}");
        }
        let map = View::whole(b"%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:2\r\n_\r\n").unwrap();
        assert_eq!(map.field(b"a"), Some(View::Integer(1)));
        let inner: Vec<_> = map.field(b"b").unwrap().elements().unwrap().collect();
        assert_eq!(inner, [&b":2\r\n"[..], b"_\r\n"]);
        assert_eq!(map.field(b"c"), None);
    }

    #[test]
    fn what_is_not_one_whole_reply_is_refused() {
        for bytes in ["", "+OK", "*1\r\n", "+a\r\n+b\r\n", ":x\r\n", "=2\r\nab\r\n", "|1\r\n+a\r\n+b\r\n"] {
            assert!(View::whole(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_count_that_lies_ends_where_the_bytes_end() {
        let Some(View::List(elements)) = View::of(b"*2147483647\r\n:1\r\n:2\r\n") else { panic!("a list") };
        assert_eq!(elements.collect::<Vec<_>>(), [b":1\r\n", b":2\r\n"]);
    }

    proptest! {
        #[test]
        fn the_elements_are_the_reply(reply in values::resp3()) {
            let view = View::whole(&reply);
            if let Some(elements) = view.ok().and_then(View::elements) {
                let count = elements.announced();
                let inside: Vec<_> = elements.collect();
                prop_assert_eq!(inside.len() as u64, count);
                prop_assert!(reply.ends_with(&inside.concat()));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'*'), Just(b'|'), Just(b'1')], 0..80)) {
            if let Some(elements) = View::of(&bytes).and_then(View::elements) {
                elements.for_each(drop);
            }
            let _ = View::whole(&bytes);
        }
    }
}
