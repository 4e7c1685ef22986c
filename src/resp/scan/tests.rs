use proptest::prelude::*;
use redis_protocol::{resp2, resp3};

use super::*;
use crate::resp::values;

fn once(buf: &[u8]) -> Result<Option<usize>, Malformed> {
    Scanner::default().scan(buf)
}

/// Scans `wire` as it arrives in pieces that end at `cuts`, as a reader would.
fn in_pieces(wire: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Option<usize>, Malformed> {
    let mut scanner = Scanner::default();
    for cut in cuts.into_iter().chain([wire.len()]) {
        if let Some(end) = scanner.scan(&wire[..cut])? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

#[test]
fn every_type_ends_where_it_ends() {
    let replies: [&[u8]; 30] = [
        b"+OK\r\n",
        b"+\r\n",
        b"-ERR x\r\n",
        b":-12\r\n",
        b"$0\r\n\r\n",
        b"$2\r\n\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n:1\r\n$1\r\na\r\n",
        b"_\r\n",
        b"#t\r\n",
        b"#f\r\n",
        b",1.5\r\n",
        b",-inf\r\n",
        b"(123456789012345678901\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!5\r\nERR x\r\n",
        b"%0\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n+a\r\n",
        b">1\r\n+a\r\n",
        b"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
        b"|0\r\n+a\r\n",
        b"|1\r\n+a\r\n*1\r\n:1\r\n>1\r\n+x\r\n",
        b"*1\r\n|1\r\n+a\r\n:1\r\n+v\r\n",
        b"|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n+d\r\n+v\r\n",
        b"*2\r\n*2\r\n*0\r\n*-1\r\n%1\r\n$-1\r\n~0\r\n",
        b"+a\rb\nc\r\r\n",
        b"*3\r\n>0\r\n",
    ];
    for reply in &replies[..29] {
        let behind = [reply, b"+x\r\n".as_slice()].concat();
        assert_eq!(once(&behind), Ok(Some(reply.len())), "{}", reply.escape_ascii());
        for cut in 0..reply.len() {
            assert_eq!(once(&reply[..cut]), Ok(None), "{} cut at {cut}", reply.escape_ascii());
        }
        assert_eq!(in_pieces(reply, 0..reply.len()), Ok(Some(reply.len())), "{}", reply.escape_ascii());
    }
    assert_eq!(once(replies[29]), Err(Malformed("a push inside a reply")));
}

#[test]
fn one_scanner_takes_reply_after_reply() {
    let wire = b"*1\r\n$1\r\na\r\n+OK\r\n$-1\r\n>1\r\n+x\r\n_\r\n";
    let mut scanner = Scanner::default();
    let mut ends = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        at += scanner.scan(&wire[at..]).unwrap().unwrap();
        ends.push(at);
    }
    assert_eq!(ends, [11, 16, 21, 29, 32]);
}

#[test]
fn what_is_no_reply_is_refused() {
    let cases: [&[u8]; 27] = [
        b"PING\r\n",
        b"\r\n",
        b"$?\r\n",
        b"*?\r\n",
        b"%?\r\n",
        b"~?\r\n",
        b";4\r\nabcd\r\n",
        b".\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"%-1\r\n",
        b"~-1\r\n",
        b">-1\r\n",
        b"$+1\r\na\r\n",
        b"$01\r\na\r\n",
        b"$ 1\r\na\r\n",
        b"$1\na\r\n",
        b"$\r\n",
        b"$1\r\nabc",
        b"$4294967297\r\n",
        b"$9223372036854775807\r\n",
        b"$18446744073709551617\r\n",
        b"*4294967296\r\n",
        b"*2147483648\r\n",
        b"_x\r\n",
        b"#x\r\n",
        b"$111111111111111111111111111",
    ];
    for case in cases {
        assert!(once(case).is_err(), "{}", case.escape_ascii());
        assert!(in_pieces(case, 0..case.len()).is_err(), "{} in pieces", case.escape_ascii());
    }
}

#[test]
fn a_push_is_refused_wherever_it_is_not_on_its_own() {
    for inside in [
        "*1\r\n>0\r\n",
        "*2\r\n+a\r\n>0\r\n",
        "|1\r\n>0\r\n+a\r\n+x\r\n",
        "|1\r\n+a\r\n>0\r\n+x\r\n",
        "%1\r\n+a\r\n>0\r\n",
        ">1\r\n>0\r\n",
    ] {
        assert_eq!(once(inside.as_bytes()), Err(Malformed("a push inside a reply")), "{inside:?}");
    }
}

#[test]
fn a_hundred_thousand_nested_arrays_are_one_reply() {
    let mut wire = b"*1\r\n".repeat(100_000);
    assert_eq!(once(&wire), Ok(None));
    wire.extend_from_slice(b":1\r\n");
    assert_eq!(once(&wire), Ok(Some(wire.len())));
}

#[test]
fn announced_elements_cost_nothing_and_have_a_limit() {
    assert_eq!(once(b"*1000000000\r\n"), Ok(None));
    assert_eq!(once(b"%2147483647\r\n"), Ok(None));
    assert_eq!(once(b"*2147483647\r\n%2147483647\r\n"), Err(Malformed("more elements than a reply can have")));
}

#[test]
fn a_long_string_and_a_long_line_cost_linear_time() {
    let body = vec![b'\n'; 1 << 20];
    let string = [b"*1\r\n$1048576\r\n".as_slice(), &body, b"\r\n"].concat();
    let mut scanner = Scanner::default();
    assert_eq!(scanner.scan(&string[..100]), Ok(None));
    assert_eq!(scanner.wanted(), string.len());
    let line = [b"+".as_slice(), &body, b"\r\n"].concat();
    for wire in [string, line] {
        let started = std::time::Instant::now();
        assert_eq!(in_pieces(&wire, (0..wire.len()).step_by(7)), Ok(Some(wire.len())));
        // Looking again at every byte for each piece would take 150,000 times half a MiB, which is minutes.
        assert!(started.elapsed().as_secs() < 5);
    }
}

proptest! {
    #[test]
    fn the_end_is_where_the_oracle_has_it_in_resp3(wire in values::resp3(), behind in "[+$*:0-9\r\n]{0,12}") {
        let buf = [&wire, behind.as_bytes()].concat();
        let (_, oracle) = resp3::decode::complete::decode(&buf).unwrap().unwrap();
        prop_assert_eq!(oracle, wire.len());
        prop_assert_eq!(once(&buf), Ok(Some(oracle)));
    }

    #[test]
    fn the_end_is_where_the_oracle_has_it_in_resp2(wire in values::resp2(), behind in "[+$*:0-9\r\n]{0,12}") {
        let buf = [&wire, behind.as_bytes()].concat();
        let (_, oracle) = resp2::decode::decode(&buf).unwrap().unwrap();
        prop_assert_eq!(oracle, wire.len());
        prop_assert_eq!(once(&buf), Ok(Some(oracle)));
    }

    #[test]
    fn the_end_is_the_same_however_the_bytes_are_split(
        wire in values::resp3().prop_union(values::with_attributes()),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        prop_assert_eq!(once(&wire), Ok(Some(wire.len())));
        prop_assert_eq!(in_pieces(&wire, 0..wire.len()), Ok(Some(wire.len())));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(in_pieces(&wire, cuts), Ok(Some(wire.len())));
    }

    #[test]
    fn damaged_replies_neither_panic_nor_depend_on_the_split(
        wire in values::with_attributes(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), "[$*+%|>_0-9?\r\n-]"), 1..4),
    ) {
        let mut wire = wire;
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte.as_bytes()[0];
        }
        prop_assert_eq!(in_pieces(&wire, 0..wire.len()), once(&wire));
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_depend_on_the_split(wire: Vec<u8>) {
        prop_assert_eq!(in_pieces(&wire, 0..wire.len()), once(&wire));
    }
}
