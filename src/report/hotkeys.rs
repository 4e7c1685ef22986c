//! The keys that are read most, over all workers.

use std::fmt::Write;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::cache::hotkeys::{self, Hot};

/// A key and how often it was read lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The key, or its first 256 bytes, as redis-cli prints it: `\n`, `\xff` for what is no printable ASCII.
    pub key: String,
    /// Estimated reads; halved every ten seconds.
    pub reads: u64,
}

/// The `count` hottest keys, hottest first, as last published by the workers.
pub fn hottest(app: &App, count: usize) -> Vec<Hot> {
    let lists = app.hot.iter().map(|list| list.lock().unwrap_or_else(PoisonError::into_inner).clone());
    hotkeys::merge(lists, count)
}

/// The same in text.
pub fn lines(app: &App, count: usize) -> Vec<Line> {
    hottest(app, count).into_iter().map(|hot| Line { key: escaped(&hot.key), reads: hot.reads }).collect()
}

/// Bytes as redis-cli shows them, without the quotes around them.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(text, "\\x{byte:02x}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_redis_cli_shows_them() {
        assert_eq!(escaped(b"user:1 x"), "user:1 x");
        assert_eq!(escaped(b"a\"b\\c\n\r\t\x07\x08\0\x7f\xff"), r#"a\"b\\c\n\r\t\a\b\x00\x7f\xff"#);
    }
}
