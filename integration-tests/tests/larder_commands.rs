//! What Larder tells of itself over the Redis protocol: LARDER and its subcommands, and the commands that Redis
//! clients and tools ask first.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use larder_integration_tests::client::{Client, Protocol};
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
fn explained(client: &mut Client, command: &str, name: &str) -> String {
    let lines = explain(client, command);
    let found = lines.iter().find(|(of, _)| of == name);
    found.unwrap_or_else(|| panic!("no `{name}` for {command}: {lines:?}")).1.clone()
}

/// A map reply with texts as keys.
fn map(reply: &Reply) -> BTreeMap<String, Reply> {
    let items = reply.items().unwrap_or_else(|| panic!("no map: {reply:?}"));
    items.chunks(2).map(|pair| (pair[0].text().expect("a name"), pair[1].clone())).collect()
}

/// The fields of INFO.
fn info(larder: &Larder, section: &str) -> BTreeMap<String, String> {
    let text = larder.say(&format!("INFO {section}")).text().expect("INFO is text");
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

// === LARDER ===

#[test]
fn help_names_every_subcommand_and_nothing_else_is_taken() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let help = format!("{:?}", larder.say("LARDER HELP"));
    for name in ["EXPLAIN", "FLUSH", "HOTKEYS", "INVALIDATE", "STATS", "HELP"] {
        assert!(help.contains(&format!("+{name}")), "{name} in {help}");
    }
    for (command, words) in [
        ("LARDER", "wrong number of arguments for 'larder' command"),
        ("LARDER BOGUS", "unknown subcommand 'BOGUS'. Try LARDER HELP."),
        ("LARDER EXPLAIN", "wrong number of arguments for 'larder|explain' command"),
        ("LARDER INVALIDATE", "wrong number of arguments for 'larder|invalidate' command"),
        ("LARDER STATS x", "wrong number of arguments for 'larder|stats' command"),
        ("LARDER HOTKEYS x", "not an integer"),
        ("LARDER HOTKEYS 0", "must be positive"),
        ("LARDER HOTKEYS -1", "must be positive"),
        ("LARDER HOTKEYS 1 2", "wrong number of arguments for 'larder|hotkeys' command"),
    ] {
        let reply = larder.say(command);
        assert!(reply.error().is_some_and(|error| error.contains(words)), "{command}: {reply:?}");
    }
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
        ("SUBSCRIBE c", "way", "refused: it needs an upstream connection of its own"),
        ("MULTI", "way", "refused: it needs an upstream connection of its own"),
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

#[test]
fn the_hottest_key_comes_first() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("workers: 2"));
    let mut clients = [larder.connect(), larder.connect()];
    let mut readings = Vec::new();
    for n in 0..40 {
        readings.extend([format!("GET cold:{n}"), "GET warm".to_owned(), "GET hot".to_owned(), "GET hot".to_owned()]);
    }
    let readings: Vec<&str> = readings.iter().map(String::as_str).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.pipeline(&readings);
        }
    }
    let mut told = Vec::new();
    // Published by each worker now and then; halved every ten seconds, which keeps the order.
    wait::until("both workers have told", || {
        let reply = larder.say("LARDER HOTKEYS");
        let pair = |pair: &Reply| {
            let pair = pair.items().expect("a pair");
            (pair[0].text().expect("a key"), pair[1].integer().expect("a count"))
        };
        told = reply.items().expect("a list").iter().map(pair).collect::<Vec<_>>();
        told.first().is_some_and(|(key, reads)| key == "hot" && *reads > 350)
    });
    assert_eq!(told.len(), 10, "as many as without an argument");
    assert_eq!(told[1].0, "warm", "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.1 >= b.1), "{told:?}");
    assert_eq!(larder.say("LARDER HOTKEYS 1").items().map(<[Reply]>::len), Some(1));
}

#[test]
fn invalidate_drops_what_it_is_told_and_says_how_many() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET a 1", "SET b 2", "SET c 3"]);
    for read in ["GET a", "STRLEN a", "GET b", "GET c"] {
        larder.warm(&mut client, read);
    }
    assert_eq!(client.say("LARDER INVALIDATE a b nothing"), Reply::Integer(2));
    assert_eq!(client.say("LARDER INVALIDATE a b nothing"), Reply::Integer(0));
    let misses = larder.misses();
    assert_eq!(client.pipeline(&["GET a", "GET b", "GET c"]), ["1", "2", "3"].map(Reply::bulk));
    assert_eq!(larder.misses(), misses + 2.0, "only those two were gone");
    assert_eq!(origin.say("GET a"), Reply::bulk("1"), "nothing changes at the origin");
    assert_eq!(larder.metrics().sum_where("larder_cache_invalidations_total", "operator"), 2.0);
}

#[test]
fn flush_empties_the_near_cache_and_nothing_else() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET a 1", "SELECT 1", "SET a other"]);
    larder.warm(&mut client, "GET a");
    let mut second = larder.connect();
    larder.warm(&mut second, "GET a");
    assert_eq!(second.say("LARDER FLUSH"), Reply::ok());
    assert_eq!(larder.metrics().sum("larder_cache_keys"), 0.0);
    assert_eq!(explained(&mut second, "GET a", "entry of a"), "none");
    let misses = larder.misses();
    assert_eq!((second.say("GET a"), client.say("GET a")), (Reply::bulk("1"), Reply::bulk("other")));
    assert_eq!(larder.misses(), misses + 2.0);
    larder.warm(&mut second, "GET a");
    assert_eq!(origin.say("DBSIZE"), Reply::Integer(1));
    assert_eq!(Larder::start_with(&Settings::memory()).say("LARDER FLUSH"), Reply::ok(), "nothing to do is no error");
}

#[test]
fn stats_are_a_map_of_numbers_in_both_protocols() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        larder.warm(&mut client, "GET k");
        let reply = client.say("LARDER STATS");
        assert_eq!(matches!(reply, Reply::Map(_)), protocol == Protocol::Resp3, "{reply:?}");
        let stats = map(&reply);
        for name in ["cache_hits_total", "cache_misses_total", "cache_fills_total", "clients", "commands_total"] {
            assert!(stats.get(name).and_then(Reply::integer).is_some_and(|value| value > 0), "{name}: {stats:?}");
        }
        let ratio = stats["cache_hit_ratio"].text().expect("a share").parse::<f64>().expect("a number");
        assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    }
}

// === COMMAND and INFO ===

/// Of every kind that there is: keys of every sort, containers, what Larder answers, what it refuses.
const SAMPLE: [&str; 60] = [
    "get",
    "set",
    "mget",
    "mset",
    "getex",
    "append",
    "incrbyfloat",
    "setrange",
    "lcs",
    "del",
    "exists",
    "copy",
    "rename",
    "expire",
    "object",
    "object|freq",
    "sort",
    "sort_ro",
    "scan",
    "keys",
    "randomkey",
    "hset",
    "hgetall",
    "hrandfield",
    "lpush",
    "lmove",
    "blpop",
    "lmpop",
    "sadd",
    "sinterstore",
    "sintercard",
    "smismember",
    "zadd",
    "zrangestore",
    "zunion",
    "zmpop",
    "bzpopmin",
    "georadius",
    "geosearchstore",
    "pfmerge",
    "bitop",
    "bitfield_ro",
    "xadd",
    "xreadgroup",
    "xinfo|stream",
    "xgroup|create",
    "eval",
    "fcall",
    "function|load",
    "script|exists",
    "publish",
    "subscribe",
    "spublish",
    "multi",
    "watch",
    "xgroup",
    "client|kill",
    "config|get",
    "migrate",
    "memory|usage",
];

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
        for name in SAMPLE {
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
    let subcommands = ["explain", "flush", "help", "hotkeys", "invalidate", "stats"];
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
        ("connected_clients", "1".to_owned()),
        ("upstream", "main".to_owned()),
        ("upstream_address", origin.address().to_string()),
        ("coherence", "tracking".to_owned()),
        ("covered", "yes".to_owned()),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
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

// === CLIENT, across two workers ===

fn two_workers(origin: SocketAddr) -> Larder {
    Larder::start_with(&Settings::new(origin).section("workers: 2"))
}

/// The clients of CLIENT LIST, each as its fields.
fn listed(client: &mut Client, words: &str) -> Vec<BTreeMap<String, String>> {
    let text = client.say(words).text().expect("text");
    let fields = |line: &str| {
        let fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    // In RESP3 the text comes with its format.
    text.trim_start_matches("txt:").lines().map(fields).collect()
}

fn id(client: &mut Client) -> String {
    client.say("CLIENT ID").integer().expect("a number").to_string()
}

#[test]
fn clients_of_all_workers_are_listed_as_they_describe_themselves() {
    let origin = Redis::start();
    let larder = two_workers(origin.address());
    let mut clients: Vec<Client> = (0..6).map(|_| larder.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let name = format!("client-{n}");
        assert_eq!(client.call(&["CLIENT", "SETNAME", &name]), Reply::ok());
        assert_eq!(client.say("CLIENT SETINFO LIB-NAME test-lib"), Reply::ok());
        assert_eq!(client.say("CLIENT SETINFO lib-ver 1.2"), Reply::ok());
        assert_eq!(client.call(&["SELECT", &n.to_string()]), Reply::ok());
    }
    clients[1].say("HELLO 3");
    clients[2].say("CLIENT NO-EVICT on");
    clients[3].say("CLIENT NO-TOUCH on");
    let ids: Vec<String> = clients.iter_mut().map(id).collect();
    for asking in [0, 1] {
        let list = listed(&mut clients[asking], "CLIENT LIST");
        for (n, own) in ids.iter().enumerate() {
            let found = list.iter().find(|fields| fields["id"] == *own).expect("it is listed");
            for (field, value) in [
                ("name", format!("client-{n}")),
                ("lib-name", "test-lib".to_owned()),
                ("lib-ver", "1.2".to_owned()),
                ("db", n.to_string()),
                ("resp", if n == 1 { "3" } else { "2" }.to_owned()),
                ("flags", ["N", "N", "e", "T", "N", "N"][n].to_owned()),
                ("laddr", larder.address().to_string()),
                ("user", "default".to_owned()),
            ] {
                assert_eq!(found[field], value, "{field} of client {n}");
            }
            let local = clients[n].stream().local_addr().expect("connected").to_string();
            assert_eq!(found["addr"], local);
        }
        assert_eq!(list.len(), ids.len());
    }
    let two = listed(&mut clients[0], &format!("CLIENT LIST ID {} {}", ids[4], ids[2]));
    assert_eq!(two.iter().map(|fields| &fields["id"]).collect::<Vec<_>>(), [&ids[4], &ids[2]]);
    let own = listed(&mut clients[5], "CLIENT INFO");
    assert_eq!((own.len(), &own[0]["id"], &*own[0]["cmd"]), (1, &ids[5], "client|info"));
    assert_eq!(listed(&mut clients[0], "CLIENT LIST TYPE pubsub").len(), 0);
    drop(clients);
    let mut last = larder.connect();
    wait::until("those who left are not listed", || listed(&mut last, "CLIENT LIST").len() == 1);
}

#[test]
fn kill_closes_clients_of_either_worker_and_spares_the_others() {
    let origin = Redis::start();
    let larder = two_workers(origin.address());
    let mut killer = larder.connect();
    for _ in 0..4 {
        let mut victims: Vec<Client> = (0..4).map(|_| larder.connect()).collect();
        let mut bystander = larder.connect();
        bystander.say("PING");
        let ids: Vec<String> = victims.iter_mut().map(id).collect();
        let address = victims[1].stream().local_addr().expect("connected").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", "ID", &ids[0]]), Reply::Integer(1));
        assert_eq!(killer.call(&["CLIENT", "KILL", &address]), Reply::ok());
        let address = victims[2].stream().local_addr().expect("connected").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", "ADDR", &address, "TYPE", "normal"]), Reply::Integer(1));
        for victim in &mut victims[..3] {
            assert!(victim.read_to_close().is_ok_and(|rest| rest.is_empty()), "closed, and nothing sent before");
        }
        // At once, not when the connection is gone.
        assert_eq!(listed(&mut killer, "CLIENT LIST").len(), 3);
        assert_eq!(victims[3].say("PING"), Reply::Simple("PONG".to_owned()));
        assert_eq!(bystander.say("PING"), Reply::Simple("PONG".to_owned()));
    }
    assert_eq!(killer.say("CLIENT KILL ID 99999"), Reply::Integer(0));
    assert_eq!(killer.say("CLIENT KILL 127.0.0.1:1").error(), origin.say("CLIENT KILL 127.0.0.1:1").error());
    // Everybody but the one who asks, and at last that one too.
    let mut other = larder.connect();
    other.say("PING");
    assert!(killer.say("CLIENT KILL TYPE normal").integer().is_some_and(|count| count >= 1));
    assert!(other.read_to_close().is_ok());
    assert_eq!(killer.say("CLIENT KILL SKIPME no"), Reply::Integer(1));
    assert!(killer.read_to_close().is_ok());
}

#[test]
fn what_larder_cannot_do_for_a_client_is_refused_in_words() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for (command, words) in [
        ("CLIENT PAUSE 10", "Larder does not serve CLIENT PAUSE"),
        ("CLIENT UNPAUSE", "CLIENT UNPAUSE"),
        ("CLIENT TRACKING on", "Larder does not serve CLIENT TRACKING"),
        ("CLIENT CACHING yes", "tracking mode"),
        ("CLIENT NOSUCH", "unknown subcommand 'NOSUCH'"),
        ("CLIENT SETINFO nothing x", "Unrecognized option 'nothing'"),
        ("CLIENT NO-TOUCH perhaps", "syntax error"),
        ("SUBSCRIBE c", "Larder does not serve SUBSCRIBE yet"),
        ("MULTI", "Larder does not serve MULTI yet"),
        ("BLPOP l 0", "Larder does not serve BLPOP yet"),
        ("MONITOR", "Larder does not serve MONITOR yet"),
    ] {
        let reply = larder.say(command);
        assert!(reply.error().is_some_and(|error| error.contains(words)), "{command}: {reply:?}");
    }
    assert_eq!(larder.say("CLIENT TRACKING off"), Reply::ok(), "off it is");
    assert_eq!(origin.say("PING"), Reply::Simple("PONG".to_owned()));
}
