//! Commands whose keys, or whose meaning, are spread over several primaries.

use std::collections::BTreeSet;
use std::time::Instant;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::show;

#[test]
fn commands_over_several_primaries() {
    let cluster = Cluster::start();
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let cases: &[crate::Case] = &[
        ("LARDER NODES tells who owns what", larder_nodes_tells_who_owns_what),
        ("MGET answers in the order of its keys", mget_answers_in_the_order_of_its_keys),
        ("MGET from the cache and from several primaries", mget_from_the_cache_and_from_several_primaries),
        ("MSET, DEL, UNLINK, EXISTS and TOUCH are split", writes_and_counts_are_split),
        ("the error of one part is the client's", the_error_of_one_part_is_the_clients),
        ("a hundred thousand keys in one command", a_hundred_thousand_keys_in_one_command),
        ("what must be atomic is not split", what_must_be_atomic_is_not_split),
        ("one database", there_is_one_database),
        ("DBSIZE, KEYS and RANDOMKEY speak of all primaries", the_keyspace_is_that_of_all_primaries),
        ("FLUSHALL and FLUSHDB empty every primary and the near-cache", a_flush_empties_everything),
        ("scripts are loaded everywhere", scripts_are_loaded_everywhere),
        ("functions are loaded on every primary", functions_are_loaded_on_every_primary),
        ("a script writes what it declares and what it does not", scripts_void_what_they_write),
        ("transactions in one slot", transactions_in_one_slot),
        ("transactions over several slots", transactions_over_several_slots),
        ("a transaction whose first commands have no key", a_transaction_that_begins_without_a_key),
        ("blocking commands", blocking_commands),
        ("WAIT waits for every primary's replicas", wait_waits_for_every_primarys_replicas),
        ("pipelines over several primaries keep their order", pipelines_keep_their_order),
    ];
    show(&cluster, &larder, cases);
}

/// A key on each primary, in the order of the primaries.
fn one_key_each(cluster: &Cluster, prefix: &str) -> Vec<String> {
    cluster.primaries().into_iter().map(|primary| cluster.key_on(primary, prefix)).collect()
}

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(|text| Reply::bulk(text)).collect())
}

fn begins(reply: &Reply, code: &str) -> bool {
    reply.error().is_some_and(|words| words.starts_with(code))
}

fn larder_nodes_tells_who_owns_what(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    for key in one_key_each(cluster, "node:") {
        client.call(&["SET", &key, "v"]);
    }
    let lines = client.say("LARDER NODES");
    let lines: Vec<String> = lines.items().expect("lines").iter().filter_map(Reply::text).collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    let field = |line: &str, name: &str| {
        let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).unwrap_or_else(|| panic!("{name} of {line}"))
    };
    for primary in cluster.primaries() {
        let of = |node: usize| {
            let address = cluster.address(node).to_string();
            lines
                .iter()
                .find(|line| field(line, "address") == address)
                .unwrap_or_else(|| panic!("{address}: {lines:?}"))
        };
        let line = of(primary);
        assert_eq!([field(line, "upstream"), field(line, "role")], ["main", "primary"]);
        assert_eq!(field(line, "coverage"), "tracking");
        assert!(["5461", "5462"].contains(&&*field(line, "slots")), "{line}");
        assert_ne!(field(line, "lanes"), "0", "{line}");
        let line = of(cluster.replica_of(primary));
        let told = ["role", "slots", "coverage"].map(|name| field(line, name));
        assert_eq!(told, ["replica", "0", "none"]);
    }
    let metrics = larder.metrics();
    assert_eq!(metrics.sum_where("larder_upstream_nodes", "role=\"primary\""), 3.0);
    assert_eq!(metrics.sum_where("larder_upstream_nodes", "role=\"replica\""), 3.0);
    assert_eq!(metrics.sum("larder_node_covered"), 3.0);
    assert_eq!(metrics.sum("larder_topology_changes_total"), 0.0);
}

fn mget_answers_in_the_order_of_its_keys(cluster: &Cluster, larder: &Larder) {
    let [a, b, c] = &one_key_each(cluster, "order:")[..] else { panic!("three primaries") };
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        assert_eq!(client.call(&["MSET", c, "3", a, "1", b, "2"]), Reply::ok());
        assert_eq!(client.say(&format!("HSET hash:{a} f v")).error(), None);
        let mget = ["MGET", b, "none", a, c, a, &format!("hash:{a}"), b];
        let expected = |one: &str| {
            let mut all = vec![Reply::bulk("2"), Reply::Null, Reply::bulk(one), Reply::bulk("3"), Reply::bulk(one)];
            all.extend([Reply::Null, Reply::bulk("2")]);
            Reply::Array(all)
        };
        // Cold, and again as it comes from the cache.
        for _ in 0..20 {
            assert_eq!(client.call(&mget), expected("1"));
        }
        // A key given twice is written twice, the later one counts.
        assert_eq!(client.call(&["MSET", a, "x", b, "2", a, "one"]), Reply::ok());
        assert_eq!(client.call(&mget), expected("one"));
    }
}

fn mget_from_the_cache_and_from_several_primaries(cluster: &Cluster, larder: &Larder) {
    let keys = one_key_each(cluster, "both:");
    let mut client = larder.connect();
    for key in &keys {
        client.call(&["SET", key, "1"]);
    }
    larder.warm(&mut client, &format!("MGET {}", keys.join(" ")));
    let before = larder.metrics().sum("larder_commands_forwarded_total");
    let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    wait::until("all parts come from the cache", || {
        let before = larder.metrics().sum("larder_commands_forwarded_total");
        assert_eq!(client.call(&mget), bulks(&["1"; 3]));
        larder.metrics().sum("larder_commands_forwarded_total") == before
    });
    assert!(larder.metrics().sum("larder_commands_forwarded_total") - before < 20.0);
    // One of them changes beside.
    let owner = cluster.owner_of(&keys[1]);
    cluster.call_on(owner, &["SET", &keys[1], "2"]);
    wait::until("the change is seen", || client.call(&mget) == bulks(&["1", "2", "1"]));
}

fn writes_and_counts_are_split(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys: Vec<String> = (0..40).map(|number| format!("many:{number}")).collect();
    let all = |name: &'static str| -> Vec<&str> { [name].into_iter().chain(keys.iter().map(String::as_str)).collect() };
    let mset: Vec<&str> = ["MSET"].into_iter().chain(keys.iter().flat_map(|key| [key.as_str(), "v"])).collect();
    assert_eq!(client.call(&mset), Reply::ok());
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(cluster.call_on(cluster.owner_of(key), &["GET", key]), Reply::bulk("v"), "{at}");
    }
    for name in ["EXISTS", "TOUCH"] {
        for _ in 0..3 {
            assert_eq!(client.call(&all(name)), Reply::Integer(40), "{name}");
        }
        let twice = [name, &keys[0], &keys[1], "none:1", "none:2", &keys[0]];
        assert_eq!(client.call(&twice), Reply::Integer(3), "{name}: a key given twice counts twice");
    }
    assert_eq!(client.call(&["DEL", &keys[0], &keys[1], "none:1", &keys[2]]), Reply::Integer(3));
    assert_eq!(client.call(&all("EXISTS")), Reply::Integer(37));
    assert_eq!(client.call(&all("UNLINK")), Reply::Integer(37));
    assert_eq!(client.call(&all("EXISTS")), Reply::Integer(0));
    for wrong in [vec!["MSET", "a", "1", "b"], vec!["MGET"], vec!["DEL"], vec!["EXISTS"]] {
        assert!(begins(&client.call(&wrong), "ERR wrong number of arguments"), "{wrong:?}");
    }
}

fn the_error_of_one_part_is_the_clients(cluster: &Cluster, larder: &Larder) {
    let [a, b, c] = &one_key_each(cluster, "part:")[..] else { panic!("three primaries") };
    // One primary takes no writes for want of memory.
    let full = cluster.owner_of(b);
    cluster.say_on(full, "CONFIG SET maxmemory 1");
    let mut client = larder.connect();
    let reply = client.call(&["MSET", a, "1", b, "2", c, "3"]);
    cluster.say_on(full, "CONFIG SET maxmemory 0");
    assert!(begins(&reply, "OOM"), "{reply:?}");
    assert_eq!(client.call(&["MGET", a, b, c]), Reply::Array(vec![Reply::bulk("1"), Reply::Null, Reply::bulk("3")]));
}

fn a_hundred_thousand_keys_in_one_command(_: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys: Vec<String> = (0..100_000).map(|number| format!("k{number}")).collect();
    let with = |name: &'static str, value: Option<&'static str>| -> Vec<&str> {
        let parts = keys.iter().flat_map(|key| std::iter::once(key.as_str()).chain(value));
        std::iter::once(name).chain(parts).collect()
    };
    assert_eq!(client.call(&with("MSET", Some("v"))), Reply::ok());
    let start = Instant::now();
    let reply = client.call(&with("MGET", None));
    assert!(
        reply.items().is_some_and(|items| items.len() == keys.len() && items.iter().all(|i| *i == Reply::bulk("v")))
    );
    eprintln!("MGET of 100,000 keys took {:?}", start.elapsed());
    assert_eq!(client.call(&with("DEL", None)), Reply::Integer(100_000));
}

fn what_must_be_atomic_is_not_split(cluster: &Cluster, larder: &Larder) {
    let [a, b, _] = &one_key_each(cluster, "atomic:")[..] else { panic!("three primaries") };
    let mut client = larder.connect();
    // Two slots of one primary are two slots.
    let near = cluster.keys_on(cluster.owner_of(a), "near:", 2);
    for (one, other) in [(a, b), (&near[0], &near[1])] {
        let script = "return 1";
        for command in [
            vec!["MSETNX", one, "1", other, "2"],
            vec!["RENAME", one, other],
            vec!["SINTERSTORE", "dest", one, other],
            vec!["SUNION", one, other],
            vec!["COPY", one, other],
            vec!["SMOVE", one, other, "m"],
            vec!["LMOVE", one, other, "LEFT", "LEFT"],
            vec!["BITOP", "AND", one, other],
            vec!["PFMERGE", one, other],
            vec!["EVAL", script, "2", one, other],
            vec!["ZUNIONSTORE", one, "1", other],
            vec!["XREAD", "STREAMS", one, other, "0", "0"],
            vec!["BLPOP", one, other, "1"],
        ] {
            let owner = cluster.owner_of(command.get(1).copied().unwrap_or_default());
            let real = cluster.call_on(owner, &command);
            assert_eq!(client.call(&command), real, "{command:?}");
            assert!(begins(&real, "CROSSSLOT"), "{command:?}: {real:?}");
        }
    }
    // In one slot they are carried out.
    assert_eq!(client.say("MSETNX {t}a 1 {t}b 2"), Reply::Integer(1));
    assert_eq!(client.say("RENAME {t}a {t}c"), Reply::ok());
    assert_eq!(client.say("MGET {t}a {t}b {t}c"), Reply::Array(vec![Reply::Null, Reply::bulk("2"), Reply::bulk("1")]));
}

fn there_is_one_database(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    assert_eq!(client.say("SELECT 0"), Reply::ok());
    let real = cluster.say_on(0, "SELECT 1");
    assert!(real.error().is_some());
    assert_eq!(client.say("SELECT 1"), real);
    assert_eq!(client.say("SET k v"), Reply::ok());
    assert_eq!(client.say("GET k"), Reply::bulk("v"));
    for words in ["SWAPDB 0 1", "MOVE k 1"] {
        let real = cluster.say_on(cluster.owner_of("k"), words);
        assert!(real.error().is_some(), "{words}");
        assert_eq!(client.say(words), real, "{words}");
    }
}

fn the_keyspace_is_that_of_all_primaries(_: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    assert_eq!(client.say("RANDOMKEY"), Reply::Null);
    assert_eq!(client.say("DBSIZE"), Reply::Integer(0));
    for number in 0..30 {
        client.say(&format!("SET space:{number} v"));
    }
    assert_eq!(client.say("DBSIZE"), Reply::Integer(30));
    let keys = client.say("KEYS space:*");
    let texts: BTreeSet<String> = keys.items().expect("a list").iter().filter_map(Reply::text).collect();
    assert_eq!(texts, (0..30).map(|number| format!("space:{number}")).collect());
    assert_eq!(client.say("KEYS space:7"), bulks(&["space:7"]));
    let mut seen = BTreeSet::new();
    wait::until("RANDOMKEY comes from every primary", || {
        seen.extend(client.say("RANDOMKEY").text());
        seen.len() > 20
    });
}

fn a_flush_empties_everything(cluster: &Cluster, larder: &Larder) {
    let keys = one_key_each(cluster, "flush:");
    let (mut one, mut other) = (larder.connect(), larder.connect());
    for words in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
        for key in &keys {
            one.call(&["SET", key, "v"]);
            larder.warm(&mut other, &format!("GET {key}"));
        }
        assert_eq!(one.say(words), Reply::ok());
        // C2: acknowledged to one, seen by the other.
        for key in &keys {
            assert_eq!(other.call(&["GET", key]), Reply::Null, "{words}");
        }
        assert_eq!(other.say("DBSIZE"), Reply::Integer(0));
    }
    // In one pipeline with the reads behind it.
    one.call(&["MSET", &keys[0], "v", &keys[1], "v", &keys[2], "v"]);
    let reads: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let pipeline: Vec<&str> = ["FLUSHALL"].into_iter().chain(reads.iter().map(String::as_str)).collect();
    assert_eq!(one.pipeline(&pipeline), [Reply::ok(), Reply::Null, Reply::Null, Reply::Null]);
}

fn scripts_are_loaded_everywhere(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let script = "return redis.call('INCR', KEYS[1])";
    let hash = client.call(&["SCRIPT", "LOAD", script]).text().expect("a hash");
    for node in cluster.nodes() {
        let there = cluster.call_on(node, &["SCRIPT", "EXISTS", &hash]);
        assert_eq!(there, Reply::Array(vec![Reply::Integer(1)]), "node {node}");
    }
    for key in one_key_each(cluster, "script:") {
        assert_eq!(client.call(&["EVALSHA", &hash, "1", &key]), Reply::Integer(1));
        assert_eq!(client.call(&["GET", &key]), Reply::bulk("1"));
    }
    let unknown = "0".repeat(40);
    let both = Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]);
    assert_eq!(client.call(&["SCRIPT", "EXISTS", &hash, &unknown]), both);
    // Known to some is known to none: EVALSHA of a key elsewhere would fail.
    let some = cluster.primaries()[1];
    cluster.say_on(some, "SCRIPT FLUSH");
    assert_eq!(client.call(&["SCRIPT", "EXISTS", &hash]), Reply::Array(vec![Reply::Integer(0)]));
    let key = cluster.key_on(some, "script:");
    let real = cluster.call_on(some, &["EVALSHA", &hash, "1", &key]);
    assert!(begins(&real, "NOSCRIPT"), "{real:?}");
    assert_eq!(client.call(&["EVALSHA", &hash, "1", &key]), real);
    assert_eq!(client.call(&["EVAL", script, "1", &key]), Reply::Integer(2));
    assert_eq!(client.call(&["EVALSHA", &hash, "1", &key]), Reply::Integer(3));
    assert_eq!(client.say("SCRIPT FLUSH"), Reply::ok());
    assert_eq!(client.call(&["SCRIPT", "EXISTS", &hash]), Reply::Array(vec![Reply::Integer(0)]));
}

fn functions_are_loaded_on_every_primary(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let library =
        "#!lua name=lib\nredis.register_function('bump', function(keys) return redis.call('INCR', keys[1]) end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", library]), Reply::bulk("lib"));
    for key in one_key_each(cluster, "function:") {
        assert_eq!(client.call(&["FCALL", "bump", "1", &key]), Reply::Integer(1));
        assert_eq!(client.call(&["GET", &key]), Reply::bulk("1"));
    }
    let listed = client.say("FUNCTION LIST");
    assert_eq!(listed.items().map(<[Reply]>::len), Some(1), "{listed:?}");
    assert!(client.call(&["FUNCTION", "LOAD", library]).error().is_some(), "it is there already");
    assert_eq!(client.say("FUNCTION DELETE lib"), Reply::ok());
    assert_eq!(client.say("FUNCTION LIST"), Reply::Array(vec![]));
    assert!(client.call(&["FCALL", "bump", "1", "k"]).error().is_some());
}

fn scripts_void_what_they_write(cluster: &Cluster, larder: &Larder) {
    let (mut one, mut other) = (larder.connect(), larder.connect());
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "void:");
        let door = format!("{{{key}}}:door");
        one.call(&["SET", &key, "0"]);
        for (number, declared) in [(1, &key), (2, &door), (3, &door), (4, &key)] {
            larder.warm(&mut other, &format!("GET {key}"));
            let value = number.to_string();
            let script = "return redis.call('SET', ARGV[1], ARGV[2])";
            assert_eq!(one.call(&["EVAL", script, "1", declared, &key, &value]), Reply::ok());
            assert_eq!(other.call(&["GET", &key]), Reply::bulk(&value), "C2 behind a script");
        }
    }
}

fn transactions_in_one_slot(cluster: &Cluster, larder: &Larder) {
    for protocol in Protocol::BOTH {
        let (mut one, mut other) = (larder.connect_with(protocol), larder.connect_with(protocol));
        for primary in cluster.primaries() {
            let key = cluster.key_on(primary, "tx:");
            let sibling = format!("{{{key}}}:2");
            one.call(&["MSET", &key, "0", &sibling, "0"]);
            larder.warm(&mut other, &format!("MGET {key} {sibling}"));
            let set = [format!("SET {key} 1"), format!("INCR {sibling}"), format!("GET {key}")];
            let replies = one.pipeline(&["MULTI", &set[0], &set[1], &set[2], "EXEC"]);
            assert_eq!(replies[4], Reply::Array(vec![Reply::ok(), Reply::Integer(1), Reply::bulk("1")]));
            assert_eq!(other.call(&["MGET", &key, &sibling]), bulks(&["1", "1"]));
            // WATCH sees what others do.
            for disturbed in [false, true] {
                assert_eq!(one.call(&["WATCH", &key]), Reply::ok());
                assert_eq!(one.call(&["GET", &key]), other.call(&["GET", &key]));
                if disturbed {
                    other.call(&["SET", &key, "other"]);
                }
                let set = format!("SET {key} mine");
                let replies = one.pipeline(&["MULTI", &set, "EXEC"]);
                assert_eq!(replies[2] == Reply::Null, disturbed, "{replies:?}");
                let expected = if disturbed { "other" } else { "mine" };
                assert_eq!(other.call(&["GET", &key]), Reply::bulk(expected));
            }
        }
    }
}

fn transactions_over_several_slots(cluster: &Cluster, larder: &Larder) {
    let [a, b, _] = &one_key_each(cluster, "cross:")[..] else { panic!("three primaries") };
    let mut client = larder.connect();
    let replies = client.pipeline(&["MULTI", &format!("SET {a} 1"), &format!("SET {b} 2"), "EXEC"]);
    assert_eq!(replies[..2], [Reply::ok(), Reply::Simple("QUEUED".to_owned())]);
    assert!(begins(&replies[2], "CROSSSLOT") && begins(&replies[3], "EXECABORT"), "{replies:?}");
    assert_eq!(client.call(&["MGET", a, b]), Reply::Array(vec![Reply::Null, Reply::Null]), "nothing was done");
    assert!(begins(&client.call(&["WATCH", a, b]), "CROSSSLOT"));
    assert_eq!(client.call(&["WATCH", a]), Reply::ok());
    assert!(begins(&client.call(&["WATCH", b]), "CROSSSLOT"));
    assert_eq!(client.say("UNWATCH"), Reply::ok());
    // The connection is as good as new.
    let replies = client.pipeline(&["MULTI", &format!("SET {b} 2"), "EXEC", &format!("GET {b}")]);
    assert_eq!(replies[2..], [Reply::Array(vec![Reply::ok()]), Reply::bulk("2")]);
}

fn a_transaction_that_begins_without_a_key(cluster: &Cluster, larder: &Larder) {
    let key = cluster.key_on(cluster.primaries()[2], "late:");
    let mut client = larder.connect();
    let replies = client.pipeline(&["MULTI", "PING", "ECHO x", &format!("INCR {key}"), "EXEC"]);
    let queued = Reply::Simple("QUEUED".to_owned());
    assert_eq!(replies[..4], [Reply::ok(), queued.clone(), queued.clone(), queued]);
    let expected = vec![Reply::Simple("PONG".to_owned()), Reply::bulk("x"), Reply::Integer(1)];
    assert_eq!(replies[4], Reply::Array(expected));
    let replies = client.pipeline(&["MULTI", "PING", "EXEC", "MULTI", "EXEC", "MULTI", "PING", "DISCARD"]);
    assert_eq!(replies[2], Reply::Array(vec![Reply::Simple("PONG".to_owned())]));
    assert_eq!(replies[4], Reply::Array(vec![]));
    assert_eq!(replies[7], Reply::ok());
}

fn blocking_commands(cluster: &Cluster, larder: &Larder) {
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "queue:");
        let sibling = format!("{{{key}}}:2");
        let (mut waiting, mut giving) = (larder.connect(), larder.connect());
        waiting.send(&["BLPOP", &sibling, &key, "20"]).expect("sent");
        wait::until("it is blocked", || {
            let info = cluster.say_on(primary, "INFO clients").text().unwrap_or_default();
            info.contains("blocked_clients:1")
        });
        // Others are not held up.
        assert_eq!(giving.say("SET unheld v"), Reply::ok());
        assert_eq!(giving.call(&["RPUSH", &key, "job"]), Reply::Integer(1));
        assert_eq!(waiting.read(), bulks(&[&key, "job"]));
        assert_eq!(giving.call(&["LLEN", &key]), Reply::Integer(0));
        assert_eq!(waiting.call(&["BLPOP", &key, "0.05"]), Reply::Null);
    }
}

/// Each primary has one replica, and every write of the client is on it when WAIT answers 1.
fn wait_waits_for_every_primarys_replicas(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = one_key_each(cluster, "wait:");
    for round in 0..5 {
        for key in &keys {
            client.call(&["SET", key, &round.to_string()]);
        }
        assert_eq!(client.say("WAIT 1 5000"), Reply::Integer(1));
        for (primary, key) in cluster.primaries().into_iter().zip(&keys) {
            let mut replica = cluster.connect(cluster.replica_of(primary));
            replica.say("READONLY");
            assert_eq!(replica.call(&["GET", key]), Reply::bulk(&round.to_string()), "{key} is on its replica");
        }
    }
    // The least of all counts.
    assert!(client.say("WAIT 0 100").integer().is_some());
    let start = Instant::now();
    assert_eq!(client.say("WAIT 2 1500"), Reply::Integer(1));
    let took = start.elapsed();
    assert!((1400..4000).contains(&took.as_millis()), "the time is that of all together: {took:?}");
    assert!(begins(&client.say("WAIT 1"), "ERR wrong number"));
    assert!(client.say("WAIT x 1").error().is_some());
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    // In one pipeline with the writes, and what is behind it waits.
    let writes: Vec<String> = keys.iter().map(|key| format!("SET {key} piped")).collect();
    let replies = client.pipeline(&[&writes[0], &writes[1], &writes[2], "WAIT 1 5000", "PING"]);
    assert_eq!(replies[3..], [Reply::Integer(1), Reply::Simple("PONG".to_owned())]);
    // A replica that does not answer: that primary's count is 0.
    let frozen = cluster.replica_of(cluster.primaries()[1]);
    cluster.redis(frozen).freeze();
    for key in &keys {
        client.call(&["SET", key, "late"]);
    }
    let reply = client.say("WAIT 1 100");
    cluster.redis(frozen).thaw();
    assert_eq!(reply, Reply::Integer(0));
}

fn pipelines_keep_their_order(cluster: &Cluster, larder: &Larder) {
    let keys = one_key_each(cluster, "line:");
    let mut client = larder.connect();
    let mut commands = Vec::new();
    for round in 0..50 {
        for key in &keys {
            commands.push(format!("SET {key} {round}"));
            commands.push(format!("GET {key}"));
        }
        commands.push(format!("MGET {}", keys.join(" ")));
    }
    let replies = client.pipeline(&commands.iter().map(String::as_str).collect::<Vec<_>>());
    for (round, replies) in replies.chunks(7).enumerate() {
        let value = round.to_string();
        for pair in replies[..6].chunks(2) {
            assert_eq!(*pair, [Reply::ok(), Reply::bulk(&value)]);
        }
        assert_eq!(replies[6], bulks(&[value.as_str(); 3]), "every write before it is seen");
    }
}

#[test]
fn a_replica_that_is_gone_keeps_no_script_from_being_loaded() {
    let mut cluster = Cluster::start();
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let mut client: Client = larder.connect();
    assert!(client.say("SCRIPT LOAD x=1").text().is_some());
    let replica = cluster.replicas()[0];
    cluster.kill(replica);
    // Also while Larder is finding out, and whenever it tries whether the replica is back.
    let mut hash = String::new();
    for tried in 0..3_000 {
        let reply = client.call(&["SCRIPT", "LOAD", "return 7"]);
        assert_eq!(reply.error(), None, "load number {tried}");
        hash = reply.text().expect("a hash");
    }
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "k");
        assert_eq!(client.call(&["EVALSHA", &hash, "1", &key]), Reply::Integer(7));
    }
}
