//! Larder as a cluster of one node, and as no cluster at all; the nodes behind it are never shown.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::dice::Dice;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

fn facade(settings: Settings) -> Larder {
    Larder::start_with(&settings.section("cluster_facade: true"))
}

/// A cluster of one real node, which knows its own address, and has the epoch that Larder shows.
fn real_node() -> Redis {
    let node = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    let mut client = node.connect();
    assert_eq!(client.say("CLUSTER ADDSLOTSRANGE 0 16383"), Reply::ok());
    client.say("CLUSTER BUMPEPOCH");
    wait::until("the cluster is well", || {
        client.say("CLUSTER INFO").text().is_some_and(|text| text.contains("cluster_state:ok"))
    });
    node
}

/// A reply with what differs between any two nodes replaced.
fn alike(reply: &[u8], port: u16, id: &str) -> String {
    let text = String::from_utf8_lossy(reply).into_owned();
    text.replace(id, "ID").replace(&format!("@{}", u32::from(port) + 10_000), "@BUS").replace(&port.to_string(), "PORT")
}

#[test]
fn it_answers_byte_for_byte_as_a_cluster_of_one_real_node() {
    let real = real_node();
    let origin = Redis::start();
    let larder = facade(Settings::new(origin.address()));
    let id = |client: &mut Client| client.say("CLUSTER MYID").text().expect("an id");
    let (real_id, larder_id) = (id(&mut real.connect()), id(&mut larder.connect()));
    assert_eq!(larder_id.len(), 40);
    for protocol in Protocol::BOTH {
        let mut real_client = Client::connect_with(real.address(), protocol);
        let mut larder_client = larder.connect_with(protocol);
        for words in [
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER INFO",
            "CLUSTER MYID",
            "CLUSTER KEYSLOT {user:1}.name",
            "CLUSTER KEYSLOT",
            "CLUSTER LINKS",
            "CLUSTER REPLICAS unknown",
            "CLUSTER SLAVES unknown",
            "CLUSTER COUNT-FAILURE-REPORTS unknown",
            "CLUSTER COUNTKEYSINSLOT 16384",
            "CLUSTER COUNTKEYSINSLOT -1",
            "CLUSTER COUNTKEYSINSLOT x",
            "CLUSTER GETKEYSINSLOT 16384 1",
            "CLUSTER GETKEYSINSLOT 1 -1",
            "CLUSTER GETKEYSINSLOT 1 x",
            "CLUSTER NONSENSE",
            "CLUSTER",
            "READONLY",
            "READWRITE",
            "ASKING",
            "CONFIG GET cluster-enabled",
        ] {
            let ask = |client: &mut Client| client.call_raw(&words.split(' ').collect::<Vec<_>>());
            let expected = alike(&ask(&mut real_client), real.address().port(), &real_id);
            let found = alike(&ask(&mut larder_client), larder.address().port(), &larder_id);
            assert_eq!(found, expected, "{words}");
        }
        for (words, own) in [("CLUSTER REPLICAS", &larder_id), ("CLUSTER COUNT-FAILURE-REPORTS", &larder_id)] {
            let of = |id: &str| format!("{words} {id}");
            assert_eq!(larder_client.say(&of(own)), real_client.say(&of(&real_id)), "{words}");
        }
        // The length of the text depends on those of the ports, so without it.
        let nodes = |client: &mut Client, port, id: &str| {
            let text = client.say("CLUSTER NODES").text().expect("a text");
            alike(text.trim_start_matches("txt:").as_bytes(), port, id)
        };
        let found = nodes(&mut larder_client, larder.address().port(), &larder_id);
        assert_eq!(found, nodes(&mut real_client, real.address().port(), &real_id));
        assert_eq!(found, "ID 127.0.0.1:PORT@BUS myself,master - 0 0 1 connected 0-16383\n");
    }
}

#[test]
fn every_key_has_the_slot_that_a_cluster_gives_it() {
    let real = real_node();
    let larder = facade(Settings::memory());
    let (mut real, mut larder) = (real.connect(), larder.connect());
    let mut dice = Dice::new(7);
    // Bytes that make tags, and some that have no meaning.
    let alphabet = b"{}{}abc\0\r\n\xff ";
    for _ in 0..2000 {
        let length = dice.below(12);
        let key: Vec<u8> = (0..length).map(|_| alphabet[dice.below(alphabet.len())]).collect();
        let command = [b"CLUSTER", &b"KEYSLOT"[..], &key];
        assert_eq!(larder.call(&command), real.call(&command), "{}", key.escape_ascii());
    }
}

#[test]
fn info_and_hello_say_that_it_is_a_cluster() {
    let origin = Redis::start();
    for (setting, mode, enabled) in [
        ("cluster_facade: true", "cluster", "cluster_enabled:1"),
        ("cluster_facade: false", "standalone", "cluster_enabled:0"),
    ] {
        let larder = Larder::start_with(&Settings::new(origin.address()).section(setting));
        let info = larder.say("INFO").text().expect("a text");
        assert!(info.contains(&format!("redis_mode:{mode}\r\n")), "{info}");
        assert!(info.contains(enabled), "{info}");
        let hello = larder.say("HELLO 3");
        let fields = hello.items().expect("a map");
        let at = fields.iter().position(|field| *field == Reply::bulk("mode")).expect("a mode");
        assert_eq!(fields[at + 1], Reply::bulk(mode));
    }
}

#[test]
fn t59_without_the_facade_no_node_of_a_cluster_is_ever_told_of() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let plain = Redis::start();
    let (mut larder, mut plain) = (larder.connect(), plain.connect());
    for words in [
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER NODES",
        "CLUSTER INFO",
        "CLUSTER MYID",
        "CLUSTER KEYSLOT k",
        "CLUSTER COUNTKEYSINSLOT 1",
        "CLUSTER GETKEYSINSLOT 1 1",
        "CLUSTER REPLICAS x",
        "CLUSTER LINKS",
        "CLUSTER HELP",
        "CLUSTER RESET",
        "CLUSTER ADDSLOTS 1",
        "CLUSTER NONSENSE",
        "READONLY",
        "READWRITE",
        "ASKING",
        "INFO cluster",
    ] {
        let ask = |client: &mut Client| client.call_raw(&words.split(' ').collect::<Vec<_>>());
        let (found, expected) = (ask(&mut larder), ask(&mut plain));
        // A real INFO has one more empty line at its end.
        let same = found == expected || words.starts_with("INFO") && found.ends_with(b"cluster_enabled:0\r\n\r\n");
        assert!(same, "{words}: {} and not {}", found.escape_ascii(), expected.escape_ascii());
    }
}

#[test]
fn the_facade_of_a_cluster_counts_the_keys_of_a_slot_and_shows_no_node() {
    let cluster = Cluster::start_primaries(3);
    let larder = facade(Settings::cluster(&cluster));
    let mut client = larder.connect();
    for key in ["{a}1", "{a}2", "{b}1", "{c}1"] {
        assert_eq!(client.say(&format!("SET {key} v")), Reply::ok());
    }
    for (tag, count) in [("a", 2), ("b", 1), ("c", 1), ("d", 0)] {
        let slot = cluster.slot_of(tag);
        assert_eq!(client.say(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), Reply::Integer(count), "{tag}");
        let keys = client.say(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
        assert_eq!(keys.items().map(<[Reply]>::len), Some(count as usize), "{tag}: {keys:?}");
    }
    for words in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"] {
        let reply = client.call_raw(&words.split(' ').collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&reply).into_owned();
        for node in cluster.nodes() {
            assert!(!text.contains(cluster.id(node)), "{words}: {text}");
            assert!(!text.contains(&cluster.address(node).port().to_string()), "{words}: {text}");
        }
    }
    for words in ["CLUSTER RESET", "CLUSTER ADDSLOTS 1", "CLUSTER FAILOVER", "CLUSTER MEET 127.0.0.1 1"] {
        let Reply::Error(error) = client.say(words) else { panic!("{words} was carried out") };
        assert!(error.contains("one node that owns every slot"), "{words}: {error}");
    }
    assert_eq!(cluster.redis(0).info("cluster_enabled"), "1");
}

#[test]
fn where_the_upstream_is_no_cluster_the_keys_of_a_slot_are_not_made_up() {
    let origin = Redis::start();
    let larder = facade(Settings::new(origin.address()));
    for words in ["CLUSTER COUNTKEYSINSLOT 1", "CLUSTER GETKEYSINSLOT 1 1"] {
        let Reply::Error(error) = larder.say(words) else { panic!("{words} was answered") };
        assert!(error.contains("the upstream is no cluster"), "{words}: {error}");
    }
}

#[test]
fn a_client_is_told_of_the_listener_that_it_came_by() {
    let scratch = Scratch::new("facade");
    let path = scratch.file("larder.sock");
    let second = larder_integration_tests::port::free();
    let settings = Settings::memory()
        .listener(&format!("{{address: {second}}}"))
        .listener(&format!("{{address: \"unix:{}\"}}", path.display()));
    let larder = facade(settings);
    let port = |reply: Reply| match reply.items().expect("ranges")[0].items().expect("a range")[2].items() {
        Some([host, Reply::Integer(port), ..]) => (host.text().expect("a host"), *port),
        other => panic!("{other:?}"),
    };
    assert_eq!(port(larder.say("CLUSTER SLOTS")), ("127.0.0.1".into(), larder.address().port().into()));
    let mut other = Client::connect(second);
    assert_eq!(port(other.say("CLUSTER SLOTS")), ("127.0.0.1".into(), second.port().into()));
}
