use std::collections::HashSet;

use super::*;
use crate::config::Config;
use crate::process::assemble;

fn app() -> App {
    assemble(Config::embedded(), "test".to_owned()).expect("the embedded configuration is good")
}

fn redis() -> App {
    let config = Config::for_upstream("redis://127.0.0.1:1").expect("a good URL");
    assemble(config, "test".to_owned()).expect("nothing connects yet")
}

#[test]
fn names_follow_the_convention_and_are_declared_once() {
    let mut seen = HashSet::new();
    for metric in all() {
        let Metric { name, kind, help, .. } = metric;
        assert!(seen.insert(name), "{name} is declared twice");
        assert!(
            name.starts_with("larder_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains("  "), "{name}: {help}");
        let part_of_histogram = name.contains("_seconds_");
        let total = name.ends_with("_total");
        assert!(
            part_of_histogram || total == (*kind == Kind::Counter),
            "{name}: counters, and only they, end in _total"
        );
    }
}

#[test]
fn the_documentation_lists_exactly_the_declared_metrics() {
    let rows: String = all()
        .map(|metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", metric.kind).to_lowercase();
            format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help)
        })
        .collect();
    let page = include_str!("../../docs/metrics.md");
    let documented: String =
        page.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
    assert!(documented == rows, "the table of docs/metrics.md should be:\n{rows}");
}

#[test]
fn a_page_shows_every_sample_with_help_and_type_in_the_declared_order() {
    let app = app();
    app.counters[0].hits.add(3);
    let samples = samples(&app);
    let page = render(&samples);
    assert!(page.contains("# TYPE larder_cache_hits_total counter\nlarder_cache_hits_total 3\n"), "{page}");
    assert!(page.contains("# HELP larder_cache_hits_total Keys of reads"), "{page}");
    assert!(page.contains("larder_build_info{version=\""), "{page}");
    assert!(page.contains("larder_memory_upstream_keys 0\n"), "{page}");
    let values = page.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = values.map(|line| line.split(['{', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(names, samples.iter().map(|sample| sample.name).collect::<Vec<_>>());
    assert_eq!(page, render(&samples));
}

#[test]
fn a_label_value_cannot_break_its_line() {
    let sample = Sample {
        name: "larder_x",
        help: "help",
        kind: Kind::Gauge,
        labels: vec![("upstream", "a\"b\\c\nd".to_owned())],
        value: 1.0,
    };
    let page = render(&[sample]);
    assert!(page.contains(r#"larder_x{upstream="a\"b\\c\nd"} 1"#), "{page}");
}

#[test]
fn latency_buckets_are_cumulative_and_end_in_the_count() {
    let app = app();
    app.counters[0].upstream(2, 0);
    app.counters[0].upstream(1, 3);
    app.counters[0].upstream(4, u64::from(u32::MAX));
    let samples = samples(&app);
    let find = |suffix: &str, le: &str| {
        let name = format!("larder_upstream_latency_seconds_{suffix}");
        let found =
            samples.iter().find(|sample| sample.name == name && sample.labels.iter().all(|(_, value)| value == le));
        found.map(|sample| sample.value)
    };
    assert_eq!(find("bucket", "0.000001"), Some(2.0));
    assert_eq!(find("bucket", "0.000002"), Some(2.0));
    assert_eq!(find("bucket", "0.000004"), Some(3.0));
    assert_eq!(find("bucket", "4.194304"), Some(3.0));
    assert_eq!(find("bucket", "+Inf"), Some(7.0));
    assert_eq!(find("count", ""), Some(7.0));
    assert_eq!(find("sum", ""), Some((3 + 4 * u64::from(u32::MAX)) as f64 / 1e6));
}

#[test]
fn coverage_is_shown_under_the_mode_that_gives_it() {
    let app = redis();
    let map = app.home_origin().expect("kind redis").map();
    let origin = map.any().expect("a standalone server");
    let covered = || {
        let samples = samples(&app);
        let values: Vec<f64> =
            samples.iter().filter(|one| one.name == "larder_cache_covered").map(|one| one.value).collect();
        values
    };
    assert_eq!(covered(), [0.0, 0.0]);
    origin.note_mode(Some(Mode::Tracking));
    origin.coverage.begin(Micros::NEVER);
    assert_eq!(covered(), [1.0, 0.0]);
    origin.coverage.lose();
    assert_eq!(covered(), [0.0, 0.0]);
    origin.note_mode(Some(Mode::Ttl));
    origin.coverage.begin(Micros::NEVER);
    assert_eq!(covered(), [0.0, 1.0]);
}
