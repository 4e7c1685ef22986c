//! Routes and ladders: names that lead somewhere, patterns that stand once, steps that follow each other.

use super::Findings;
use crate::config::fault::{Path, nearest, shown};
use crate::config::{Config, Kind, Pattern, ReadFrom, Route, Rung};
use std::collections::HashMap;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    routes(config, findings);
    ladders(config, findings);
}

fn routes(config: &Config, findings: &mut Findings) {
    let upstreams = Path::of(["upstreams"]);
    if config.routes.is_empty() && config.upstreams.len() > 1 {
        let names: Vec<_> = config.upstreams.keys().map(String::as_str).collect();
        findings.add(
            Path::of(["routes"]),
            format!("there are {} upstreams ({}) and no routes", names.len(), short_list(&names)),
            "add routes that say which keys go where, the last one with keys: [\"*\"]",
        );
    }
    let mut seen = Patterns::default();
    for (index, route) in config.routes.iter().enumerate() {
        let path = Path::of(["routes"]).index(index);
        if !config.upstreams.contains_key(&route.upstream) {
            // With faulty upstreams the name may be one that was refused above.
            let because = if config.upstreams.is_empty() { vec![upstreams.clone()] } else { Vec::new() };
            let (problem, remedy) = unknown("upstream", &route.upstream, config.upstreams.keys());
            findings.because(path.key("upstream"), because, problem, remedy);
        }
        if !config.ladders.contains_key(&route.ladder) {
            let (problem, remedy) = unknown("ladder", &route.ladder, config.ladders.keys());
            findings.add(path.key("ladder"), problem, remedy);
        }
        for (number, pattern) in route.keys.iter().enumerate() {
            seen.add(pattern, Route::pattern_path(index, number), findings);
        }
        if let Some(ttl) = route.cache.ttl {
            findings.positive(path.key("cache").key("ttl"), ttl);
        }
        if route.cache.commands.as_ref().is_some_and(Vec::is_empty) {
            findings.add(
                path.key("cache").key("commands"),
                "the list is empty, so nothing would be cached",
                "write enabled: false, or leave commands out to cache all of them",
            );
        }
        if let Some(upstream) = config.upstreams.get(&route.upstream)
            && route.read_from == ReadFrom::ReplicaPreferred
        {
            let remedy = match upstream.kind {
                Kind::Redis if upstream.replicas.is_empty() => {
                    "add replicas: [host:port] to the upstream, or write read_from: primary"
                }
                Kind::Memory | Kind::Memcached | Kind::RedisRing => "write read_from: primary",
                // Cluster and Sentinel tell which replicas there are.
                Kind::Redis | Kind::RedisCluster | Kind::RedisSentinel => continue,
            };
            findings.because(
                path.key("read_from"),
                vec![upstreams.key(&route.upstream).key("replicas"), upstreams.key(&route.upstream).key("kind")],
                format!("upstream {} has no replicas", route.upstream),
                remedy,
            );
        }
    }
}

/// The patterns so far, by what decides between them: the literal beginning, and whether they are one key.
#[derive(Default)]
struct Patterns<'a>(HashMap<(Vec<u8>, bool), (&'a str, Pattern, Path)>);

impl<'a> Patterns<'a> {
    /// Two patterns that nothing decides between would leave it to their order in the file which route a key takes.
    fn add(&mut self, text: &'a str, place: Path, findings: &mut Findings) {
        // A pattern that could not be read is empty, and has been reported.
        if text.is_empty() {
            return;
        }
        let pattern = Pattern::of(text);
        let rank = (pattern.literal.clone(), pattern.is_exact());
        let Some((first, same, at)) = self.0.get(&rank) else {
            self.0.insert(rank, (text, pattern, place));
            return;
        };
        if *same == pattern {
            let problem = format!("the pattern \"{}\" is already {at}", shown(text));
            findings.because(place, vec![at.clone()], problem, "remove one of the two; a key can have but one route");
            return;
        }
        let beginning = match pattern.literal.as_slice() {
            [] => "both begin with a wildcard".to_owned(),
            literal => format!("before its first wildcard each has \"{}\"", shown(&String::from_utf8_lossy(literal))),
        };
        findings.because(
            place,
            vec![at.clone()],
            format!("the pattern \"{}\" ties with \"{}\", which is {at}: {beginning}", shown(text), shown(first)),
            "the longest text before the first wildcard decides: lengthen it in one of the two, or keep but one",
        );
    }
}

/// The words for a name that leads nowhere.
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String> + Clone) -> (String, String) {
    let names: Vec<&str> = known.map(String::as_str).collect();
    let problem = format!("there is no {what} named \"{}\"", shown(name));
    let remedy = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the {what}s are {}", short_list(&names)),
    };
    (problem, remedy)
}

fn short_list(names: &[&str]) -> String {
    const MOST: usize = 8;
    let mut list = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        list.push_str(", ...");
    }
    list
}

fn ladders(config: &Config, findings: &mut Findings) {
    for (name, steps) in &config.ladders {
        let path = Path::of(["ladders", name]);
        if steps.is_empty() {
            findings.add(path.clone(), "the ladder has no steps", "add a step such as - {rung: reject}");
        }
        let mut seen = HashMap::new();
        for (index, step) in steps.iter().enumerate() {
            let path = path.index(index);
            let rung = step.rung.name();
            let because = vec![path.key("rung")];
            if let Some(first) = seen.insert(rung, index) {
                findings.add(path.key("rung"), format!("{rung} is already step [{first}]"), "name each rung once");
            }
            match step.lasts {
                Some(lasts) => findings.positive(path.key("for"), lasts),
                None if index + 1 < steps.len() => findings.because(
                    path.key("for"),
                    because.clone(),
                    format!("{rung} does not say how long it lasts, and steps follow it"),
                    "add for: 30s; only the last step goes on without end",
                ),
                None => {}
            }
            if step.max_stale.is_some() && step.rung != Rung::StaleReadOnly {
                findings.because(
                    path.key("max_stale"),
                    because.clone(),
                    format!("max_stale says nothing about {rung}"),
                    "remove it; it belongs to stale-read-only",
                );
            }
            match step.timeout {
                Some(timeout) if step.rung == Rung::Passthrough => findings.positive(path.key("timeout"), timeout),
                Some(_) => findings.because(
                    path.key("timeout"),
                    because,
                    format!("timeout says nothing about {rung}"),
                    "remove it; it belongs to passthrough",
                ),
                None => {}
            }
        }
    }
}
