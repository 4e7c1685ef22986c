//! Transactions where keys are shared out among nodes: the first key says which node a transaction belongs to, and
//! commands for other nodes go past it.

use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{LEASED_NAME, until_no_lease_is_out};

/// A while's work for a node, and a key for it to be sent to that node.
const SLOW: &str = "local x = 0; for i = 1, 400000 do x = x + i end; return 'slow'";

/// One cluster for all: to form one takes seconds.
#[test]
fn transactions_in_a_cluster() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    replies_of_other_nodes_may_come_after_exec(&cluster, &larder);
    transactions_for_several_nodes_in_one_go(&cluster, &larder);
    what_waits_for_the_first_key_is_bounded(&larder);
    a_lost_connection_ends_the_transaction(&cluster, &larder);
    until_no_lease_is_out(&larder);
}

/// EXEC is answered while the session is still owed a reply by another node.
fn replies_of_other_nodes_may_come_after_exec(cluster: &Cluster, larder: &Larder) {
    let (near, far) = (cluster.key_on(0, "near:"), cluster.key_on(1, "far:"));
    let mut client = larder.connect();
    for round in 0..10 {
        client.send(&["WATCH", &near]).expect("sent");
        client.send(&["EVAL", SLOW, "1", &far]).expect("sent");
        for words in ["MULTI".to_owned(), format!("INCR {near}"), "EXEC".to_owned(), format!("GET {near}")] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        let count = Reply::Integer(round + 1);
        let replies: Vec<Reply> = (0..6).map(|_| client.read()).collect();
        assert_eq!((&replies[1], &replies[4]), (&Reply::bulk("slow"), &Reply::Array(vec![count])));
        assert_eq!(replies[5], Reply::bulk(&(round + 1).to_string()));
    }
}

fn transactions_for_several_nodes_in_one_go(cluster: &Cluster, larder: &Larder) {
    let keys: Vec<String> = (0..3).map(|node| cluster.key_on(node, "turn:")).collect();
    let mut client = larder.connect();
    for round in 0..30 {
        let key = &keys[round % 3];
        for words in ["MULTI".to_owned(), format!("INCR {key}"), "PING".to_owned(), "EXEC".to_owned()] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
    }
    for round in 0..30 {
        let replies: Vec<Reply> = (0..4).map(|_| client.read()).collect();
        let count = i64::from(round / 3 + 1);
        assert_eq!(replies[3], Reply::Array(vec![Reply::Integer(count), Reply::Simple("PONG".to_owned())]));
    }
}

fn what_waits_for_the_first_key_is_bounded(larder: &Larder) {
    let mut client = larder.connect();
    let half = vec![b'x'; 600_000];
    assert_eq!(client.say("MULTI"), Reply::ok());
    assert_eq!(client.call(&[b"ECHO".as_slice(), &half]), Reply::Simple("QUEUED".to_owned()));
    let reply = client.call(&[b"ECHO".as_slice(), &half]);
    assert!(reply.error().is_some_and(|words| words.contains("before the first key")), "{reply:?}");
    assert!(client.say("EXEC").error().is_some_and(|words| words.starts_with("EXECABORT")));
    assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[2], Reply::Array(vec![Reply::Simple("PONG".to_owned())]));
}

fn a_lost_connection_ends_the_transaction(cluster: &Cluster, larder: &Larder) {
    let (key, other) = (cluster.key_on(0, "lost:"), cluster.key_on(1, "lost:"));
    let mut client = larder.connect();
    client.pipeline(&["MULTI", &format!("SET {key} 1")]);
    assert!(cluster.redis(0).kill_clients_named(LEASED_NAME) > 0);
    assert!(client.say(&format!("SET {key} 2")).error().is_some());
    assert!(client.say(&format!("SET {other} 2")).error().is_some(), "on another node neither");
    assert!(client.say("EXEC").error().is_some_and(|words| words.starts_with("EXECABORT")));
    assert_eq!((client.call(&["GET", &key]), client.call(&["GET", &other])), (Reply::Null, Reply::Null));
    // Behind a lost WATCH the commands of other nodes go on, and the next transaction fails.
    assert_eq!(client.call(&["WATCH", &key]), Reply::ok());
    cluster.redis(0).kill_clients_named(LEASED_NAME);
    assert_eq!(client.call(&["SET", &other, "v"]), Reply::ok());
    wait::until("reads of the node are served", || client.call(&["GET", &key]) == Reply::Null);
    let replies = client.pipeline(&["MULTI", &format!("SET {key} 1"), "EXEC"]);
    assert!(replies[2].error().is_some_and(|words| words.starts_with("EXECABORT")), "{replies:?}");
    assert_eq!(client.call(&["GET", &key]), Reply::Null);
}
