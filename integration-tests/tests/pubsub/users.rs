//! Clients that log in as somebody else subscribe as somebody else; the origin says what they may.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{SUBSCRIBER_NAME, confirmed, listeners, subscriber, told};

const NOT_ALLOWED: &str = "NOPERM this user has no permissions to access one of the channels used as arguments";

fn login(larder: &Larder, protocol: Protocol, user: &str) -> Client {
    let mut client = larder.connect_with(protocol);
    assert_eq!(client.call(&["AUTH", user, "secret"]), Reply::ok());
    client
}

fn with_users() -> Redis {
    let origin = Redis::start();
    for user in ["ann", "bob"] {
        let words = format!("ACL SETUSER {user} on >secret +@all ~* resetchannels &{user}:* &all");
        assert_eq!(origin.say(&words), Reply::ok());
    }
    origin
}

#[test]
fn each_user_subscribes_to_what_it_may_and_is_refused_the_rest_in_the_origins_words() {
    let origin = with_users();
    let larder = Larder::start(origin.address());
    let mut anybody = subscriber(&larder, Protocol::Resp3, "bob:1");
    for protocol in Protocol::BOTH {
        let mut ann = login(&larder, protocol, "ann");
        // That others here are subscribed to it does not make it hers.
        assert_eq!(ann.say("SUBSCRIBE bob:1"), Reply::Error(NOT_ALLOWED.to_owned()));
        assert_eq!(ann.say("SUBSCRIBE ann:1 bob:1"), Reply::Error(NOT_ALLOWED.to_owned()));
        // All or nothing: she is no subscriber.
        assert_eq!(ann.say("GET k"), Reply::Null);
        assert_eq!(ann.say("SUBSCRIBE ann:1"), confirmed(protocol, "subscribe", "ann:1", 1));
        assert_eq!(ann.say("PSUBSCRIBE ann:*"), confirmed(protocol, "psubscribe", "ann:*", 2));
        assert!(ann.say("PSUBSCRIBE *").error().is_some_and(|words| words.starts_with("NOPERM")));
        origin.say("PUBLISH ann:1 hello");
        assert_eq!(ann.read(), told(protocol, &["message", "ann:1", "hello"]));
        assert_eq!(ann.read(), told(protocol, &["pmessage", "ann:*", "ann:1", "hello"]));
    }
    origin.say("PUBLISH bob:1 hello");
    assert_eq!(anybody.read(), told(Protocol::Resp3, &["message", "bob:1", "hello"]));
}

#[test]
fn a_pipeline_behind_a_refused_subscription_is_answered_as_if_it_had_not_been() {
    let origin = with_users();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        let mut ann = login(&larder, protocol, "ann");
        let replies = ann.pipeline(&["SUBSCRIBE bob:1", "GET k", "SUBSCRIBE ann:1", "PING"]);
        assert_eq!(replies[..2], [Reply::Error(NOT_ALLOWED.to_owned()), Reply::Null]);
        assert_eq!(replies[2], confirmed(protocol, "subscribe", "ann:1", 1));
        let replies = ann.pipeline(&["SUBSCRIBE bob:2", "SUBSCRIBE ann:2", "SUBSCRIBE ann:1", "UNSUBSCRIBE ann:1"]);
        assert_eq!(replies[0], Reply::Error(NOT_ALLOWED.to_owned()));
        let rest = [("subscribe", "ann:2", 2), ("subscribe", "ann:1", 2), ("unsubscribe", "ann:1", 1)];
        assert_eq!(replies[1..], rest.map(|(word, name, count)| confirmed(protocol, word, name, count)));
    }
}

#[test]
fn users_have_connections_of_their_own_and_share_them_among_themselves() {
    let origin = with_users();
    let larder = Larder::start(origin.address());
    let mut configured = subscriber(&larder, Protocol::Resp2, "all");
    let mut clients: Vec<Client> = ["ann", "ann", "bob"].map(|user| login(&larder, Protocol::Resp2, user)).into();
    for client in &mut clients {
        assert_eq!(client.say("SUBSCRIBE all"), confirmed(Protocol::Resp2, "subscribe", "all", 1));
    }
    assert_eq!(origin.clients_named(SUBSCRIBER_NAME), 3);
    assert_eq!(listeners(&mut origin.connect(), "all"), 3);
    assert_eq!(listeners(&mut larder.connect(), "all"), 4);
    origin.say("PUBLISH all hello");
    for client in clients.iter_mut().chain([&mut configured]) {
        assert_eq!(client.read(), told(Protocol::Resp2, &["message", "all", "hello"]));
    }
}

#[test]
fn a_user_who_may_no_longer_listen_is_closed() {
    let origin = with_users();
    let larder = Larder::start(origin.address());
    let mut ann = login(&larder, Protocol::Resp3, "ann");
    ann.say("SUBSCRIBE ann:1 all");
    let mut bob = login(&larder, Protocol::Resp3, "bob");
    bob.say("SUBSCRIBE all");
    // Redis closes a connection whose subscriptions its user may no longer have: that is Larder's, and hers.
    assert_eq!(origin.say("ACL SETUSER ann resetchannels &ann:*"), Reply::ok());
    assert!(ann.read_to_close().is_ok(), "closed");
    wait::until("bob still listens", || listeners(&mut origin.connect(), "all") == 1);
    origin.say("PUBLISH all hello");
    assert_eq!(bob.read(), told(Protocol::Resp3, &["message", "all", "hello"]));
}
