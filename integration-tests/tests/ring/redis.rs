//! Redis servers that know nothing of each other, on a ring: what Larder makes of them together.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::standing;
use larder_integration_tests::twemproxy::Twemproxy;
use larder_integration_tests::wait;

struct Rig {
    nodes: Vec<Redis>,
    larder: Larder,
}

impl Rig {
    fn start() -> Self {
        Self::start_with(|settings| settings)
    }

    fn start_with(more: impl Fn(Settings) -> Settings) -> Self {
        let nodes: Vec<_> = (0..3).map(|_| Redis::start()).collect();
        let larder = Larder::start_with(&more(Settings::redis_ring(&addresses(&nodes))));
        Self { nodes, larder }
    }

    /// So many keys that lie on that node, found out by writing them through Larder.
    fn keys_on(&self, node: usize, count: usize) -> Vec<String> {
        let (mut client, mut owner) = (self.larder.connect(), self.nodes[node].connect());
        let mut found = Vec::new();
        for number in 0.. {
            let key = format!("key:{node}:{number}");
            assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
            if owner.call(&["EXISTS", &key]) == Reply::Integer(1) {
                found.push(key);
            } else {
                client.call(&["DEL", &key]);
            }
            if found.len() == count {
                break;
            }
        }
        found
    }
}

fn addresses(nodes: &[Redis]) -> Vec<SocketAddr> {
    nodes.iter().map(Redis::address).collect()
}

fn numbers(channel: &str, count: i64) -> Reply {
    Reply::Array(vec![Reply::bulk(channel), Reply::Integer(count)])
}

fn many(name: &str, keys: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(keys.iter().cloned()).collect()
}

#[test]
fn larder_and_twemproxy_find_every_key_where_the_other_put_it() {
    for hash in ["md5", "fnv1a_64"] {
        let rig = Rig::start_with(|settings| settings.upstream(&format!("ring: {{hash: {hash}, hash_tag: \"{{}}\"}}")));
        let servers: Vec<String> = addresses(&rig.nodes).iter().map(|node| format!("{node}:1")).collect();
        let pool = ["redis: true", "distribution: ketama", &format!("hash: {hash}"), "hash_tag: \"{}\""];
        let twemproxy = Twemproxy::start(&servers, &pool.map(str::to_owned));
        let (mut ours, mut theirs) = (rig.larder.connect(), Client::connect(twemproxy.address()));
        for number in 0..1000 {
            let key =
                if number % 3 == 0 { format!("{{tag:{}}}:{number}", number / 9) } else { format!("key:{number}") };
            assert_eq!(ours.call(&["SET", &key, "ours"]), Reply::ok());
            assert_eq!(theirs.call(&["GET", &key]), Reply::bulk("ours"), "{hash} {key}");
            assert_eq!(theirs.call(&["SET", &key, "theirs"]), Reply::ok());
            let address = wait_for(&mut ours, &key, "theirs");
            assert!(address, "{hash} {key}");
        }
        let shares: Vec<_> = rig.nodes.iter().map(|node| node.say("DBSIZE").integer()).collect();
        assert!(shares.iter().all(|share| share.is_some_and(|share| share > 100)), "{shares:?}");
        assert_eq!(shares.iter().flatten().sum::<i64>(), 1000, "a key is on two nodes");
    }
}

/// What another client has written is seen as soon as its server has pushed the invalidation.
fn wait_for(client: &mut Client, key: &str, value: &str) -> bool {
    wait::holds_within(std::time::Duration::from_secs(20), || client.call(&["GET", key]) == Reply::bulk(value))
}

#[test]
fn every_server_tells_of_its_own_changes_and_hits_are_answered_here() {
    let rig = Rig::start();
    let mut client = rig.larder.connect();
    for (number, node) in rig.nodes.iter().enumerate() {
        let key = &rig.keys_on(number, 1)[0];
        rig.larder.warm(&mut client, &format!("GET {key}"));
        let hits = rig.larder.hits();
        assert_eq!(client.call(&["GET", key]), Reply::bulk("v"));
        assert_eq!(rig.larder.hits(), hits + 1.0, "node {number}");
        assert_eq!(node.connect().call(&["SET", key, "changed"]), Reply::ok());
        wait::until("the change is seen", || client.call(&["GET", key]) == Reply::bulk("changed"));
    }
    let lines = rig.larder.say("LARDER NODES");
    let lines: Vec<String> = lines.items().expect("a list").iter().filter_map(Reply::text).collect();
    assert_eq!(
        lines.iter().filter(|line| line.contains(" points=") && line.contains(" coverage=tracking ")).count(),
        3
    );
}

#[test]
fn commands_of_many_keys_and_of_all_are_joined_from_all_servers() {
    let rig = Rig::start();
    let mut client = rig.larder.connect();
    let keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
    let pairs: Vec<String> = keys.iter().flat_map(|key| [key.clone(), format!("value of {key}")]).collect();
    assert_eq!(client.call(&many("MSET", &pairs)), Reply::ok());
    keys.iter().step_by(3).for_each(|key| drop(client.call(&["GET", key])));
    let values = keys.iter().map(|key| Reply::bulk(&format!("value of {key}"))).collect();
    assert_eq!(client.call(&many("MGET", &keys)), Reply::Array(values));
    assert_eq!(client.say("DBSIZE"), Reply::Integer(300));
    assert_eq!(client.say("KEYS *").items().map(<[Reply]>::len), Some(300));

    let (mut seen, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "20"]);
        let [next, some] = reply.items().expect("a cursor and keys") else { panic!("{reply:?}") };
        for key in some.items().expect("keys") {
            assert!(seen.insert(key.text().expect("a key")), "{key:?} was returned twice although nothing has changed");
        }
        cursor = next.text().expect("a cursor");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        BTreeSet::from_iter(keys.iter().cloned()).into_iter().collect::<Vec<_>>()
    );

    assert_eq!(client.call(&many("DEL", &keys[..100])), Reply::Integer(100));
    assert_eq!(client.call(&many("EXISTS", &keys)), Reply::Integer(200));
    assert_eq!(client.say("FLUSHALL"), Reply::ok());
    assert!(rig.nodes.iter().all(|node| node.say("DBSIZE") == Reply::Integer(0)));
    assert_eq!(client.call(&many("MGET", &keys[..3])), Reply::Array(vec![Reply::Null; 3]));
}

#[test]
fn what_cannot_be_split_is_refused_unless_its_keys_share_a_server() {
    let rig = Rig::start_with(|settings| settings.upstream("ring: {hash_tag: \"{}\"}"));
    let (here, there) = (rig.keys_on(0, 2), rig.keys_on(1, 1));
    let mut client = rig.larder.connect();
    let refused = |reply: Reply| assert!(reply.error().is_some_and(|text| text.starts_with("CROSSSLOT ")), "{reply:?}");
    refused(client.call(&["MSETNX", "new", "1", &here[0], "1", &there[0], "1"]));
    refused(client.call(&["RENAME", &here[0], &there[0]]));
    refused(client.call(&["EVAL", "return 1", "2", &here[0], &there[0]]));
    refused(client.call(&["BLPOP", &here[0], &there[0], "1"]));
    assert_eq!(client.call(&["RENAME", &here[0], &here[1]]), Reply::ok());

    assert_eq!(client.say("MULTI"), Reply::ok());
    assert_eq!(client.call(&["SET", &here[0], "1"]), Reply::Simple("QUEUED".into()));
    refused(client.call(&["SET", &there[0], "1"]));
    assert!(client.say("EXEC").error().is_some_and(|text| text.starts_with("EXECABORT ")));

    assert_eq!(client.say("MSET {a}1 1 {a}2 2"), Reply::ok());
    assert_eq!(client.say("WATCH {a}1"), Reply::ok());
    assert_eq!(client.say("MULTI"), Reply::ok());
    client.say("INCR {a}1");
    client.say("INCR {a}2");
    assert_eq!(client.say("EXEC"), Reply::Array(vec![Reply::Integer(2), Reply::Integer(3)]));
    client.say("RPUSH {a}list x");
    assert_eq!(client.say("BLPOP {a}none {a}list 1").items().map(<[Reply]>::len), Some(2));
    assert_eq!(
        client.say("EVAL return{redis.call('get',KEYS[1]),KEYS[2]} 2 {a}1 {a}2").items().map(<[Reply]>::len),
        Some(2)
    );
}

/// What concerns all servers, or a certain one, is not done half on whichever server the transaction has.
#[test]
fn a_transaction_refuses_what_its_server_alone_cannot_do() {
    let rig = Rig::start();
    let key = &rig.keys_on(2, 1)[0];
    let mut client = rig.larder.connect();
    let words = [
        "FLUSHALL",
        "FLUSHDB",
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "SCRIPT FLUSH",
        "PUBLISH news x",
        "EVAL return{} 0",
    ];
    for words in words {
        assert_eq!(client.say("MULTI"), Reply::ok());
        assert_eq!(client.call(&["SET", key, "1"]), Reply::Simple("QUEUED".into()));
        let reply = client.say(words);
        assert!(reply.error().is_some_and(|text| text.starts_with("CROSSSLOT ")), "{words}: {reply:?}");
        assert!(client.say("EXEC").error().is_some_and(|text| text.starts_with("EXECABORT ")));
    }
    assert_eq!(client.call(&["GET", key]), Reply::bulk("v"));
    // What is the same on every server is served, and so is a message where it is heard.
    assert_eq!(client.say("MULTI"), Reply::ok());
    client.call(&["SET", key, "2"]);
    client.say("PING");
    assert_eq!(client.say("TIME"), Reply::Simple("QUEUED".into()));
    assert_eq!(client.say("EXEC").items().map(<[Reply]>::len), Some(3));
    let mut reader = rig.larder.connect();
    reader.say("SUBSCRIBE news");
    assert_eq!(client.say("MULTI"), Reply::ok());
    assert_eq!(client.say("PUBLISH news x"), Reply::Simple("QUEUED".into()));
    client.call(&["SET", &rig.keys_on(0, 1)[0], "3"]);
    assert_eq!(client.say("EXEC"), Reply::Array(vec![Reply::Integer(1), Reply::ok()]));
    assert_eq!(reader.read().items().and_then(|items| items[2].text()).as_deref(), Some("x"));
}

#[test]
fn what_reads_or_exchanges_keys_of_other_servers_unasked_is_refused() {
    let rig = Rig::start();
    let mut client = rig.larder.connect();
    client.say("RPUSH list 3 1 2");
    for words in ["SORT list BY w_*", "SORT list GET o_*", "SORT_RO list BY w_* GET #"] {
        let reply = client.say(words);
        assert!(reply.error().is_some_and(|text| text.starts_with("CROSSSLOT ")), "{words}: {reply:?}");
    }
    let sorted = Reply::Array(["1", "2", "3"].map(Reply::bulk).into());
    assert_eq!(client.say("SORT list"), sorted);
    assert_eq!(client.say("SORT list BY nosort GET #").items().map(<[Reply]>::len), Some(3));
    let keys = rig.keys_on(1, 1);
    assert!(client.say("SWAPDB 0 1").error().is_some_and(|text| text.contains("several behind Larder")));
    assert_eq!(client.call(&["GET", &keys[0]]), Reply::bulk("v"));
}

#[test]
fn scripts_functions_messages_and_databases_are_as_of_one_server() {
    let rig = Rig::start();
    let mut client = rig.larder.connect();
    let hash = client.call(&["SCRIPT", "LOAD", "return redis.call('get', KEYS[1])"]).text().expect("a hash");
    let library =
        "#!lua name=lib\nredis.register_function('mine', function(keys) return redis.call('get', keys[1]) end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", library]), Reply::bulk("lib"));
    for node in 0..3 {
        let key = &rig.keys_on(node, 1)[0];
        assert_eq!(client.call(&["EVALSHA", &hash, "1", key]), Reply::bulk("v"), "node {node}");
        assert_eq!(client.call(&["FCALL", "mine", "1", key]), Reply::bulk("v"), "node {node}");
    }
    for channel in ["one", "two", "three", "four"] {
        let mut reader = rig.larder.connect();
        reader.call(&["SUBSCRIBE", channel]);
        assert_eq!(client.call(&["PUBLISH", channel, "news"]), Reply::Integer(1), "{channel}");
        assert_eq!(reader.read().items().and_then(|items| items[2].text()).as_deref(), Some("news"));
        let mut reader = rig.larder.connect();
        reader.call(&["SSUBSCRIBE", channel]);
        assert_eq!(client.call(&["SPUBLISH", channel, "news"]), Reply::Integer(1), "{channel}");
        let explained = client.call(&["LARDER", "EXPLAIN", "SPUBLISH", channel, "news"]);
        let lines: Vec<String> = explained.items().expect("a list").iter().filter_map(Reply::text).collect();
        let holds = |node: &&Redis| node.connect().call(&["PUBSUB", "SHARDNUMSUB", channel]) == numbers(channel, 1);
        let owner = rig.nodes.iter().find(holds).expect("one of them has the subscription").address();
        assert!(lines.iter().any(|line| line.contains(&format!(" at {owner},"))), "{channel}: {lines:?}");
    }
    assert_eq!(client.say("SELECT 3"), Reply::ok());
    assert_eq!(client.say("DBSIZE"), Reply::Integer(0));
    let keys: Vec<String> = (0..30).map(|number| format!("three:{number}")).collect();
    keys.iter().for_each(|key| assert_eq!(client.call(&["SET", key, "v"]), Reply::ok()));
    assert_eq!(client.say("DBSIZE"), Reply::Integer(30));
    assert_eq!(client.call(&many("EXISTS", &keys)), Reply::Integer(30));
}

#[test]
fn a_server_that_is_gone_costs_its_own_keys_and_no_others() {
    let mut rig = Rig::start_with(|settings| {
        settings
            .upstream("health_check: {interval: 100ms, timeout: 500ms}")
            .upstream("breaker: {failure_threshold: 1, reset_timeout: 200ms}")
    });
    let keys: Vec<Vec<String>> = (0..3).map(|node| rig.keys_on(node, 2)).collect();
    let mut client = rig.larder.connect();
    for [cached, _] in keys.iter().filter_map(|keys| keys.first_chunk()) {
        rig.larder.warm(&mut client, &format!("GET {cached}"));
    }
    // The first one is also the one that commands without a key go to: that is for the next test.
    let gone = rig.nodes[1].address().to_string();
    rig.nodes[1].kill();
    standing::wait_for_rung(&rig.larder, "local-only", |of| of.endpoint() == gone);
    assert_eq!(client.call(&["GET", &keys[1][0]]), Reply::bulk("v"), "it is cached");
    let refused = |reply: Reply, code: &str| {
        assert!(reply.error().is_some_and(|text| text.starts_with(code) && text.contains(&gone)), "{reply:?}");
    };
    refused(client.call(&["GET", &keys[1][1]]), "MASTERDOWN ");
    refused(client.call(&["SET", &keys[1][0], "x"]), "READONLY ");
    refused(client.call(&["MSET", &keys[0][0], "x", &keys[1][0], "x"]), "READONLY ");
    for node in [0, 2] {
        assert_eq!(
            client.call(&["GET", &keys[node][1]]),
            Reply::bulk("v"),
            "nothing was written, or node {node} is down"
        );
        assert_eq!(client.call(&["SET", &keys[node][0], "new"]), Reply::ok());
    }
    rig.nodes[1].restart();
    standing::wait_for_normal(&rig.larder);
    wait::until("what was cached of it is gone as its data is", || client.call(&["GET", &keys[1][0]]) == Reply::Null);
    assert_eq!(client.call(&["SET", &keys[1][0], "back"]), Reply::ok());
    assert_eq!(rig.nodes[1].connect().call(&["GET", &keys[1][0]]), Reply::bulk("back"));
}

#[test]
fn without_the_first_server_messages_of_shards_still_reach_the_others() {
    let mut rig = Rig::start_with(|settings| {
        settings
            .upstream("health_check: {interval: 100ms, timeout: 500ms}")
            .upstream("breaker: {failure_threshold: 1, reset_timeout: 200ms}")
    });
    let mut client = rig.larder.connect();
    let channels: Vec<String> = (0..20).map(|number| format!("channel:{number}")).collect();
    let mut readers: Vec<Client> = channels
        .iter()
        .map(|channel| {
            let mut reader = rig.larder.connect();
            reader.call(&["SSUBSCRIBE", channel]);
            reader
        })
        .collect();
    let first = &rig.nodes[0];
    let elsewhere =
        |channel: &&String| first.connect().call(&["PUBSUB", "SHARDNUMSUB", channel.as_str()]) == numbers(channel, 0);
    let live: Vec<String> = channels.iter().filter(elsewhere).cloned().collect();
    assert!((1..20).contains(&live.len()), "{live:?}");
    let gone = rig.nodes[0].address().to_string();
    rig.nodes[0].kill();
    standing::wait_for_rung(&rig.larder, "local-only", |of| of.endpoint() == gone);
    for (channel, reader) in channels.iter().zip(&mut readers).filter(|(channel, _)| live.contains(channel)) {
        assert_eq!(client.call(&["SPUBLISH", channel, "news"]), Reply::Integer(1), "{channel}");
        assert_eq!(reader.read().items().and_then(|items| items[2].text()).as_deref(), Some("news"));
    }
    let reply = client.say("PUBLISH news x");
    assert!(reply.error().is_some_and(|text| text.contains(&gone)), "{reply:?}");
}
