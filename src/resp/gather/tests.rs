//! Every way of joining, in both protocol versions, with parts that fit, fail or contradict each other.

use super::*;
use crate::resp::values;
use proptest::collection::vec;
use proptest::prelude::*;

fn join_as(how: How, others: Others, parts: &[&str]) -> String {
    let mut gather = Gather::new(how, others, parts.len());
    for (index, part) in parts.iter().enumerate() {
        assert_eq!(gather.part(index, part.as_bytes()), index + 1 == parts.len());
    }
    let mut out = b"before".to_vec();
    gather.finish(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").expect("what was written is left alone").to_owned()
}

fn join(how: How, parts: &[&str]) -> String {
    join_as(how, Others::Harmless, parts)
}

#[test]
fn numbers_are_added_up_or_compared() {
    let parts = [":3\r\n", ":-1\r\n", ":7\r\n"];
    assert_eq!(join(How::Sum, &parts), ":9\r\n");
    assert_eq!(join(How::Min, &parts), ":-1\r\n");
    assert_eq!(join(How::Max, &parts), ":7\r\n");
    assert_eq!(join(How::And, &[":1\r\n", ":1\r\n"]), ":1\r\n");
    assert_eq!(join(How::And, &[":1\r\n", ":0\r\n"]), ":0\r\n");
    assert_eq!(join(How::Or, &[":1\r\n", ":0\r\n"]), ":1\r\n");
    assert_eq!(join(How::Sum, &[":9223372036854775807\r\n", ":1\r\n"]), ":9223372036854775807\r\n");
}

#[test]
fn lists_of_numbers_are_joined_place_by_place() {
    let parts = ["*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n"];
    assert_eq!(join(How::And, &parts), "*3\r\n:1\r\n:0\r\n:0\r\n");
    assert_eq!(join(How::Or, &parts), "*3\r\n:1\r\n:1\r\n:0\r\n");
    assert_eq!(join(How::Sum, &parts), "*3\r\n:2\r\n:1\r\n:0\r\n");
    assert_eq!(join(How::And, &["*0\r\n", "*0\r\n"]), "*0\r\n");
}

#[test]
fn one_status_stands_for_all() {
    assert_eq!(join(How::AllSucceeded, &["+OK\r\n", "+OK\r\n"]), "+OK\r\n");
    assert_eq!(join(How::AllSucceeded, &["$1\r\na\r\n", "$1\r\nb\r\n"]), "$1\r\na\r\n");
    let notbusy = "-NOTBUSY No scripts in execution right now.\r\n";
    assert_eq!(join(How::OneSucceeded, &[notbusy, "+OK\r\n", notbusy]), "+OK\r\n");
    assert_eq!(join(How::OneSucceeded, &[notbusy, notbusy]), notbusy);
}

#[test]
fn lists_sets_and_maps_become_one() {
    let keys = ["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*0\r\n", "*1\r\n$1\r\nc\r\n"];
    assert_eq!(join(How::Concat, &keys), "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    assert_eq!(join(How::Concat, &["~1\r\n+a\r\n", "~1\r\n+b\r\n"]), "~2\r\n+a\r\n+b\r\n");
    assert_eq!(join(How::Concat, &["%1\r\n+a\r\n:1\r\n", "%1\r\n+b\r\n:2\r\n"]), "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n");
    assert_eq!(join(How::Concat, &["*-1\r\n", "*1\r\n:1\r\n"]), "*1\r\n:1\r\n");
    assert_eq!(join(How::Concat, &["_\r\n", "_\r\n"]), "_\r\n");
    let nested = "*1\r\n*2\r\n:1\r\n*1\r\n+x\r\n";
    assert_eq!(join(How::Concat, &[nested, nested]), "*2\r\n*2\r\n:1\r\n*1\r\n+x\r\n*2\r\n:1\r\n*1\r\n+x\r\n");
}

#[test]
fn texts_stand_one_below_the_other() {
    assert_eq!(join(How::Texts, &["$1\r\na\r\n", "$1\r\nb\r\n"]), "$4\r\na\n\nb\r\n");
    assert_eq!(join(How::Texts, &["=5\r\ntxt:a\r\n", "=5\r\ntxt:b\r\n"]), "=8\r\ntxt:a\n\nb\r\n");
}

#[test]
fn any_of_them_is_one_that_is_not_null() {
    let parts = ["$-1\r\n", "$1\r\na\r\n", "$-1\r\n", "$1\r\nb\r\n"];
    let found: Vec<_> = (0..4).map(|pick| join(How::Any(pick), &parts)).collect();
    assert_eq!(found, ["$1\r\na\r\n", "$1\r\nb\r\n", "$1\r\na\r\n", "$1\r\nb\r\n"]);
    assert_eq!(join(How::Any(u64::MAX), &["_\r\n", "_\r\n"]), "_\r\n");
}

#[test]
fn elements_return_to_the_places_of_their_keys() {
    let places = How::Places(vec![vec![2, 0], vec![3, 1]]);
    let joined = join(places, &["*2\r\n$1\r\nc\r\n$-1\r\n", "*2\r\n$1\r\nd\r\n$1\r\nb\r\n"]);
    assert_eq!(joined, "*4\r\n$-1\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
}

#[test]
fn a_part_that_is_absent_is_left_out() {
    let mut gather = Gather::new(How::Sum, Others::Harmless, 3);
    assert!(!gather.part(0, b":1\r\n"));
    assert!(!gather.absent(1));
    assert!(!gather.absent(1), "it is not counted twice");
    assert!(gather.part(2, b":2\r\n"));
    let mut out = Vec::new();
    gather.finish(&mut out);
    assert_eq!(out, b":3\r\n");
}

#[test]
fn the_first_error_is_the_whole_reply() {
    let (moved, oom) = ("-MOVED 1 h:1\r\n", "-OOM command not allowed\r\n");
    let places = How::Places(vec![vec![0], vec![1], vec![2]]);
    for how in [How::AllSucceeded, How::Sum, How::And, How::Concat, How::Texts, How::Any(0), places] {
        assert_eq!(join(how.clone(), &[":1\r\n", oom, moved]), oom, "{how:?}");
    }
    assert_eq!(join(How::Sum, &[":1\r\n", "!5\r\nERR x\r\n"]), "!5\r\nERR x\r\n");
}

#[test]
fn the_error_of_a_split_write_says_that_the_rest_may_be_done() {
    let oom = "-OOM command not allowed\r\n";
    let joined = join_as(How::AllSucceeded, Others::MayBeDone, &["+OK\r\n", oom]);
    assert!(joined.starts_with("-OOM command not allowed (") && joined.ends_with("carried out)\r\n"), "{joined}");
    let joined = join_as(How::Sum, Others::MayBeDone, &[":1\r\n", "!7\r\nERR x\ny\r\n"]);
    assert!(joined.starts_with("-ERR x y (this command was split"), "{joined}");
    assert_eq!(join_as(How::AllSucceeded, Others::MayBeDone, &[oom]), oom, "there are no others");
    assert_eq!(join_as(How::AllSucceeded, Others::MayBeDone, &[oom, oom]), oom, "they say the same");
}

#[test]
fn replies_that_do_not_fit_together_are_an_error() {
    let unlike = format!("-{UNLIKE}\r\n");
    for (how, parts) in [
        (How::Sum, &[":1\r\n", "+OK\r\n"][..]),
        (How::Sum, &["$1\r\n1\r\n"]),
        (How::Sum, &["*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n"]),
        (How::And, &["*1\r\n+x\r\n"]),
        (How::Concat, &["*0\r\n", "~0\r\n"]),
        (How::Concat, &["*0\r\n", ":1\r\n"]),
        (How::Texts, &["$1\r\na\r\n", "*0\r\n"]),
        (How::Any(0), &["nonsense"]),
        (How::AllSucceeded, &["nonsense"]),
        (How::AllSucceeded, &[]),
        (How::Places(vec![vec![0], vec![1]]), &["*1\r\n:1\r\n", "*0\r\n"]),
        (How::Places(vec![vec![0], vec![0]]), &["*1\r\n:1\r\n", "*1\r\n:1\r\n"]),
        (How::Places(vec![vec![0], vec![9]]), &["*1\r\n:1\r\n", "*1\r\n:1\r\n"]),
        (How::Places(vec![vec![0]]), &["*1\r\n:1\r\n", "*1\r\n:1\r\n"]),
    ] {
        assert_eq!(join(how.clone(), parts), unlike, "{how:?} {parts:?}");
    }
}

#[test]
fn a_part_that_never_came_does_not_fit() {
    let mut gather = Gather::new(How::Sum, Others::Harmless, 2);
    assert!(!gather.part(0, b":1\r\n"));
    assert!(!gather.part(0, b":1\r\n"), "the same part again is not another one");
    assert!(!gather.part(7, b":1\r\n"), "a part that nobody waits for");
    let mut out = Vec::new();
    gather.finish(&mut out);
    assert_eq!(out, format!("-{UNLIKE}\r\n").as_bytes());
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::AllSucceeded),
        Just(How::OneSucceeded),
        Just(How::Sum),
        Just(How::Min),
        Just(How::Max),
        Just(How::And),
        Just(How::Or),
        Just(How::Concat),
        Just(How::Texts),
        any::<u64>().prop_map(How::Any),
        vec(vec(0u32..12, 0..4), 0..4).prop_map(How::Places),
    ]
}

fn joined(how: How, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut gather = Gather::new(how, Others::MayBeDone, parts.len());
    for (index, part) in parts.iter().enumerate() {
        gather.part(index, part);
    }
    let mut out = Vec::new();
    gather.finish(&mut out);
    out
}

/// Replies that fit each other more often than chance has them.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let alike =
        prop::sample::select(vec![":1\r\n", "+OK\r\n", "*1\r\n:1\r\n", "~1\r\n+a\r\n", "$-1\r\n", "-ERR x\r\n"]);
    prop_oneof![values::resp2(), values::resp3(), values::with_attributes(), alike.prop_map(|text| text.into())]
}

proptest! {
    #[test]
    fn whatever_the_parts_one_whole_reply_comes_out(how in how(), parts in vec(part(), 0..4)) {
        let out = joined(how, &parts);
        prop_assert!(View::whole(&out).is_ok(), "{}", out.escape_ascii());
    }

    #[test]
    fn no_bytes_panic(how in how(), parts in vec(vec(any::<u8>(), 0..24), 0..4)) {
        let out = joined(how, &parts);
        prop_assert!(!out.is_empty());
    }

    #[test]
    fn a_split_list_comes_back_in_its_order(
        elements in vec(values::resp2(), 0..12), owners in vec(0usize..4, 12),
    ) {
        let mut places = vec![Vec::new(); 4];
        let mut parts = vec![Vec::new(); 4];
        for (place, element) in elements.iter().enumerate() {
            places[owners[place]].push(place as u32);
            parts[owners[place]].push(element.clone());
        }
        let reply = |of: &[Vec<u8>]| [format!("*{}\r\n", of.len()).into_bytes(), of.concat()].concat();
        let replies: Vec<_> = parts.iter().map(|part| reply(part)).collect();
        prop_assert_eq!(joined(How::Places(places), &replies), reply(&elements));
    }

    #[test]
    fn lists_keep_every_element(lists in vec(vec(values::resp3(), 0..5), 1..4)) {
        let reply = |of: &[Vec<u8>]| [format!("*{}\r\n", of.len()).into_bytes(), of.concat()].concat();
        let replies: Vec<_> = lists.iter().map(|list| reply(list)).collect();
        prop_assert_eq!(joined(How::Concat, &replies), reply(&lists.concat()));
    }
}
