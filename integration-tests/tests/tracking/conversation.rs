//! What one client sees, byte for byte beside a real redis-server.

use std::net::SocketAddr;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// One step of a conversation.
enum Step {
    /// The client says this, and gets its reply.
    Say(&'static str),
    /// Another client of the origin changes something, and the client is told so many things.
    Beside(&'static str, usize),
    /// Another client of the same server does.
    Other(&'static str, usize),
    /// The client is told so much more.
    Told(usize),
}

use Step::{Beside, Other, Say, Told};

/// Every byte that the client got, step by step.
fn conversation(address: SocketAddr, origin: SocketAddr, steps: &[Step]) -> Vec<String> {
    let mut client = Client::connect_with(address, Protocol::Resp3);
    let (mut beside, mut other) = (Client::connect(origin), Client::connect(address));
    let mut heard = Vec::new();
    for step in steps {
        let (words, frames) = match step {
            Say(words) => {
                client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
                (*words, 1)
            }
            Beside(words, frames) => {
                beside.say(words);
                (*words, *frames)
            }
            Other(words, frames) => {
                other.say(words);
                (*words, *frames)
            }
            Told(frames) => ("", *frames),
        };
        let mut bytes = Vec::new();
        for _ in 0..frames {
            bytes.extend(client.try_read().unwrap_or_else(|error| panic!("{words}: {error}\n{heard:#?}")).1);
        }
        heard.push(format!("{words}: {}", bytes.escape_ascii()));
    }
    heard
}

fn same_as_redis(steps: &[Step]) {
    let (redis, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let through = conversation(larder.address(), origin.address(), steps);
    assert_eq!(through, conversation(redis.address(), redis.address(), steps));
}

#[test]
fn what_a_client_has_read_is_told_when_it_changes_once() {
    same_as_redis(&[
        Say("CLIENT TRACKING ON"),
        Other("SET k 1", 0),
        Say("GET k"),
        Say("GET k"),
        Beside("SET k 2", 1),
        // It has not read it again, so of this it hears nothing: what it hears next is of another key.
        Other("SET k 3", 0),
        Say("GET other"),
        Beside("SET other x", 1),
        Say("GET k"),
        Other("SET k 4", 1),
        Say("HGETALL h"),
        Beside("HSET h f v", 1),
        Say("MGET a b c"),
        Other("MSET b 1 c 1", 2),
        Say("EXISTS a"),
        Say("CLIENT TRACKINGINFO"),
        Say("CLIENT GETREDIR"),
        Say("GET k"),
        Beside("FLUSHALL", 1),
        Say("CLIENT TRACKING OFF"),
        Say("GET k"),
        Beside("SET k 9", 0),
        Say("CLIENT TRACKINGINFO"),
        Say("CLIENT GETREDIR"),
    ]);
}

#[test]
fn the_clients_own_writes_are_told_too_unless_it_asks_not_to_be() {
    same_as_redis(&[
        Say("CLIENT TRACKING ON"),
        Say("GET k"),
        Say("SET k 1"),
        Told(1),
        Say("CLIENT TRACKING ON NOLOOP"),
        Say("CLIENT TRACKINGINFO"),
        Say("GET k"),
        Say("GET l"),
        Say("SET k 2"),
        // Nothing of k: what is heard is of l.
        Other("SET l 1", 1),
        Say("GET k"),
        Other("SET k 3", 1),
    ]);
}

#[test]
fn opting_in_and_out_concerns_one_command() {
    same_as_redis(&[
        Say("CLIENT CACHING YES"),
        Say("CLIENT TRACKING ON OPTIN"),
        Say("GET untold"),
        Other("SET untold 1", 0),
        Say("CLIENT CACHING YES"),
        Say("CLIENT TRACKINGINFO"),
        Say("GET k"),
        Say("GET l"),
        Beside("SET l 1", 0),
        Beside("SET k 2", 1),
        Say("CLIENT CACHING NO"),
        Say("CLIENT CACHING perhaps"),
        Say("CLIENT TRACKING ON OPTOUT"),
        Say("CLIENT TRACKING OFF"),
        Say("CLIENT TRACKING ON OPTOUT"),
        Say("CLIENT CACHING YES"),
        Say("CLIENT CACHING NO"),
        Say("CLIENT TRACKINGINFO"),
        Say("GET untold"),
        Other("SET untold 2", 0),
        Say("GET k"),
        Beside("SET k 4", 1),
    ]);
}

#[test]
fn prefixes_are_told_of_whatever_was_read() {
    same_as_redis(&[
        Say("CLIENT TRACKING ON BCAST PREFIX user: PREFIX foo"),
        Beside("SET user:1 x", 1),
        Beside("SET other x", 0),
        Other("SET foo x", 1),
        Say("CLIENT TRACKINGINFO"),
        Say("CLIENT TRACKING ON BCAST PREFIX user:1"),
        Say("CLIENT TRACKING ON"),
        Say("CLIENT TRACKING OFF"),
        Beside("SET user:1 y", 0),
        Say("CLIENT TRACKING ON BCAST"),
        Beside("SET anything x", 1),
        Beside("FLUSHALL", 1),
    ]);
}

#[test]
fn what_does_not_fit_is_refused_in_the_words_of_redis() {
    same_as_redis(&[
        Say("CLIENT TRACKING perhaps"),
        Say("CLIENT TRACKING ON PREFIX a"),
        Say("CLIENT TRACKING ON BCAST OPTIN"),
        Say("CLIENT TRACKING ON OPTIN OPTOUT"),
        Say("CLIENT TRACKING ON REDIRECT"),
        Say("CLIENT TRACKING ON REDIRECT 9999999"),
        Say("CLIENT TRACKING ON REDIRECT x"),
        Say("CLIENT TRACKING ON BCAST PREFIX a PREFIX ab"),
        Say("CLIENT TRACKING ON nonsense"),
        Say("CLIENT TRACKINGINFO"),
        Say("CLIENT TRACKING OFF"),
    ]);
}

#[test]
fn what_is_read_past_the_near_cache_is_told_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let mut client = larder.connect_with(Protocol::Resp3);
    client.say("CLIENT TRACKING ON");
    let told = |client: &mut Client, key: &str| {
        let Reply::Push(items) = client.read() else { panic!("no push of {key}") };
        assert_eq!(items[1].items().and_then(<[Reply]>::first), Some(&Reply::bulk(key)));
    };
    origin.say("SADD s a");
    assert_eq!(client.say("SRANDMEMBER s"), Reply::bulk("a"));
    told(&mut client, "s");
    assert_eq!(client.say("MULTI"), Reply::ok());
    client.say("GET k");
    client.say("EXEC");
    told(&mut client, "k");
    client.say("WATCH w");
    client.say("GET w");
    told(&mut client, "w");
}

#[test]
fn messages_can_go_to_another_client() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let (mut reader, mut listener) = (larder.connect(), larder.connect());
    let id = listener.say("CLIENT ID").integer().expect("an id");
    listener.say("SUBSCRIBE __redis__:invalidate");
    assert_eq!(reader.say(&format!("CLIENT TRACKING ON REDIRECT {id}")), Reply::ok());
    assert_eq!(reader.say("CLIENT GETREDIR"), Reply::Integer(id));
    reader.say("GET k");
    origin.say("SET k 1");
    let (_, raw) = listener.try_read().expect("a message");
    assert_eq!(raw, b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
    // Who listened has left: a RESP3 client is told so.
    let mut third = larder.connect_with(Protocol::Resp3);
    third.say(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    third.say("GET k");
    drop(listener);
    larder_integration_tests::wait::until("the listener is gone", || {
        !larder.say("CLIENT LIST").text().unwrap_or_default().contains(&format!("id={id} "))
    });
    origin.say("SET k 2");
    let (_, raw) = third.try_read().expect("a push");
    assert_eq!(raw, format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n").as_bytes());
    let info = format!("{:?}", third.say("CLIENT TRACKINGINFO"));
    assert!(info.contains("broken_redirect"), "{info}");
}
