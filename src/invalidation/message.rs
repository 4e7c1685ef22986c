//! What is said on an invalidation channel.
//!
//! ```text
//! user:17                                     one key, as it is
//! ["user:17", "user:18"]                      several keys
//! {"keys": ["user:17"], "prefixes": ["page:"], "base64": ["AAH/"], "from": "..."}
//! ```
//!
//! A message is JSON if it begins with `{"` or `["` (white space aside), and a key otherwise, so that a key such as `{user}:1` needs no
//! quoting. Keys that are no UTF-8 stand in `base64`. `from` is there if a Larder has said it: its run id.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::error::Category;

/// Longest message that is read. A key has far fewer bytes, and of many keys each can be told alone.
pub const MOST_BYTES: usize = 1 << 20;
/// Longest message that Larder makes; a write of more keys is told in several.
const MOST_OWN_BYTES: usize = 64 << 10;
/// Longest key that Larder names; six bytes stand for one that does not print. That a longer one has changed is told as if all had.
const LONGEST_OWN_KEY: usize = 128 << 10;

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// These keys.
    pub keys: Vec<Vec<u8>>,
    /// All keys that begin so.
    pub prefixes: Vec<Vec<u8>>,
    /// The run id of the Larder that says so.
    pub from: Option<String>,
}

/// The object form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    #[serde(borrow, default)]
    keys: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    prefixes: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    base64: Vec<Cow<'a, str>>,
    #[serde(default)]
    from: Option<String>,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(bytes: &[u8]) -> Result<Message, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        if bytes.len() > MOST_BYTES {
            return Err(format!("it has {} bytes, more than {MOST_BYTES}", bytes.len()));
        }
        let owned = |texts: Vec<Cow<'_, str>>| texts.into_iter().map(|text| text.into_owned().into_bytes()).collect();
        match form(bytes) {
            Form::Key => Ok(Message { keys: vec![bytes.to_vec()], ..Message::default() }),
            Form::List => {
                let keys: Vec<Cow<'_, str>> = serde_json::from_slice(bytes).map_err(|error| in_words(&error))?;
                Ok(Message { keys: owned(keys), ..Message::default() })
            }
            Form::Object => {
                let object: Object<'_> = serde_json::from_slice(bytes).map_err(|error| in_words(&error))?;
                let mut keys: Vec<Vec<u8>> = owned(object.keys);
                for text in &object.base64 {
                    keys.push(STANDARD.decode(&**text).map_err(|error| format!("base64: {error}"))?);
                }
                Ok(Message { keys, prefixes: owned(object.prefixes), from: object.from })
            }
        }
    }

    /// The messages that tell of a change to these keys, each of a bounded size.
    pub fn of_keys(keys: &[Box<[u8]>], from: &str) -> Vec<Vec<u8>> {
        if keys.iter().any(|key| key.len() > LONGEST_OWN_KEY) {
            // Nobody would read a message with it.
            return vec![Self::of_everything(from)];
        }
        let mut messages = Vec::new();
        let (mut texts, mut others, mut size) = (Vec::new(), Vec::new(), 0);
        for key in keys {
            if size > 0 && size + key.len() > MOST_OWN_BYTES {
                messages.push(object(&texts, &others, &[], from));
                (texts, others, size) = (Vec::new(), Vec::new(), 0);
            }
            size += key.len();
            match std::str::from_utf8(key) {
                Ok(text) => texts.push(text),
                Err(_) => others.push(STANDARD.encode(key)),
            }
        }
        if !texts.is_empty() || !others.is_empty() {
            messages.push(object(&texts, &others, &[], from));
        }
        messages
    }

    /// The message that any key may have changed.
    pub fn of_everything(from: &str) -> Vec<u8> {
        object(&[], &[], &[""], from)
    }
}

/// How a message is to be read.
enum Form {
    Key,
    List,
    Object,
}

/// What is wrong. Where serde says what it has found, which may be a key, only what it expected is repeated.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (error.classify(), text.rsplit_once(", expected ")) {
        (Category::Data, Some((_, expected))) => format!("expected {expected}"),
        (Category::Data, None) => "its JSON has another form".to_owned(),
        _ => text,
    }
}

fn form(bytes: &[u8]) -> Form {
    let Some((first, rest)) = bytes.trim_ascii_start().split_first() else { return Form::Key };
    match (first, rest.trim_ascii_start().first()) {
        (b'{', Some(b'"')) => Form::Object,
        (b'[', Some(b'"')) => Form::List,
        _ => Form::Key,
    }
}

fn object(keys: &[&str], base64: &[String], prefixes: &[&str], from: &str) -> Vec<u8> {
    let mut object = serde_json::Map::new();
    if !keys.is_empty() {
        object.insert("keys".to_owned(), keys.into());
    }
    if !base64.is_empty() {
        object.insert("base64".to_owned(), base64.into());
    }
    if !prefixes.is_empty() {
        object.insert("prefixes".to_owned(), prefixes.into());
    }
    object.insert("from".to_owned(), from.into());
    serde_json::Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(list: &[&[u8]]) -> Message {
        Message { keys: list.iter().map(|key| key.to_vec()).collect(), ..Message::default() }
    }

    #[test]
    fn the_three_forms_are_told_apart() {
        for (text, message) in [
            (&b"user:17"[..], keys(&[b"user:17"])),
            (b"{user}:1", keys(&[b"{user}:1"])),
            (b"[a]", keys(&[b"[a]"])),
            (b"\x00\xff", keys(&[b"\x00\xff"])),
            (b" ", keys(&[b" "])),
            (b"[\"a\", \"b\\u0000\\\"\"]", keys(&[b"a", b"b\0\""])),
            (b" [\n\"a\"]", keys(&[b"a"])),
            (b"{\"base64\": [\"AAH/\"]}", keys(&[b"\x00\x01\xff"])),
            (
                b"{\"prefixes\": [\"page:\", \"\"], \"keys\": [], \"from\": \"f\"}",
                Message {
                    prefixes: vec![b"page:".to_vec(), Vec::new()],
                    from: Some("f".to_owned()),
                    ..Message::default()
                },
            ),
        ] {
            assert_eq!(Message::read(text), Ok(message), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_looks_like_json_and_is_not_as_it_should_be_is_refused_in_words() {
        for (text, words) in [
            (&b""[..], "empty"),
            (b"[\"a\"", "EOF"),
            (b"[\"a\", 1]", "expected"),
            (b"{\"key\": [\"a\"]}", "expected one of `keys`"),
            (b"{\"keys\": \"a\"}", "expected a sequence"),
            (b"{\"base64\": [\"?\"]}", "base64: "),
            (b"[\"a\"] x", "trailing"),
            (b"[\"\xff\"]", "unicode"),
            (b"[\"\\ud800\"]", "hex escape"),
            (&[b'x'; MOST_BYTES + 1], "more than 1048576"),
        ] {
            let error = Message::read(text).unwrap_err();
            assert!(error.contains(words), "{}: {error}", text[..text.len().min(40)].escape_ascii());
        }
        let deep = [b"[\"".to_vec(), b"[".repeat(100_000)].concat();
        assert!(Message::read(&deep).is_err());
    }

    #[test]
    fn a_write_of_many_keys_is_told_in_messages_of_bounded_size() {
        let many: Vec<Box<[u8]>> = (0..20_000).map(|n| format!("some:key:{n}").into_bytes().into()).collect();
        let messages = Message::of_keys(&many, "me");
        assert!(messages.len() > 1 && messages.iter().all(|message| message.len() < 2 * MOST_OWN_BYTES));
        let told: usize = messages.iter().map(|message| Message::read(message).unwrap().keys.len()).sum();
        assert_eq!(told, many.len());
        let huge: Vec<Box<[u8]>> = vec![vec![b'k'; 2 * MOST_OWN_BYTES].into(), b"k".to_vec().into()];
        assert_eq!(Message::of_keys(&huge, "me").len(), 2);
        assert!(Message::of_keys(&[], "me").is_empty());
    }

    #[test]
    fn a_key_is_told_in_a_message_that_can_be_read_however_long_it_is_and_whatever_is_in_it() {
        for byte in [b'k', 0, 0xff] {
            for length in [MOST_OWN_BYTES, LONGEST_OWN_KEY, LONGEST_OWN_KEY + 1, MOST_BYTES] {
                let key: Box<[u8]> = vec![byte; length].into();
                let messages = Message::of_keys(&[b"short".as_slice().into(), key.clone()], "me");
                let told: Vec<Message> = messages.iter().map(|message| Message::read(message).unwrap()).collect();
                let named = told.iter().any(|message| message.keys.iter().any(|told| **told == *key));
                let all = told.iter().any(|message| message.prefixes.iter().any(Vec::is_empty));
                assert!(named || all, "{length} times {byte}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_larder_says_it_understands(told in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..5)) {
            let boxed: Vec<Box<[u8]>> = told.iter().map(|key| key.clone().into()).collect();
            let messages = Message::of_keys(&boxed, "me");
            prop_assert_eq!(messages.len(), 1);
            let message = Message::read(&messages[0]).unwrap();
            let (mut heard, mut told) = (message.keys, told);
            heard.sort();
            told.sort();
            prop_assert_eq!(heard, told);
            prop_assert_eq!(message.from.as_deref(), Some("me"));
        }

        #[test]
        fn nothing_that_is_said_ends_in_a_panic(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:keys base64\\u".to_vec())], 0..60),
        ) {
            let _ = Message::read(&bytes);
        }
    }
}
