//! Redirections that a healthy cluster of addresses does not show: to nodes that nobody has told of, without a host, without
//! an end, by hostname. A server that says that it is a cluster of one stands for one.

use larder_integration_tests::client::Client;
use larder_integration_tests::cluster::{Cluster, slot_of};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::meddler::Meddler;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// A server that says that it owns every slot.
fn pretender(redis: &Redis) -> Meddler {
    let pretender = Meddler::start(redis.address());
    let info = "cluster_state:ok\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n";
    pretender.answer("CLUSTER INFO", format!("${}\r\n{info}\r\n", info.len()).as_bytes());
    let port = pretender.address().port();
    let id = "a".repeat(40);
    let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n");
    pretender.answer("CLUSTER SLOTS", slots.as_bytes());
    pretender
}

#[test]
fn a_node_that_no_map_names_is_gone_to() {
    let (one, other) = (Redis::start(), Redis::start());
    let front = pretender(&one);
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]));
    let mut client = larder.connect();
    assert_eq!(client.say("SET here v"), Reply::ok());
    for words in ["GET there", "SET there", "INCR there"] {
        let moved = format!("-MOVED {} {}\r\n", slot_of("there"), other.address());
        front.answer(words, moved.as_bytes());
    }
    assert_eq!(client.say("SET there 1"), Reply::ok());
    for expected in 2..30 {
        assert_eq!(client.say("INCR there"), Reply::Integer(expected));
        assert_eq!(client.say("GET there"), Reply::bulk(&expected.to_string()));
    }
    assert_eq!(other.say("GET there"), Reply::bulk("29"));
    assert_eq!(one.say("EXISTS there"), Reply::Integer(0));
    assert_eq!(client.say("GET here"), Reply::bulk("v"));
    // One that cannot be reached: the client may try again.
    front.answer("GET nowhere", format!("-MOVED {} 127.0.0.1:1\r\n", slot_of("nowhere")).as_bytes());
    let reply = client.say("GET nowhere");
    assert!(reply.error().is_some_and(|error| error.starts_with("MASTERDOWN")), "{reply:?}");
}

/// The host is that of the node which redirects.
#[test]
fn a_redirection_without_a_host_keeps_it() {
    let (one, other) = (Redis::start(), Redis::start());
    let front = pretender(&one);
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]));
    let mut client = larder.connect();
    let port = other.address().port();
    front.answer("SET moved", format!("-MOVED {} :{port}\r\n", slot_of("moved")).as_bytes());
    front.answer("SET asked", format!("-ASK {} ?:{port}\r\n", slot_of("asked")).as_bytes());
    assert_eq!(client.say("SET moved v"), Reply::ok());
    assert_eq!(other.say("GET moved"), Reply::bulk("v"));
    // A server that is no cluster does not know ASKING, says so, and carries the command out.
    assert_eq!(client.say("SET asked v"), Reply::ok());
    assert_eq!(other.say("GET asked"), Reply::bulk("v"));
}

#[test]
fn redirections_have_an_end() {
    let one = Redis::start();
    let front = pretender(&one);
    let round = format!("-MOVED {} {}\r\n", slot_of("round"), front.address());
    front.answer("SET round", round.as_bytes());
    front.answer("GET round", round.as_bytes());
    front.answer("MGET {round}1", b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]));
    let mut client = larder.connect();
    for words in ["SET round v", "GET round", "MGET {round}1 {round}2"] {
        let reply = client.say(words);
        let error = reply.error().unwrap_or_default();
        assert!(error.starts_with("TRYAGAIN ") && error.contains("5 times"), "{words}: {reply:?}");
    }
    // The place in the line is not lost.
    let replies = client.pipeline(&["SET k v", "SET round v", "GET k", "GET round", "PING"]);
    assert_eq!([&replies[0], &replies[2]], [&Reply::ok(), &Reply::bulk("v")]);
    assert!(replies[1].error().is_some() && replies[3].error().is_some());
    front.relent();
    wait::until("it ends", || client.say("SET round v") == Reply::ok());
    assert_eq!(larder.say("GET round"), Reply::bulk("v"));
}

/// What a server was asked for with this name, in the words of its MONITOR.
fn asked(monitor: &mut Client, name: &str) -> Vec<String> {
    loop {
        let line = monitor.read().text().expect("a line of MONITOR");
        let words: Vec<String> = line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        if words.first().is_some_and(|word| word == name) {
            return words;
        }
    }
}

/// It has not been carried out where it was sent first; it goes on waiting elsewhere with what is left of its time, on the one
/// connection that may be leased.
#[test]
fn a_blocking_command_waits_where_it_is_sent_to() {
    let (one, mut other) = (Redis::start(), Redis::start());
    let front = pretender(&one);
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]).upstream("max_leases: 1"));
    let slot = slot_of("there");
    let (moved, ask) =
        (format!("-MOVED {slot} {}\r\n", other.address()), format!("-ASK {slot} {}\r\n", other.address()));
    for words in ["BLPOP there", "BLMPOP 30"] {
        front.answer(words, moved.as_bytes());
    }
    for words in ["BRPOP there", "XREAD BLOCK"] {
        front.answer(words, ask.as_bytes());
    }
    let mut monitor = other.connect();
    assert_eq!(monitor.say("MONITOR"), Reply::ok());
    let (mut client, mut giving) = (larder.connect(), other.connect());
    for (words, at, time) in [
        ("BLPOP there 30", 2, 30.0),
        ("BRPOP there 30.5", 2, 30.5),
        ("BLMPOP 30 1 there LEFT", 1, 30.0),
        ("XREAD BLOCK 30000 STREAMS {there}stream $", 2, 30_000.0),
    ] {
        let arguments: Vec<&str> = words.split(' ').collect();
        client.send(&arguments).expect("sent");
        let mut seen = asked(&mut monitor, arguments[0]);
        let left: f64 = std::mem::replace(&mut seen[at], arguments[at].to_owned()).parse().expect("a time");
        assert_eq!(seen, arguments, "the rest is as it was");
        assert!(left > 0.0 && left <= time && left > time / 2.0, "{words}: {left}");
        wait::until("it is blocked", || other.info("blocked_clients") == "1");
        match arguments[0] {
            "XREAD" => drop(giving.say("XADD {there}stream * f v")),
            _ => drop(giving.say("RPUSH there v")),
        }
        let reply = client.read();
        assert!(format!("{reply:?}").contains("\"v\""), "{words}: {reply:?}");
        assert_eq!(client.say("GET k"), Reply::Null, "those behind it are served");
    }
    // For ever stays for ever, and what is wrong is told by whoever would carry it out.
    client.send(&["BLPOP", "there", "0"]).expect("sent");
    assert_eq!(asked(&mut monitor, "BLPOP"), ["BLPOP", "there", "0"]);
    wait::until("it is blocked", || other.info("blocked_clients") == "1");
    drop(client);
    wait::until("who leaves is forgotten", || other.info("blocked_clients") == "0");
    let reply = larder.say("BLPOP there soon");
    assert_eq!(reply.error(), Some("ERR timeout is not a float or out of range"));
    // Its server goes, and it is told, also where nothing can have been done.
    let mut client = larder.connect();
    client.send(&["XREAD", "BLOCK", "30000", "STREAMS", "{there}stream", "$"]).expect("sent");
    wait::until("it is blocked", || other.info("blocked_clients") == "1");
    other.kill();
    assert!(client.read().error().is_some());
    assert_eq!(client.say("GET k"), Reply::Null, "those behind it are served");
}

/// Those that go round in circles, or must wait too long for their slot.
#[test]
fn a_blocking_command_is_not_redirected_without_an_end() {
    let one = Redis::start();
    let front = pretender(&one);
    front.answer("BLPOP round", format!("-MOVED {} {}\r\n", slot_of("round"), front.address()).as_bytes());
    front.answer("BLMOVE {line}1", b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]).upstream("max_leases: 1"));
    let mut client = larder.connect();
    for words in ["BLPOP round 10", "BLMOVE {line}1 {line}2 LEFT LEFT 10"] {
        let reply = client.say(words);
        let error = reply.error().unwrap_or_default();
        assert!(error.starts_with("TRYAGAIN ") && error.contains("5 times"), "{words}: {reply:?}");
    }
    front.relent();
    assert_eq!(client.say("RPUSH round v"), Reply::Integer(1));
    assert_eq!(client.say("BLPOP round 10"), Reply::Array(vec![Reply::bulk("round"), Reply::bulk("v")]));
}

#[test]
fn with_none_allowed_the_client_gets_the_redirection() {
    let one = Redis::start();
    let front = pretender(&one);
    let text = format!("MOVED {} 127.0.0.1:1", slot_of("k"));
    front.answer("GET k", format!("-{text}\r\n").as_bytes());
    front.answer("SET k", format!("-{text}\r\n").as_bytes());
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]).upstream("max_redirections: 0"));
    assert_eq!(larder.say("GET k"), Reply::Error(text.clone()));
    assert_eq!(larder.say("SET k v"), Reply::Error(text));
}

/// An error that only looks like a redirection is nobody's instruction.
#[test]
fn errors_of_other_forms_are_the_clients() {
    let one = Redis::start();
    let front = pretender(&one);
    let larder = Larder::start_with(&Settings::cluster_at(&[front.address()]));
    for error in ["MOVED", "MOVED x y:1", "ASK 1 host", "CLUSTERDOWN Hash slot not served", "ERR MOVED 1 a:1"] {
        front.answer("SET k", format!("-{error}\r\n").as_bytes());
        assert_eq!(larder.say("SET k v"), Reply::Error(error.to_owned()));
    }
}

#[test]
fn nodes_that_announce_hostnames_are_found_by_them() {
    let cluster = Cluster::start();
    for node in cluster.nodes() {
        cluster.say_on(node, "CONFIG SET cluster-announce-hostname localhost");
        cluster.say_on(node, "CONFIG SET cluster-preferred-endpoint-type hostname");
    }
    // Hostnames are told by gossip, after the rest.
    wait::until("every node tells the others' hostnames", || {
        cluster.nodes().into_iter().all(|node| {
            let slots = format!("{:?}", cluster.say_on(node, "CLUSTER SLOTS"));
            slots.matches("localhost").count() >= 6 && !slots.contains("\"?\"")
        })
    });
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let mut client = larder.connect();
    wait::until("the hostnames are in the map", || format!("{:?}", client.say("LARDER NODES")).contains("localhost"));
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "host:");
        assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
        larder.warm(&mut client, &format!("GET {key}"));
        cluster.call_on(primary, &["SET", &key, "new"]);
        wait::until("the push is seen", || client.call(&["GET", &key]) == Reply::bulk("new"));
    }
    let slot = slot_of("{moves}");
    let from = cluster.owner_of_slot(slot);
    let migration = cluster.begin_migration(slot, from, (from + 1) % 3);
    assert_eq!(client.say("SET {moves}k v"), Reply::ok());
    assert_eq!(client.say("GET {moves}k"), Reply::bulk("v"));
    cluster.move_keys(migration);
    cluster.finish_migration(migration);
    assert_eq!(client.say("INCR {moves}n"), Reply::Integer(1));
    assert_eq!(client.say("GET {moves}k"), Reply::bulk("v"));
}
