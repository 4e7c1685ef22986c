//! `config.example.yaml` is the reference, so it has to be right and complete.

use super::*;
use std::collections::BTreeMap;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

/// The example with every setting that is commented out switched on.
pub(super) fn everything_on() -> String {
    let line = |line: &str| {
        let text = line.trim_start();
        let key = text.strip_prefix('#').filter(|text| text.starts_with(|c: char| c.is_ascii_lowercase()));
        match key {
            Some(key) => format!("{}{key}\n", &line[..line.len() - text.len()]),
            None => format!("{line}\n"),
        }
    };
    EXAMPLE.lines().map(line).collect()
}

#[test]
fn the_example_parses_and_is_served() {
    Draft::read(EXAMPLE, "config.example.yaml").unwrap().finish().unwrap();
}

#[test]
fn the_values_in_the_example_are_the_defaults_of_the_code() {
    assert_eq!(good(EXAMPLE), good(SMALLEST));
    assert!(everything_on().contains(&format!("\n  address: {}\n", Admin::default().address)));
    let memory = units::show_size(Upstream::new(Kind::Memory, Vec::new()).max_memory);
    assert!(everything_on().contains(&format!("\n    max_memory: {memory}\n")));
}

#[test]
fn every_key_that_the_code_knows_stands_in_the_example() {
    let draft = Draft::read(&everything_on(), "everything.yaml").unwrap();
    // A key of a list's items or of a named member counts wherever one of them has it.
    let mut found = BTreeMap::new();
    for (path, there) in draft.asked() {
        let path = path.replace("upstreams.main", "upstreams.NAME").replace("ladders.default", "ladders.NAME");
        let shape: String = path.chars().filter(|c| !c.is_ascii_digit()).collect();
        *found.entry(shape).or_insert(false) |= there;
    }
    let missing: Vec<_> = found.iter().filter(|(_, there)| !**there).collect();
    assert!(missing.is_empty(), "not in config.example.yaml: {missing:?}");
    assert!(found.len() > 60, "only {} keys were asked for", found.len());
    // And nothing stands there that the code does not know.
    let unknown = draft.finish().unwrap_err();
    assert!(!unknown.to_string().contains("no such key"), "{unknown}");
}
