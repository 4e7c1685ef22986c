//! Invalidation channels: told by an upstream that can, of keys that need it.

use super::Findings;
use super::routes::unknown;
use crate::config::fault::Path;
use crate::config::{Coherence, Config, Kind};
use std::collections::HashMap;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut seen = HashMap::new();
    for (name, upstream) in &config.upstreams {
        let Some(invalidation) = &upstream.invalidation else { continue };
        let section = Path::of(["upstreams", name, "invalidation"]);
        let kind = Path::of(["upstreams", name, "kind"]);
        match upstream.kind {
            Kind::Memory => findings.because(
                section.clone(),
                vec![kind],
                "kind memory needs no invalidation: its data are in this process alone",
                "remove it",
            ),
            Kind::Redis | Kind::RedisSentinel | Kind::RedisCluster | Kind::RedisRing
                if upstream.coherence != Coherence::Ttl =>
            {
                findings.because(
                    section.clone(),
                    vec![kind, Path::of(["upstreams", name, "coherence"])],
                    "these servers tell of changes themselves (CLIENT TRACKING), to which a channel adds nothing",
                    "remove it, or write coherence: ttl for servers that cannot",
                );
            }
            _ => {}
        }
        if invalidation.delete && upstream.kind != Kind::Memcached {
            findings.because(
                section.key("delete"),
                vec![Path::of(["upstreams", name, "kind"])],
                "delete belongs to kind memcached: whoever tells of a change in a Redis has made it there",
                "remove it",
            );
        }
        let place = (&invalidation.upstream, &invalidation.channel);
        if let Some(first) = seen.insert(place, name) {
            findings.add(
                section.key("channel"),
                format!(
                    "this is also the channel of upstream {first}: keys of one would be taken for keys of the other"
                ),
                "write a channel for each upstream",
            );
        }
        let path = section.key("upstream");
        match config.upstreams.get(&invalidation.upstream) {
            // (An empty one is missing, and has been reported.)
            None => {
                let (problem, remedy) = unknown("upstream", &invalidation.upstream, config.upstreams.keys());
                findings.because(path, vec![Path::of(["upstreams"])], problem, remedy);
            }
            Some(via) if matches!(via.kind, Kind::Memory | Kind::Memcached | Kind::RedisRing) => findings.because(
                path,
                vec![Path::of(["upstreams", &invalidation.upstream, "kind"])],
                format!(
                    "upstream {} does not pass messages on to everybody: it is of kind {}",
                    invalidation.upstream,
                    via.kind.name()
                ),
                "name one of kind redis, redis-sentinel or redis-cluster",
            ),
            Some(_) => {}
        }
    }
}
