//! Reading an upstream's own answer to COMMAND.
//!
//! redis-protocol decodes it. It descends by recursion, and its RESP3 side takes no map inside a set, which is just what
//! the key specs of Redis 7 are. So the reply first goes through `flat`: one pass without recursion that bounds depth
//! and size and writes the same reply as RESP2, where sets and maps are arrays.

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::data::Node;
use super::facts::Facts;

/// A COMMAND reply of Redis 7 is nine levels deep: rows, subcommands, their key specs, maps in maps.
const MAX_DEPTH: usize = 16;

/// Redis 7.0 sends 90 kB; modules add to that.
const MAX_BYTES: usize = 16 << 20;

/// The rows of a COMMAND reply. Rows that are null are left out.
///
/// # Errors
/// What is wrong with the reply, in words.
pub fn rows(reply: &[u8]) -> Result<Vec<Facts>, String> {
    let flat = flat(reply)?;
    let (frame, read) =
        decode(&flat).map_err(|error| format!("the COMMAND reply cannot be decoded: {error}"))?.ok_or(CUT_SHORT)?;
    if read != flat.len() {
        return Err("there is more behind the COMMAND reply".into());
    }
    match frame {
        OwnedFrame::Array(rows) => rows
            .into_iter()
            .filter(|row| *row != OwnedFrame::Null)
            .map(|row| Facts::read(&typed_row(node(row))).map_err(|error| format!("in the COMMAND reply, {error}")))
            .collect(),
        OwnedFrame::Error(error) => Err(format!("COMMAND was answered with an error: {error}")),
        _ => Err("the COMMAND reply is not a list".into()),
    }
}

const CUT_SHORT: &str = "the COMMAND reply is cut short";

/// The reply as RESP2. One header at a time; `open` counts what is missing at every level.
fn flat(reply: &[u8]) -> Result<Vec<u8>, String> {
    if reply.len() > MAX_BYTES {
        return Err(format!("the COMMAND reply has {} bytes, more than {MAX_BYTES}", reply.len()));
    }
    let mut out = Vec::with_capacity(reply.len());
    let mut open: Vec<usize> = Vec::new();
    let mut rest = reply;
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(CUT_SHORT)?;
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        rest = behind;
        let (kind, value) = line.split_first().ok_or("the COMMAND reply holds an empty line")?;
        let mut children = 0;
        match kind {
            b'+' | b':' | b'-' => push_line(&mut out, *kind, value),
            b'_' => push_line(&mut out, b'$', b"-1"),
            b'$' | b'*' if value == b"-1" => push_line(&mut out, *kind, value),
            b'$' => {
                let len = count(value)?;
                push_line(&mut out, b'$', value);
                let (body, behind) = rest.split_at_checked(len + 2).ok_or(CUT_SHORT)?;
                if !body.ends_with(b"\r\n") {
                    return Err("a string of the COMMAND reply is longer than it says".into());
                }
                out.extend_from_slice(body);
                rest = behind;
            }
            b'*' | b'~' => children = count(value)?,
            b'%' => children = count(value)? * 2,
            _ => {
                return Err(format!("the COMMAND reply holds a value of the unexpected kind {:?}", *kind as char));
            }
        }
        if matches!(kind, b'*' | b'~' | b'%') && value != b"-1" {
            push_line(&mut out, b'*', children.to_string().as_bytes());
        }
        if children > 0 {
            if open.len() == MAX_DEPTH {
                return Err(format!("the COMMAND reply is nested more than {MAX_DEPTH} deep"));
            }
            open.push(children);
            continue;
        }
        // A value is complete, and with it perhaps the lists around it.
        while let Some(missing) = open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            out.extend_from_slice(rest);
            return Ok(out);
        }
    }
}

fn push_line(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A length; no reply that fits the limit needs more than [`MAX_BYTES`].
fn count(value: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
        .filter(|count| *count <= MAX_BYTES)
        .ok_or_else(|| format!("the COMMAND reply holds the length {:?}", String::from_utf8_lossy(value)))
}

fn node(frame: OwnedFrame) -> Node<'static> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned().into();
    match frame {
        OwnedFrame::SimpleString(bytes) => Node::Simple(text(bytes)),
        OwnedFrame::BulkString(bytes) => Node::Bulk(text(bytes)),
        OwnedFrame::Integer(value) => Node::Integer(value),
        OwnedFrame::Array(items) => Node::Array(items.into_iter().map(node).collect()),
        OwnedFrame::Error(_) | OwnedFrame::Null => Node::Null,
    }
}

/// A row with the RESP3 types that Redis 7 gives it, so that COMMAND shows it as the upstream would.
fn typed_row(row: Node<'static>) -> Node<'static> {
    let Node::Array(elements) = row else {
        return row;
    };
    let typed = |(i, element)| match (i, element) {
        // Flags, categories, tips.
        (2 | 6 | 7, Node::Array(words)) => Node::Set(words),
        (8, Node::Array(specs)) => Node::Set(specs.into_iter().map(typed_spec).collect()),
        (9, Node::Array(rows)) => Node::Array(rows.into_iter().map(typed_row).collect()),
        (_, element) => element,
    };
    Node::Array(elements.into_iter().enumerate().map(typed).collect())
}

/// A key spec: maps in a map, but for the set of its flags.
fn typed_spec(spec: Node<'static>) -> Node<'static> {
    let Node::Array(mut pairs) = spec else {
        return spec;
    };
    for pair in pairs.chunks_exact_mut(2) {
        let value = std::mem::replace(&mut pair[1], Node::Null);
        pair[1] = match value {
            Node::Array(words) if pair[0].text() == Some("flags") => Node::Set(words),
            value => typed_spec(value),
        };
    }
    Node::Map(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(reply: &[u8]) -> String {
        rows(reply).err().expect("a refusal")
    }

    #[test]
    fn rows_of_both_protocol_versions_are_read() {
        let resp2: &[u8] = b"*2\r\n*-1\r\n*6\r\n$3\r\nGET\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";
        let resp3: &[u8] = b"*2\r\n_\r\n*6\r\n$3\r\nGET\r\n:2\r\n~1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";
        for reply in [resp2, resp3] {
            let rows = rows(reply).expect("a good reply");
            assert_eq!((rows.len(), &*rows[0].name, rows[0].arity), (1, "get", 2));
        }
    }

    #[test]
    fn a_bad_reply_is_refused_in_words() {
        assert!(refused(b"-ERR unknown command\r\n").contains("ERR unknown command"));
        assert!(refused(b"+OK\r\n").contains("not a list"));
        assert!(refused(b"").contains("cut short"));
        assert!(refused(b"*1\r\n*6\r\n$3\r\nge").contains("cut short"));
        assert!(refused(b"*1\r\n*1\r\n$3\r\nget\r\n").contains("1 elements"));
        assert!(refused(b"*0\r\n*0\r\n").contains("more behind"));
        assert!(refused(b"*99999999999\r\n").contains("length"));
        assert!(refused(b"$3\r\nabcd\r\n").contains("longer than it says"));
        assert!(refused(b",1.5\r\n").contains("kind ','"));
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_followed() {
        for list in ["*1\r\n", "%1\r\n+k\r\n", "~1\r\n"] {
            assert!(refused(list.repeat(100_000).as_bytes()).contains("nested"));
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics(reply in "([*~%$:+_,-][0-9-]{0,3}\r\n|[a-z]{1,4}\r\n|\\*6\r\n\\$3\r\nfoo\r\n:1\r\n\\*0\r\n:1\r\n:1\r\n:1\r\n){0,20}") {
            let _ = rows(reply.as_bytes());
        }
    }
}
