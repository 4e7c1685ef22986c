//! What the pages for operators say can be done.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::program::Program;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::twemproxy::Twemproxy;
use serde_yaml::Value;

use crate::{parsed_text, said, text, words};

/// The blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    text(page).split(&start).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// The block that has this line in it.
fn block(page: &str, with: &str) -> String {
    let found = blocks(page, "yaml").into_iter().find(|block| block.lines().any(|line| line.trim() == with));
    found.unwrap_or_else(|| panic!("{page} has no block with `{with}`"))
}

/// Replaces the addresses of the page by those of this test.
fn at(text: &str, nodes: &BTreeMap<String, SocketAddr>) -> String {
    nodes.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, &ours.to_string()))
}

#[test]
fn twemproxy_and_larder_with_the_translated_file_find_each_others_keys() {
    const PAGE: &str = "docs/migration.md";
    let theirs: Value = parsed_text(&block(PAGE, "auto_eject_hosts: true")).expect("twemproxy's file");
    let ours = block(PAGE, "kind: memcached");
    let servers = words(&theirs["cache"]["servers"]);
    let memcacheds: Vec<Memcached> = servers.iter().map(|_| Memcached::start()).collect();
    let address = |server: &String| server.rsplit_once(':').expect("a weight").0.to_owned();
    let nodes = servers.iter().map(address).zip(memcacheds.iter().map(Memcached::address)).collect();

    // Without ejection, as the page asks for before both are in use; the ports on the ring are those of the page.
    let named = servers.iter().map(|server| format!("{} {}", at(server, &nodes), address(server)));
    let line = |key: &str| format!("{key}: {}", serde_yaml::to_string(&theirs["cache"][key]).expect("YAML").trim());
    let twemproxy = Twemproxy::start(&named.collect::<Vec<_>>(), &["hash", "distribution", "hash_tag"].map(line));
    let names: Vec<String> = nodes.iter().map(|(theirs, ours)| format!("\"{ours}\": \"{theirs}\"")).collect();
    let mut yaml = at(&ours, &nodes).replace("127.0.0.1:6380", "127.0.0.1:0");
    let ring = yaml.find("ring: {").expect("a ring") + "ring: {".len();
    yaml.insert_str(ring, &format!("names: {{{}}}, ", names.join(", ")));
    yaml += "admin: {address: 127.0.0.1:0}\n";
    let scratch = Scratch::new("migration");
    fs::write(scratch.file("larder.yaml"), &yaml).expect("the scratch directory is writable");
    let larder = Program::start(&["--config", &scratch.file("larder.yaml").display().to_string()]);

    let (mut old, mut new) = (twemproxy.connect(), larder.connect());
    for number in 0..300 {
        let (before, after) = (format!("user:{{{number}}}:before"), format!("user:{{{number}}}:after"));
        old.set(&before, 0, 0, "old");
        assert_eq!(new.say(&format!("GET {before}")), Reply::bulk("old"), "{}", larder.output());
        assert_eq!(new.say(&format!("SET {after} new")), Reply::ok());
        assert_eq!(old.get(&after), Some((0, "new".to_owned())), "{after}");
    }
    let used = memcacheds.iter().filter(|node| node.connect().stat("curr_items") > 0).count();
    assert_eq!(used, memcacheds.len(), "every node has some of the keys");
}

#[test]
fn every_configuration_in_the_pages_is_one() {
    for page in ["docs/migration.md", "docs/sizing.md", "docs/runbook.md"] {
        for block in blocks(page, "yaml").iter().filter(|block| block.contains("upstreams:")) {
            let scratch = Scratch::new("page");
            let file = scratch.file("larder.yaml");
            let password = scratch.file("password");
            fs::write(&password, "hush\n").expect("the scratch directory is writable");
            let yaml = block.replace("/etc/larder/redis-password", &password.display().to_string());
            fs::write(&file, &yaml).expect("the scratch directory is writable");
            let output = larder_integration_tests::program::run(&["--config", &file.display().to_string(), "--check"]);
            assert!(output.status.success(), "{page}:\n{block}\n{}", said(&output));
        }
    }
}
