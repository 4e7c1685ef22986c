//! The near-cache, the limits and the workers: numbers that fit each other.

use super::Findings;
use crate::config::fault::{Path, Wrong};
use crate::config::upstream::{reason, shown_path};
use crate::config::{Config, Kind, Workers, units};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    near_cache(config, findings);
    limits(config, findings);
}

fn near_cache(config: &Config, findings: &mut Findings) {
    let path = Path::of(["near_cache"]);
    let cache = &config.near_cache;
    findings.at_least_one(path.key("max_memory"), cache.max_memory);
    findings.positive(path.key("ttl"), cache.ttl);
    findings.positive(path.key("untracked_ttl"), cache.untracked_ttl);
    if cache.ttl_jitter > 0.9 {
        findings.add(
            path.key("ttl_jitter"),
            format!("{} would let entries end at once", units::show_share(cache.ttl_jitter)),
            "write a share between 0% and 90%",
        );
    }
    if cache.max_entry > cache.max_memory {
        findings.because(
            path.key("max_entry"),
            vec![path.key("max_memory")],
            format!(
                "one entry of {} would not fit into max_memory, {}",
                units::show_size(cache.max_entry),
                units::show_size(cache.max_memory)
            ),
            "write a max_entry of at most max_memory; a hundredth of it is usual",
        );
    } else if cache.max_memory > 0 {
        findings.at_least_one(path.key("max_entry"), cache.max_entry);
    }
    if cache.warm_start {
        if !config.upstreams.is_empty() && config.upstreams.values().all(|upstream| upstream.kind == Kind::Memory) {
            findings.because(
                path.key("warm_start"),
                vec![Path::of(["upstreams"])],
                "kind memory is answered without the near-cache, so there would be nothing to keep",
                "remove it; the data of kind memory are gone when the process ends",
            );
        }
        findings.positive(path.key("snapshot_interval"), cache.snapshot_interval);
        if let Err(wrong) = place_of_snapshot(&cache.snapshot) {
            findings.add(path.key("snapshot"), wrong.problem, wrong.remedy);
        }
    }
}

/// Whether a file could stand there. That it can be written is seen at the start, by writing beside it.
fn place_of_snapshot(file: &std::path::Path) -> Result<(), Wrong> {
    const REMEDY: &str = "write the path of a file in a directory that is there and that Larder's user may write to";
    if file.file_name().is_none() || file.is_dir() {
        return Err(Wrong::new(format!("\"{}\" is a directory, not a file", shown_path(file)), REMEDY));
    }
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    };
    let problem = match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => "it is no directory".to_owned(),
        Ok(found) if found.permissions().readonly() => "nobody may write to it".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such directory".to_owned(),
        Err(error) => reason(&error),
    };
    Err(Wrong::new(format!("{} cannot hold the snapshot: {problem}", shown_path(directory)), REMEDY))
}

fn limits(config: &Config, findings: &mut Findings) {
    let path = Path::of(["limits"]);
    let limits = &config.limits;
    for (key, number) in [
        ("max_clients", limits.max_clients as u64),
        ("max_bulk", limits.max_bulk),
        ("max_args", limits.max_args as u64),
        ("max_request", limits.max_request),
        ("max_pipeline", limits.max_pipeline as u64),
        ("max_output", limits.max_output),
        ("max_subscriptions", limits.max_subscriptions as u64),
    ] {
        findings.at_least_one(path.key(key), number);
    }
    // The cap of Redis itself, and what keeps every length inside the decoder's integers.
    const MOST_BYTES: u64 = 1 << 46;
    for (key, number) in
        [("max_bulk", limits.max_bulk), ("max_request", limits.max_request), ("max_output", limits.max_output)]
    {
        if number > MOST_BYTES {
            findings.add(
                path.key(key),
                format!("{number} bytes are more than any machine has"),
                "write a size such as 512mb",
            );
        }
    }
    if limits.max_request < limits.max_bulk {
        findings.because(
            path.key("max_request"),
            vec![path.key("max_bulk")],
            format!(
                "a command of {} could not hold one argument of max_bulk, {}",
                units::show_size(limits.max_request),
                units::show_size(limits.max_bulk)
            ),
            "write a max_request of at least max_bulk",
        );
    }
    const MOST_WORKERS: usize = 1024;
    match config.workers {
        Workers::Fixed(0) => findings.add(
            Path::of(["workers"]),
            "0 workers would serve nobody",
            "write workers: auto, or a number of at least 1",
        ),
        Workers::Fixed(number) if number > MOST_WORKERS => findings.add(
            Path::of(["workers"]),
            format!("{number} workers are more than the {MOST_WORKERS} that make sense"),
            "write workers: auto for one on each core",
        ),
        Workers::Fixed(_) | Workers::Auto => {}
    }
}
