//! What Larder says on the channel itself, and what other Larders make of it.

use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{CHANNEL, Setup, bulk, keep, larder};

/// A client that hears the channel, as `redis-cli SUBSCRIBE` would.
fn subscribed(main: &Redis) -> Client {
    let mut client = main.connect();
    client.call(&["SUBSCRIBE", CHANNEL]);
    client
}

/// The next message, but for the run id behind it.
fn heard(client: &mut Client) -> String {
    let reply = client.read();
    let items = reply.items().unwrap_or_else(|| panic!("{reply:?}"));
    let text = items[2].text().unwrap_or_else(|| panic!("{reply:?}"));
    let (told, from) = text.split_once(",\"from\":\"").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(from.len(), 40 + "\"}".len(), "{text}");
    told.to_owned()
}

#[test]
fn every_write_is_told_with_its_keys_in_words_that_any_tool_can_read() {
    let setup = Setup::start();
    let mut listener = subscribed(&setup.main);
    let mut client = setup.larder.connect();
    for (words, changed) in [
        ("SET api:1 v", "{\"keys\":[\"api:1\"]"),
        ("MSET api:1 a api:2 b", "{\"keys\":[\"api:1\",\"api:2\"]"),
        ("DEL api:1 api:2 api:none", "{\"keys\":[\"api:1\",\"api:2\",\"api:none\"]"),
        ("LPUSH api:list x", "{\"keys\":[\"api:list\"]"),
        // One that is refused may have been half of something; the truth is cheap.
        ("INCR api:list", "{\"keys\":[\"api:list\"]"),
        ("RENAME api:list api:other", "{\"keys\":[\"api:list\",\"api:other\"]"),
    ] {
        client.say(words);
        assert_eq!(heard(&mut listener), changed, "{words}");
    }
    client.pipeline(&["MULTI", "SET api:1 v", "INCR api:n", "GET api:1", "EXEC"]);
    assert_eq!(heard(&mut listener), "{\"keys\":[\"api:1\",\"api:n\"]");
    assert_eq!(client.call(&[&b"SET"[..], b"api:\xff", b"v"]), Reply::ok());
    assert_eq!(heard(&mut listener), "{\"base64\":[\"YXBpOv8=\"]");
    // What reads, and what belongs to another upstream, is nobody's concern here.
    client.pipeline(&["GET api:1", "SET plain v", "EXISTS api:1", "SET api:last v"]);
    assert_eq!(heard(&mut listener), "{\"keys\":[\"api:last\"]");
    client.say("FLUSHALL");
    assert_eq!(heard(&mut listener), "{\"prefixes\":[\"\"]");
    let metrics = setup.larder.metrics();
    assert_eq!(metrics.sum_where("larder_invalidation_published_total", "sent"), 10.0);
    assert_eq!(metrics.sum_where("larder_invalidation_messages_total", "others"), 0.0, "own ones are left aside");
}

#[test]
fn a_larder_does_not_purge_what_it_wrote_itself_a_second_time() {
    let setup = Setup::start();
    let mut client = setup.larder.connect();
    client.say("SET api:1 v");
    wait::until("the message has come back", || {
        setup.larder.metrics().sum_where("larder_invalidation_messages_total", "self") == 1.0
    });
    keep(&setup.larder, &mut client, "GET api:1");
    let misses = setup.larder.misses();
    client.say("SET api:2 v");
    wait::until("this one too", || {
        setup.larder.metrics().sum_where("larder_invalidation_messages_total", "self") == 2.0
    });
    assert_eq!(client.say("GET api:1"), bulk("v"));
    assert_eq!(setup.larder.misses(), misses);
}

#[test]
fn what_is_written_through_one_larder_is_seen_through_the_other() {
    let setup = Setup::start();
    let beside = larder(&setup.main, &setup.api);
    let (mut one, mut other) = (setup.larder.connect(), beside.connect());
    let mut longest = Duration::ZERO;
    for n in 0..50 {
        let value = n.to_string();
        one.call(&["SET", "api:k", &value]);
        let written = Instant::now();
        wait::until("the other sees it", || other.say("GET api:k") == bulk(&value));
        longest = longest.max(written.elapsed());
        // So that the next write meets an entry that would live for minutes.
        if n % 10 == 0 {
            keep(&beside, &mut other, "GET api:k");
        } else {
            other.say("GET api:k");
        }
    }
    eprintln!("longest push delay seen: {longest:?}");
    one.pipeline(&["SET api:a 1", "SET api:b 2"]);
    keep(&beside, &mut other, "GET api:a");
    one.say("FLUSHDB");
    wait::until("the other has heard of the flush", || other.say("GET api:a") == Reply::Null);
}
