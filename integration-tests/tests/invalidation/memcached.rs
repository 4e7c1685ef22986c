//! The same in front of memcached, and deletions there.

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{CHANNEL, bulk, keep, load, until_up};

struct Setup {
    main: Redis,
    node: Memcached,
    larder: Larder,
}

impl Setup {
    fn start(more: &str) -> Self {
        let (main, node) = (Redis::start(), Memcached::start());
        let larder = larder(&main, &node, more);
        Self { main, node, larder }
    }

    fn publish(&self, message: &[u8]) {
        self.main.connect().call(&[b"PUBLISH".as_slice(), CHANNEL.as_bytes(), message]);
    }
}

fn larder(main: &Redis, node: &Memcached, more: &str) -> Larder {
    let beside = format!(
        "api: {{kind: memcached, endpoints: [\"{}\"], connect_timeout: 2s, command_timeout: 10s, \
         invalidation: {{channel: \"{CHANNEL}\", upstream: main{more}}}}}",
        node.address()
    );
    let routes = "routes:\n  - {keys: ['api:*'], upstream: api}\n  - {keys: ['*'], upstream: main}\n";
    let settings = Settings::new(main.address())
        .upstream("heartbeat: {interval: 50ms, timeout: 500ms}")
        .beside(&beside)
        .section(routes)
        .section("near_cache: {ttl: 300s, negative_ttl: 300s, untracked_ttl: 100ms}");
    let larder = Larder::start_with(&settings);
    until_up(&larder);
    larder
}

#[test]
fn a_change_behind_larder_that_is_told_of_is_read_anew() {
    let setup = Setup::start("");
    let mut client = setup.larder.connect();
    for (message, value) in [(&b"api:1"[..], "1"), (b"{\"prefixes\": [\"api:\"]}", "2")] {
        keep(&setup.larder, &mut client, "GET api:1");
        setup.node.connect().set("api:1", 0, 0, value);
        setup.publish(message);
        wait::until("it is read anew", || client.say("GET api:1") == bulk(value));
    }
    assert_eq!(setup.node.connect().get("api:1").map(|(_, value)| value).as_deref(), Some("2"), "nothing is deleted");
}

#[test]
fn two_larders_over_one_memcached_stay_coherent() {
    let setup = Setup::start("");
    let beside = larder(&setup.main, &setup.node, "");
    load::load(&[&setup.larder, &beside], "api:");
}

#[test]
fn keys_that_an_application_tells_of_are_deleted_where_that_is_asked() {
    let setup = Setup::start(", delete: true");
    let beside = larder(&setup.main, &setup.node, ", delete: true");
    let (mut client, mut other) = (setup.larder.connect(), beside.connect());
    let stored = |key: &str| setup.node.connect().get(key).is_some();
    client.pipeline(&["SET api:1 v", "SET api:2 v", "SET api:3 v"]);
    for client in [(&setup.larder, &mut client), (&beside, &mut other)] {
        keep(client.0, client.1, "GET api:1");
    }
    setup.publish(b"[\"api:1\", \"api:2\"]");
    // By each of the two: a write between their deletes would go with the second.
    for larder in [&setup.larder, &beside] {
        wait::until("both are deleted", || {
            larder.metrics().sum_where("larder_invalidation_deletes_total", "done") == 2.0
        });
    }
    assert!(!stored("api:1") && !stored("api:2"));
    wait::until("nobody has kept them", || {
        client.say("GET api:1") == Reply::Null && other.say("GET api:1") == Reply::Null
    });
    assert!(stored("api:3"), "of which nobody has said anything");
    // What a Larder has told of it has written, and it stays; a prefix cannot be deleted.
    client.say("SET api:1 new");
    setup.publish(b"{\"keys\": [\"api:3\"], \"from\": \"somebody\"}");
    setup.publish(b"{\"prefixes\": [\"api:3\"]}");
    wait::until("the prefix is counted", || {
        beside.metrics().sum_where("larder_invalidation_deletes_total", "failed") == 1.0
    });
    wait::until("the other sees the write", || other.say("GET api:1") == bulk("new"));
    assert!(stored("api:1") && stored("api:3"));
}

#[test]
fn a_key_that_cannot_be_deleted_is_counted_and_read_anew() {
    let mut setup = Setup::start(", delete: true");
    let mut client = setup.larder.connect();
    client.say("SET api:1 v");
    keep(&setup.larder, &mut client, "GET api:1");
    setup.node.kill();
    setup.publish(b"api:1");
    wait::until("it is given up", || {
        setup.larder.metrics().sum_where("larder_invalidation_deletes_total", "failed") == 1.0
    });
    setup.node.restart();
    wait::until("it is read from the node that is back", || client.say("GET api:1") == Reply::Null);
}

#[test]
fn what_a_lost_channel_covered_is_not_fresh_any_more() {
    let setup = Setup::start("");
    let mut client = setup.larder.connect();
    setup.node.connect().set("api:1", 0, 0, "old");
    keep(&setup.larder, &mut client, "GET api:1");
    setup.node.connect().set("api:1", 0, 0, "new");
    assert_eq!(client.say("GET api:1"), bulk("old"));
    setup.main.kill_clients_named("larder-pubsub");
    wait::until("it is read anew", || client.say("GET api:1") == bulk("new"));
}
