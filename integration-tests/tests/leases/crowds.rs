//! Many clients: they do not hold up others, and they do not take more connections than they are allowed.

use std::process::Command;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{LEASED_NAME, blocked, leases, until_blocked, until_no_lease_is_out};

/// Connections that each of two workers keeps for the next lease.
const KEPT: usize = 2 * 64;

#[test]
fn a_thousand_blocked_clients_hold_up_nobody_and_each_is_woken_by_its_own_push() {
    const CLIENTS: usize = 1000;
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| larder.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("q:{number}"), "0"]).expect("sent");
    }
    until_blocked(&origin, CLIENTS);
    assert_eq!(leases(&larder), CLIENTS as f64);
    // Every round trip of the others comes to its end while all of those are blocked.
    let mut others: Vec<Client> = (0..4).map(|_| larder.connect()).collect();
    for round in 0..250 {
        for (number, other) in others.iter_mut().enumerate() {
            assert_eq!(other.say(&format!("SET k:{number} {round}")), Reply::ok());
            assert_eq!(other.say(&format!("GET k:{number}")), Reply::bulk(&round.to_string()));
        }
        if round % 10 == 0 {
            let replies = others[0].pipeline(&["MULTI", "INCR n", "EXEC"]);
            assert_eq!(replies[2], Reply::Array(vec![Reply::Integer(round / 10 + 1)]));
        }
    }
    assert_eq!(blocked(&origin), CLIENTS);
    for number in 0..CLIENTS {
        others[number % 4].say(&format!("RPUSH q:{number} {number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let text = number.to_string();
        assert_eq!(client.read(), Reply::Array(vec![Reply::bulk(&format!("q:{number}")), Reply::bulk(&text)]));
    }
    until_no_lease_is_out(&larder);
    wait::until("few connections are kept", || origin.clients_named(LEASED_NAME) <= KEPT);
}

#[test]
fn one_lease_too_many_waits_and_is_then_told_so() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).upstream("max_leases: 2").upstream("command_timeout: 400ms");
    let larder = Larder::start_with(&settings);
    let mut clients: Vec<Client> = (0..2).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.send(&["BLPOP", "q", "0"]).expect("sent");
    }
    until_blocked(&origin, 2);
    let mut third = larder.connect();
    for (command, prefix) in [("BLPOP q 0", "ERR"), ("WATCH k", "ERR"), ("MULTI", "ERR"), ("EXEC", "EXECABORT")] {
        let reply = third.say(command);
        let told = reply.error().unwrap_or_default();
        assert!(told.starts_with(prefix) && told.contains("max_leases"), "{command}: {reply:?}");
    }
    assert_eq!(larder.metrics().sum("larder_leases_refused_total"), 3.0 - 1.0);
    assert_eq!((blocked(&origin), leases(&larder)), (2, 2.0));
    assert_eq!(third.say("SET k v"), Reply::ok(), "what needs no lease is served");
}

#[test]
fn a_lease_that_comes_back_goes_to_who_has_waited_longest() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).upstream("max_leases: 1");
    let larder = Larder::start_with(&settings);
    let mut first = larder.connect();
    assert_eq!(first.say("WATCH k"), Reply::ok());
    let connect = |_| {
        let mut client = larder.connect();
        let id = client.say("CLIENT ID").integer().expect("a number");
        (client, id)
    };
    let mut waiting: Vec<(Client, i64)> = (0..8).map(connect).collect();
    for (number, (client, _)) in waiting.iter_mut().enumerate() {
        for words in ["MULTI", &format!("RPUSH order {number}"), "EXEC"] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        // One after the other: the order in which they ask is the order that is tested.
        let place = number as f64 + 1.0;
        wait::until("it waits for a lease", || larder.metrics().sum("larder_leases_waiting") == place);
    }
    // One that is closed while it waits gives its place up.
    let id = waiting[3].1;
    assert_eq!(larder.say(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    wait::until("it waits no more", || larder.metrics().sum("larder_leases_waiting") == 7.0);
    waiting.remove(3);
    assert_eq!(origin.say("EXISTS order"), Reply::Integer(0));
    assert_eq!(first.say("UNWATCH"), Reply::ok());
    for (client, _) in &mut waiting {
        assert_eq!(client.read(), Reply::ok());
        assert_eq!(client.read(), Reply::Simple("QUEUED".to_owned()));
        assert!(client.read().items().is_some());
    }
    let order = origin.say("LRANGE order 0 -1");
    let expected = ["0", "1", "2", "4", "5", "6", "7"].map(Reply::bulk);
    assert_eq!(order, Reply::Array(expected.to_vec()));
    until_no_lease_is_out(&larder);
}

#[test]
fn ten_thousand_idle_clients_that_had_a_transaction_keep_no_connections() {
    // As many as this machine lets a process open, on either side.
    let clients = open_files().saturating_sub(1000).min(10_000);
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section(&format!("limits: {{max_clients: {}}}", clients + 100));
    let larder = Larder::start_with(&settings);
    let mut idle = Vec::new();
    for number in 0..clients {
        let mut client = larder.connect();
        let replies = client.pipeline(&["WATCH w", "MULTI", "INCR n", "EXEC"]);
        assert_eq!(replies[3], Reply::Array(vec![Reply::Integer(i64::try_from(number + 1).expect("small"))]));
        idle.push(client);
    }
    assert_eq!(larder.metrics().sum("larder_clients"), clients as f64);
    assert_eq!(leases(&larder), 0.0);
    let leased = origin.clients_named(LEASED_NAME);
    assert!(leased <= 2, "one after the other on two workers needs one connection each, not {leased}");
    // All at once.
    for client in &mut idle {
        client.send_raw(b"MULTI\r\nINCR m\r\nEXEC\r\n").expect("sent");
    }
    for client in &mut idle {
        assert_eq!(client.read(), Reply::ok());
        assert_eq!(client.read(), Reply::Simple("QUEUED".to_owned()));
        assert!(client.read().items().is_some());
    }
    assert_eq!(origin.say("GET m"), Reply::bulk(&clients.to_string()));
    wait::until("few connections are kept", || origin.clients_named(LEASED_NAME) <= KEPT);
    assert!(origin.clients().len() <= KEPT + 20, "{} connections", origin.clients().len());
}

fn open_files() -> usize {
    let output = Command::new("sh").args(["-c", "ulimit -n"]).output().expect("there is a shell");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(usize::MAX)
}
