//! Generated replies for the property tests: valid wire bytes, nested at most eight deep.

use proptest::collection::vec;
use proptest::prelude::*;

/// How deep generated values nest. The oracle in the tests recurses, so this stays small.
const DEPTH: u32 = 8;

/// A RESP2 reply.
pub(super) fn resp2() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![leaf(), Just(b"$-1\r\n".to_vec()), Just(b"*-1\r\n".to_vec())]
        .prop_recursive(DEPTH, 64, 6, |inside| vec(inside, 0..6).prop_map(|of| aggregate('*', 1, &of)))
        .boxed()
}

/// A RESP3 reply without attributes and pushes. Sets and keys of maps hold strings, as Redis's do.
pub(super) fn resp3() -> BoxedStrategy<Vec<u8>> {
    let only_resp3 = prop_oneof![
        Just(b"_\r\n".to_vec()),
        Just(b"#t\r\n".to_vec()),
        Just(b"#f\r\n".to_vec()),
        Just(b",inf\r\n".to_vec()),
        any::<i32>().prop_map(|n| format!(",{}\r\n", f64::from(n) / 64.0).into_bytes()),
        "-?[1-9][0-9]{0,80}".prop_map(|digits| format!("({digits}\r\n").into_bytes()),
        "[a-z ]{0,20}".prop_map(|text| format!("={}\r\ntxt:{text}\r\n", text.len() + 4).into_bytes()),
        "ERR [a-z\r\n]{0,20}".prop_map(|text| format!("!{}\r\n{text}\r\n", text.len()).into_bytes()),
    ];
    prop_oneof![leaf(), only_resp3]
        .prop_recursive(DEPTH, 64, 6, |inside| {
            prop_oneof![
                vec(inside.clone(), 0..6).prop_map(|of| aggregate('*', 1, &of)),
                vec(bulk(), 0..6).prop_map(|of| aggregate('~', 1, &of)),
                vec((bulk(), inside).prop_map(|(key, value)| [key, value].concat()), 0..4)
                    .prop_map(|of| aggregate('%', 1, &of)),
            ]
        })
        .boxed()
}

/// A RESP3 reply with attributes in front of it and of its elements.
pub(super) fn with_attributes() -> BoxedStrategy<Vec<u8>> {
    let attributed = (vec(resp2(), 0..4), resp3())
        .prop_map(|(of, value)| [aggregate('|', 2, &of[..of.len() / 2 * 2]), value].concat());
    let array = vec(attributed.clone(), 0..4).prop_map(|of| aggregate('*', 1, &of));
    prop_oneof![attributed, array].boxed()
}

fn leaf() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        bulk(),
        "[ -~]{0,90}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "ERR [ -~]{0,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
    ]
    .boxed()
}

fn bulk() -> BoxedStrategy<Vec<u8>> {
    // CR, LF and type bytes more often than chance has them.
    let byte = prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'*')];
    vec(byte, 0..40).prop_map(|body| [format!("${}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat()).boxed()
}

/// An aggregate whose header counts `each` of the given values as one (an attribute counts pairs).
fn aggregate(kind: char, each: usize, of: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{}\r\n", of.len() / each).into_bytes(), of.concat()].concat()
}
