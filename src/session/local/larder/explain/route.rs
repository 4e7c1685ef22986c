//! Which route a key takes and why, in words.

use super::{seconds, shown};
use crate::app::App;
use crate::command::Spec;
use crate::config::{Pattern, Stale};
use crate::route::Policy;

/// Patterns that were tried in vain and are named; of more, the rest is counted.
const SHOWN: usize = 4;

/// The route of a key, why it is taken, and what it says of the near-cache.
pub(super) fn about(app: &App, key: &[u8]) -> String {
    format!("{}, {}", choice(app, key), life(app.rules().routes.find(key)))
}

/// The route of a key and why it is taken; and whither it leads, where there are several upstreams.
pub(super) fn choice(app: &App, key: &[u8]) -> String {
    let rules = app.rules();
    let policy = rules.routes.find(key);
    let in_vain = in_vain(app, key);
    let pattern = if policy.pattern.is_empty() {
        format!("the default (no pattern matches{in_vain})")
    } else if Pattern::of(&policy.pattern).is_exact() {
        format!("{} (the key itself)", shown(policy.pattern.as_bytes()))
    } else {
        format!("{} (longest literal prefix{in_vain})", shown(policy.pattern.as_bytes()))
    };
    match policy.upstream {
        Some(number) if app.several => format!("{pattern}, upstream {}", app.upstream_name(number)),
        None if app.several => format!("{pattern}, no upstream"),
        _ => pattern,
    }
}

/// The names of the upstreams that serve a command which is told to all of them.
pub(super) fn all_that_serve(app: &App, spec: &Spec) -> String {
    let serving = app.names.iter().zip(&app.upstreams).filter(|(_, backend)| backend.serves(spec));
    serving.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The patterns with a longer literal prefix whose rest is not the key's.
fn in_vain(app: &App, key: &[u8]) -> String {
    let rules = app.rules();
    let failed = rules.routes.tried(key).take_while(|(_, matches)| !matches);
    let failed: Vec<&str> = failed.map(|(policy, _)| policy.pattern.as_str()).collect();
    if failed.is_empty() {
        return String::new();
    }
    let more = match failed.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<String> = failed.iter().take(SHOWN).map(|pattern| shown(pattern.as_bytes())).collect();
    format!("; not {}{more}", names.join(", "))
}

/// Whether and for how long replies are cached.
fn life(policy: &Policy) -> String {
    if !policy.cached {
        return "not cached".to_owned();
    }
    let life = &policy.lifetime;
    let stale = match policy.stale {
        Stale::Allowed => "",
        Stale::PastExpiry => ", stale also past its expiry",
        Stale::Never => ", never stale",
    };
    format!("cached for at most {} (what is not there: {}){stale}", seconds(life.ttl), seconds(life.negative_ttl))
}
