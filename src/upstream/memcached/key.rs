//! How a key of Redis, any bytes up to 512 MB, becomes a key of memcached, up to 250 bytes without spaces.
//!
//! | key | sent as |
//! |---|---|
//! | 1 to 250 bytes without spaces and control characters | itself: other clients find it under its name |
//! | with spaces or control characters, up to 186 bytes | Base64 and the flag `b`; the node stores the bytes themselves |
//! | everything else: empty, longer | `larder:sha256:` and the SHA-256 of the key in hexadecimal |
//!
//! 186 and not 187: memcached wants Base64 with its padding, and 187 bytes make 252 characters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// memcached's own limit.
const LONGEST: usize = 250;
/// The most bytes whose Base64 is no longer.
const LONGEST_ENCODED: usize = 186;
/// In front of what cannot be told apart from other long keys but by its hash.
const HASHED: &[u8] = b"larder:sha256:";

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// The request needs the flag `b`.
    Base64,
    Hashed,
}

/// Appends a key as memcached takes it.
pub(super) fn write(out: &mut Vec<u8>, raw: &[u8]) -> Form {
    let form = Form::of(raw);
    match form {
        Form::Plain => out.extend_from_slice(raw),
        Form::Base64 => {
            let start = out.len();
            out.resize(start + raw.len().div_ceil(3) * 4, 0);
            // The room is what the encoding takes, hence this cannot fail.
            let written = STANDARD.encode_slice(raw, &mut out[start..]).unwrap_or_default();
            out.truncate(start + written);
        }
        Form::Hashed => {
            out.extend_from_slice(HASHED);
            for byte in Sha256::digest(raw) {
                let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0') as u8;
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    form
}

impl Form {
    fn of(raw: &[u8]) -> Self {
        // (`any` over few bytes; a key of the plain kind is looked at once.)
        let plain = !raw.iter().any(|byte| *byte <= b' ' || *byte == 0x7f);
        match raw.len() {
            0 => Self::Hashed,
            1..=LONGEST if plain => Self::Plain,
            1..=LONGEST_ENCODED => Self::Base64,
            _ => Self::Hashed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(raw: &[u8]) -> (Form, String) {
        let mut out = Vec::new();
        let form = write(&mut out, raw);
        (form, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn each_key_has_the_form_that_the_rule_states() {
        assert_eq!(written(b"user:1"), (Form::Plain, "user:1".to_owned()));
        assert_eq!(written("schlüssel".as_bytes()).0, Form::Plain);
        assert_eq!(written(&[b'k'; 250]).0, Form::Plain);
        assert_eq!(written(b"a b"), (Form::Base64, "YSBi".to_owned()));
        assert_eq!(written(b"a\r\nflush_all\r\n").0, Form::Base64);
        assert_eq!(written(b"\x7f").0, Form::Base64);
        let (form, text) = written(&[b' '; 186]);
        assert_eq!((form, text.len()), (Form::Base64, 248));
        assert_eq!(written(&[b' '; 187]).0, Form::Hashed);
        let long = written(&[b'k'; 251]);
        assert_eq!((long.0, long.1.len()), (Form::Hashed, HASHED.len() + 64));
        let empty = "larder:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(written(b""), (Form::Hashed, empty.to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_that_ends_a_word_reaches_the_wire(raw in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            let form = write(&mut out, &raw);
            prop_assert!(!out.is_empty() && out.len() <= LONGEST);
            prop_assert!(!out.iter().any(|byte| *byte <= b' ' || *byte == 0x7f));
            if form == Form::Base64 {
                prop_assert_eq!(STANDARD.decode(&out).unwrap(), raw);
            }
        }
    }
}
