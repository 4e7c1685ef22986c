//! What no compiler checks: who may know whom, how long a file may be, that documentation points at things that exist.
//!
//! The rules and their reasons are in `docs/design.md`. A rule that is in the way is changed here and there, in the open.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module of `src/` may import, in the order of the walk of a request. A dependency points down this
/// list; those that point up are the ones that [`UPWARD`] names.
const IMPORTS: &[(&str, &[&str])] = &[
    // The composition root.
    (
        "process",
        &[
            "logs",
            "admin",
            "app",
            "cache",
            "cli",
            "clock",
            "command",
            "config",
            "counters",
            "drain",
            "events",
            "handover",
            "history",
            "inbox",
            "inherited",
            "invalidation",
            "listener",
            "memory",
            "ladder",
            "learning",
            "orders",
            "origin",
            "pubsub",
            "report",
            "route",
            "rules",
            "security",
            "session",
            "snapshot",
            "supervisor",
            "systemd",
            "topology",
            "upstream",
            "worker",
            "tracking",
            "reload",
            "reloads",
            "traces",
        ],
    ),
    ("drain", &["app", "events", "inbox", "listener"]),
    ("handover", &["app", "events", "inherited", "listener"]),
    ("cli", &["command", "config", "health", "net"]),
    ("reload", &["app", "config", "events", "inbox", "orders", "systemd"]),
    ("systemd", &["app", "inherited"]),
    ("admin", &["app", "config", "metrics", "operator", "orders", "report", "rules"]),
    ("top", &["config", "report"]),
    // The walk.
    ("listener", &["logs", "app", "clock", "config", "inbox", "inherited", "net", "session"]),
    ("snapshot", &["app", "cache", "clock", "command", "config", "origin", "resp", "rules"]),
    ("topology", &["app", "config", "inbox", "origin", "resp", "upstream", "tracking"]),
    ("supervisor", &["app", "clock", "events", "ladder", "origin", "upstream"]),
    ("learning", &["app", "inbox", "origin", "upstream"]),
    (
        "worker",
        &[
            "logs",
            "app",
            "cache",
            "clock",
            "coherence",
            "command",
            "counters",
            "inbox",
            "origin",
            "pubsub",
            "resp",
            "session",
            "upstream",
            "rules",
            "config",
            "traces",
        ],
    ),
    (
        "session",
        &[
            "logs",
            "app",
            "cache",
            "clock",
            "coherence",
            "command",
            "config",
            "counters",
            "inbox",
            "ladder",
            "memory",
            "net",
            "operator",
            "origin",
            "pubsub",
            "report",
            "resp",
            "route",
            "security",
            "serve",
            "upstream",
            "worker",
            "tracking",
            "traces",
        ],
    ),
    (
        "serve",
        &[
            "logs",
            "app",
            "cache",
            "clock",
            "coherence",
            "command",
            "config",
            "ladder",
            "memory",
            "origin",
            "resp",
            "route",
            "session",
            "upstream",
            "worker",
            "tracking",
            "rules",
        ],
    ),
    (
        "coherence",
        &[
            "logs", "app", "cache", "clock", "command", "events", "faults", "inbox", "origin", "resp", "upstream",
            "tracking",
        ],
    ),
    ("tracking", &["app", "config", "inbox", "origin", "resp", "upstream"]),
    ("pubsub", &["app", "clock", "glob", "inbox", "origin", "resp", "upstream"]),
    // What they share.
    (
        "report",
        &[
            "app", "cache", "clock", "counters", "events", "history", "ladder", "memory", "metrics", "origin",
            "upstream",
        ],
    ),
    ("operator", &["logs", "app", "cache", "clock", "config", "events", "ladder", "origin"]),
    (
        "metrics",
        &["app", "cache", "clock", "counters", "invalidation", "ladder", "memory", "origin", "upstream", "rules"],
    ),
    ("invalidation", &["logs", "app", "cache", "clock", "config", "origin", "resp", "upstream"]),
    (
        "app",
        &[
            "logs",
            "cache",
            "clock",
            "command",
            "config",
            "counters",
            "events",
            "history",
            "inbox",
            "invalidation",
            "ladder",
            "memory",
            "orders",
            "origin",
            "pubsub",
            "resp",
            "route",
            "security",
            "session",
            "upstream",
            "tracking",
            "rules",
            "reloads",
            "traces",
        ],
    ),
    ("inbox", &["cache", "command", "listener", "origin", "resp"]),
    ("origin", &["cache", "clock", "coherence", "config", "ladder", "resp", "security", "upstream"]),
    ("rules", &["config", "ladder", "net", "route"]),
    // The components.
    ("security", &["clock", "config", "resp", "upstream"]),
    ("route", &["cache", "clock", "command", "config", "glob", "ladder", "resp"]),
    ("ladder", &["clock", "config"]),
    ("cache", &["clock", "command", "config"]),
    ("upstream", &["logs", "clock", "config", "keyvalue", "net", "resp"]),
    ("memory", &["glob", "keyvalue", "resp"]),
    ("keyvalue", &["resp"]),
    ("command", &["resp"]),
    ("resp", &["command"]),
    ("traces", &["clock", "config", "net"]),
    ("net", &["config"]),
    ("inherited", &["config"]),
    // Leaves.
    ("logs", &["config"]),
    ("config", &[]),
    ("health", &[]),
    ("history", &["counters"]),
    ("counters", &[]),
    ("events", &[]),
    ("orders", &[]),
    ("reloads", &[]),
    ("faults", &[]),
    ("clock", &[]),
    ("glob", &[]),
];

/// The imports that point up the list, each with what it is for.
const UPWARD: &[(&str, &str, &str)] = &[
    ("serve", "session", "the walk writes into the session that called it"),
    ("session", "worker", "a session finds lanes, buffers and counters at its worker"),
    ("serve", "worker", "a redirected command is sent on the worker's lane to another node"),
    ("origin", "coherence", "the tracked connection carries coherence's tags"),
    ("app", "session", "the list of clients"),
    ("app", "pubsub", "who is subscribed to what"),
    ("app", "tracking", "who wants to hear of changes"),
    ("app", "invalidation", "the channels on which changes are told"),
    ("inbox", "listener", "a letter may be an accepted client"),
    ("resp", "command", "how a reply is converted stands in the command's row (Shape)"),
];

/// What no change of the tables above may allow.
const NEVER: &[(&str, &[&str])] = &[
    ("upstream", &["app", "cache", "coherence", "inbox", "route", "serve", "session", "worker"]),
    (
        "cache",
        &["app", "coherence", "listener", "memory", "route", "security", "serve", "session", "upstream", "worker"],
    ),
    ("memory", &["app", "cache", "coherence", "serve", "session", "upstream", "worker"]),
];

/// A file of `src/` has at most so many lines; tests and data may be longer.
const MAX_LINES: usize = 500;

#[test]
fn modules_import_what_the_table_allows() {
    let mut faults = Vec::new();
    for file in sources() {
        let module = module(&file);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: module {module} is not in IMPORTS", shown(&file)));
            continue;
        };
        for import in imports(&production(&read(&file))) {
            // Re-exports of the crate's root and the module's own parts are no imports.
            if import != module && !allowed.contains(&import.as_str()) {
                faults.push(format!("{}: {module} imports {import}", shown(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_table_points_down_except_where_it_says_so() {
    let place =
        |name: &str| IMPORTS.iter().position(|(module, _)| *module == name).expect("every module is in IMPORTS");
    let mut upward = Vec::new();
    for (module, allowed) in IMPORTS {
        upward.extend(allowed.iter().filter(|import| place(import) < place(module)).map(|import| (*module, *import)));
    }
    let named: Vec<_> = UPWARD.iter().map(|(module, import, _)| (*module, *import)).collect();
    let sorted = |mut pairs: Vec<(&'static str, &'static str)>| {
        pairs.sort_unstable();
        pairs
    };
    assert_eq!(sorted(upward), sorted(named));
}

#[test]
fn the_table_keeps_the_contract() {
    for (module, allowed) in IMPORTS {
        assert!(
            !allowed.contains(&"admin") || *module == "process",
            "{module} may not import admin: only the composition root may"
        );
        let shows_figures = ["admin", "report"].contains(module);
        assert!(
            !allowed.contains(&"metrics") || shows_figures,
            "{module} may not import metrics: only who shows them may"
        );
        assert!(!allowed.contains(&"process"), "{module} may not import process: nothing lies above it");
        let never = NEVER.iter().filter(|(name, _)| name == module).flat_map(|(_, never)| never.iter());
        for import in never {
            assert!(!allowed.contains(import), "{module} may never import {import}");
        }
    }
    let config = IMPORTS.iter().find(|(name, _)| *name == "config");
    assert!(config.is_some_and(|(_, allowed)| allowed.is_empty()), "config is plain data and knows no component");
}

#[test]
fn no_source_file_is_too_long() {
    let long = sources().into_iter().filter_map(|file| {
        let lines = read(&file).lines().count();
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines", shown(&file)))
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "split what holds two ideas:\n{}", long.join("\n"));
}

/// A clock that is set back or forward must not lengthen the life of a cached reply: what judges ages knows only the
/// monotonic clock.
#[test]
fn nothing_that_judges_a_reply_looks_at_the_wall_clock() {
    const JUDGES: [&str; 9] =
        ["cache", "clock", "coherence", "inbox", "route", "serve", "session", "upstream", "worker"];
    let mut seen = 0;
    for file in sources().iter().filter(|file| JUDGES.contains(&module(file).as_str())) {
        let text = production(&read(file));
        for clock in ["SystemTime", "UNIX_EPOCH", "chrono"] {
            assert!(!text.contains(clock), "{} uses {clock}", shown(file));
        }
        // One reader of the monotonic clock too: everything else is told the time by it.
        let reads = text.contains("Instant::now");
        assert!(!reads || module(file) == "clock", "{} has a clock of its own", shown(file));
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut faults = Vec::new();
    for file in sources() {
        let text = production(&read(&file));
        let found = text.lines().filter(|line| line.contains(".unwrap()"));
        faults.extend(found.map(|line| format!("{}: {}", shown(&file), line.trim())));
    }
    assert!(faults.is_empty(), "use expect with the invariant, or handle it:\n{}", faults.join("\n"));
}

#[test]
fn no_note_to_oneself_and_no_path_of_one_machine_is_left() {
    // Put together here, so that this file does not hold them.
    let notes = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "XX".to_owned() + "X:"];
    let places = ["work", "tmp", "root"].map(|name| format!("/{name}/"));
    let mut faults = Vec::new();
    for file in tree() {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let found = notes.iter().chain(&places).find(|word| line.contains(word.as_str()));
            faults.extend(found.map(|word| format!("{}:{}: {word}", shown(&file), number + 1)));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    let mut faults = Vec::new();
    let mut links = 0;
    for page in tree().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let folder = page.parent().expect("a file lies in a folder");
        for link in targets(&read(&page)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { folder.join(path) };
            if !target.exists() {
                faults.push(format!("{}: there is no {link}", shown(&page)));
            } else if !anchor.is_empty() && !anchors(&read(&target)).contains(anchor) {
                faults.push(format!("{}: no heading for {link}", shown(&page)));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(links > 0, "no link was found at all");
}

// === the tree ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every file of the repository, without what tools have put there.
fn tree() -> Vec<PathBuf> {
    const NOT_OURS: [&str; 8] =
        [".git", "target", "node_modules", ".venv", "corpus", "artifacts", "__pycache__", "LICENSE"];
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the tree can be read").flatten() {
            let path = entry.path();
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The Rust files of `src/` that are no tests.
fn sources() -> Vec<PathBuf> {
    let tests = |file: &Path| {
        let inside = file.strip_prefix(root()).unwrap_or(file);
        inside.components().any(|part| part.as_os_str() == "tests")
            || ["tests.rs", "testing.rs", "golden.rs"].iter().any(|name| inside.ends_with(name))
    };
    let src = root().join("src");
    let rust = |file: &PathBuf| file.starts_with(&src) && file.extension().is_some_and(|extension| extension == "rs");
    tree().into_iter().filter(rust).filter(|file| !tests(file)).collect()
}

/// The module of `src/` that a file belongs to.
fn module(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).expect("a source file");
    let first = inside.components().next().expect("it has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// A source without its comments and its inline tests, which are the last thing in a file.
fn production(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The modules that a source names behind `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::` of another crate's macro, or a name that ends in crate.
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(name(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut fresh = true;
                for (at, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        _ if fresh && !character.is_whitespace() => {
                            found.insert(name(&group[at..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn name(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

// === Markdown ===

/// The text of a page outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !fence && !code
    })
}

/// Where the links of a page lead.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(rest.find(')').map(|end| rest[..end].to_owned()));
        }
    }
    found
}

/// The anchors that a page's headings make.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept =
            heading.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
        kept.map(|character| if character == ' ' { '-' } else { character }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn the_checks_see_what_they_look_for() {
    let source = "use crate::app::{App, Origin};\nuse crate::{\n    cache::{Entry, Fill},\n    net,\n};\nfn f() { crate::serve::go() }\n";
    let names: Vec<String> = imports(source).into_iter().collect();
    assert_eq!(names, ["app", "cache", "net", "serve"]);
    let page = "# A b, c\n[x](y.md#z) and [w](v)\n```\n[not](this)\n```\n";
    assert_eq!(targets(page), ["y.md#z", "v"]);
    assert!(anchors(page).contains("a-b-c"));
    assert_eq!(production("a\n// b\n#[cfg(test)]\nmod tests {\n"), "a\n");
}
