//! Routes: key pattern -> what may be done with such keys, compiled once per configuration.
//!
//! Which pattern wins is told in [`tree`]. A route says to which upstream its keys belong, whether and how long
//! replies are cached, and what becomes of them while a server is down.

pub mod tree;

use self::tree::Tree;
use crate::cache::freshness::Leniency;
use crate::cache::policy::Lifetime;
use crate::clock::Micros;
use crate::command::{Flags, Spec, for_each_key};
use crate::config::{self, Config, Kind, OnMiss, Pattern, ReadFrom, Stale};
use crate::ladder::{Ladders, Rung, Standing};
use crate::resp::Command;

/// The compiled routes.
#[derive(Debug)]
pub struct Routes {
    tree: Tree,
    /// What the patterns of the tree lead to.
    policies: Box<[Policy]>,
    /// For keys that no pattern matches.
    rest: Policy,
    /// The ladders that some route names, each once, in order.
    ladders: Vec<usize>,
    /// Whether any route reads from replicas.
    pub replicas: bool,
    home: u16,
    several: bool,
}

/// Where a command is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// By the home upstream: it names no key.
    Home,
    /// By this upstream.
    One(u16),
    /// By several: its keys lie on these two, and perhaps on others.
    Several(u16, u16),
    /// No route leads from the key in this place of the command.
    Nowhere(usize),
}

/// What may be done with the keys of a route.
#[derive(Debug)]
pub struct Policy {
    /// The pattern as it was written; empty for the default route.
    pub pattern: String,
    /// The number of the upstream that its keys belong to; `None`: to none, as no route names them.
    pub upstream: Option<u16>,
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
    /// Compiles the routes of a checked configuration. Commands that name no key go to `home`.
    pub fn of(config: &Config, ladders: &Ladders, home: u16) -> Self {
        let policy = |pattern: &str, route: Option<&config::Route>| {
            let from_replicas = route.is_some_and(|route| route.read_from == ReadFrom::ReplicaPreferred);
            let cache = route.map(|route| &route.cache);
            Policy {
                pattern: pattern.to_owned(),
                upstream: match route {
                    Some(route) => number_of(config, &route.upstream),
                    None => (config.upstreams.len() == 1).then_some(0),
                },
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
        let (mut patterns, mut policies) = (Vec::new(), Vec::new());
        for route in &config.routes {
            for pattern in &route.keys {
                patterns.push(Pattern::of(pattern));
                policies.push(policy(pattern, Some(route)));
            }
        }
        let replicas = policies.iter().any(|policy: &Policy| policy.from_replicas);
        let rest = policy("", None);
        let mut ladders: Vec<usize> = policies.iter().chain([&rest]).map(|policy| policy.ladder).collect();
        ladders.sort_unstable();
        ladders.dedup();
        let (tree, policies) = (Tree::of(&patterns), policies.into());
        Self { tree, policies, rest, ladders, replicas, home, several: config.upstreams.len() > 1 }
    }

    /// Where a command is to be served.
    #[inline]
    pub fn destination(&self, spec: &Spec, command: &Command<'_>) -> Destination {
        if self.several { self.by_keys(spec, command) } else { Destination::One(self.home) }
    }

    fn by_keys(&self, spec: &Spec, command: &Command<'_>) -> Destination {
        let mut found = Destination::Home;
        // (The names of shard channels are no keys: they stand where the messages are.)
        let channels = spec.flags.has(Flags::PUBSUB);
        for_each_key(spec, command, |at, _| {
            let upstream = if channels { Some(self.home) } else { self.find(command.arg(at)).upstream };
            found = match (found, upstream) {
                (Destination::Nowhere(first), _) => Destination::Nowhere(first),
                (_, None) => Destination::Nowhere(at),
                (Destination::Home, Some(upstream)) => Destination::One(upstream),
                (Destination::One(first), Some(other)) if first != other => Destination::Several(first, other),
                (before, _) => before,
            };
        });
        found
    }

    /// The upstream that a key belongs to; of one that no route names, the home upstream.
    #[inline]
    pub fn upstream_of(&self, key: &[u8]) -> u16 {
        if self.several { self.find(key).upstream.unwrap_or(self.home) } else { self.home }
    }

    /// Whether replies of every key are admitted alike under both.
    pub fn same_admission(&self, other: &Self) -> bool {
        let alike = |(mine, others): (&Policy, &Policy)| mine.pattern == others.pattern && mine.admits_like(others);
        self.policies.len() == other.policies.len()
            && self.policies.iter().zip(&other.policies).all(alike)
            && self.rest.admits_like(&other.rest)
    }

    /// Whether replies of a key are admitted alike under both.
    pub fn admit_alike(&self, other: &Self, key: &[u8]) -> bool {
        self.find(key).admits_like(other.find(key))
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
        self.tree.find(key).map_or(&self.rest, |number| &self.policies[number])
    }

    /// The patterns whose literal beginning is the key's, in the order in which they are tried, and whether each matches; the first
    /// that does wins.
    pub fn tried<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a Policy, bool)> + 'a {
        self.tree.tried(key).map(|(number, matches)| (&self.policies[number], matches))
    }
}

/// The place of an upstream's name in the list of them all.
fn number_of(config: &Config, name: &str) -> Option<u16> {
    config.upstreams.keys().position(|known| known == name).and_then(|number| u16::try_from(number).ok())
}

/// The upstream for what concerns no key: that of the route `*`, else the first of a Redis kind, else the first.
pub fn home(config: &Config) -> u16 {
    let of_everything =
        config.routes.iter().find(|route| route.keys.iter().any(|pattern| Pattern::of(pattern).is_everything()));
    let redis = || {
        let is_redis = |kind: Kind| !matches!(kind, Kind::Memory | Kind::Memcached);
        let mut routed = config.routes.iter().filter_map(|route| config.upstreams.get_key_value(&route.upstream));
        routed.find(|(_, upstream)| is_redis(upstream.kind)).map(|(name, _)| &**name)
    };
    let name = of_everything.map(|route| &*route.upstream).or_else(redis);
    name.and_then(|name| number_of(config, name)).unwrap_or(0)
}

impl Policy {
    /// Whether both let the same replies into the cache, for as long, from the same upstream. (What is served of them, and when, is judged
    /// when it is asked for.)
    fn admits_like(&self, other: &Self) -> bool {
        self.upstream == other.upstream
            && self.cached == other.cached
            && self.lifetime == other.lifetime
            && self.commands == other.commands
    }

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
