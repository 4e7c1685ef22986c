//! A leased connection is another client's afterwards, and that one finds nothing on it.

use std::time::Duration;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{LEASED_NAME, until_blocked, until_no_lease_is_out};

/// Ways in which a session can leave its connection. `-` instead of a command: it disconnects there.
const ENDINGS: &[&[&str]] = &[
    &["MULTI", "SET left 1", "EXEC"],
    &["MULTI", "SET left 1", "DISCARD"],
    &["MULTI", "EXEC"],
    &["MULTI", "SET left 1", "NOSUCH command", "EXEC"],
    &["MULTI", "SET left 1", "GET", "EXEC"],
    &["MULTI", "SET left 1", "SELECT 3", "EXEC"],
    &["MULTI", "SET left 1", "EXEC extra"],
    &["MULTI", "SET left 1", "NOSUCH", "DISCARD"],
    &["MULTI", "SET list 1", "LPOP list", "EXEC"],
    &["MULTI", "SET left 1", "-"],
    &["MULTI", "-"],
    &["WATCH watched", "-"],
    &["WATCH watched", "MULTI", "SET left 1", "-"],
    &["WATCH watched", "MULTI", "SET left 1", "EXEC"],
    &["WATCH watched", "UNWATCH"],
    &["WATCH watched", "EXEC extra"],
    &["WATCH watched", "RESET"],
    &["MULTI", "SET left 1", "RESET"],
    &["MULTI", "SET left 1", "QUIT"],
    &["BLPOP none 0.01"],
    &["BLPOP none notanumber"],
    &["WATCH watched", "BLPOP none 0.01", "UNWATCH"],
    &["WAIT 0 1"],
];

/// T2, T37: reset before reuse, also after an abort or a disconnect in the middle.
#[test]
fn nothing_is_left_for_the_next_session_on_the_connection() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("max_leases: 2"));
    for pipelined in [false, true] {
        for ending in ENDINGS {
            origin.say("SET watched before");
            let mut client = larder.connect();
            let commands: Vec<&str> = ending.iter().copied().filter(|words| *words != "-").collect();
            if pipelined {
                client.pipeline(&commands);
            } else {
                commands.iter().for_each(|words| drop(client.say(words)));
            }
            if ending.last() == Some(&"-") {
                drop(client);
            }
            until_no_lease_is_out(&larder);
            origin.say("SET watched after");
            let mut next = larder.connect();
            let queued = Reply::Simple("QUEUED".to_owned());
            assert_eq!(next.pipeline(&["MULTI", "SET next 1"]), [Reply::ok(), queued], "{ending:?}");
            assert_eq!(next.say("EXEC"), Reply::Array(vec![Reply::ok()]), "{ending:?}");
            assert_eq!(next.say("EXEC").error(), Some("ERR EXEC without MULTI"), "{ending:?}");
            until_no_lease_is_out(&larder);
        }
    }
    assert!(origin.clients_named(LEASED_NAME) <= 4, "at most two for each worker");
}

/// A connection that was given back clean is used again, not made anew.
#[test]
fn a_clean_connection_is_used_again() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("workers: 1"));
    let mut client = larder.connect();
    client.pipeline(&["MULTI", "EXEC"]);
    let leased = || {
        let clients = origin.clients().into_iter();
        clients.filter(|client| client["name"] == LEASED_NAME).map(|client| client["id"].clone()).collect::<Vec<_>>()
    };
    let before = leased();
    for round in 0..200 {
        let replies = client.pipeline(&["WATCH w", "MULTI", &format!("SET k {round}"), "NOSUCH", "EXEC"]);
        assert!(replies[4].error().is_some_and(|words| words.starts_with("EXECABORT")), "{replies:?}");
        let replies = client.pipeline(&["MULTI", &format!("SET k {round}"), "EXEC", "BLPOP none 0.001"]);
        assert_eq!(replies[2], Reply::Array(vec![Reply::ok()]));
    }
    assert_eq!(before.len(), 1);
    assert_eq!(leased(), before, "another connection after 600 leases");
}

/// A timeout in the middle: the connection is given up, and with it whatever the server makes of it later.
#[test]
fn an_upstream_that_answers_too_late_leaves_nothing_for_the_next() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).upstream("command_timeout: 300ms").upstream("max_leases: 1");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    assert_eq!(client.pipeline(&["MULTI", "SET a 1"])[0], Reply::ok());
    origin.freeze();
    let reply = client.say("SET b 2");
    assert!(reply.error().is_some_and(|words| words.contains("did not answer within")), "{reply:?}");
    origin.thaw();
    let reply = client.say("EXEC");
    assert!(reply.error().is_some_and(|words| words.starts_with("EXECABORT")), "{reply:?}");
    until_no_lease_is_out(&larder);
    larder.until_normal();
    let mut next = larder.connect();
    assert_eq!(next.pipeline(&["MULTI", "SET c 3", "EXEC"])[2], Reply::Array(vec![Reply::ok()]));
    assert_eq!(origin.say("MGET a b c"), Reply::Array(vec![Reply::Null, Reply::Null, Reply::bulk("3")]));
}

/// Many ways to leave at once, in no order: in the end every lease is back, and no connection is left behind but those
/// that are kept for the next.
#[test]
fn whatever_clients_do_every_lease_comes_back() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for round in 0..6 {
        let mut clients: Vec<Client> = (0..60).map(|_| larder.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let ending = ENDINGS[(number + round) % ENDINGS.len()];
            for words in ending.iter().filter(|words| **words != "-") {
                client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
            }
            client.send(&["BLPOP", "never", "0"]).expect("sent");
            if number % 3 == 0 {
                // Gone before anything is answered.
                client.stream().shutdown(std::net::Shutdown::Both).expect("shut");
            }
        }
        drop(clients);
        wait::until("they are gone", || larder.metrics().sum("larder_clients") == 0.0);
        until_no_lease_is_out(&larder);
        until_blocked(&origin, 0);
    }
    wait::until("only what is kept is left", || origin.clients_named(LEASED_NAME) <= 128);
    let mut client = larder.connect();
    client.set_reply_timeout(Duration::from_secs(5));
    assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[2], Reply::Array(vec![Reply::Simple("PONG".to_owned())]));
}
