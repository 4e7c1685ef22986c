//! How much the near-cache may hold, and how long an entry may live in it.

use super::fault::Wrong;
use super::listener::path;
use super::section::Section;
use super::units;
use std::path::PathBuf;
use std::time::Duration;

/// The near-cache of the whole process.
#[derive(Clone, Debug, PartialEq)]
pub struct NearCache {
    /// Bytes for all entries with their keys and overhead. Default: 256mb.
    pub max_memory: u64,
    /// Largest entry in bytes; larger replies pass uncached. Default: 1mb, or `max_memory` where that is less.
    pub max_entry: u64,
    /// Longest life of an entry. Default: 5m: with invalidations it only bounds what a lost one could cost.
    pub ttl: Duration,
    /// Share of its life by which an entry ends earlier, at random, so that entries made together do not end together; 0 to
    /// 0.9. Default: 0.1 (10%).
    pub ttl_jitter: f64,
    /// Longest life of a reply that says there is nothing; 0s caches none. Default: 5s.
    pub negative_ttl: Duration,
    /// Longest life of an entry where nothing pushes invalidations (`coherence: ttl`). Default: 1s.
    pub untracked_ttl: Duration,
    /// Keep a snapshot of the near-cache on disk, so that a Larder that starts while the upstream is down has something to answer
    /// with. Default: false, because the file holds users' data as they are.
    pub warm_start: bool,
    /// The snapshot's file. Default: `larder.snapshot` in the working directory.
    pub snapshot: PathBuf,
    /// Time between two snapshots; one more is written at the end. Default: 60s: what a crash costs at most.
    pub snapshot_interval: Duration,
}

// === impl NearCache ===

impl Default for NearCache {
    fn default() -> NearCache {
        NearCache {
            max_memory: 256 << 20,
            max_entry: 1 << 20,
            ttl: Duration::from_secs(300),
            ttl_jitter: 0.1,
            negative_ttl: Duration::from_secs(5),
            untracked_ttl: Duration::from_secs(1),
            warm_start: false,
            snapshot: PathBuf::from("larder.snapshot"),
            snapshot_interval: Duration::from_secs(60),
        }
    }
}

impl NearCache {
    pub(super) fn read(mut section: Section<'_>) -> NearCache {
        let default = NearCache::default();
        let warm_start = section.optional("warm_start", units::flag);
        let max_memory = section.value("max_memory", default.max_memory, units::size);
        let near_cache = NearCache {
            max_memory,
            // A small cache alone must not make the default of another key wrong.
            max_entry: section.value("max_entry", default.max_entry.min(max_memory), units::size),
            ttl: section.value("ttl", default.ttl, units::duration),
            ttl_jitter: section.value("ttl_jitter", default.ttl_jitter, units::share),
            negative_ttl: section.value("negative_ttl", default.negative_ttl, units::duration),
            untracked_ttl: section.value("untracked_ttl", default.untracked_ttl, units::duration),
            warm_start: warm_start.unwrap_or(default.warm_start),
            snapshot: section.value("snapshot", default.snapshot, path),
            snapshot_interval: section.value("snapshot_interval", default.snapshot_interval, units::duration),
        };
        let off = warm_start == Some(false) || !section.has("warm_start");
        for key in ["snapshot", "snapshot_interval"] {
            if off && section.has(key) {
                let problem = format!("{key} says nothing without warm_start");
                section.report(key, Wrong::new(problem, "add warm_start: true, or remove it"));
            }
        }
        section.finish();
        near_cache
    }
}
