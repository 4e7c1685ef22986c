//! Inline commands: a line of words, quoted as Redis's `sdssplitargs` reads them.
//!
//! A word may hold quoted parts (`fo"o b"` is `foo b`), but a closing quote must end it. Inside `"` there are escapes:
//! `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a`, and a backslash before anything else is dropped; inside `'` only `\'`.

use smallvec::SmallVec;

use crate::resp::{Span, encode};

/// The words of a line, unquoted.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: Vec<u8>,
    /// Where each word ends in `text`; it begins where the one before it ends.
    ends: Vec<usize>,
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Writes the command in its canonical form and where its arguments lie in it; nothing if there is no word.
    pub(super) fn write(&self, wire: &mut Vec<u8>, args: &mut SmallVec<[Span; 6]>) {
        if self.ends.is_empty() {
            return;
        }
        encode::array(wire, self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            let word = &self.text[start..*end];
            encode::bulk(wire, word);
            let behind = wire.len() - 2;
            args.push(Span { start: (behind - word.len()) as u32, end: behind as u32 });
            start = *end;
        }
    }

    fn end_word(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// Splits `line`, which holds no zero byte and no line end; `None` when its quotes do not match.
pub(super) fn split(line: &[u8]) -> Option<Words> {
    let mut words = Words::default();
    let mut rest = line;
    loop {
        while let [byte, behind @ ..] = rest
            && is_space(*byte)
        {
            rest = behind;
        }
        if rest.is_empty() {
            return Some(words);
        }
        rest = word(rest, &mut words.text)?;
        words.end_word();
    }
}

/// Reads one word; returns what is behind it.
fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            // Vertical tabs and form feeds separate words only in front of one, as in Redis.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', behind @ ..] => return closed(double_quoted(behind, text)?),
            [b'\'', behind @ ..] => return closed(single_quoted(behind, text)?),
            [byte, behind @ ..] => {
                text.push(*byte);
                rest = behind;
            }
        }
    }
}

/// Checks that the word ends where its quote was closed.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high) << 4 | hex(*low));
                behind
            }
            [b'\\', escaped, behind @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                behind
            }
            [byte, behind @ ..] => {
                text.push(*byte);
                behind
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', behind @ ..] => return Some(behind),
            [b'\\', b'\'', behind @ ..] => {
                text.push(b'\'');
                behind
            }
            [byte, behind @ ..] => {
                text.push(*byte);
                behind
            }
        };
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        let words = split(line.as_bytes())?;
        let mut start = 0;
        Some(words.ends.iter().map(|end| words.text[std::mem::replace(&mut start, *end)..*end].to_vec()).collect())
    }

    // Each line was sent to redis-server 7.0.15 as `ECHO <line>`.
    #[test]
    fn lines_are_split_as_redis_splits_them() {
        let cases: [(&str, &[&[u8]]); 14] = [
            ("", &[]),
            ("  \t\x0b\x0c ", &[]),
            ("echo hi", &[b"echo", b"hi"]),
            (" echo   hi ", &[b"echo", b"hi"]),
            (r#""""#, &[b""]),
            ("''", &[b""]),
            (r#"fo"o b""#, &[b"foo b"]),
            ("a\x0bb", &[b"a\x0bb"]),
            (r#""a\x41\n\r\t\b\a\q\"""#, &[b"aA\n\r\t\x08\x07q\""]),
            (r#""\x4""#, &[b"x4"]),
            (r#""\xfF\x00""#, &[b"\xff\x00"]),
            (r"'a\'b\n'", &[br"a'b\n"]),
            (r"a\nb", &[br"a\nb"]),
            ("\"a\"\x0b'b'", &[b"a", b"b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn quotes_must_match_and_end_their_word() {
        for line in [r#"""#, "'", r#""a"#, r#""a"b"#, "'a'b", r#""\""#, r#""a\"#, r"'a\\'", r#"a"b"c"#, r#""a""b""#] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
