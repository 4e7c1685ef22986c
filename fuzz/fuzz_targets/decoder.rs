//! Arbitrary bytes as a client's stream and as an upstream's: no panic, the same outcome however they are split, spans
//! inside the wire, and a converted reply is one RESP2 reply.

#![no_main]

use larder::command::{Nulls, Shape};
use larder::resp::convert::{same_in_both, to_resp2};
use larder::resp::decode::{DecodeLimits, Decoder, ProtocolError};
use larder::resp::scan::{Malformed, Scanner};
use libfuzzer_sys::fuzz_target;

/// Small, so that short inputs reach every limit.
const LIMITS: DecodeLimits = DecodeLimits {
    max_bulk: 64,
    max_args: 8,
    max_inline: 48,
    max_request: 128,
};

// The first byte says how large the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else {
        return;
    };
    let piece = usize::from(piece % 16) + 1;
    assert_eq!(requests(stream, piece), requests(stream, usize::MAX));
    assert_eq!(replies(stream, piece), replies(stream, usize::MAX));
});

type Commands = Vec<(Vec<Vec<u8>>, Vec<u8>)>;

fn requests(stream: &[u8], piece: usize) -> (Commands, Option<ProtocolError>) {
    let mut decoder = Decoder::default();
    let mut commands = Vec::new();
    let (mut taken, mut arrived) = (0, 0);
    loop {
        let buf = &stream[taken..arrived];
        match decoder.decode(buf, &LIMITS) {
            Err(error) => return (commands, Some(error)),
            Ok(None) if arrived == stream.len() => return (commands, None),
            Ok(None) => arrived = stream.len().min(arrived.saturating_add(piece)),
            Ok(Some(n)) => {
                assert!(n > 0 && n <= buf.len());
                if let Some(command) = decoder.command(buf) {
                    assert!(command.len() <= LIMITS.max_args);
                    let args = command.args(0).map(<[u8]>::to_vec).collect();
                    commands.push((args, command.wire().to_vec()));
                }
                taken += n;
            }
        }
    }
}

fn replies(stream: &[u8], piece: usize) -> (Vec<usize>, Option<Malformed>) {
    let mut scanner = Scanner::default();
    let mut ends = Vec::new();
    let (mut taken, mut arrived) = (0, 0);
    loop {
        let buf = &stream[taken..arrived];
        match scanner.scan(buf) {
            Err(error) => return (ends, Some(error)),
            Ok(None) if arrived == stream.len() => return (ends, None),
            Ok(None) => arrived = stream.len().min(arrived.saturating_add(piece)),
            Ok(Some(n)) => {
                assert!(n > 0 && n <= buf.len());
                convert(&buf[..n]);
                taken += n;
                ends.push(taken);
            }
        }
    }
}

fn convert(reply: &[u8]) {
    for nulls in [Nulls::Bulk, Nulls::Array] {
        for pairs in [false, true] {
            let shape = Shape { nulls, pairs };
            let mut out = Vec::new();
            if to_resp2(reply, shape, &mut out).is_ok() {
                assert_eq!(Scanner::default().scan(&out), Ok(Some(out.len())));
                assert!(same_in_both(
                    &out,
                    Shape {
                        nulls,
                        pairs: false
                    }
                ));
                assert_eq!(same_in_both(reply, shape), reply == out);
            }
        }
    }
}
