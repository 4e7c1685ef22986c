//! What a connection has beside keys: a database, a user, subscriptions, tracking, and how it is told of all this.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{REST, Three, list, refused_with};

#[test]
fn where_clients_begin_each_upstream_is_in_its_own_database_and_select_chooses_the_same_everywhere() {
    let three = Three::start_with(", database: 3", REST, |settings| settings);
    let mut client = three.larder.connect();
    client.pipeline(&["SET a 1", "SET other:a 1", "SET local:a 1"]);
    assert_eq!(in_database(&three.other, 3), 1);
    assert_eq!(client.say("SELECT 5"), Reply::ok());
    client.pipeline(&["SET a 1", "SET other:a 1", "SET other:b 2", "SET local:b 2"]);
    assert_eq!(in_database(&three.other, 5), 2);
    assert_eq!(client.say("EXISTS a other:a other:b local:a local:b"), Reply::Integer(4));
    // From the near-cache as well.
    three.larder.warm(&mut client, "GET other:b");
    assert_eq!(client.say("SELECT 0"), Reply::ok());
    assert_eq!(client.say("GET other:b").text(), None);
    assert_eq!(
        client.say("MGET other:a local:a local:b").items().map(|items| items[1].clone()),
        Some(Reply::bulk("1"))
    );
}

fn in_database(server: &Redis, database: u32) -> i64 {
    let mut client = server.connect();
    client.call(&["SELECT", &database.to_string()]);
    client.say("DBSIZE").integer().expect("a number")
}

#[test]
fn a_clients_own_user_is_known_to_the_home_upstream_alone() {
    let main = Redis::start();
    main.say("ACL SETUSER ann on >secret ~* &* +@all");
    let three = Three::around(main, Redis::start(), "", REST, |settings| settings);
    let mut client = three.larder.connect();
    assert_eq!(client.say("AUTH ann secret"), Reply::ok());
    assert_eq!(client.pipeline(&["SET a 1", "GET a", "SET other:a 2", "GET other:a"])[3], Reply::bulk("2"));
    assert_eq!(three.main.say("ACL LOG").items().map(<[Reply]>::len), Some(0));
    assert!(three.main.clients().iter().any(|client| client["user"] == "ann"));
    assert!(three.other.clients().iter().all(|client| client["user"] == "default"));
}

#[test]
fn messages_go_by_the_home_upstream() {
    let three = Three::start();
    let mut subscriber = three.larder.connect_with(Protocol::Resp3);
    subscriber.say("SUBSCRIBE other:news");
    assert_eq!(three.main.say("PUBSUB NUMSUB other:news"), list(&[Reply::bulk("other:news"), Reply::Integer(1)]));
    assert_eq!(three.larder.say("PUBLISH other:news hello"), Reply::Integer(1));
    assert_eq!(message(&mut subscriber), "hello");
}

fn message(subscriber: &mut Client) -> String {
    let push = subscriber.read();
    push.items().and_then(|items| items.last()?.text()).unwrap_or_else(|| panic!("no message: {push:?}"))
}

#[test]
fn a_client_that_tracks_hears_of_changes_on_every_upstream_or_is_told_not_to_keep_what_it_read() {
    let three = Three::start();
    let mut client = three.larder.connect_with(Protocol::Resp3);
    three.larder.say("MSET a 1 other:a 1 local:a 1");
    assert_eq!(client.say("CLIENT TRACKING ON"), Reply::ok());
    for (key, server) in [("a", &three.main), ("other:a", &three.other)] {
        wait::until("the read is one of which the client will hear", || {
            assert_eq!(client.call(&["GET", key]), Reply::bulk("1"));
            client.say("PING") == Reply::Simple("PONG".into())
        });
        server.connect().call(&["SET", key, "2"]);
        assert_eq!(invalidated(&mut client), key);
    }
    // The store in the process tells of no change.
    assert_eq!(client.say("GET local:a"), Reply::bulk("1"));
    assert_eq!(invalidated(&mut client), "local:a");
}

fn invalidated(client: &mut Client) -> String {
    let push = client.read();
    let keys = push.items().and_then(|items| items.get(1)?.items()).map(|keys| keys[0].text());
    keys.flatten().unwrap_or_else(|| panic!("no invalidation: {push:?}"))
}

#[test]
fn a_client_that_wants_to_hear_of_every_change_is_refused_where_some_upstream_tells_of_none() {
    let three = Three::start();
    let mut client = three.larder.connect_with(Protocol::Resp3);
    refused_with(&mut client, "CLIENT TRACKING ON BCAST", "which 'local' of kind memory does not do");
}

#[test]
fn info_tells_of_each_upstream() {
    let three = Three::start();
    three.larder.say("SET local:a 1");
    let info = three.larder.say("INFO larder").text().expect("a text");
    for line in [
        "upstream:main",
        "upstream_main:kind=redis,primaries=1,covered=yes,rung=normal",
        "upstream_local:kind=memory,keys=1,",
    ] {
        assert!(info.lines().any(|told| told.starts_with(line)), "{line}: {info}");
    }
}

#[test]
fn explain_names_the_upstream_and_the_route_of_each_key() {
    let three = Three::start();
    let explained = |words: &str| {
        let reply = three.larder.say(&format!("LARDER EXPLAIN {words}"));
        let lines: Vec<String> = reply.items().expect("lines").iter().filter_map(Reply::text).collect();
        lines.join("\n")
    };
    let other = explained("GET other:a");
    assert!(other.contains("\nupstream: other at") && other.contains("route of other:a: other:*"), "{other}");
    let local = explained("GET local:a");
    assert!(local.contains("\nupstream: memory, in this process, named local"), "{local}");
    let several = explained("MGET a other:a");
    assert!(several.contains("\nupstream: split over several, main and other"), "{several}");
    assert!(several.contains("\nroute of a: * (longest literal prefix), upstream main"), "{several}");
    let refused = explained("RENAME a other:a");
    assert!(refused.contains("\nserved: no: its keys belong to the upstreams main and other"), "{refused}");
    let told = explained("FLUSHALL");
    assert!(told.contains("\nupstream: told to all that serve it: local, main, other"), "{told}");
    let told = explained("SCRIPT FLUSH");
    assert!(told.contains("\nupstream: told to all that serve it: main, other"), "{told}");
    let known = explained("EVAL script 1 other:a");
    assert!(known.starts_with("command: eval\n") && known.contains("\nupstream: other at"), "{known}");
}
