//! Which keys go where, and how they are cached.

use super::fault::{Faults, Path, Wrong, shown};
use super::pattern;
use super::section::{Item, Section};
use super::tree::Value;
use super::units;
use std::time::Duration;

/// The policy of a set of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Patterns as in Redis globs: literal text with `*` (any text) and `?` (one byte), `\` before a character that is meant
    /// literally. Required.
    pub keys: Vec<String>,
    /// The upstream's name. Default: the only one; required where there are several.
    pub upstream: String,
    /// The near-cache for these keys.
    pub cache: RouteCache,
    /// The ladder's name. Default: `default`.
    pub ladder: String,
    /// Whether a degraded answer may be stale. Default: allowed, but not past the expiry that the key itself has. Choose never for
    /// locks, counters and the like, past-expiry for what is better late than missing.
    pub stale: Stale,
    /// What a miss answers while degraded. Default: error. Choose nil where the application treats a miss as normal.
    pub on_miss: OnMiss,
    /// Where reads go. Default: primary.
    pub read_from: ReadFrom,
}

/// The near-cache for the keys of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCache {
    /// Whether anything is cached. Default: true.
    pub enabled: bool,
    /// Longest life of an entry. Default (`None`): `near_cache.ttl`.
    pub ttl: Option<Duration>,
    /// Longest life of a reply that says there is nothing. Default (`None`): `near_cache.negative_ttl`.
    pub negative_ttl: Option<Duration>,
    /// Time after the end of its life in which an entry is still served while it is fetched anew. Default: 0s, never.
    pub stale_while_revalidate: Duration,
    /// Only these commands are cached, in upper case. Default (`None`): every cacheable one.
    pub commands: Option<Vec<String>>,
}

/// Whether a degraded answer may be stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// As the ladder says, but never past the expiry that the key itself has at the origin.
    Allowed,
    /// As the ladder says, also past the key's own expiry.
    PastExpiry,
    /// Not for these keys.
    Never,
}

/// What a miss answers while degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMiss {
    /// An error that names the upstream.
    Error,
    /// The reply of a key that does not exist.
    Nil,
}

/// Where reads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Always the primary.
    Primary,
    /// A replica where one is up; its replies are never cached as fresh.
    ReplicaPreferred,
}

pub(super) const STALES: [(&str, Stale); 3] =
    [("allowed", Stale::Allowed), ("past-expiry", Stale::PastExpiry), ("never", Stale::Never)];
pub(super) const ON_MISSES: [(&str, OnMiss); 2] = [("error", OnMiss::Error), ("nil", OnMiss::Nil)];
pub(super) const READ_FROMS: [(&str, ReadFrom); 2] =
    [("primary", ReadFrom::Primary), ("replica-preferred", ReadFrom::ReplicaPreferred)];

// === impl Route ===

impl Route {
    /// Every key to this upstream with the default policy.
    pub fn everything_to(upstream: &str) -> Route {
        Route {
            keys: vec!["*".to_owned()],
            upstream: upstream.to_owned(),
            cache: RouteCache::default(),
            ladder: "default".to_owned(),
            stale: Stale::Allowed,
            on_miss: OnMiss::Error,
            read_from: ReadFrom::Primary,
        }
    }

    /// Reads a route; `only` is the upstream's name where there is but one.
    pub(super) fn read(item: Item<'_>, only: Option<&str>, faults: &Faults) -> Route {
        const KEYS: &str = "write a list such as [\"session:*\"]";
        let mut section = Section::open(item.node, item.path, item.mark, faults);
        let default = Route::everything_to(only.unwrap_or_default());
        let keys = section.required_list("keys", KEYS);
        if keys.is_empty() && section.has("keys") && !faults.touches(&section.path().key("keys")) {
            section.report("keys", Wrong::new("the list is empty", KEYS));
        }
        // A faulty pattern keeps its place, so that later faults name the right index.
        let keys = keys.into_iter().map(|item| match pattern::read(&item.node.value) {
            Ok(pattern) => pattern,
            Err(wrong) => {
                faults.report(item.path, item.mark, wrong);
                String::new()
            }
        });
        let keys = keys.collect();
        let upstream = match only {
            Some(_) => section.optional("upstream", units::text),
            None => section.required("upstream", "add the name of one of the upstreams", units::text),
        };
        let route = Route {
            keys,
            upstream: upstream.unwrap_or(default.upstream),
            cache: RouteCache::read(section.section("cache")),
            ladder: section.value("ladder", default.ladder, units::text),
            stale: section.value("stale", default.stale, |value| units::choice(value, &STALES)),
            on_miss: section.value("on_miss", default.on_miss, |value| units::choice(value, &ON_MISSES)),
            read_from: section.value("read_from", default.read_from, |value| units::choice(value, &READ_FROMS)),
        };
        section.finish();
        route
    }

    /// Where the pattern at this place of the list stands in the file.
    pub(super) fn pattern_path(route: usize, pattern: usize) -> Path {
        Path::of(["routes"]).index(route).key("keys").index(pattern)
    }
}

// === impl RouteCache ===

impl Default for RouteCache {
    fn default() -> RouteCache {
        RouteCache {
            enabled: true,
            ttl: None,
            negative_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            commands: None,
        }
    }
}

impl RouteCache {
    fn read(mut section: Section<'_>) -> RouteCache {
        let default = RouteCache::default();
        let cache = RouteCache {
            enabled: section.value("enabled", default.enabled, units::flag),
            ttl: section.optional("ttl", units::duration),
            negative_ttl: section.optional("negative_ttl", units::duration),
            stale_while_revalidate: section.value(
                "stale_while_revalidate",
                default.stale_while_revalidate,
                units::duration,
            ),
            commands: section.values("commands", "write a list such as [GET, MGET]", command),
        };
        section.finish();
        cache
    }
}

/// One command name; whether it exists is known to the command table alone.
fn command(value: &Value) -> Result<String, Wrong> {
    let text = units::text(value)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if text.len() <= 64 && text.bytes().all(allowed) {
        return Ok(text.to_ascii_uppercase());
    }
    Err(Wrong::new(format!("\"{}\" is not a command name", shown(&text)), "write a name such as GET"))
}
