//! What the format already knows and this version does not do yet: refused in words, never accepted and ignored.

use super::Config;
use super::check::Findings;
use super::fault::Path;
use super::upstream::Kind;

/// Every part of the configuration that is not served yet.
pub(super) fn findings(config: &Config) -> Findings {
    let mut findings = Findings::default();
    for (name, upstream) in &config.upstreams {
        if upstream.kind == Kind::RedisRing {
            findings.add(
                Path::of(["upstreams", name, "kind"]),
                format!("kind {} is not served by this version yet", upstream.kind.name()),
                "use kind redis, redis-cluster or redis-sentinel",
            );
        }
    }
    findings
}
