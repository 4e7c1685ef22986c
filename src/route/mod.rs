//! Routes: key pattern -> what may be done with such keys, compiled once per configuration.
//!
//! The pattern with the longest literal prefix wins. All routes lead to the one upstream of this version; what they
//! decide is whether and how long replies are cached.

use crate::cache::freshness::Leniency;
use crate::cache::policy::Lifetime;
use crate::clock::Micros;
use crate::command::Spec;
use crate::config::{self, Config, OnMiss, ReadFrom, Stale};
use crate::ladder::{Ladders, Rung, Standing};

/// The compiled routes.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// For keys that no pattern matches.
    rest: Policy,
    /// The ladders that some route names, each once, in order.
    ladders: Vec<usize>,
    /// Whether any route reads from replicas.
    pub replicas: bool,
}

#[derive(Debug)]
struct Route {
    pattern: Box<[u8]>,
    /// Bytes before the first wildcard.
    literal: usize,
    policy: Policy,
}

/// What may be done with the keys of a route.
#[derive(Debug)]
pub struct Policy {
    /// The pattern as it was written; empty for the default route.
    pub pattern: String,
    /// Whether replies are cached.
    pub cached: bool,
    /// Whether replicas are read from. What they say may be old, and is never cached.
    pub from_replicas: bool,
    /// For how long.
    pub lifetime: Lifetime,
    /// Number of its ladder.
    pub ladder: usize,
    /// What may be served that is not fresh.
    pub stale: Stale,
    /// For how long past its life a reply is served once more while it is fetched anew; zero: not at all.
    pub revalidate: Micros,
    /// While degraded, what is not cached is answered like a key that does not exist.
    pub nil_on_miss: bool,
    /// Only these commands' replies, by lower-case name; every cacheable one if `None`.
    pub commands: Option<Vec<String>>,
}

impl Routes {
    /// Compiles the routes of a checked configuration.
    pub fn of(config: &Config, ladders: &Ladders) -> Self {
        let policy = |pattern: &str, route: Option<&config::Route>| {
            let from_replicas = route.is_some_and(|route| route.read_from == ReadFrom::ReplicaPreferred);
            let cache = route.map(|route| &route.cache);
            Policy {
                pattern: pattern.to_owned(),
                cached: !from_replicas && cache.is_none_or(|cache| cache.enabled),
                from_replicas,
                lifetime: Lifetime::of(&config.near_cache, cache),
                ladder: ladders.number(route.map_or("default", |route| &route.ladder)),
                stale: route.map_or(Stale::Allowed, |route| route.stale),
                revalidate: cache
                    .filter(|_| route.is_none_or(|route| route.stale != Stale::Never))
                    .map_or(Micros(0), |cache| Micros::of(cache.stale_while_revalidate)),
                nil_on_miss: route.is_some_and(|route| route.on_miss == OnMiss::Nil),
                commands: cache
                    .and_then(|cache| cache.commands.as_ref())
                    .map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect()),
            }
        };
        let mut routes = Vec::new();
        for route in &config.routes {
            for pattern in &route.keys {
                routes.push(Route {
                    pattern: pattern.as_bytes().into(),
                    literal: pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len()),
                    policy: policy(pattern, Some(route)),
                });
            }
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.literal));
        let replicas = routes.iter().any(|route| route.policy.from_replicas);
        let rest = policy("", None);
        let mut ladders: Vec<usize> =
            routes.iter().map(|route: &Route| &route.policy).chain([&rest]).map(|policy| policy.ladder).collect();
        ladders.sort_unstable();
        ladders.dedup();
        Self { routes, rest, ladders, replicas }
    }

    /// The ladders that some route names, each once.
    pub fn ladders(&self) -> impl Iterator<Item = usize> {
        self.ladders.iter().copied()
    }

    /// The policy for keys that no route names, and for commands without keys.
    pub fn rest(&self) -> &Policy {
        &self.rest
    }

    /// The policy for a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> &Policy {
        if self.routes.is_empty() {
            return &self.rest;
        }
        let matches = |route: &&Route| {
            key.starts_with(&route.pattern[..route.literal])
                && (&route.pattern[route.literal..] == b"*" || crate::memory::glob::matches(&route.pattern, key))
        };
        self.routes.iter().find(matches).map_or(&self.rest, |route| &route.policy)
    }
}

impl Policy {
    /// What may be served on a rung; `None`: nothing but what is fresh. `refuses`: the client wants nothing else.
    pub fn leniency(&self, standing: &Standing, refuses: bool) -> Option<Leniency> {
        (self.stale != Stale::Never && !refuses).then(|| Leniency {
            max_stale: (standing.rung == Rung::StaleReadOnly).then_some(standing.max_stale),
            max_stale_negative: self.lifetime.negative_ttl,
            past_end: self.stale == Stale::PastExpiry,
        })
    }

    /// Whether replies of this command may be cached under this route.
    #[inline]
    pub fn caches(&self, spec: &Spec) -> bool {
        self.cached && self.commands.as_ref().is_none_or(|names| names.iter().any(|name| **name == *spec.name))
    }
}
