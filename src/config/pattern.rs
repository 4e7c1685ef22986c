//! Key patterns of routes: what one means, apart from what it leads to.

use super::fault::{Wrong, shown};
use super::tree::Value;
use super::units;

/// Longest pattern in bytes; keys are short texts, and a pattern that long is a mistake.
const MOST_BYTES: usize = 512;

/// A key pattern in two parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// What a key has to begin with: the bytes before the first wildcard, each `\` taken for what it makes of the character
    /// behind it.
    pub literal: Vec<u8>,
    /// The glob that the rest of the key has to match, from the first wildcard on. Empty: there is no rest, the pattern is one key.
    /// `*`: any rest will do, however many stars were written.
    pub tail: Vec<u8>,
}

impl Pattern {
    /// The parts of a pattern as the file writes it.
    pub fn of(text: &str) -> Pattern {
        let mut literal = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, behind)) = rest.split_first() {
            match (byte, behind.split_first()) {
                (b'*' | b'?' | b'[', _) => break,
                (b'\\', Some((&meant, behind))) => {
                    literal.push(meant);
                    rest = behind;
                }
                _ => {
                    literal.push(byte);
                    rest = behind;
                }
            }
        }
        let stars = !rest.is_empty() && rest.iter().all(|byte| *byte == b'*');
        Pattern { literal, tail: if stars { b"*".to_vec() } else { rest.to_vec() } }
    }

    /// Whether the pattern is one key and no other.
    pub fn is_exact(&self) -> bool {
        self.tail.is_empty()
    }

    /// Whether every key matches.
    pub fn is_everything(&self) -> bool {
        self.literal.is_empty() && self.tail == b"*"
    }
}

/// Reads one pattern and sees that routes know all that is in it.
pub(super) fn read(value: &Value) -> Result<String, Wrong> {
    let text = units::text(value)?;
    let wrong = |problem: &str, remedy: &str| Err(Wrong::new(format!("\"{}\" {problem}", shown(&text)), remedy));
    if text.len() > MOST_BYTES {
        return wrong("is longer than 512 bytes", "write a shorter pattern such as \"session:*\"");
    }
    let mut escaped = false;
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => {
                return wrong(
                    "has a set of characters ([...]), which routes do not know",
                    "write one pattern for each character, or \\[ for the bracket itself",
                );
            }
            _ => {}
        }
    }
    match escaped {
        true => wrong("ends with a lone backslash", "write \\\\ for the backslash itself"),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_literal_beginning_and_a_glob_for_the_rest() {
        for (text, literal, tail) in [
            ("session:*", "session:", "*"),
            ("session:**", "session:", "*"),
            ("*", "", "*"),
            ("one", "one", ""),
            ("a?b*", "a", "?b*"),
            ("*:lock", "", "*:lock"),
            (r"a\*b*", "a*b", "*"),
            (r"a\*b", "a*b", ""),
            (r"\\x?", r"\x", "?"),
            (r"a*\*", "a", r"*\*"),
            (r"\é*", "é", "*"),
        ] {
            let pattern = Pattern::of(text);
            assert_eq!(pattern.literal, literal.as_bytes(), "{text}");
            assert_eq!(pattern.tail, tail.as_bytes(), "{text}");
            assert_eq!(pattern.is_exact(), tail.is_empty(), "{text}");
        }
        assert!(Pattern::of("**").is_everything() && !Pattern::of("a*").is_everything());
        assert!(!Pattern::of("?*").is_everything(), "the empty key does not match");
    }
}
