//! LARDER EXPLAIN: what would become of a command, and why.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// The lines of EXPLAIN, `name: value`, in their order.
fn explain(client: &mut Client, command: &str) -> Vec<(String, String)> {
    let reply = client.say(&format!("LARDER EXPLAIN {command}"));
    let lines = reply.items().unwrap_or_else(|| panic!("EXPLAIN {command}: {reply:?}"));
    let pair = |line: &Reply| {
        let text = line.text().expect("a line of text");
        let (name, value) = text.split_once(": ").unwrap_or_else(|| panic!("no name in {text:?}"));
        (name.to_owned(), value.to_owned())
    };
    lines.iter().map(pair).collect()
}

/// One line of EXPLAIN.
pub fn explained(client: &mut Client, command: &str, name: &str) -> String {
    let lines = explain(client, command);
    let found = lines.iter().find(|(of, _)| of == name);
    found.unwrap_or_else(|| panic!("no `{name}` for {command}: {lines:?}")).1.clone()
}

#[test]
fn explain_tells_of_a_miss_and_then_of_the_entry() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.say("SET k value EX 100");
    assert_eq!(explained(&mut client, "GET k", "entry of k"), "none");
    assert_eq!(explained(&mut client, "GET k", "cacheable"), "yes");
    larder.warm(&mut client, "GET k");
    let entry = explained(&mut client, "get k", "entry of k");
    assert!(entry.starts_with("get in database 0: fresh, age 0."), "{entry}");
    // No longer than the origin's own expiry, although the route would allow more.
    let left: f64 =
        entry.split(", ").find_map(|part| part.strip_suffix("s left")).expect("a time").parse().expect("seconds");
    assert!((80.0..=100.0).contains(&left), "{entry}");
    for (name, part) in [
        ("command", "get"),
        ("effect", "reads its keys"),
        ("way", "to the upstream"),
        ("keys", "k (read)"),
        ("upstream", &*format!("main at {}, database 0, as default", origin.address())),
        ("coverage", "tracking, proven for another"),
        ("route of k", "cached for at most 300.000s"),
    ] {
        let told = explained(&mut client, "GET k", name);
        assert!(told.contains(part), "{name}: {told}");
    }
    // To explain is not to do.
    let (hits, misses) = (larder.hits(), larder.misses());
    explain(&mut client, "GET other");
    explain(&mut client, "SET k changed");
    explain(&mut client, "FLUSHALL");
    assert_eq!((larder.hits(), larder.misses()), (hits, misses));
    assert_eq!(origin.say("GET k"), Reply::bulk("value"));
    // What is not there is kept too, and other forms of a key beside it.
    larder.warm(&mut client, "GET missing");
    assert!(explained(&mut client, "GET missing", "entry of missing").ends_with(", not there"));
    larder.warm(&mut client, "GETRANGE k 0 2");
    let entries: Vec<_> = explain(&mut client, "GET k").into_iter().filter(|(name, _)| name == "entry of k").collect();
    assert!(entries.iter().any(|(_, value)| value.starts_with("getrange 0 2 in")), "{entries:?}");
}

#[test]
fn explain_says_why_something_is_not_cached() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section(
        "routes:\n  - {keys: [\"raw:*\"], cache: {enabled: false}}\n  - {keys: [\"get:*\"], cache: {commands: [GET]}}",
    ));
    let mut client = larder.connect();
    for (command, why) in [
        ("SET k v", "it is not provably a read"),
        ("EVAL script 1 k", "it is not provably a read"),
        ("SORT list STORE to", "it is not provably a read"),
        ("GETEX k", "it is not provably a read"),
        ("TTL k", "its reply changes although its keys do not"),
        ("SRANDMEMBER s", "its reply changes although its keys do not"),
        ("DBSIZE", "it names no key"),
        ("CLIENT ID", "it does not go to the upstream"),
        ("BLPOP list 0", "it does not go to the upstream"),
        ("GET raw:1", "cache.enabled is false for the route raw:*"),
        ("STRLEN get:1", "cache.commands of the route get:* does not name it"),
        ("HGETALL get:1", "cache.commands of the route get:* does not name it"),
    ] {
        let told = explained(&mut client, command, "cacheable");
        assert!(told.starts_with("no: ") && told.contains(why), "{command}: {told}");
    }
    for command in ["GET get:1", "GET k", "MGET k other", "HGETALL h", "ZRANGE z 0 -1", "EXISTS a b"] {
        assert_eq!(explained(&mut client, command, "cacheable"), "yes", "{command}");
    }
}

#[test]
fn explain_tells_the_way_of_commands_that_are_no_reads() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for (command, name, part) in [
        ("SET k v", "effect", "may change the keys that it names"),
        ("RENAME a b", "keys", "a (write), b (write)"),
        ("COPY a b", "keys", "a (read), b (write)"),
        ("EVAL script 2 a b c", "effect", "may change keys that it does not name"),
        ("FLUSHALL", "effect", "may change every key"),
        ("CLIENT SETNAME me", "way", "answered by Larder itself"),
        ("LARDER STATS", "way", "answered by Larder itself"),
        ("INFO", "way", "answered by Larder itself"),
        ("SUBSCRIBE c", "way", "answered by Larder itself"),
        ("MULTI", "way", "on a connection that this client has to itself"),
        ("BLPOP l 0", "way", "on a connection that this client has to itself"),
        ("XREAD BLOCK 0 STREAMS s $", "way", "on a connection that this client has to itself"),
        ("MONITOR", "way", "on a connection that this client has to itself"),
    ] {
        let told = explained(&mut client, command, name);
        assert!(told.contains(part), "{command}: {name}: {told}");
    }
}

#[test]
fn explain_of_a_command_that_larder_does_not_know_says_what_becomes_of_it() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    // As it is served: the upstream may know it, and it may change anything.
    for command in ["NOSUCH a b", "OBJECT NOSUCH k"] {
        assert!(explained(&mut client, command, "command").contains("not known to Larder"), "{command}");
        assert!(
            explained(&mut client, command, "effect").contains("may change keys that it does not name"),
            "{command}"
        );
        assert!(explained(&mut client, command, "way").contains("to the upstream"), "{command}");
        assert!(explained(&mut client, command, "cacheable").starts_with("no: "), "{command}");
    }
    // What the command itself would get.
    for (command, words) in
        [("GET", "wrong number of arguments for 'get' command"), ("CLIENT NOSUCH", "unknown subcommand 'NOSUCH'")]
    {
        let reply = client.say(&format!("LARDER EXPLAIN {command}"));
        assert!(reply.error().is_some_and(|error| error.contains(words)), "{command}: {reply:?}");
    }
    let memory = Larder::start_with(&Settings::memory());
    let reply = memory.say("LARDER EXPLAIN NOSUCH a");
    assert!(reply.error().is_some_and(|error| error.contains("unknown command 'NOSUCH'")), "{reply:?}");
}

#[test]
fn explain_knows_the_memory_upstream() {
    let larder = Larder::start_with(&Settings::memory());
    let mut client = larder.connect();
    assert!(explained(&mut client, "GET k", "upstream").starts_with("memory"));
    assert!(explained(&mut client, "GET k", "cacheable").starts_with("no: the memory upstream"));
    assert!(explained(&mut client, "LPUSH list a", "served").starts_with("no: "));
    assert!(explain(&mut client, "SET k v").iter().all(|(name, _)| name != "served"));
}

#[test]
fn explain_says_when_nothing_covers_the_cache() {
    let mut origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    origin.kill();
    wait::until("the loss is seen", || {
        explained(&mut client, "GET k", "coverage").starts_with("none (disconnected): nothing is served")
    });
    assert!(explained(&mut client, "GET k", "cacheable").contains("the coverage is lost"));
    assert!(explained(&mut client, "GET k", "entry of k").contains("suspect"));
}
