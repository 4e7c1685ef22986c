//! What Redis counts as administration goes to the origin only where the configuration says so.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// One of each kind; none of them would do lasting harm if it got through.
const ADMIN: &[&str] = &[
    "CONFIG SET maxmemory 123456789",
    "CONFIG RESETSTAT",
    "CONFIG REWRITE",
    "DEBUG SLEEP 0",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "REPLICAOF NO ONE",
    "SLAVEOF NO ONE",
    "FAILOVER ABORT",
    "ACL SETUSER somebody",
    "ACL DELUSER somebody",
    "ACL LIST",
    "ACL LOG",
    "SLOWLOG GET",
    "LATENCY LATEST",
    "MODULE LOAD /nowhere.so",
    "MODULE UNLOAD nothing",
    "PFSELFTEST",
    "MONITOR",
];

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(words) => words.clone(),
        other => panic!("{other:?} is no error"),
    }
}

#[test]
fn administration_is_refused_in_words_that_name_the_key() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for words in ADMIN.iter().chain(&["SHUTDOWN NOSAVE", "shutdown nosave"]) {
        let name = words.to_ascii_uppercase();
        let name = name.split(' ').next().expect("a word");
        let error = error(&client.say(words));
        assert!(error.starts_with(&format!("NOPERM Larder does not forward {name}")), "{words}: {error}");
        assert!(error.ends_with(": admin commands are off (allow_admin)"), "{words}: {error}");
    }
    assert_eq!(origin.say("CONFIG GET maxmemory"), Reply::Array(vec![Reply::bulk("maxmemory"), Reply::bulk("0")]));
    assert_eq!(origin.say("ACL USERS"), Reply::Array(vec![Reply::bulk("default")]));
    assert_eq!(origin.say("PING"), Reply::Simple("PONG".into()), "it was not shut down");
}

#[test]
fn what_is_no_administration_works_as_ever() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    assert_eq!(client.say("ACL WHOAMI"), Reply::bulk("default"));
    for words in [
        "ACL CAT",
        "CONFIG GET maxclients",
        "INFO",
        "MODULE LIST",
        "CLIENT LIST",
        "COMMAND COUNT",
        "LASTSAVE",
        "ROLE",
        "TIME",
        "FLUSHALL",
        "KEYS *",
        "SWAPDB 0 1",
    ] {
        let reply = client.say(words);
        assert!(!matches!(reply, Reply::Error(_)), "{words}: {reply:?}");
    }
}

#[test]
fn administration_is_forwarded_where_the_configuration_opens_it() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("allow_admin: true"));
    let mut client = larder.connect();
    for words in ADMIN {
        let reply = client.say(words);
        let refused = matches!(&reply, Reply::Error(words) if words.contains("Larder"));
        assert!(!refused, "{words}: {reply:?}");
    }
    let shown = Reply::Array(vec![Reply::bulk("maxmemory"), Reply::bulk("123456789")]);
    assert_eq!(origin.say("CONFIG GET maxmemory"), shown);

    larder.connect().send(&["SHUTDOWN", "NOSAVE"]).expect("it is sent");
    wait::until("the origin is shut down", || Client::try_connect(origin.address()).is_err());
}

#[test]
fn in_a_transaction_a_refused_command_spoils_the_whole() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    assert_eq!(client.say("MULTI"), Reply::ok());
    assert_eq!(client.say("SET k v"), Reply::Simple("QUEUED".into()));
    assert!(error(&client.say("CONFIG SET maxmemory 1gb")).starts_with("NOPERM"));
    assert!(error(&client.say("EXEC")).starts_with("EXECABORT"));
    assert_eq!(client.say("GET k"), Reply::Null);
}

#[test]
fn explain_says_why_administration_is_not_served() {
    let origin = Redis::start();
    for (setting, expected) in [("allow_admin: false", true), ("allow_admin: true", false)] {
        let larder = Larder::start_with(&Settings::new(origin.address()).section(setting));
        let lines = larder.say("LARDER EXPLAIN CONFIG SET maxmemory 1");
        let lines = lines.items().expect("lines");
        let says = lines.iter().any(|line| {
            line.text().is_some_and(|line| line.starts_with("served: no: NOPERM Larder does not forward CONFIG SET"))
        });
        assert_eq!(says, expected, "{setting}: {lines:?}");
    }
}
