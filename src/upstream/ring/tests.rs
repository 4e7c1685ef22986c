//! The ring against what twemproxy and libmemcached said, and by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::{DISTRIBUTIONS, HASHES, Ring as Rule};

const VECTORS: &str = include_str!("vectors.txt");

fn named<T: Copy>(word: &str, names: &[(&str, T)]) -> T {
    names.iter().find(|(name, _)| *name == word).unwrap_or_else(|| panic!("{word} is not known")).1
}

/// `\xHH` as the byte that it stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// `name*weight` for each node.
fn nodes(words: &[&str]) -> Vec<RingNode> {
    let node = |word: &&str| {
        let (name, weight) = word.rsplit_once('*').unwrap();
        RingNode { name: name.to_owned(), weight: weight.parse().unwrap() }
    };
    words.iter().map(node).collect()
}

#[test]
fn every_key_lies_where_twemproxy_and_libmemcached_look_for_it() {
    let lines = || VECTORS.lines().filter_map(|line| line.split_once(' '));
    let keys: Vec<_> = lines().filter(|(word, _)| *word == "key").map(|(_, key)| bytes(key)).collect();
    let (mut ring, mut text) = (None, "");
    let (mut compared, mut seen) = (0, BTreeSet::new());
    for (word, rest) in lines() {
        match word {
            "ring" => {
                let words: Vec<_> = rest.split(' ').collect();
                let rule = Rule {
                    distribution: named(words[1], &DISTRIBUTIONS),
                    hash: named(words[2], &HASHES),
                    hash_tag: words[3].as_bytes().try_into().ok(),
                    ..Rule::default()
                };
                ring = Some(Ring::new(&nodes(&words[4..]), &rule));
                text = rest;
                seen.insert(words[..3].join(" "));
            }
            "owners" => {
                let ring = ring.take().expect("a ring before its owners");
                assert_eq!(rest.len(), keys.len());
                for (key, owner) in keys.iter().zip(rest.bytes()) {
                    assert_eq!(ring.owner(key), u16::from(owner - b'a'), "{} of {text}", key.escape_ascii());
                    compared += 1;
                }
            }
            _ => {}
        }
    }
    for (hash, _) in HASHES {
        assert!(seen.contains(&format!("twemproxy ketama {hash}")), "{seen:?}");
    }
    for source in ["libmemcached ketama md5", "libmemcached ketama-unweighted one_at_a_time"] {
        assert!(seen.contains(source), "{seen:?}");
    }
    assert!(keys.len() > 900 && compared > 100_000, "{compared} of {} keys", keys.len());
}

/// N equal nodes.
fn equal(count: usize) -> Vec<RingNode> {
    (0..count).map(|number| RingNode { name: format!("10.0.0.{number}:11212"), weight: 1 }).collect()
}

#[test]
fn a_node_more_moves_only_the_keys_that_it_takes() {
    for (_, distribution) in DISTRIBUTIONS {
        let rule = Rule { distribution, ..Rule::default() };
        let (before, after) = (Ring::new(&equal(4), &rule), Ring::new(&equal(5), &rule));
        let keys: Vec<_> = (0..10_000).map(|number| format!("key:{number}").into_bytes()).collect();
        let moved: Vec<_> = keys.iter().filter(|key| before.owner(key) != after.owner(key)).collect();
        assert!(moved.iter().all(|key| after.owner(key) == 4));
        assert!((1000..3000).contains(&moved.len()), "{distribution:?} moved {}", moved.len());
    }
}

#[test]
fn shares_follow_the_weights() {
    let mut nodes = equal(3);
    nodes[2].weight = 2;
    let ring = Ring::new(&nodes, &Rule::default());
    let mut counts = [0_u32; 3];
    (0..40_000).for_each(|number| counts[usize::from(ring.owner(format!("key:{number}").as_bytes()))] += 1);
    let near = |count: u32, share: u32| count.abs_diff(share) < 2500;
    assert!(near(counts[0], 10_000) && near(counts[1], 10_000) && near(counts[2], 20_000), "{counts:?}");
}

#[test]
fn one_node_owns_everything_and_no_node_is_no_panic() {
    for (_, hash) in HASHES {
        let rule = Rule { hash, ..Rule::default() };
        assert_eq!(Ring::new(&equal(1), &rule).owner(b""), 0);
        assert_eq!(Ring::new(&[], &rule).owner(b"key"), 0);
    }
}

#[test]
fn only_a_whole_tag_that_is_not_empty_counts() {
    let rule = Rule { hash_tag: Some(*b"{}"), ..Rule::default() };
    let ring = Ring::new(&equal(3), &rule);
    assert_eq!(ring.hashed(b"{user}.a"), b"user");
    assert_eq!(ring.hashed(b"{}{user}"), b"{}{user}");
    assert_eq!(ring.hashed(b"a{user"), b"a{user");
    assert_eq!(ring.hashed(b"}{{a}}"), b"{a");
    let ring = Ring::new(&equal(3), &Rule { hash_tag: Some(*b"$$"), ..rule });
    assert_eq!(ring.hashed(b"a$user$b$"), b"user");
    assert_eq!(ring.hashed(b"$$a$"), b"$$a$");
    assert_eq!(Ring::new(&equal(3), &Rule::default()).hashed(b"{a}b"), b"{a}b");
}

proptest! {
    #[test]
    fn every_key_has_an_owner(
        weights in prop::collection::vec(1..1000_u32, 1..12),
        key in prop::collection::vec(any::<u8>(), 0..64),
        hash in 0..HASHES.len(),
        distribution in 0..2_usize,
    ) {
        let node = |(number, weight): (usize, &u32)| RingNode { name: number.to_string(), weight: *weight };
        let nodes: Vec<_> = weights.iter().enumerate().map(node).collect();
        let rule = Rule { hash: HASHES[hash].1, distribution: DISTRIBUTIONS[distribution].1, ..Rule::default() };
        prop_assert!(usize::from(Ring::new(&nodes, &rule).owner(&key)) < nodes.len());
    }
}
