use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::resp::encode;

/// Redis's own limits.
const LIMITS: DecodeLimits =
    DecodeLimits { max_bulk: 512 << 20, max_args: i32::MAX as usize, max_inline: 64 << 10, max_request: 1 << 30 };

/// The outcome of a whole stream: its commands (arguments and wire) and the error that ended it.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    commands: Vec<(Vec<Vec<u8>>, Vec<u8>)>,
    /// Bytes of whole requests.
    taken: usize,
    error: Option<ProtocolError>,
}

/// Feeds `stream` in pieces that end at `cuts`, as a session would: unfinished bytes are kept and moved to the front.
fn fed(stream: &[u8], cuts: impl IntoIterator<Item = usize>, limits: &DecodeLimits) -> Outcome {
    let mut decoder = Decoder::default();
    let mut outcome = Outcome::default();
    for cut in cuts.into_iter().chain([stream.len()]) {
        while outcome.taken <= cut {
            let buf = &stream[outcome.taken..cut];
            match decoder.decode(buf, limits) {
                Ok(None) => {
                    assert!(decoder.command(buf).is_none(), "an unfinished command was handed out");
                    break;
                }
                Ok(Some(n)) => {
                    assert!(n > 0 && n <= buf.len());
                    if let Some(command) = decoder.command(buf) {
                        let args = command.args(0).map(<[u8]>::to_vec).collect();
                        outcome.commands.push((args, command.wire().to_vec()));
                    }
                    outcome.taken += n;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}

fn once(stream: &[u8]) -> Outcome {
    fed(stream, [], &LIMITS)
}

fn args(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let outcome = once(stream);
    assert_eq!(outcome.error, None, "{}", stream.escape_ascii());
    outcome.commands.into_iter().map(|(args, _)| args).collect()
}

fn wire(of: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, of);
    out
}

#[test]
fn a_pipeline_is_taken_command_by_command() {
    let get = wire(&[b"GET", b"a\r\nb"]);
    let set = wire(&[b"SET", b"", b"\0\xff$3\r\n"]);
    let outcome = once(&[get.clone(), set.clone()].concat());
    assert_eq!(outcome.commands[0], (vec![b"GET".to_vec(), b"a\r\nb".to_vec()], get));
    assert_eq!(outcome.commands[1], (vec![b"SET".to_vec(), b"".to_vec(), b"\0\xff$3\r\n".to_vec()], set));
    assert_eq!(outcome.commands.len(), 2);
}

#[test]
fn empty_requests_are_skipped_in_silence() {
    for empty in ["*0\r\n", "*-1\r\n", "*-2\r\n", "*-9223372036854775808\r\n", "\r\n", "\n", "  \t \r\n"] {
        let stream = [empty.as_bytes(), &wire(&[b"PING"])].concat();
        assert_eq!(args(&stream), [[b"PING"]], "{empty:?}");
        assert_eq!(once(&stream).taken, stream.len());
    }
}

#[test]
fn an_inline_command_is_rewritten_to_its_canonical_form() {
    for line in ["SET \"a b\" ''\r\n", "  SET \"a\\x20b\" \"\" \n"] {
        let outcome = once(&[line.as_bytes(), b"*1\r\n"].concat());
        assert_eq!(outcome.commands[0].1, wire(&[b"SET", b"a b", b""]), "{line:?}");
        assert_eq!(outcome.commands[0].0, [b"SET".as_slice(), b"a b", b""], "{line:?}");
        assert_eq!(outcome.taken, line.len());
    }
    // A carriage return more than the one that belongs to the line's end is a space.
    assert_eq!(args(b"PING\r\r\n"), [[b"PING"]]);
    assert_eq!(args(b"PING\r\n*1\r\n$4\r\nECHO\r\nPING\n").len(), 3);
}

// Every text without a comment was sent by redis-server 7.0.15 to the same bytes.
#[test]
fn errors_have_the_text_of_redis() {
    let long = "1".repeat(LIMITS.max_inline + 1);
    let cases: [(&str, &str); 33] = [
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("* 1\r\n", "invalid multibulk length"),
        ("*1a\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*4294967296\r\n", "invalid multibulk length"),
        ("*18446744073709551617\r\n", "invalid multibulk length"),
        ("*-9223372036854775809\r\n", "invalid multibulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$4 \r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$4294967297\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        ("*1\r\n$18446744073709551620\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\nxPING\r\n", "expected '$', got 'x'"),
        ("*1\r\n*1\r\n", "expected '$', got '*'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("PING \"a\r\n", "unbalanced quotes in request"),
        ("PING 'a'b\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
        // From here on Larder's own: Redis takes the bytes, or waits.
        ("*1\r\n$4\r\nPINGxx", "expected CRLF after bulk"),
        ("*1\r\n$4\rxPING\r\n", "invalid bulk length"),
        ("*1\rx$4\r\nPING\r\n", "invalid multibulk length"),
        ("PING\0\r\n", "zero byte in inline request"),
        ("*1\r\n\0", "expected '$', got '\\x00'"),
        ("*2\r\n$536870912\r\n", ""),
    ];
    for (stream, text) in &cases[..32] {
        let error = once(stream.as_bytes()).error.unwrap_or_else(|| panic!("{stream:?} was taken"));
        assert_eq!(error.to_string(), format!("Protocol error: {text}"), "{stream:?}");
    }
    assert_eq!(once(cases[32].0.as_bytes()), Outcome::default());
}

#[test]
fn an_http_request_is_an_inline_command_like_any_other() {
    let outcome = once(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(outcome.commands[0].0, [b"GET".as_slice(), b"/", b"HTTP/1.1"]);
    assert_eq!(outcome.commands[1].0, [b"Host:".as_slice(), b"localhost"]);
    assert_eq!(outcome.commands.len(), 2);
}

#[test]
fn every_limit_holds_at_its_edge() {
    let limits = DecodeLimits { max_bulk: 8, max_args: 3, max_inline: 20, max_request: 40 };
    let error = |stream: &[u8]| fed(stream, [], &limits).error;
    assert_eq!(error(&wire(&[b"12345678"])), None);
    assert_eq!(error(&wire(&[b"123456789"])), Some(ProtocolError::InvalidLength));
    assert_eq!(error(&wire(&[b"a", b"b", b"c"])), None);
    assert_eq!(error(&wire(&[b"a", b"b", b"c", b"d"])), Some(ProtocolError::InvalidCount));
    assert_eq!(error(b"a b c\r\n"), None);
    assert_eq!(error(b"a b c d\r\n"), Some(ProtocolError::InvalidCount));
    assert_eq!(error(b"abcdefghijabcdefghi\r\n"), None);
    assert_eq!(error(b"abcdefghijabcdefghij\r\n"), Some(ProtocolError::TooBigInline));
    let whole = wire(&[b"12345678", b"12345678", b"12"]);
    assert_eq!((whole.len(), error(&whole)), (40, None));
    assert_eq!(error(&wire(&[b"12345678", b"12345678", b"123"])), Some(ProtocolError::TooBigRequest));
    // The length alone is enough to refuse.
    assert_eq!(error(b"*3\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$3\r\n"), Some(ProtocolError::TooBigRequest));
}

#[test]
fn an_announced_command_costs_nothing() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(b"*1000000000\r\n", &LIMITS), Ok(None));
    assert!(!decoder.args.spilled());
    assert_eq!(decoder.wanted(), 0);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(b"*1\r\n$536870912\r\nabc", &LIMITS), Ok(None));
    assert_eq!(decoder.wanted(), 536_870_912 + 18);
}

#[test]
fn a_request_never_nests() {
    assert_eq!(once(&b"*1\r\n".repeat(100_000)).error, Some(ProtocolError::ExpectedBulk(b'*')));
}

#[test]
fn heap_memory_is_given_back() {
    let many: Vec<&[u8]> = vec![b"a"; 1000];
    let mut decoder = Decoder::default();
    for request in [wire(&many), b"PING 'inline'\r\n".to_vec()] {
        assert_eq!(decoder.decode(&request, &LIMITS), Ok(Some(request.len())));
        decoder.release();
        assert!(!decoder.args.spilled());
        assert_eq!(decoder.inline.capacity(), 0);
    }
    let request = wire(&many);
    assert_eq!(decoder.decode(&request[..5000], &LIMITS), Ok(None));
    // An unfinished command keeps what it has.
    decoder.release();
    assert_eq!(decoder.decode(&request, &LIMITS), Ok(Some(request.len())));
    assert_eq!(decoder.command(&request).unwrap().len(), 1000);
    assert!(size_of::<Decoder>() <= 160, "{}", size_of::<Decoder>());
}

#[test]
fn long_commands_in_small_pieces_cost_linear_time() {
    let bulk = wire(&[b"SET", b"k", &vec![b'\r'; 1 << 20]]);
    let words = vec![b"word".as_slice(); 100_000];
    let many = wire(&words);
    let line = [vec![b'a'; LIMITS.max_inline - 2], b"\r\n".to_vec()].concat();
    let count = [b"*".to_vec(), vec![b'1'; LIMITS.max_inline - 1]].concat();
    for (stream, step) in [(bulk, 7), (many, 7), (line, 1), (count, 1)] {
        let started = Instant::now();
        let outcome = fed(&stream, (0..stream.len()).step_by(step), &LIMITS);
        assert_eq!(outcome.error, None);
        // Going back to the first byte for each piece would take minutes.
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

/// Streams of valid requests of every kind.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'*')];
    let array = prop::collection::vec(prop::collection::vec(byte, 0..30), 1..9).prop_map(|of| {
        let of: Vec<&[u8]> = of.iter().map(Vec::as_slice).collect();
        wire(&of)
    });
    let inline = "[ -~]{0,30}\r?\n".prop_map(String::into_bytes);
    let empty = prop_oneof![Just(b"*0\r\n".to_vec()), Just(b"*-1\r\n".to_vec()), Just(b"\r\n".to_vec())];
    prop::collection::vec(prop_oneof![4 => array, 2 => inline, 1 => empty], 0..6).prop_map(|of| of.concat())
}

/// Limits that generated streams reach.
const TIGHT: DecodeLimits = DecodeLimits { max_bulk: 25, max_args: 7, max_inline: 28, max_request: 120 };

proptest! {
    #[test]
    fn decoding_is_the_same_however_the_bytes_are_split(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        for limits in [LIMITS, TIGHT] {
            let whole = fed(&stream, [], &limits);
            prop_assert_eq!(&fed(&stream, 0..stream.len(), &limits), &whole);
            prop_assert_eq!(&fed(&stream, cuts.iter().copied(), &limits), &whole);
        }
    }

    #[test]
    fn damaged_streams_neither_panic_nor_depend_on_the_split(
        stream in streams(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), "[$*\r\n\"'0-9 \0-]"), 1..4),
    ) {
        let mut stream = [stream, b"\n".to_vec()].concat();
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte.as_bytes()[0];
        }
        for limits in [LIMITS, TIGHT] {
            prop_assert_eq!(fed(&stream, 0..stream.len(), &limits), fed(&stream, [], &limits));
        }
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_depend_on_the_split(stream: Vec<u8>) {
        for limits in [LIMITS, TIGHT] {
            prop_assert_eq!(fed(&stream, 0..stream.len(), &limits), fed(&stream, [], &limits));
        }
    }

    #[test]
    fn a_command_s_wire_decodes_to_the_same_command(stream in streams()) {
        for (args, wire) in once(&stream).commands {
            let again = once(&wire);
            prop_assert_eq!(again.commands, [(args, wire)]);
        }
    }
}
