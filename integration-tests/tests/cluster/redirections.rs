//! Redirections that a healthy cluster of addresses does not show: to nodes that nobody has told of, without a host, without
//! an end, by hostname. A server that says that it is a cluster of one stands for one.

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
