//! The tree against the rule as it is said: look at every pattern.

use super::*;
use proptest::prelude::*;
use std::cmp::Reverse;

fn tree(patterns: &[&str]) -> (Tree, Vec<Pattern>) {
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::of(text)).collect();
    (Tree::of(&patterns), patterns)
}

/// Which of the patterns wins, by its text.
fn winner<'a>(patterns: &[&'a str], key: &str) -> Option<&'a str> {
    tree(patterns).0.find(key.as_bytes()).map(|number| patterns[number])
}

#[test]
fn the_longest_literal_beginning_wins_and_an_exact_key_before_it() {
    const PATTERNS: [&str; 7] = ["*", "user:*", "user:name:*", r"user:name:\*", "user:1", "us", "v*z"];
    for (key, pattern) in [
        ("", "*"),
        ("x", "*"),
        ("use", "*"),
        ("us", "us"),
        ("user:", "user:*"),
        ("user:12", "user:*"),
        ("user:1", "user:1"),
        ("user:name:", "user:name:*"),
        ("user:name:*", r"user:name:\*"),
        ("user:name:**", "user:name:*"),
        ("vaz", "v*z"),
        ("va", "*"),
    ] {
        assert_eq!(winner(&PATTERNS, key), Some(pattern), "{key}");
    }
}

#[test]
fn what_does_not_match_to_its_end_leaves_the_key_to_a_shorter_one() {
    const PATTERNS: [&str; 3] = ["a:*", "a:b*:x", "a:b:c?:x"];
    for (key, pattern) in [
        ("a:b:cc:x", Some("a:b:c?:x")),
        ("a:b:c:x", Some("a:b*:x")),
        ("a:b:c:y", Some("a:*")),
        ("a:bx", Some("a:*")),
        ("a", None),
        ("", None),
    ] {
        assert_eq!(winner(&PATTERNS, key), pattern, "{key}");
    }
    let (tree, _) = tree(&PATTERNS);
    assert_eq!(tree.tried(b"a:b:c:x").collect::<Vec<_>>(), [(2, false), (1, true), (0, true)]);
    assert_eq!(tree.tried(b"b").count(), 0);
}

#[test]
fn no_patterns_match_nothing() {
    assert_eq!(winner(&[], ""), None);
    assert_eq!(winner(&[], "k"), None);
}

#[test]
fn a_node_with_every_byte_below_it_finds_each() {
    let patterns: Vec<Pattern> = (0..=255u8).map(|byte| Pattern { literal: vec![byte], tail: b"*".to_vec() }).collect();
    let tree = Tree::of(&patterns);
    for byte in 0..=255u8 {
        assert_eq!(tree.find(&[byte, 0]), Some(usize::from(byte)));
    }
}

/// Letters that meet often, so that prefixes share and globs match.
fn text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b", ":", "é", "ab"]), 0..most)
        .prop_map(|parts| parts.concat())
}

fn pattern() -> impl Strategy<Value = String> {
    let part =
        prop_oneof![4 => text(4), 1 => Just("*".to_owned()), 1 => Just("?".to_owned()), 1 => Just(r"\*".to_owned())];
    proptest::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_tree_agrees_with_looking_at_every_pattern(
        texts in proptest::collection::vec(pattern(), 0..12),
        keys in proptest::collection::vec(prop_oneof![3 => text(8), 1 => pattern()], 1..8),
    ) {
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::of(text)).collect();
        let tree = Tree::of(&patterns);
        for key in keys.iter().map(String::as_bytes) {
            let whole = |number: usize| {
                let everything = texts[number].bytes().all(|byte| byte == b'*') && !texts[number].is_empty();
                everything || glob::matches(texts[number].as_bytes(), key)
            };
            let rank = |number: &usize| (Reverse(patterns[*number].is_exact()), Reverse(patterns[*number].literal.len()));
            // Of patterns that tie the first counts, whether or not it matches; a configuration has none.
            let first = |number: usize| {
                let same = |other: &Pattern| {
                    other.literal == patterns[number].literal && other.is_exact() == patterns[number].is_exact()
                };
                !patterns[..number].iter().any(same)
            };
            let naive = (0..texts.len()).filter(|number| first(*number) && whole(*number)).min_by_key(rank);
            prop_assert_eq!(tree.find(key), naive, "{:?} {:?}", &texts, key);
            prop_assert_eq!(tree.tried(key).find(|(_, matches)| *matches).map(|(number, _)| number), naive);
        }
    }
}
