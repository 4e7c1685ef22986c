//! memcached's meta protocol, as far as it is spoken here: requests are written, replies are found in the bytes.
//!
//! ```text
//! mg <key> <flags>*                      EN, HD <flags>*, VA <size> <flags>* and the value
//! ms <key> <size> <flags>* and the value HD, NS (not stored), EX (another value by now), NF (no such key)
//! md <key> <flags>*                      HD, NF, EX
//! ma <key> <flags>*                      HD, NF, NS, EX, VA
//! mn                                     MN
//! ```
//!
//! Nodes answer in the order of the requests, so no request needs a number (`O`) nor a reply its key (`k`). Source of the
//! format: `doc/protocol.txt` of memcached. The one word of the older protocol is `flush_all`, which has no meta form.

use super::key;
use crate::resp::number;

/// The longest line of a reply: a key of 250 bytes and a dozen flags, or an error.
const MAX_LINE: usize = 2048;
/// The longest value: memcached's `-I` goes no further.
const MAX_VALUE: usize = 1 << 30;

/// What a node has said to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub kind: Kind,
    /// The value, or the text of an error.
    pub value: &'a [u8],
    pub flags: Flags,
}

/// What kind of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `VA`: with a value.
    Value,
    /// `HD`, and `OK` of `flush_all`: done.
    Done,
    /// `EN` and `NF`: there is no such key.
    Missing,
    /// `NS`: a condition did not hold.
    NotStored,
    /// `EX`: somebody has changed the value since.
    Changed,
    /// `MN`: all before it is answered.
    Pong,
    /// The node could not do it.
    ServerError,
    /// The node did not like the request.
    ClientError,
    /// `ERROR`: the node does not know the request.
    Unknown,
}

/// What a reply says of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `c`: the number of this version of the value.
    pub cas: Option<u64>,
    /// `t`: whole seconds left; -1: for ever.
    pub ttl: Option<i64>,
    /// `f`: the client's own.
    pub client: u32,
    /// `s`: bytes of the value.
    pub size: Option<u64>,
}

/// Why bytes are no reply: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// What lies at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A reply, and how many bytes it takes.
    Whole(Reply<'a>, usize),
    /// The beginning of one; so many bytes are needed at least.
    Part(usize),
}

/// Finds the reply at the start of `bytes`.
pub(super) fn find(bytes: &[u8]) -> Result<Found<'_>, Malformed> {
    let line = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        let endless = bytes.len() >= MAX_LINE;
        return if endless { Err(Malformed("a line without end")) } else { Ok(Found::Part(bytes.len() + 1)) };
    };
    let line = line[..end].strip_suffix(b"\r").ok_or(Malformed("a line that ends without CR"))?;
    let behind = end + 1;
    let (word, rest) = split(line);
    let kind = match word {
        b"VA" => {
            let (size, flags) = split(rest);
            let size = number::integer(size).and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| *size <= MAX_VALUE).ok_or(Malformed("the size of a value is none"))?;
            let Some(end) = bytes.get(behind + size..behind + size + 2) else {
                return Ok(Found::Part(behind + size + 2));
            };
            if end != b"\r\n" {
                return Err(Malformed("a value does not end where it should"));
            }
            let reply = Reply { kind: Kind::Value, value: &bytes[behind..behind + size], flags: Flags::parse(flags)? };
            return Ok(Found::Whole(reply, behind + size + 2));
        }
        b"HD" => Kind::Done,
        b"EN" | b"NF" => Kind::Missing,
        b"NS" => Kind::NotStored,
        b"EX" => Kind::Changed,
        b"MN" => Kind::Pong,
        b"OK" => Kind::Done,
        b"SERVER_ERROR" => Kind::ServerError,
        b"CLIENT_ERROR" => Kind::ClientError,
        b"ERROR" => Kind::Unknown,
        _ => return Err(Malformed("no reply of the meta protocol begins so")),
    };
    let error = matches!(kind, Kind::ServerError | Kind::ClientError | Kind::Unknown);
    let reply = if error {
        Reply { kind, value: rest, flags: Flags::default() }
    } else {
        Reply { kind, value: &[], flags: Flags::parse(rest)? }
    };
    Ok(Found::Whole(reply, behind))
}

/// The first word of a line, and what follows the space behind it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

impl Flags {
    fn parse(mut text: &[u8]) -> Result<Self, Malformed> {
        let mut flags = Self::default();
        let fault = Malformed("a flag's number is none");
        while !text.is_empty() {
            let (word, rest) = split(text);
            text = rest;
            let Some((flag, token)) = word.split_first() else { continue };
            match flag {
                b'c' => flags.cas = Some(unsigned(token).ok_or(fault)?),
                // (32 unsigned bits: what has expired this moment has a life below zero, which reads as a very long one.)
                b't' => {
                    flags.ttl =
                        Some(number::integer(token).map(|left| if left > 1 << 31 { 0 } else { left }).ok_or(fault)?)
                }
                b'f' => flags.client = unsigned(token).and_then(|flags| u32::try_from(flags).ok()).ok_or(fault)?,
                b's' => flags.size = Some(unsigned(token).ok_or(fault)?),
                // Nothing else was asked for, or matters here.
                _ => {}
            }
        }
        Ok(flags)
    }
}

fn unsigned(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// A request while it is written.
#[derive(Debug)]
pub(super) struct Request<'a>(&'a mut Vec<u8>);

impl<'a> Request<'a> {
    /// `mg`: reads, or sets the time to live.
    pub(super) fn get(out: &'a mut Vec<u8>, raw: &[u8]) -> Self {
        Self::begin(out, b"mg ", raw, None)
    }

    /// `md`: deletes.
    pub(super) fn delete(out: &'a mut Vec<u8>, raw: &[u8]) -> Self {
        Self::begin(out, b"md ", raw, None)
    }

    /// `ma`: adds to a number.
    pub(super) fn arithmetic(out: &'a mut Vec<u8>, raw: &[u8]) -> Self {
        Self::begin(out, b"ma ", raw, None)
    }

    /// `ms`: sets; [`Request::value`] ends it.
    pub(super) fn set(out: &'a mut Vec<u8>, raw: &[u8], value: &[u8]) -> Self {
        Self::begin(out, b"ms ", raw, Some(value.len()))
    }

    fn begin(out: &'a mut Vec<u8>, verb: &[u8], raw: &[u8], size: Option<usize>) -> Self {
        out.extend_from_slice(verb);
        let form = key::write(out, raw);
        if let Some(size) = size {
            out.push(b' ');
            number::write_unsigned(out, size as u64);
        }
        if form == key::Form::Base64 {
            out.extend_from_slice(b" b");
        }
        Self(out)
    }

    /// Flags without a number, each behind its space: `" v t c"`.
    pub(super) fn flags(self, flags: &str) -> Self {
        self.0.extend_from_slice(flags.as_bytes());
        self
    }

    /// A flag and its number.
    pub(super) fn number(self, flag: u8, number: i64) -> Self {
        self.0.extend_from_slice(&[b' ', flag]);
        number::write(self.0, number);
        self
    }

    /// `C`: only if this is still the value.
    pub(super) fn only_if(self, cas: u64) -> Self {
        self.0.extend_from_slice(b" C");
        number::write_unsigned(self.0, cas);
        self
    }

    /// The end of a request without a value.
    pub(super) fn end(self) {
        self.0.extend_from_slice(b"\r\n");
    }

    /// The value, and the end.
    pub(super) fn value(self, value: &[u8]) {
        self.0.reserve(value.len() + 4);
        self.0.extend_from_slice(b"\r\n");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Asks for nothing but an answer.
pub(super) const NOOP: &[u8] = b"mn\r\n";
/// Empties the node.
pub(super) const FLUSH: &[u8] = b"flush_all\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Reply<'_> {
        match find(bytes) {
            Ok(Found::Whole(reply, used)) if used == bytes.len() => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn replies_are_told_apart() {
        let value = whole(b"VA 3 s3 t100 f7 c1 ka O9 W\r\na\r\n\r\n");
        assert_eq!((value.kind, value.value), (Kind::Value, &b"a\r\n"[..]));
        assert_eq!(value.flags, Flags { cas: Some(1), ttl: Some(100), client: 7, size: Some(3) });
        for (line, kind) in [
            ("HD\r\n", Kind::Done),
            ("OK\r\n", Kind::Done),
            ("EN\r\n", Kind::Missing),
            ("NF\r\n", Kind::Missing),
            ("NS c0\r\n", Kind::NotStored),
            ("EX c0\r\n", Kind::Changed),
            ("MN\r\n", Kind::Pong),
            ("ERROR\r\n", Kind::Unknown),
        ] {
            assert_eq!(whole(line.as_bytes()).kind, kind, "{line}");
        }
        assert_eq!(whole(b"SERVER_ERROR object too large for cache\r\n").value, b"object too large for cache");
        assert_eq!(whole(b"HD t-1 f0\r\n").flags.ttl, Some(-1));
        assert_eq!(whole(b"HD t4294967232\r\n").flags.ttl, Some(0));
    }

    #[test]
    fn a_reply_is_found_however_it_is_cut() {
        let bytes = b"VA 5 c12 t3\r\nab\r\nc\r\n";
        for end in 0..bytes.len() {
            let Ok(Found::Part(wanted)) = find(&bytes[..end]) else { panic!("{end}") };
            assert!(end < wanted && wanted <= bytes.len(), "{end}");
        }
        assert_eq!(whole(bytes).value, b"ab\r\nc");
    }

    #[test]
    fn bytes_that_are_no_reply_are_refused() {
        for bytes in [
            &b"HD\n"[..],
            b"$-1\r\n",
            b"END\r\n",
            b"VA\r\n",
            b"VA -1\r\n",
            b"VA 99999999999\r\n",
            b"VA 1\r\nabc",
            b"HD c\r\n",
            b"HD tx\r\n",
            b"HD f4294967296\r\n",
            b"\r\n",
        ] {
            assert!(find(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(find(&[b'x'; MAX_LINE]).is_err());
    }

    #[test]
    fn requests_are_written_as_memcached_reads_them() {
        let mut out = Vec::new();
        Request::get(&mut out, b"k").flags(" v t").end();
        Request::set(&mut out, b"a b", b"hi").number(b'T', -1).only_if(7).value(b"hi");
        assert_eq!(String::from_utf8_lossy(&out), "mg k v t\r\nms YSBi 2 b T-1 C7\r\nhi\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'1'), Just(b'V'), Just(b'A'), Just(b'H'), Just(b'D')], 0..60)) {
            if let Ok(Found::Whole(_, used)) = find(&bytes) {
                prop_assert!(used <= bytes.len());
            }
            let mut with_head = b"VA ".to_vec();
            with_head.extend_from_slice(&bytes);
            let _ = find(&with_head);
        }

        #[test]
        fn values_of_any_bytes_come_out_whole(value in prop::collection::vec(any::<u8>(), 0..300), cas: u64, left in -1i64..1 << 31) {
            let mut bytes = format!("VA {} c{cas} t{left}\r\n", value.len()).into_bytes();
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\nHD");
            let Ok(Found::Whole(reply, used)) = find(&bytes) else { panic!("a whole reply") };
            prop_assert_eq!(reply.value, &value[..]);
            prop_assert_eq!((reply.flags.cas, reply.flags.ttl), (Some(cas), Some(left)));
            prop_assert_eq!(used, bytes.len() - 2);
        }
    }
}
