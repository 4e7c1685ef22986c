//! Routes: key pattern -> what may be done with such keys, compiled once per configuration.
//!
//! The pattern with the longest literal prefix wins. All routes lead to the one upstream of this version; what they
//! decide is whether and how long replies are cached.

use crate::cache::policy::Lifetime;
use crate::command::Spec;
use crate::config::Config;

/// The compiled routes.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// For keys that no pattern matches.
    rest: Policy,
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
    /// For how long.
    pub lifetime: Lifetime,
    /// Only these commands' replies, by lower-case name; every cacheable one if `None`.
    pub commands: Option<Vec<String>>,
}

impl Routes {
    /// Compiles the routes of a checked configuration.
    pub fn of(config: &Config) -> Self {
        let policy = |pattern: &str, route: Option<&crate::config::RouteCache>| Policy {
            pattern: pattern.to_owned(),
            cached: route.is_none_or(|route| route.enabled),
            lifetime: Lifetime::of(&config.near_cache, route),
            commands: route
                .and_then(|route| route.commands.as_ref())
                .map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect()),
        };
        let mut routes = Vec::new();
        for route in &config.routes {
            for pattern in &route.keys {
                routes.push(Route {
                    pattern: pattern.as_bytes().into(),
                    literal: pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len()),
                    policy: policy(pattern, Some(&route.cache)),
                });
            }
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.literal));
        Self { routes, rest: policy("", None) }
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
    /// Whether replies of this command may be cached under this route.
    #[inline]
    pub fn caches(&self, spec: &Spec) -> bool {
        self.cached && self.commands.as_ref().is_none_or(|names| names.iter().any(|name| **name == *spec.name))
    }
}
