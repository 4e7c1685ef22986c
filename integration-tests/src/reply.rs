//! What a server sends, as a value: a small parser of its own for RESP2 and RESP3.
//!
//! Written for plainness and not for speed: it starts again from the first byte when a reply is not complete.

/// One reply.
#[derive(Clone, PartialEq)]
pub enum Reply {
    /// `+text`
    Simple(String),
    /// `-text`, or RESP3's `!` form
    Error(String),
    /// `:number`
    Integer(i64),
    /// `$` with its bytes
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*`
    Array(Vec<Reply>),
    /// `%`: key and value in turn
    Map(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`: not an answer to a request
    Push(Vec<Reply>),
    /// `,` with its text, since the text is what must be right
    Double(String),
    /// `#t` or `#f`
    Boolean(bool),
    /// `(`
    BigNumber(String),
    /// `=`: the three letters, the colon and the text
    Verbatim(Vec<u8>),
    /// `|` with key and value in turn, and the reply that they belong to
    Attributed(Vec<Reply>, Box<Reply>),
}

/// Bytes that are no reply, or nested too deep to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// No server in a test nests deeper.
const MAX_DEPTH: usize = 64;

/// The first reply in `bytes` and its length; `None` when more bytes are needed.
///
/// # Errors
/// [`Malformed`] when no bytes that may follow can make it a reply.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut cursor = Cursor { bytes, at: 0 };
    Ok(cursor.reply(0)?.map(|reply| (reply, cursor.at)))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("nested too deep".to_owned()));
        }
        let Some(line) = self.line() else {
            return Ok(None);
        };
        let (kind, text) = (line[0], String::from_utf8_lossy(&line[1..]).into_owned());
        Ok(Some(match kind {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(number(&text)?),
            b',' => Reply::Double(text),
            b'#' => Reply::Boolean(text == "t"),
            b'(' => Reply::BigNumber(text),
            b'_' => Reply::Null,
            b'$' | b'!' | b'=' => {
                let Ok(length) = usize::try_from(number(&text)?) else {
                    return Ok(Some(Reply::Null));
                };
                let Some(body) = self.body(length)? else {
                    return Ok(None);
                };
                match kind {
                    b'$' => Reply::Bulk(body),
                    b'!' => Reply::Error(String::from_utf8_lossy(&body).into_owned()),
                    _ => Reply::Verbatim(body),
                }
            }
            b'*' | b'%' | b'~' | b'>' | b'|' => {
                let Ok(count) = usize::try_from(number(&text)?) else {
                    return Ok(Some(Reply::Null));
                };
                let count = if matches!(kind, b'%' | b'|') { count * 2 } else { count };
                let mut items = Vec::new();
                for _ in 0..count {
                    let Some(item) = self.reply(depth + 1)? else {
                        return Ok(None);
                    };
                    items.push(item);
                }
                match kind {
                    b'*' => Reply::Array(items),
                    b'%' => Reply::Map(items),
                    b'~' => Reply::Set(items),
                    b'|' => {
                        let Some(reply) = self.reply(depth + 1)? else { return Ok(None) };
                        Reply::Attributed(items, Box::new(reply))
                    }
                    _ => Reply::Push(items),
                }
            }
            _ => {
                return Err(Malformed(format!("a reply that starts with {:?}", char::from(kind))));
            }
        }))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        // An empty line is reported as a reply of the kind `\n`, which there is not.
        Some(if end == 0 { b"\n".to_vec() } else { rest[..end].to_vec() })
    }

    fn body(&mut self, length: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(framed) = rest.get(..length + 2) else {
            return Ok(None);
        };
        if &framed[length..] != b"\r\n" {
            return Err(Malformed("a bulk without its end".to_owned()));
        }
        self.at += length + 2;
        Ok(Some(framed[..length].to_vec()))
    }
}

fn number(text: &str) -> Result<i64, Malformed> {
    text.parse().map_err(|_| Malformed(format!("not a number: {text:?}")))
}

// === impl Reply ===

impl Reply {
    /// A bulk string of this text.
    pub fn bulk(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    /// `+OK`
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// The items of an array, map, set or push.
    pub fn items(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(items) | Self::Map(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a simple string, bulk, verbatim string, double or big number; lossy where it is binary. An error has none: it is
    /// [`error`](Self::error).
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) | Self::Double(text) | Self::BigNumber(text) => Some(text.clone()),
            Self::Bulk(bytes) | Self::Verbatim(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The number of an integer reply.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The attributes before the reply, key and value in turn, and the reply without them.
    pub fn attributes(&self) -> (&[Reply], &Reply) {
        match self {
            Self::Attributed(attributes, reply) => (attributes, reply),
            plain => (&[], plain),
        }
    }

    /// The message of an error reply.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(message) => Some(message),
            _ => None,
        }
    }
}

/// Short: a value of 100 KB must not drown the message of a failed test.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| match bytes.len() {
            0..=200 => format!("\"{}\"", bytes.escape_ascii()),
            length => format!("\"{}...\" ({length} bytes)", bytes[..80].escape_ascii()),
        };
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "{}", shown(bytes)),
            Self::Verbatim(bytes) => write!(f, "={}", shown(bytes)),
            Self::Null => write!(f, "null"),
            Self::Array(items) => write!(f, "{items:?}"),
            Self::Map(items) => write!(f, "%{items:?}"),
            Self::Set(items) => write!(f, "~{items:?}"),
            Self::Push(items) => write!(f, ">{items:?}"),
            Self::Double(text) => write!(f, ",{text}"),
            Self::Boolean(value) => write!(f, "#{value}"),
            Self::BigNumber(text) => write!(f, "({text}"),
            Self::Attributed(attributes, reply) => write!(f, "|{attributes:?} {reply:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_whole_and_asks_for_more_when_cut() {
        let all =
            b"*10\r\n+a\r\n-b\r\n:-3\r\n$1\r\nx\r\n$-1\r\n*-1\r\n%1\r\n_\r\n#t\r\n~1\r\n,inf\r\n=5\r\ntxt:y\r\n(99\r\n";
        let (reply, length) = parse(all).expect("well formed").expect("complete");
        assert_eq!(length, all.len());
        assert_eq!(reply.items().map(<[Reply]>::len), Some(10));
        for cut in 0..all.len() {
            assert_eq!(parse(&all[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn attributes_belong_to_the_reply_behind_them() {
        let bytes = b"|1\r\n$6\r\nage-ms\r\n:12\r\n$1\r\nx\r\n";
        let (reply, length) = parse(bytes).expect("well formed").expect("complete");
        assert_eq!(length, bytes.len());
        assert_eq!(reply.attributes(), (&[Reply::bulk("age-ms"), Reply::Integer(12)][..], &Reply::bulk("x")));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_reply_is_said() {
        for bytes in [&b"x\r\n"[..], b"\r\n", b":a\r\n", b"$1\r\nabc", &b"*1\r\n".repeat(100)] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
