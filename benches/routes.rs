//! Nanoseconds per lookup of a key's route, for growing numbers of routes: the tree, and beside it the search through a list that
//! it replaced.
//!
//! `cargo bench --bench routes`. Each figure is the best of several rounds, as in `benches/resp.rs`.

use std::cmp::Reverse;
use std::hint::black_box;
use std::time::Instant;

use larder::config::Pattern;
use larder::glob;
use larder::route::tree::Tree;

const ROUNDS: usize = 30;
const LOOKUPS_PER_ROUND: usize = 20_000;
/// The list is slower by so much that it gets fewer.
const LIST_LOOKUPS_PER_ROUND: usize = 500;
/// Different keys, so that neither the branch predictor nor the cache knows the way.
const KEYS: usize = 1_000;

fn main() {
    say(format_args!("{:32} {:>10} {:>10}", "", "tree", "list"));
    report("1 route, *", &["*".to_owned()], &[b"session:4711:name".to_vec()]);
    for number in [1, 10, 100, 1_000, 10_000] {
        let prefixes: Vec<String> = (0..number).map(|n| format!("{}:*", team(n))).collect();
        // A step that shares no factor with the counts, so that routes are met in no order.
        let keys = |end: &str| -> Vec<Vec<u8>> {
            (0..KEYS).map(|n| format!("{}{end}", team(n * 7919 % number)).into_bytes()).collect()
        };
        report(&format!("{number} prefixes, hits"), &prefixes, &keys(":4711:name"));
        report(&format!("{number} prefixes, misses"), &prefixes, &keys("x:4711:name"));
        let globs: Vec<String> = (0..number).map(|n| format!("{}:*:n?me", team(n))).collect();
        report(&format!("{number} globs, hits"), &globs, &keys(":4711:name"));
        let exact: Vec<String> = (0..number).map(team).collect();
        report(&format!("{number} exact keys, hits"), &exact, &keys(""));
    }
}

/// Names such as real ones: some share a long beginning, some nothing.
fn team(n: usize) -> String {
    const WORDS: [&str; 10] =
        ["session", "api", "cart", "user", "catalogue", "search", "price", "stock", "order", "inbox"];
    format!("{}:v{}:{}", WORDS[n % 10], n / 10 % 10, n / 100)
}

/// What `route` did before the tree.
struct List(Vec<(Vec<u8>, usize)>);

impl List {
    fn of(patterns: &[String]) -> List {
        let parts = |pattern: &String| {
            let literal = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
            (pattern.clone().into_bytes(), literal)
        };
        let mut list: Vec<_> = patterns.iter().map(parts).collect();
        list.sort_by_key(|(_, literal)| Reverse(*literal));
        List(list)
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        self.0.iter().position(|(pattern, literal)| {
            key.starts_with(&pattern[..*literal]) && (&pattern[*literal..] == b"*" || glob::matches(pattern, key))
        })
    }
}

fn report(what: &str, patterns: &[String], keys: &[Vec<u8>]) {
    let tree = Tree::of(&patterns.iter().map(|text| Pattern::of(text)).collect::<Vec<_>>());
    let list = List::of(patterns);
    for key in keys {
        assert_eq!(tree.find(key).is_some(), list.find(key).is_some(), "{}", key.escape_ascii());
    }
    let by_tree = best(LOOKUPS_PER_ROUND, keys, |key| tree.find(key));
    let by_list = best(LIST_LOOKUPS_PER_ROUND, keys, |key| list.find(key));
    say(format_args!("{what:32} {by_tree:7.1} ns {by_list:7.1} ns"));
}

/// Nanoseconds per lookup in the best round.
fn best(lookups: usize, keys: &[Vec<u8>], find: impl Fn(&[u8]) -> Option<usize>) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for key in keys.iter().cycle().take(lookups) {
            black_box(find(black_box(key)));
        }
        best = best.min(started.elapsed().as_nanos() as f64 / lookups as f64);
    }
    best
}

#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}
