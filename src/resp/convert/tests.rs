use proptest::prelude::*;

use super::*;
use crate::resp::scan::Scanner;
use crate::resp::values;

const PLAIN: Shape = Shape { nulls: Nulls::Bulk, pairs: false };
const PAIRS: Shape = Shape { nulls: Nulls::Bulk, pairs: true };

fn converted(reply: &[u8], shape: Shape) -> Result<String, Malformed> {
    let mut out = Vec::new();
    to_resp2(reply, shape, &mut out)?;
    Ok(out.escape_ascii().to_string())
}

#[test]
fn a_live_server_writes_the_same() {
    for (asked, shape, resp3, resp2) in super::golden::REPLIES {
        assert_eq!(converted(resp3, *shape).unwrap(), resp2.escape_ascii().to_string(), "{asked}");
        assert_eq!(same_in_both(resp3, *shape), resp3 == resp2, "{asked}");
        assert_eq!(converted(resp2, *shape).unwrap(), resp2.escape_ascii().to_string(), "{asked}, twice");
        assert!(same_in_both(resp2, *shape), "{asked}");
    }
}

#[test]
fn types_that_no_cacheable_command_sends_have_a_form_too() {
    let cases: [(&[u8], &[u8]); 11] = [
        (b"#t\r\n", b":1\r\n"),
        (b"#f\r\n", b":0\r\n"),
        (b"(12345678901234567890123\r\n", b"$23\r\n12345678901234567890123\r\n"),
        (b"=8\r\nmkd:a\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"!7\r\nERR a\r\n\r\n", b"-ERR a  \r\n"),
        (b"|1\r\n+ttl\r\n*1\r\n:5\r\n*2\r\n|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n:1\r\n_\r\n", b"*2\r\n:1\r\n$-1\r\n"),
        (b"%1\r\n+a\r\n%1\r\n+b\r\n~1\r\n,2\r\n", b"*2\r\n+a\r\n*2\r\n+b\r\n*1\r\n$1\r\n2\r\n"),
        (b"$-1\r\n", b"$-1\r\n"),
        (b"*-1\r\n", b"*-1\r\n"),
        (b"+a\r\n", b"+a\r\n"),
        (b"-ERR a\r\n", b"-ERR a\r\n"),
    ];
    for (resp3, resp2) in cases {
        assert_eq!(converted(resp3, PLAIN).unwrap(), resp2.escape_ascii().to_string());
        assert_eq!(same_in_both(resp3, PLAIN), resp3 == resp2, "{}", resp3.escape_ascii());
    }
}

#[test]
fn only_the_outermost_array_of_pairs_is_flattened() {
    let nested = b"*1\r\n*2\r\n*1\r\n*2\r\n:1\r\n:2\r\n:3\r\n";
    assert_eq!(converted(nested, PAIRS).unwrap(), b"*2\r\n*1\r\n*2\r\n:1\r\n:2\r\n:3\r\n".escape_ascii().to_string());
    assert_eq!(converted(nested, PLAIN).unwrap(), nested.escape_ascii().to_string());
    let inside = b"*1\r\n*1\r\n*2\r\n:1\r\n:2\r\n";
    assert_eq!(converted(inside, PAIRS).unwrap(), inside.escape_ascii().to_string());
    assert!(same_in_both(inside, PAIRS));
}

#[test]
fn what_is_not_one_reply_is_refused_and_leaves_the_buffer_alone() {
    let cases: [&[u8]; 12] = [
        b"",
        b">1\r\n+a\r\n",
        b"*1\r\n",
        b"$1\r\na",
        b"$1\r\naXX",
        b"+a\r\n+b\r\n",
        b"=2\r\nab\r\n",
        b"=4\r\ntxtx\r\n",
        b"$?\r\n",
        b"*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n",
        b"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n",
        b"|1\r\n+a\r\n+b\r\n",
    ];
    for case in cases {
        let mut out = b"before".to_vec();
        assert!(to_resp2(case, PAIRS, &mut out).is_err(), "{}", case.escape_ascii());
        assert_eq!(out, b"before");
        assert!(!same_in_both(case, PAIRS), "{}", case.escape_ascii());
    }
}

#[test]
fn a_hundred_thousand_nested_sets_become_arrays() {
    let resp3 = [b"~1\r\n".repeat(100_000), b"_\r\n".to_vec()].concat();
    let resp2 = [b"*1\r\n".repeat(100_000), b"$-1\r\n".to_vec()].concat();
    let mut out = Vec::new();
    to_resp2(&resp3, PAIRS, &mut out).unwrap();
    assert!(out == resp2);
    assert!(same_in_both(&resp2, PAIRS));
}

fn shapes() -> impl Strategy<Value = Shape> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(array, pairs)| Shape { nulls: if array { Nulls::Array } else { Nulls::Bulk }, pairs })
}

/// An array of pairs, as `WITHSCORES` has them.
fn scores() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(values::resp3(), 0..5).prop_map(|of| {
        let pairs: Vec<u8> = of.iter().flat_map(|value| [b"*2\r\n".as_slice(), value, b",1.5\r\n"].concat()).collect();
        [format!("*{}\r\n", of.len()).as_bytes(), &pairs].concat()
    })
}

proptest! {
    #[test]
    fn a_converted_reply_is_one_resp2_reply(
        reply in prop_oneof![values::resp3(), values::with_attributes(), scores()],
        shape in shapes(),
    ) {
        let mut out = Vec::new();
        match to_resp2(&reply, shape, &mut out) {
            Ok(()) => {
                prop_assert_eq!(Scanner::default().scan(&out), Ok(Some(out.len())));
                let (_, end) = redis_protocol::resp2::decode::decode(&out).unwrap().unwrap();
                prop_assert_eq!(end, out.len());
                prop_assert_eq!(same_in_both(&reply, shape), reply == out);
                prop_assert!(same_in_both(&out, PLAIN));
            }
            // Generated arrays may begin with a pair and go on with something else, which no command answers.
            Err(refused) => prop_assert!(shape.pairs && refused == Malformed("a pair was expected")),
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(reply: Vec<u8>, shape in shapes()) {
        let mut out = Vec::new();
        let _ = to_resp2(&reply, shape, &mut out);
        same_in_both(&reply, shape);
    }
}
