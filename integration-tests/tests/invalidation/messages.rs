//! What others say on the channel.

use larder_integration_tests::client::Protocol;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{Setup, bulk, keep, seconds_left};

#[test]
fn a_key_that_somebody_tells_of_is_read_anew() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    for (key, message) in [
        ("api:raw", &b"api:raw"[..]),
        ("api:list", b"[\"api:other\", \"api:list\"]"),
        ("api:object", b"{\"keys\": [\"api:object\"], \"from\": \"somebody\"}"),
        ("api:prefix", b"{\"prefixes\": [\"api:pre\"]}"),
        ("api:coded", b"{\"base64\": [\"YXBpOmNvZGVk\"]}"),
        ("api:everything", b"{\"prefixes\": [\"\"]}"),
    ] {
        setup.api.say(&format!("SET {key} old"));
        setup.api.say(&format!("SET {key}:beside old"));
        let words = format!("GET {key}");
        keep(&setup.larder, &mut client, &words);
        setup.api.say(&format!("SET {key} new"));
        assert_eq!(client.say(&words), bulk("old"), "{key}: nobody has said anything");
        setup.publish(message);
        wait::until(&format!("{key} is read anew"), || client.say(&words) == bulk("new"));
    }
    assert_eq!(setup.larder.metrics().sum_where("larder_invalidation_messages_total", "others"), 6.0);
}

#[test]
fn a_key_of_any_bytes_can_be_told_of() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    let key = b"api:\x00\xff{\"";
    let get = |client: &mut larder_integration_tests::client::Client| client.call(&[&b"GET"[..], key]);
    for message in [&key[..], b"{\"base64\": [\"YXBpOgD/eyI=\"]}"] {
        setup.api.connect().call(&[&b"SET"[..], key, b"old"]);
        wait::until("it is answered from the cache", || {
            let before = setup.larder.hits();
            get(&mut client);
            setup.larder.hits() > before
        });
        setup.api.connect().call(&[&b"SET"[..], key, b"new"]);
        setup.publish(message);
        wait::until("it is read anew", || get(&mut client) == bulk("new"));
    }
}

#[test]
fn what_is_not_told_of_stays_and_so_do_equal_keys_of_other_upstreams() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 v");
    setup.main.say("SET plain v");
    keep(&setup.larder, &mut client, "GET api:1");
    keep(&setup.larder, &mut client, "GET plain");
    let before = setup.larder.misses();
    setup.publish(b"[\"api:2\", \"plain\"]");
    setup.publish(b"{\"prefixes\": [\"api:2\", \"plain\"]}");
    wait::until("both are heard", || {
        setup.larder.metrics().sum_where("larder_invalidation_messages_total", "others") == 2.0
    });
    assert_eq!((client.say("GET api:1"), client.say("GET plain")), (bulk("v"), bulk("v")));
    assert_eq!(setup.larder.misses(), before);
}

#[test]
fn messages_that_cannot_be_understood_are_counted_and_do_no_harm() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 v");
    keep(&setup.larder, &mut client, "GET api:1");
    let large = vec![b'x'; (1 << 20) + 1];
    let nested = [&b"[\""[..], &[b'['; 100_000]].concat();
    let bad: [&[u8]; 8] = [
        b"",
        b"[\"api:1\"",
        b"[\"api:1\", 7]",
        b"{\"key\": [\"api:1\"]}",
        b"{\"keys\": \"api:1\"}",
        b"{\"base64\": [\"%\"]}",
        &large,
        &nested,
    ];
    bad.iter().for_each(|message| setup.publish(message));
    wait::until("all are counted", || {
        setup.larder.metrics().sum_where("larder_invalidation_messages_total", "malformed") == bad.len() as f64
    });
    assert!(seconds_left(&mut client, "api:1").is_some(), "none of them has purged anything");
    // And the next good one is heard.
    setup.api.say("SET api:1 w");
    setup.publish(b"api:1");
    wait::until("it is read anew", || client.say("GET api:1") == bulk("w"));
}

#[test]
fn a_client_that_tracks_is_told_to_keep_nothing_of_such_an_upstream() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    setup.api.say("SET api:1 v");
    keep(&setup.larder, &mut client, "GET api:1");
    let mut tracking = setup.larder.connect_with(Protocol::Resp3);
    assert_eq!(tracking.say("CLIENT TRACKING ON"), Reply::ok());
    assert_eq!(tracking.say("GET api:1"), bulk("v"));
    let push = format!("{:?}", tracking.read());
    assert!(push.contains("invalidate") && push.contains("api:1"), "{push}");
}
