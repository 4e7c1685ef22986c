//! The state of a connection: order, protocol, database, reply mode, and what must not leak to others.

use larder_integration_tests::client::{Client, Protocol, encode};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// T34: a client that asked for no replies gets none, from the cache neither.
#[test]
fn t34_client_reply_off_and_skip_are_honoured() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut warmer = larder.connect();
    warmer.say("SET k value");
    larder.warm(&mut warmer, "GET k");
    for address in [origin.address(), larder.address()] {
        for _ in 0..20 {
            let mut client = Client::connect(address);
            // SKIP: of the next command only. ON answers for itself; SKIP and OFF do not.
            let script: [&[&str]; 15] = [
                &["GET", "k"],
                &["CLIENT", "REPLY", "SKIP"],
                &["GET", "k"],
                &["GET", "missing"],
                &["CLIENT", "REPLY", "OFF"],
                &["GET", "k"],
                &["SET", "silent", "1"],
                &["NOSUCH"],
                &["PING"],
                &["HGETALL", "k"],
                &["CLIENT", "REPLY", "SKIP"],
                &["CLIENT", "REPLY", "ON"],
                &["GET", "silent"],
                &["CLIENT", "REPLY", "SKIP"],
                &["SELECT", "3"],
            ];
            script.iter().for_each(|command| client.send(command).expect("sent"));
            client.send(&["GET", "k"]).expect("sent");
            let replies: Vec<Reply> = (0..5).map(|_| client.read()).collect();
            assert_eq!(replies, [Reply::bulk("value"), Reply::Null, Reply::ok(), Reply::bulk("1"), Reply::Null]);
            client.say("DEL silent");
        }
    }
}

/// T35: answers from the cache wait for the slower ones before them.
#[test]
fn t35_replies_keep_the_order_of_their_commands() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET hot hit", "HSET hash f v", "SET n 0"]);
    client.call(&[b"SET".as_slice(), b"big", &vec![b'x'; 300_000]]);
    larder.warm(&mut client, "GET hot");
    larder.warm(&mut client, "HGETALL hash");
    let slow = "local x = 0; for i = 1, 300000 do x = x + i end; return 'slow'";
    let big = Reply::Bulk(vec![b'x'; 300_000]);
    for round in 1..=30 {
        client.send(&["GET", "hot"]).expect("sent");
        client.send(&["EVAL", slow, "0"]).expect("sent");
        for words in [
            "GET hot",
            "GETEX big",
            "HGETALL hash",
            "GET missing",
            "INCR n",
            "GET hot",
            "PING",
            "ECHO e",
            "NOSUCH",
            "GET hot",
            "GET n",
        ] {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        let replies: Vec<Reply> = (0..13).map(|_| client.read()).collect();
        let hit = Reply::bulk("hit");
        assert_eq!((&replies[0], &replies[1], &replies[2]), (&hit, &Reply::bulk("slow"), &hit));
        assert!(replies[3] == big, "the big value is fourth");
        assert_eq!(replies[4], Reply::Array(vec![Reply::bulk("f"), Reply::bulk("v")]));
        assert_eq!((&replies[5], &replies[6], &replies[7]), (&Reply::Null, &Reply::Integer(round), &hit));
        assert_eq!((&replies[8], &replies[9]), (&Reply::Simple("PONG".to_owned()), &Reply::bulk("e")));
        assert!(replies[10].error().is_some());
        assert_eq!((&replies[11], &replies[12]), (&hit, &Reply::bulk(&round.to_string())));
    }
}

/// T35: the same with thousands of commands under way, each with its own answer.
#[test]
fn t35_a_long_pipeline_of_hits_and_misses_is_answered_in_order() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut client, mut direct) = (larder.connect(), origin.connect());
    for number in 0..1000 {
        direct.say(&format!("SET k{number} {number}"));
    }
    for round in 0..5 {
        let mut commands = Vec::new();
        for number in 0..1000 {
            commands.push(format!("GET k{}", number % 10));
            commands.push(format!("GET k{number}"));
            commands.push(format!("ECHO {number}"));
            commands.push(format!("STRLEN k{number}"));
            commands.push(format!("APPEND log:{round} {number}"));
        }
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        let replies = client.pipeline(&commands);
        for (number, replies) in replies.chunks(5).enumerate() {
            let text = number.to_string();
            assert_eq!(replies[0], Reply::bulk(&(number % 10).to_string()));
            assert_eq!((&replies[1], &replies[2]), (&Reply::bulk(&text), &Reply::bulk(&text)));
            assert_eq!(replies[3], Reply::Integer(i64::try_from(text.len()).expect("short")));
        }
    }
}

/// T36: what changes the connection changes it at its place in the pipeline.
#[test]
fn t36_hello_select_and_reset_take_effect_in_their_place() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let script = [
        "SET k zero",
        "SELECT 2",
        "SET k two",
        "GET k",
        "HELLO 3",
        "GET k",
        "HGETALL none",
        "GET none",
        "SELECT 0",
        "GET k",
        "RESET",
        "GET k",
        "HGETALL none",
        "SELECT 2",
        "GET k",
        "HELLO 3 SETNAME me",
        "CLIENT GETNAME",
        "GET none",
        "RESET",
        "CLIENT GETNAME",
        "GET k",
        "HELLO 9",
        "GET none",
        "SELECT 99",
        "GET k",
        "PING",
    ];
    let (mut through, mut direct) = (larder.connect(), origin.connect());
    for _ in 0..10 {
        let mut replies = [through.pipeline(&script), direct.pipeline(&script)];
        for replies in &mut replies {
            for hello in [15, 4] {
                assert!(matches!(replies.remove(hello), Reply::Map(_)));
            }
        }
        assert_eq!(replies[0], replies[1]);
    }
}

/// T37: what one client says of its connection must reach no other's.
#[test]
fn t37_a_connection_s_settings_are_its_own() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut one, mut two) = (larder.connect(), larder.connect());
    two.say("SET k v");
    for command in ["CLIENT SETNAME one", "CLIENT NO-EVICT ON", "SELECT 7", "CLIENT REPLY OFF"] {
        one.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        for _ in 0..3 {
            assert_eq!(two.say("CLIENT GETNAME"), Reply::Null, "{command}");
            assert_eq!((two.say("GET k"), two.say("GETEX k")), (Reply::bulk("v"), Reply::bulk("v")), "{command}");
        }
    }
    let ids = [two.say("CLIENT ID"), larder.connect().say("CLIENT ID")];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(two.say("CLIENT ID"), ids[0], "an id stays");
    // The name of a client is shown by Larder and not by the origin, where connections are shared.
    assert!(two.say("CLIENT LIST").text().expect("text").contains("name=one"));
    if larder.is_binary() {
        assert_eq!(origin.clients_named("one"), 0);
    }
    // A client can be closed without closing an upstream connection.
    let mut victim = larder.connect();
    let Reply::Integer(victim_id) = victim.say("CLIENT ID") else { panic!("an id is a number") };
    assert_eq!(two.say(&format!("CLIENT KILL ID {victim_id}")), Reply::Integer(1));
    assert!(victim.try_call(&["PING"]).is_err());
    assert_eq!(two.say("GET k"), Reply::bulk("v"));
}

/// T37: tracking is served or refused in words; never accepted and then ignored.
#[test]
fn t37_client_tracking_is_served_or_refused() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for request in ["CLIENT TRACKING ON", "CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON OPTIN"] {
        let mut client = larder.connect_with(Protocol::Resp3);
        let reply = client.say(request);
        if let Some(error) = reply.error() {
            assert!(error.len() > 20, "refused, but not in words: {error}");
            assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()), "the connection goes on");
            continue;
        }
        if request.ends_with("OPTIN") {
            assert_eq!(client.say("CLIENT CACHING YES"), Reply::ok());
        }
        client.say("GET k");
        origin.say("SET k v");
        let push = Reply::Push(vec![Reply::bulk("invalidate"), Reply::Array(vec![Reply::bulk("k")])]);
        assert_eq!(client.read(), push, "{request} was accepted and is not served");
    }
}

/// T37: a state that one session leaves behind is not found by the next on the same upstream connection.
#[test]
fn t37_nothing_of_a_session_is_left_for_the_next() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.connect().say("SET k zero");
    for round in 0..100 {
        let mut client = larder.connect_with(Protocol::BOTH[round % 2]);
        client.say("SELECT 9");
        client.say("CLIENT SETNAME gone");
        // Left in the middle of a pipeline whose answers nobody takes.
        for command in ["SET k nine", "EVAL return('x') 0", "GET k", "GETEX k"] {
            client.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        drop(client);
        let mut next = larder.connect();
        let replies = next.pipeline(&["CLIENT GETNAME", "GETEX k", "GET k", "GETEX none", "HGETALL none"]);
        let zero = Reply::bulk("zero");
        assert_eq!(replies, [Reply::Null, zero.clone(), zero, Reply::Null, Reply::Array(vec![])], "round {round}");
    }
}

/// T2: a transaction that is refused, as by the memory upstream, is not carried out in parts.
#[test]
fn t2_nothing_behind_a_refused_multi_is_carried_out() {
    let larder = Larder::start_with(&Settings::memory());
    let mut client = larder.connect();
    let replies = client.pipeline(&["SET k 1", "MULTI", "SET k 2", "INCR n", "EXEC", "SET k 3"]);
    let refused: Vec<bool> = replies.iter().map(|reply| reply.error().is_some()).collect();
    assert_eq!(refused, [false, true, true, true, true, false], "{replies:?}");
    assert_eq!(client.say("MGET k n"), Reply::Array(vec![Reply::bulk("3"), Reply::Null]));
}

/// Replies that are on their way when QUIT is carried out arrive, though the client has sent more behind it: a socket
/// that is closed with bytes unread resets the connection, and what was on its way is lost.
#[test]
fn t35_the_replies_before_a_quit_arrive_whatever_is_sent_behind_it() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    if !larder.is_binary() {
        // Redis takes that risk.
        return;
    }
    let value = vec![b'x'; 900_000];
    client.call(&[b"SET".as_slice(), b"big", &value]);
    larder.warm(&mut client, "GET big");
    for _ in 0..5 {
        let mut client = larder.connect();
        for _ in 0..10 {
            client.send(&["GET", "big"]).expect("sent");
        }
        // The replies do not fit the sockets' buffers: the end comes when they have been read.
        client.send(&["QUIT"]).expect("sent");
        client.send_raw(&encode(&["PING"]).repeat(1000)).expect("sent");
        for number in 0..10 {
            let (reply, _) = client.try_read().unwrap_or_else(|error| panic!("reply {number}: {error}"));
            assert!(reply == Reply::Bulk(value.clone()), "reply {number}");
            let _ = client.send_raw(&encode(&["PING"]));
        }
        assert_eq!(client.read(), Reply::ok());
        assert_eq!(client.read_to_close().expect("closed"), b"");
    }
}

/// T2: a transaction that is given up in the write that began it still owes its replies.
#[test]
fn t2_transactions_sent_and_ended_in_one_write_answer_as_redis_does() {
    let (bare, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    let cases: [&[&str]; 8] = [
        &["MULTI", "SET a 1", "GET a", "EXEC", "GET a"],
        &["MULTI", "SET a 2", "GET", "EXEC", "GET a"],
        &["WATCH a", "MULTI", "NOSUCH", "SET a 2", "EXEC", "GET a"],
        &["MULTI", "SET a 2", "GET", "DISCARD", "GET a"],
        &["MULTI", "SET a 2", "RESET", "GET a"],
        &["WATCH a", "MULTI", "SET a 2", "GET", "RESET", "GET a"],
        &["WATCH a", "GET a", "RESET", "GET a"],
        &["WATCH a", "GET a", "UNWATCH", "MULTI", "EXEC", "EXEC"],
    ];
    for commands in cases {
        let [expected, answered] =
            [bare.address(), larder.address()].map(|address| Client::connect(address).pipeline(commands));
        assert_eq!(answered, expected, "{commands:?}");
    }
}

/// T1: a cluster has one database, and a client that asks for another is told so at once.
#[test]
fn t1_no_other_database_of_a_cluster_can_be_selected() {
    let cluster = Cluster::start_primaries(1);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let commands = ["SET k v", "SELECT 5", "GET k", "SELECT 0", "GET k", "SELECT 99", "SELECT x"];
    assert_eq!(larder.connect().pipeline(&commands), cluster.connect(0).pipeline(&commands));
}
