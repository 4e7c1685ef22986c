//! Two configurations side by side: what holds when one is loaded while the other runs, and what differs, in words.

use std::collections::BTreeMap;

use super::check;
use super::tree::{self, Entry, Node, Value};
use super::{Admin, Config, Log, NearCache, Traces, Upstream};

impl Config {
    /// What holds when `next` is loaded into a process that runs by `self`: what may change while it runs is `next`'s, everything else
    /// stays as it is until a restart.
    pub fn reloaded(&self, next: &Config) -> Config {
        let Config { listeners, upstreams, workers, admin, near_cache, handover, log, traces, .. } = self;
        // Whatever is not named here may change while the process runs.
        Config {
            listeners: listeners.clone(),
            upstreams: upstreams
                .iter()
                .map(|(name, now)| (name.clone(), now.reloaded(next.upstreams.get(name))))
                .collect(),
            workers: *workers,
            handover: handover.clone(),
            log: Log { format: log.format, level: next.log.level.clone() },
            traces: Traces { sample: next.traces.sample, ..traces.clone() },
            admin: Admin { address: admin.address, configured: admin.configured, token: next.admin.token.clone() },
            near_cache: NearCache {
                warm_start: near_cache.warm_start,
                snapshot: near_cache.snapshot.clone(),
                ..next.near_cache.clone()
            },
            ..next.clone()
        }
    }

    /// What is wrong with it as a whole, as `path: problem; remedy`. (What was read from a file has been checked; what
    /// [`Config::reloaded`] has put together has not.)
    pub fn faults(&self) -> Vec<String> {
        let faults = check::findings(self).0.into_iter();
        faults.map(|found| format!("{}: {}; {}", found.path, found.wrong.problem, found.wrong.remedy)).collect()
    }

    /// What is different in `next`, a line for each key, as `near_cache.ttl: 5m -> 1m`. Secrets are never shown.
    pub fn differences(&self, next: &Config) -> Vec<String> {
        let (before, after) = (leaves(self), leaves(next));
        let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        let differing: Vec<&String> = paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).collect();
        let mut lines = Vec::new();
        let mut told: Option<&str> = None;
        for path in differing {
            if told.is_some_and(|whole| path.starts_with(whole)) {
                continue;
            }
            // Of an item that is new or gone one line is enough.
            if let Some((whole, what)) = item_of(path, &before, &after) {
                lines.push(format!("{whole}: {what}"));
                told = Some(whole);
                continue;
            }
            let shown = |value: Option<&String>| value.map_or("(not set)", String::as_str).to_owned();
            lines.push(format!("{path}: {} -> {}", shown(before.get(path)), shown(after.get(path))));
        }
        for (name, upstream) in &self.upstreams {
            let other = next.upstreams.get(name).map(|other| &other.password);
            if other.is_some_and(|other| other.is_some() && upstream.password.is_some() && *other != upstream.password)
            {
                lines.push(format!("upstreams[{name}].password: changed (not shown)"));
            }
        }
        let (token, other) = (&self.admin.token, &next.admin.token);
        if token.is_some() && other.is_some() && token != other {
            lines.push("admin.token: changed (not shown)".to_owned());
        }
        lines
    }
}

impl Upstream {
    fn reloaded(&self, next: Option<&Upstream>) -> Upstream {
        let Some(next) = next else { return self.clone() };
        Upstream { max_leases: next.max_leases, max_redirections: next.max_redirections, ..self.clone() }
    }
}

/// The part of a path that is an item of a map of names or a list, if only one side has it; and which side that is.
fn item_of<'a>(
    path: &'a str,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Option<(&'a str, &'static str)> {
    let ends = path.char_indices().filter(|(_, c)| *c == ']').map(|(at, _)| at + 1);
    for end in ends {
        let whole = &path[..end];
        let there = |side: &BTreeMap<String, String>| {
            side.range(whole.to_owned()..).next().is_some_and(|(path, _)| path.starts_with(whole))
        };
        match (there(before), there(after)) {
            (false, true) => return Some((whole, "added")),
            (true, false) => return Some((whole, "removed")),
            _ => {}
        }
    }
    None
}

/// Every single value of a configuration by its path. What has a name of its own stands under it: `routes[session:*]`, `upstreams[main]`.
fn leaves(config: &Config) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    // What Display writes is YAML that this reads: a test sees to it.
    if let Ok(Some(tree)) = tree::read(&config.to_string()) {
        collect(&tree, "", &mut leaves);
    }
    leaves
}

fn collect(node: &Node, path: &str, leaves: &mut BTreeMap<String, String>) {
    match &node.value {
        Value::Map(entries) => {
            for Entry { key, node, .. } in entries {
                let named = matches!(path, "upstreams" | "ladders");
                let path = match path {
                    "" => key.clone(),
                    _ if named => format!("{path}[{key}]"),
                    _ => format!("{path}.{key}"),
                };
                collect(node, &path, leaves);
            }
        }
        Value::List(items) if items.iter().all(|item| scalar(&item.value).is_some()) => {
            let items: Vec<_> = items.iter().filter_map(|item| scalar(&item.value)).collect();
            leaves.insert(path.to_owned(), format!("[{}]", items.join(", ")));
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{path}[{}]", name_of(item).unwrap_or_else(|| index.to_string())), leaves);
            }
        }
        value => drop(leaves.insert(path.to_owned(), scalar(value).unwrap_or_default())),
    }
}

/// By what an item of a list is known: the keys of a route, the address of a listener.
fn name_of(item: &Node) -> Option<String> {
    let Value::Map(entries) = &item.value else { return None };
    let named = entries.iter().find(|entry| matches!(&*entry.key, "keys" | "address"))?;
    match &named.node.value {
        Value::List(keys) => Some(keys.iter().filter_map(|key| scalar(&key.value)).collect::<Vec<_>>().join(" ")),
        value => scalar(value),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BEFORE: &str = "
listeners: [{address: 127.0.0.1:6380}]
upstreams:
  main: {kind: redis, endpoints: [127.0.0.1:6379], password: \"a\", username: app, max_leases: 7}
routes:
  - {keys: [\"a:*\"], upstream: main, cache: {ttl: 60s}}
  - {keys: [\"b:*\"], upstream: main}
near_cache: {ttl: 5m}
admin: {token: t1}
workers: 2
";

    fn config(edits: &[(&str, &str)]) -> Config {
        let text = edits.iter().fold(BEFORE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        parse(&text, "test").expect("it is right")
    }

    #[test]
    fn nothing_differs_from_itself() {
        assert_eq!(config(&[]).differences(&config(&[])), Vec::<String>::new());
    }

    #[test]
    fn what_differs_is_one_line_each_and_names_the_key() {
        let next = config(&[
            ("60s", "30s"),
            ("near_cache: {ttl: 5m}", "near_cache: {max_entry: 64kb}"),
            ("workers: 2", "workers: 3"),
        ]);
        assert_eq!(
            config(&[]).differences(&next),
            ["near_cache.max_entry: 1mb -> 64kb", "routes[a:*].cache.ttl: 60s -> 30s", "workers: 2 -> 3"]
                .map(|line| line.replace("60s", "1m"))
        );
    }

    #[test]
    fn what_is_new_or_gone_is_one_line_whatever_it_holds() {
        let next = config(&[("  - {keys: [\"b:*\"]", "  - {keys: [\"c:*\", \"d\"]")]);
        assert_eq!(config(&[]).differences(&next), ["routes[b:*]: removed", "routes[c:* d]: added"]);
    }

    #[test]
    fn a_secret_that_changes_is_told_of_and_never_shown() {
        let lines = config(&[]).differences(&config(&[("\"a\"", "\"secret-b\"")]));
        assert_eq!(lines, ["upstreams[main].password: changed (not shown)"]);
        let next = config(&[("t1", "t2")]);
        assert_eq!(config(&[]).differences(&next), ["admin.token: changed (not shown)"]);
        assert_eq!(config(&[]).reloaded(&next), next, "it may change while the process runs");
    }

    #[test]
    fn what_needs_a_restart_stays_and_the_rest_is_taken() {
        let now = config(&[]);
        let next = config(&[
            ("60s", "30s"),
            ("workers: 2", "workers: 3"),
            ("6379]", "6399]"),
            ("max_leases: 7", "max_leases: 9"),
        ]);
        let holds = now.reloaded(&next);
        assert_eq!(now.differences(&holds), ["routes[a:*].cache.ttl: 1m -> 30s", "upstreams[main].max_leases: 7 -> 9"]);
        assert_eq!(
            holds.differences(&next),
            ["upstreams[main].endpoints: [127.0.0.1:6379] -> [127.0.0.1:6399]", "workers: 2 -> 3"]
        );
        assert!(holds.faults().is_empty(), "{:?}", holds.faults());
    }

    #[test]
    fn routes_to_an_upstream_that_the_process_lacks_are_found_out() {
        let next = config(&[
            ("keys: [\"b:*\"], upstream: main", "keys: [\"*\"], upstream: other"),
            ("max_leases: 7}", "max_leases: 7}\n  other: {kind: memory}"),
        ]);
        let faults = config(&[]).reloaded(&next).faults();
        assert!(
            faults.iter().any(|fault| fault.contains("routes[1].upstream") && fault.contains("other")),
            "{faults:?}"
        );
    }
}
