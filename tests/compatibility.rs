//! What the documentation says of every command is what the command table says: the tables of `docs/compatibility.md`
//! and the counts in `README.md` are written by this test.
//!
//! Each stands between `<!-- generated: NAME -->` and `<!-- end -->`. When the table has changed,
//! `LARDER_WRITE_DOCS=1 cargo test --test compatibility` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use larder::command::{RequestPolicy, ResponsePolicy, Spec, Table, Way};
use larder::memory::Memory;
use larder::session::local::pubsub::is_of_hub;

/// The groups, in the order of the page: a title and the ACL categories that belong to it. The first that fits counts.
const GROUPS: &[(&str, &[&str])] = &[
    ("Strings", &["@string"]),
    ("Bitmaps", &["@bitmap"]),
    ("HyperLogLog", &["@hyperloglog"]),
    ("Hashes", &["@hash"]),
    ("Lists", &["@list"]),
    ("Sets", &["@set"]),
    ("Geo", &["@geo"]),
    ("Sorted sets", &["@sortedset"]),
    ("Streams", &["@stream"]),
    ("Transactions", &["@transaction"]),
    ("Publish, subscribe", &["@pubsub"]),
    ("Scripts, functions", &["@scripting"]),
    ("Connection", &["@connection"]),
    ("Keys", &["@keyspace"]),
    ("Server", &[]),
];

/// How a command is served, as the documentation calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Cached,
    Forwarded,
    Admin,
    Leased,
    Local,
    Refused,
}

impl Category {
    const ALL: [Self; 6] = [Self::Cached, Self::Forwarded, Self::Admin, Self::Leased, Self::Local, Self::Refused];

    fn of(spec: &Spec) -> Self {
        match (spec.way, spec.cacheable) {
            _ if spec.admin => Self::Admin,
            (Way::Forward, Some(_)) => Self::Cached,
            (Way::Forward, None) => Self::Forwarded,
            (Way::Leased(_), _) => Self::Leased,
            (Way::Local(_), _) => Self::Local,
            (Way::Refused, _) => Self::Refused,
        }
    }

    /// The heading on the page, without its count.
    fn title(self) -> &'static str {
        match self {
            Self::Cached => "Cached",
            Self::Forwarded => "Forwarded",
            Self::Admin => "Forwarded with `allow_admin: true`",
            Self::Leased => "On a connection of its own",
            Self::Local => "Answered by Larder",
            Self::Refused => "Refused",
        }
    }

    /// One cell of the README.
    fn meaning(self) -> &'static str {
        match self {
            Self::Cached => "reads whose replies the near-cache keeps",
            Self::Forwarded => "sent to the origin as they came, the reply returned as it comes",
            Self::Admin => {
                "administration of the servers, refused otherwise: CONFIG SET, SHUTDOWN, DEBUG, ACL SETUSER, SLOWLOG, ..."
            }
            Self::Leased => {
                "sent to the origin on a connection that the client has to itself: MULTI, WATCH, BLPOP, WAIT, MONITOR, ..."
            }
            Self::Local => {
                "about the connection or about Larder itself: HELLO, AUTH, SELECT, SUBSCRIBE, CLIENT, CLUSTER, COMMAND, ..."
            }
            Self::Refused => "would change a connection that clients share: PSYNC, REPLCONF, SCRIPT DEBUG, ...",
        }
    }
}

/// Everything that can be called: subcommands in the place of their container.
fn callable(table: &Table) -> Vec<&Spec> {
    let mut all: Vec<&Spec> = Vec::new();
    for spec in table.iter() {
        // COMMAND is a command as well as a container.
        if spec.subcommands.is_empty() || spec.admits(1) {
            all.push(spec);
        }
        all.extend(spec.subcommands.iter().map(|sub| &**sub));
    }
    all
}

fn group(spec: &Spec) -> &'static str {
    if spec.name.starts_with("larder") {
        return "Larder";
    }
    let of = |words: &[&str]| spec.categories.iter().any(|category| words.contains(&&**category));
    GROUPS.iter().find(|(_, words)| words.is_empty() || of(words)).map_or("Server", |(title, _)| title)
}

/// A Markdown table of the commands, a row for each group.
fn by_group<'a>(commands: impl Iterator<Item = &'a Spec> + Clone) -> String {
    let mut text = String::from("| group | commands |\n|---|---|\n");
    for title in GROUPS.iter().map(|(title, _)| *title).chain(["Larder"]) {
        let names: Vec<String> = commands
            .clone()
            .filter(|spec| group(spec) == title)
            .map(|spec| spec.name.replace('|', " ").to_ascii_uppercase())
            .collect();
        if !names.is_empty() {
            text += &format!("| {title} | {} |\n", names.join(", "));
        }
    }
    text
}

fn page() -> String {
    let table = Table::builtin();
    let all = callable(&table);
    let mut text = String::new();
    for category in Category::ALL {
        let of = all.iter().copied().filter(|spec| Category::of(spec) == category);
        text += &format!("### {} ({})\n\n{}\n", category.title(), of.clone().count(), by_group(of));
    }
    text
}

/// What becomes of commands when several nodes stand behind Larder, those alike in one row.
fn nodes() -> String {
    let table = Table::builtin();
    let mut rows: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for spec in callable(&table).into_iter().filter(|spec| matches!(spec.way, Way::Forward)) {
        let goes = match spec.request {
            RequestPolicy::Default => continue,
            RequestPolicy::MultiShard => "split by keys",
            RequestPolicy::AllShards => "every primary",
            RequestPolicy::AllNodes => "every node",
            RequestPolicy::Special if &*spec.name == "scan" => "one primary behind the other",
            RequestPolicy::Special => "refused: which node is meant?",
        };
        let comes = match (spec.request, spec.response) {
            (RequestPolicy::Special, _) => "",
            (RequestPolicy::MultiShard, ResponsePolicy::Default) => "every element where its key stood",
            (_, ResponsePolicy::Default) => "all that they list",
            (_, ResponsePolicy::OneSucceeded) => "the first that is no error",
            (_, ResponsePolicy::AllSucceeded) => "the first",
            (_, ResponsePolicy::AggLogicalAnd) => "1 where all say 1",
            (_, ResponsePolicy::AggLogicalOr) => "1 where one says 1",
            (_, ResponsePolicy::AggMin) => "the least",
            (_, ResponsePolicy::AggMax) => "the greatest",
            (_, ResponsePolicy::AggSum) => "the sum",
            (_, ResponsePolicy::OneNotNull) => "one that is not null",
            (_, ResponsePolicy::Texts) => "one below the other",
            (_, ResponsePolicy::Special) => unreachable!("{}: nobody could join the replies", spec.name),
        };
        rows.entry((goes, comes)).or_default().push(spec.name.replace('|', " ").to_ascii_uppercase());
    }
    let mut text = String::from("| sent to | the reply | commands |\n|---|---|---|\n");
    for ((goes, comes), names) in rows {
        text += &format!("| {goes} | {comes} | {} |\n", names.join(", "));
    }
    text
}

fn memory() -> String {
    let table = Table::builtin();
    let all = callable(&table);
    let served = |name: &str| Memory::serves(name) || is_of_hub(name);
    by_group(all.iter().copied().filter(|spec| spec.way == Way::Forward && served(&spec.name)))
}

fn counts() -> String {
    let table = Table::builtin();
    let all = callable(&table);
    let mut text = format!("| of {} commands and subcommands | are | meaning |\n|---|---:|---|\n", all.len());
    for category in Category::ALL {
        let count = all.iter().filter(|spec| Category::of(spec) == category).count();
        text += &format!("| {} | {count} | {} |\n", category.title(), category.meaning());
    }
    text
}

/// Compares the generated part of that name with `wanted`, or writes it.
fn check(file: &str, name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    let (there, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{file}: {name} does not end"));
    let wanted = format!("\n{}\n\n", wanted.trim_end());
    if there == wanted {
        return;
    }
    if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{wanted}<!-- end -->{after}")).expect("the tree is writable");
        return;
    }
    panic!("{file}: the part {name} should be as follows; LARDER_WRITE_DOCS=1 writes it\n{wanted}");
}

#[test]
fn the_page_of_compatibility_is_the_command_table() {
    check("docs/compatibility.md", "commands", &page());
}

#[test]
fn the_page_of_compatibility_says_what_several_nodes_do() {
    check("docs/compatibility.md", "nodes", &nodes());
}

#[test]
fn the_page_of_compatibility_names_what_the_memory_upstream_serves() {
    check("docs/compatibility.md", "memory", &memory());
}

#[test]
fn the_counts_in_the_readme_are_those_of_the_command_table() {
    check("README.md", "counts", &counts());
}

#[test]
fn every_command_is_in_one_category_and_one_group() {
    let table = Table::builtin();
    let all = callable(&table);
    let listed = page()
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| group |"))
        .map(commands_of)
        .sum::<usize>();
    assert_eq!(listed, all.len());
}

/// How many commands a row of [`by_group`] names.
fn commands_of(row: &str) -> usize {
    row.trim_matches(['|', ' ']).split_once(" | ").map_or(0, |(_, names)| names.split(", ").count())
}
