//! COMMAND, INFO and CONFIG GET: what clients and tools ask before anything else.

use std::collections::BTreeMap;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::map;

/// The fields of INFO.
fn info(larder: &Larder, section: &str) -> BTreeMap<String, String> {
    let text = larder.say(&format!("INFO {section}")).text().expect("INFO is text");
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Of every kind that there is: keys of every sort, containers, what Larder answers, what it refuses.
const SAMPLE: &str = "get set mget mset getex append incrbyfloat setrange lcs del exists copy rename expire object object|freq sort \
    sort_ro scan keys randomkey hset hgetall hrandfield lpush lmove blpop lmpop sadd sinterstore sintercard \
    smismember zadd zrangestore zunion zmpop bzpopmin georadius geosearchstore pfmerge bitop bitfield_ro xadd \
    xreadgroup xinfo|stream xgroup|create eval fcall function|load script|exists publish subscribe spublish multi \
    watch xgroup client|kill config|get migrate memory|usage";

/// All that is in a reply, in no order.
fn content(reply: &Reply) -> Vec<String> {
    let mut content = match reply.items() {
        Some(items) => items.iter().flat_map(content).collect(),
        None => vec![format!("{reply:?}")],
    };
    content.sort_unstable();
    content
}

#[test]
fn command_tells_of_redis_commands_what_redis_tells() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        let (mut direct, mut through) =
            (Client::connect_with(origin.address(), protocol), larder.connect_with(protocol));
        for name in SAMPLE.split(' ') {
            for what in ["INFO", "DOCS"] {
                let command = ["COMMAND", what, name];
                let (told, expected) = (through.call(&command), direct.call(&command));
                if ["object", "xgroup"].contains(&name) {
                    // A server draws the order of a container's subcommands at its start.
                    assert_eq!(content(&told), content(&expected), "COMMAND {what} {name}");
                } else {
                    assert_eq!(told, expected, "COMMAND {what} {name}");
                }
            }
        }
        for words in [
            "GET k",
            "MSET a 1 b 2",
            "EVAL script 2 a b c",
            "ZUNIONSTORE to 2 a b",
            "XREAD STREAMS a b 0 0",
            "SORT a STORE b",
            "MIGRATE h 1 k 0 1",
            "PING",
            "GET",
            "NOSUCH x",
            "COPY a b",
            "GEORADIUS a 1 1 1 m STORE b",
            "LMPOP 2 a b LEFT",
        ] {
            for what in ["GETKEYS", "GETKEYSANDFLAGS"] {
                let command = format!("COMMAND {what} {words}");
                assert_eq!(through.say(&command), direct.say(&command), "{command}");
            }
        }
        for filter in ["PATTERN z*", "ACLCAT geo", "ACLCAT nosuch", "MODULE nosuch"] {
            let command = format!("COMMAND LIST FILTERBY {filter}");
            let names = |reply: Reply| {
                let mut names: Vec<_> = reply.items().expect("a list").iter().filter_map(Reply::text).collect();
                names.sort_unstable();
                names
            };
            assert_eq!(names(through.say(&command)), names(direct.say(&command)), "{command}");
        }
    }
}

#[test]
fn larders_own_commands_are_in_command_too() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let count = client.say("COMMAND COUNT").integer().expect("a number");
    assert_eq!(count, origin.say("COMMAND COUNT").integer().expect("a number") + 1, "LARDER is one more");
    let names = client.say("COMMAND LIST");
    let names: Vec<_> = names.items().expect("a list").iter().filter_map(Reply::text).collect();
    let subcommands = ["explain", "flush", "help", "hotkeys", "invalidate", "ladder", "nodes", "staleness", "stats"];
    assert!(names.iter().any(|name| name == "larder"));
    for name in subcommands {
        let full = format!("larder|{name}");
        let info = client.call(&["COMMAND", "INFO", &full]);
        assert_eq!(info.items().map(|rows| rows[0].items().map(|row| row[0].clone())), Some(Some(Reply::bulk(&full))));
        let docs = client.call(&["COMMAND", "DOCS", &full]);
        assert!(format!("{docs:?}").contains("summary"), "{full}: {docs:?}");
    }
    let docs = map(&client.say("COMMAND DOCS larder"));
    let inner = map(&map(&docs["larder"])["subcommands"]);
    assert_eq!(inner.len(), subcommands.len(), "{inner:?}");
}

#[test]
fn info_has_what_tools_look_for() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    wait::until("the upstream has told", || info(&larder, "server")["redis_version"] == origin.info("redis_version"));
    let all = info(&larder, "");
    for (name, value) in [
        ("redis_version", origin.info("redis_version")),
        ("arch_bits", origin.info("arch_bits")),
        ("redis_mode", "standalone".to_owned()),
        ("cluster_enabled", "0".to_owned()),
        ("role", "master".to_owned()),
        ("tcp_port", larder.address().port().to_string()),
        ("process_id", larder.process().id().to_string()),
        ("upstream", "main".to_owned()),
        ("upstream_address", origin.address().to_string()),
        ("coherence", "tracking".to_owned()),
        ("covered", "yes".to_owned()),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
    wait::until("only the one who asks is left", || info(&larder, "clients")["connected_clients"] == "1");
    assert_eq!(all["run_id"].len(), 40);
    for section in ["server", "clients", "memory", "stats", "replication", "cluster", "larder"] {
        assert!(!info(&larder, section).is_empty(), "{section}");
        assert!(info(&larder, &section.to_uppercase()).len() < all.len(), "{section} alone");
    }
    assert_eq!(larder.say("INFO nosuch").text().as_deref(), Some(""));
}

#[test]
fn config_get_answers_what_clients_ask_at_the_start() {
    let origin = Redis::start_with(&["--databases", "5"]);
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_clients: 77}"));
    wait::until("the upstream has told", || {
        map(&larder.say("CONFIG GET databases")).get("databases") == Some(&Reply::bulk("5"))
    });
    let all = map(&larder.say("CONFIG GET *"));
    for (name, value) in [("maxclients", "77"), ("save", ""), ("appendonly", "no"), ("timeout", "0")] {
        assert_eq!(all.get(name), Some(&Reply::bulk(value)), "{name}");
    }
    assert_eq!(all["port"], Reply::bulk(&larder.address().port().to_string()));
    assert_eq!(map(&larder.say("CONFIG GET max* nosuch")).len(), 2, "maxclients and maxmemory");
    assert_eq!(larder.say("CONFIG GET requirepass").items().map(<[Reply]>::len), Some(0), "no secrets");
    assert_eq!(larder.say("SELECT 5"), origin.say("SELECT 5"), "as many databases as the origin has");
}
