//! Users and passwords are the origin's: it alone says who gets in, and nothing that one user may read reaches another
//! who may not.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// An origin with a password for everybody and three users: `app` may do everything, `limited` sees only what is
/// public, `reader` changes nothing.
fn origin() -> Redis {
    Redis::start_with(&[
        "--requirepass",
        "root-pw",
        "--user",
        "app",
        "on",
        ">app-pw",
        "~*",
        "&*",
        "+@all",
        "--user",
        "limited",
        "on",
        ">limited-pw",
        "~public:*",
        "&*",
        "+@all",
        "-@dangerous",
        "--user",
        "reader",
        "on",
        ">reader-pw",
        "%R~*",
        "&*",
        "+@all",
    ])
}

/// A connection to the origin as its default user.
fn root(origin: &Redis) -> Client {
    let mut client = origin.connect();
    assert_eq!(client.say("AUTH root-pw"), Reply::ok());
    client
}

/// A Larder that speaks as `app`.
fn larder_as_app(origin: &Redis) -> Larder {
    Larder::start_with(&Settings::new(origin.address()).upstream("username: app").upstream("password: app-pw"))
}

fn whoami(client: &mut Client) -> String {
    client.say("ACL WHOAMI").text().expect("a name")
}

/// What differs between two servers by nature: the id in HELLO's answer.
fn essence(reply: Reply) -> Reply {
    match reply.items() {
        Some(items) => Reply::Array(items.iter().filter(|item| item.integer().is_none()).cloned().collect()),
        None => reply,
    }
}

// === configured credentials ===

#[test]
fn configured_credentials_are_used_for_everybody() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        assert_eq!(whoami(&mut client), "app");
        assert_eq!(client.say("SET k v"), Reply::ok());
        larder.warm(&mut client, "GET k");
        assert_eq!(client.say("GET k"), Reply::bulk("v"));
        // Changes by others are pushed to this user too.
        assert_eq!(root(&origin).say("SET k new"), Reply::ok());
        wait::until("the push has come", || client.say("GET k") == Reply::bulk("new"));
    }
    let list = larder.say("CLIENT LIST").text().expect("text");
    assert!(list.contains(" user=app ") && !list.contains("app-pw"), "{list}");
}

#[test]
fn a_password_alone_is_that_of_the_default_user() {
    let origin = origin();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("password: root-pw"));
    let mut client = larder.connect();
    assert_eq!(whoami(&mut client), "default");
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    // The same once more by the client itself: nothing changes, the cache is still there for it.
    for login in ["AUTH root-pw", "AUTH default root-pw", "HELLO 3 AUTH default root-pw"] {
        assert_eq!(client.say(login).error(), None, "{login}");
        larder.warm(&mut client, "GET k");
    }
}

#[test]
fn wrong_configured_credentials_are_told_to_clients_in_the_origins_words() {
    let origin = origin();
    let larder =
        Larder::start_with(&Settings::new(origin.address()).upstream("username: app").upstream("password: no"));
    let mut client = larder.connect();
    for command in ["GET k", "SET k v", "GET k"] {
        let reply = client.say(command);
        let told = reply.error().unwrap_or_default();
        assert!(told.contains("WRONGPASS"), "{command}: {reply:?}");
    }
    assert_eq!(larder.metrics().sum("larder_cache_covered"), 0.0);
    // A client that has credentials of its own is served all the same.
    assert_eq!(client.say("AUTH app app-pw"), Reply::ok());
    assert_eq!(client.say("SET k v"), Reply::ok());
    assert!(!larder.process().output().contains("app-pw"));
}

// === the client's own credentials ===

#[test]
fn logins_are_answered_in_the_words_of_the_origin() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    let logins: [&[&str]; 17] = [
        &["AUTH", "root-pw"],
        &["AUTH", "wrong"],
        &["AUTH", ""],
        &["AUTH", "default", "root-pw"],
        &["AUTH", "app", "app-pw"],
        &["AUTH", "app", "root-pw"],
        &["AUTH", "limited", "limited-pw"],
        &["AUTH", "limited", "app-pw"],
        &["AUTH", "nobody", "x"],
        &["AUTH", "APP", "app-pw"],
        &["AUTH"],
        &["AUTH", "a", "b", "c"],
        &["HELLO", "3", "AUTH", "limited", "limited-pw"],
        &["HELLO", "2", "AUTH", "limited", "wrong"],
        &["HELLO", "3", "AUTH", "nobody", "x", "SETNAME", "n"],
        &["HELLO", "3", "AUTH", "limited"],
        &["HELLO", "9", "AUTH", "limited", "limited-pw"],
    ];
    for login in logins {
        let mut direct = root(&origin);
        let mut through = larder.connect();
        assert_eq!(essence(through.call(login)), essence(direct.call(login)), "{login:?}");
        // What failed changes nothing.
        assert_eq!(through.say("PING"), direct.say("PING"), "after {login:?}");
    }
    // A password that is no text is a wrong one.
    let (mut direct, mut through) = (root(&origin), larder.connect());
    let binary: [&[u8]; 2] = [b"AUTH", b"\xff\x00\r\n"];
    assert_eq!(through.call(&binary), direct.call(&binary));
}

#[test]
fn a_failed_login_leaves_the_client_who_it_was() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    let mut client = larder.connect();
    assert_eq!(client.say("AUTH limited limited-pw"), Reply::ok());
    assert!(client.say("AUTH app wrong").error().is_some());
    assert_eq!(whoami(&mut client), "limited");
    let mut fresh = larder.connect();
    assert!(fresh.say("HELLO 3 AUTH limited wrong SETNAME somebody").error().is_some());
    assert_eq!(fresh.say("CLIENT GETNAME"), Reply::Null);
    assert_eq!(whoami(&mut fresh), "app");
}

#[test]
fn commands_behind_a_login_wait_for_it() {
    let origin = origin();
    root(&origin).say("SET secret:1 hush");
    let larder = larder_as_app(&origin);
    let mut app = larder.connect();
    larder.warm(&mut app, "GET secret:1");
    for _ in 0..20 {
        let mut client = larder.connect();
        let replies = client.pipeline(&[
            "GET secret:1",
            "AUTH limited limited-pw",
            "GET secret:1",
            "ACL WHOAMI",
            "AUTH app app-pw",
            "GET secret:1",
            "AUTH nobody x",
            "ACL WHOAMI",
        ]);
        assert_eq!(replies[0], Reply::bulk("hush"));
        assert!(replies[2].error().is_some_and(|words| words.starts_with("NOPERM")), "{replies:?}");
        assert_eq!(replies[3], Reply::bulk("limited"));
        assert_eq!(replies[5], Reply::bulk("hush"), "the configured user again");
        assert_eq!(replies[7], Reply::bulk("app"));
    }
}

// === what must not leak ===

#[test]
fn a_user_never_gets_a_cached_reply_that_it_may_not_read() {
    let origin = origin();
    root(&origin).pipeline(&["SET secret:1 hush", "SET public:1 open", "HSET secret:h f hush"]);
    let larder = larder_as_app(&origin);
    let mut app = larder.connect();
    for read in ["GET secret:1", "GET public:1", "HGETALL secret:h", "EXISTS secret:1", "STRLEN secret:1"] {
        larder.warm(&mut app, read);
    }
    for protocol in Protocol::BOTH {
        let login = ["HELLO", protocol.number(), "AUTH", "limited", "limited-pw"];
        let (mut direct, mut limited) = (origin.connect(), larder.connect());
        assert_eq!((direct.call(&login).error(), limited.call(&login).error()), (None, None));
        for read in [
            "GET secret:1",
            "GET public:1",
            "HGETALL secret:h",
            "HGET secret:h f",
            "EXISTS secret:1",
            "EXISTS public:1 secret:1",
            "STRLEN secret:1",
            "MGET public:1 secret:1",
            "MGET public:1",
            "TYPE secret:1",
            "GETRANGE secret:1 0 1",
            "SET secret:1 mine",
            "DEL secret:1",
            "KEYS *",
        ] {
            for _ in 0..2 {
                assert_eq!(limited.say(read), direct.say(read), "{read}");
            }
        }
        // And what it was refused spoils nothing for those who may.
        assert_eq!(app.say("GET secret:1"), Reply::bulk("hush"));
    }
}

#[test]
fn what_a_user_reads_for_itself_is_not_kept_for_others() {
    let origin = origin();
    root(&origin).say("SET public:2 open");
    let larder = larder_as_app(&origin);
    let mut limited = larder.connect();
    assert_eq!(limited.say("AUTH limited limited-pw"), Reply::ok());
    let before = larder.metrics();
    for _ in 0..10 {
        assert_eq!(limited.say("GET public:2"), Reply::bulk("open"));
        assert_eq!(limited.say("GET public:none"), Reply::Null);
        assert!(limited.say("GET secret:2").error().is_some());
    }
    let after = larder.metrics();
    for name in ["larder_cache_fills_total", "larder_cache_hits_total", "larder_cache_keys"] {
        assert_eq!(after.sum(name), before.sum(name), "{name}");
    }
    let explained = format!("{:?}", limited.say("LARDER EXPLAIN GET public:2"));
    assert!(explained.contains("credentials of its own"), "{explained}");
    assert_eq!(larder.say("GET secret:2"), Reply::Null, "the refusal was for that user alone");
}

#[test]
fn writes_of_one_user_are_seen_by_the_others_at_once() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    let (mut app, mut limited) = (larder.connect(), larder.connect());
    assert_eq!(limited.say("AUTH limited limited-pw"), Reply::ok());
    for n in 0..50 {
        let value = n.to_string();
        assert_eq!(limited.call(&["SET", "public:3", &value]), Reply::ok());
        assert_eq!(app.say("GET public:3"), Reply::bulk(&value));
        assert_eq!(app.say("GET public:3"), Reply::bulk(&value));
        assert_eq!(app.call(&["APPEND", "public:3", "x"]).error(), None);
        assert_eq!(limited.say("GET public:3"), Reply::bulk(&format!("{n}x")));
    }
    let mut reader = larder.connect();
    assert_eq!(reader.say("AUTH reader reader-pw"), Reply::ok());
    assert!(reader.say("SET public:3 no").error().is_some_and(|words| words.starts_with("NOPERM")));
    assert_eq!(app.say("GET public:3"), Reply::bulk("49x"));
}

#[test]
fn nothing_of_a_login_reaches_other_clients() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    // More clients than workers: some share a worker, and its connections, with the one that logs in.
    let mut others: Vec<Client> = (0..8).map(|_| larder.connect()).collect();
    let mut limited = larder.connect();
    for _ in 0..5 {
        assert_eq!(limited.pipeline(&["AUTH limited limited-pw", "SELECT 5", "HELLO 3"])[0], Reply::ok());
        for other in &mut others {
            assert_eq!(whoami(other), "app");
            assert!(other.say("CLIENT INFO").text().is_some_and(|text| text.contains(" db=0 ")));
        }
        assert_eq!(whoami(&mut limited), "limited");
        assert_eq!(limited.say("RESET"), Reply::Simple("RESET".to_owned()));
        assert_eq!(whoami(&mut limited), "app", "RESET forgets the login");
    }
    let list = larder.say("CLIENT LIST").text().expect("text");
    assert!(!list.contains("limited-pw"), "{list}");
    assert!(!larder.process().output().contains("limited-pw"));
}

#[test]
fn a_user_that_is_deleted_is_served_no_longer() {
    let origin = origin();
    let larder = larder_as_app(&origin);
    let mut limited = larder.connect();
    assert_eq!(limited.pipeline(&["AUTH limited limited-pw", "SET public:4 v"])[1], Reply::ok());
    assert_eq!(root(&origin).say("ACL DELUSER limited"), Reply::Integer(1));
    wait::until("its connection is closed by the origin and not let in again", || {
        limited.say("GET public:4").error().is_some_and(|words| words.contains("WRONGPASS"))
    });
    assert_eq!(larder.say("GET public:4"), Reply::bulk("v"));
}

// === an origin that asks, and a configuration that has no answer ===

#[test]
fn without_configured_credentials_clients_log_in_for_themselves_and_nothing_is_cached() {
    let origin = origin();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for command in ["GET k", "SET k v", "MGET k k2", "FLUSHALL", "EVAL return 0"] {
        assert_eq!(client.say(command), origin.connect().say(command), "{command}");
    }
    assert!(client.say("GET k").error().is_some_and(|words| words.starts_with("NOAUTH")));
    for login in ["AUTH root-pw", "AUTH default root-pw", "AUTH app app-pw", "HELLO 3 AUTH app app-pw"] {
        let mut client = larder.connect();
        assert_eq!(client.say(login).error(), None, "{login}");
        assert_eq!(client.say("SET k v"), Reply::ok());
        for _ in 0..5 {
            assert_eq!(client.say("GET k"), Reply::bulk("v"));
        }
        assert!(
            larder.say("GET k").error().is_some_and(|words| words.starts_with("NOAUTH")),
            "others have not logged in"
        );
        assert_eq!(client.say("RESET"), Reply::Simple("RESET".to_owned()));
        assert!(client.say("GET k").error().is_some_and(|words| words.starts_with("NOAUTH")), "{login}, RESET");
    }
    let metrics = larder.metrics();
    assert_eq!((metrics.sum("larder_cache_covered"), metrics.sum("larder_cache_hits_total")), (0.0, 0.0));
    let output = larder.process().output();
    assert!(output.contains("near-cache not covered") && output.contains("NOAUTH"), "it is said aloud: {output}");
}

#[test]
fn a_login_where_none_is_needed_gets_redis_words() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let memory = Larder::start_with(&Settings::memory());
    origin.say("SET k v");
    for login in ["AUTH pw", "AUTH default anything", "AUTH somebody pw", "HELLO 3 AUTH default anything", "AUTH"] {
        let expected = origin.say(login);
        for proxy in [&larder, &memory] {
            assert_eq!(proxy.say(login).error(), expected.error(), "{login}");
        }
    }
    // The default user is who everybody is: what it reads may be cached.
    let mut client = larder.connect();
    assert_eq!(client.say("AUTH default anything"), Reply::ok());
    larder.warm(&mut client, "GET k");
}
