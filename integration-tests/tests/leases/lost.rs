//! Connections that are lost while a client has them to itself: nothing is half done, and nothing succeeds that must not.

use larder_integration_tests::client::Client;
use larder_integration_tests::cutter::{Cutter, Direction, Scope};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{LEASED_NAME, leases, until_blocked, until_no_lease_is_out};

fn kill_leased(origin: &Redis) {
    assert!(origin.kill_clients_named(LEASED_NAME) > 0, "a leased connection");
    wait::until("it is gone", || origin.clients_named(LEASED_NAME) == 0);
}

fn aborted(reply: &Reply) -> bool {
    reply.error().is_some_and(|words| words.starts_with("EXECABORT Transaction discarded because of"))
}

#[test]
fn a_connection_killed_behind_multi_gives_execabort_and_nothing_is_half_applied() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    assert_eq!(client.pipeline(&["MULTI", "SET a 1"])[0], Reply::ok());
    kill_leased(&origin);
    assert!(client.say("SET b 2").error().is_some());
    // Until the client ends it nothing of it is carried out, on whatever connection.
    let replies = client.pipeline(&["SET c 3", "GET a", "EXEC", "SET d 4"]);
    assert!(replies[0].error().is_some_and(|words| words.contains("EXEC or DISCARD ends this")), "{replies:?}");
    assert!(replies[1].error().is_some(), "{replies:?}");
    assert!(aborted(&replies[2]), "{replies:?}");
    assert_eq!(replies[3], Reply::ok());
    let expected = [Reply::Null, Reply::Null, Reply::Null, Reply::bulk("4")];
    assert_eq!(origin.say("MGET a b c d"), Reply::Array(expected.to_vec()));
    until_no_lease_is_out(&larder);
    assert_eq!(client.pipeline(&["MULTI", "SET a 1", "EXEC"])[2], Reply::Array(vec![Reply::ok()]));
}

#[test]
fn discard_and_a_further_multi_end_a_transaction_whose_connection_is_gone() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    for end in ["DISCARD", "MULTI", "RESET"] {
        assert_eq!(client.say("MULTI"), Reply::ok());
        kill_leased(&origin);
        assert!(client.say("SET a 1").error().is_some(), "{end}");
        assert!(client.say(end).error().is_none(), "{end}");
        if end == "MULTI" {
            assert_eq!(client.pipeline(&["SET b 2", "EXEC"])[1], Reply::Array(vec![Reply::ok()]));
        }
        assert_eq!(client.say("GET a"), Reply::Null, "{end}");
    }
}

#[test]
fn a_transaction_whose_bytes_never_arrive_is_not_carried_out() {
    let origin = Redis::start();
    let cutter = Cutter::start(origin.address());
    let larder = Larder::start(cutter.address());
    let mut client = larder.connect();
    for pipelined in [true, false] {
        assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[0], Reply::ok());
        if !pipelined {
            client.pipeline(&["MULTI", "SET a 1"]);
        }
        cutter.hold(Scope::All, Direction::ToOrigin);
        let rest: &[&str] = if pipelined { &["MULTI", "SET a 1", "SET b 2", "EXEC"] } else { &["SET b 2", "EXEC"] };
        for words in rest {
            client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        }
        wait::until("it was read by Larder", || last_command(&larder) == "exec");
        cutter.cut(Scope::All);
        cutter.heal();
        for words in rest {
            assert!(client.read().error().is_some(), "{words}");
        }
        assert_eq!(origin.say("EXISTS a b"), Reply::Integer(0));
        until_no_lease_is_out(&larder);
        wait::until("Larder is connected again", || client.say("PING").error().is_none());
    }
}

/// The last command of the only other client.
fn last_command(larder: &Larder) -> String {
    let list = larder.say("CLIENT LIST").text().expect("text");
    let first = list.lines().next().unwrap_or_default().to_owned();
    let command = first.split(' ').find_map(|field| field.strip_prefix("cmd="));
    command.unwrap_or_default().to_owned()
}

/// T2: nobody watches any more, so nobody can say that the key has not changed.
#[test]
fn a_connection_lost_behind_watch_never_lets_exec_succeed() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    origin.say("SET k first");
    for one_by_one in [true, false] {
        let mut client = larder.connect();
        assert_eq!(client.say("WATCH k"), Reply::ok());
        kill_leased(&origin);
        origin.say("SET k other");
        let commands = ["MULTI", "SET k lost", "EXEC"];
        let replies = if one_by_one {
            commands.iter().map(|words| client.say(words)).collect()
        } else {
            client.pipeline(&commands)
        };
        assert!(replies.iter().all(|reply| reply.error().is_some()), "{replies:?}");
        assert_eq!(origin.say("GET k"), Reply::bulk("other"));
        // That is over with EXEC.
        let replies = client.pipeline(&["WATCH k", "MULTI", "SET k next", "EXEC"]);
        assert_eq!(replies[3], Reply::Array(vec![Reply::ok()]), "{replies:?}");
    }
}

/// A client that does not know yet that nothing is watched is told; other commands go on; one that knows begins anew.
#[test]
fn a_lost_watch_is_told_and_does_not_spoil_the_connection_for_other_commands() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    origin.say("SET k v");
    let mut client = larder.connect();
    client.say("WATCH k");
    kill_leased(&origin);
    // The loss may be noticed by this very command.
    wait::until("reads are served", || client.say("GET k") == Reply::bulk("v"));
    larder.warm(&mut client, "GET k");
    assert!(client.say("WATCH other").error().is_some_and(|words| words.contains("nothing is watched")));
    let replies = client.pipeline(&["WATCH k", "MULTI", "SET k new", "EXEC"]);
    assert_eq!((&replies[0], &replies[3]), (&Reply::ok(), &Reply::Array(vec![Reply::ok()])), "{replies:?}");
    // UNWATCH ends it too, and what has nothing to do with it is answered as ever.
    client.say("WATCH k");
    kill_leased(&origin);
    wait::until("reads are served", || client.say("GET k") == Reply::bulk("new"));
    assert_eq!(client.say("EXEC").error(), Some("ERR EXEC without MULTI"));
    assert_eq!(client.say("UNWATCH"), Reply::ok());
    assert_eq!(client.pipeline(&["MULTI", "SET k last", "EXEC"])[2], Reply::Array(vec![Reply::ok()]));
    until_no_lease_is_out(&larder);
}

/// An upstream that cannot be reached: what is sent behind MULTI, in the belief that it is queued, is not carried out
/// when the upstream is back in the middle of it.
#[test]
fn nothing_behind_a_multi_that_found_no_upstream_is_carried_out() {
    let mut origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    origin.kill();
    assert!(client.say("MULTI").error().is_some());
    origin.restart();
    wait::until("the upstream is back", || larder.say("SET other 1") == Reply::ok());
    assert!(client.say("SET a 1").error().is_some());
    assert!(aborted(&client.say("EXEC")));
    assert_eq!(client.say("SET b 2"), Reply::ok());
    assert_eq!(origin.say("EXISTS a"), Reply::Integer(0));
    // The same for WATCH: a transaction that relies on it fails.
    origin.kill();
    let reply = client.say("WATCH k");
    let watched = reply.error().is_none();
    origin.restart();
    wait::until("the upstream is back", || larder.say("SET other 1") == Reply::ok());
    let replies = client.pipeline(&["MULTI", "SET a 1", "EXEC"]);
    assert!(replies[2].error().is_some(), "WATCH was answered {reply:?} ({watched}), EXEC {:?}", replies[2]);
    assert_eq!(origin.say("EXISTS a"), Reply::Integer(0));
}

/// A client that is closed while its EXEC is on its way: it was sent whole, so it is carried out, as in Redis.
#[test]
fn exec_is_carried_out_though_its_client_is_gone() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let id = client.say("CLIENT ID").integer().expect("a number");
    let mut killer = larder.connect();
    killer.say("PING");
    origin.freeze();
    for command in [&["MULTI"][..], &["INCR", "n"], &["SET", "k", "v"], &["EXEC"]] {
        client.send(command).expect("sent");
    }
    let list = |client: &mut Client| client.say(&format!("CLIENT LIST ID {id}")).text().expect("text");
    wait::until("EXEC was read", || list(&mut killer).contains("cmd=exec"));
    assert_eq!(killer.say(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(client.read_to_close().is_ok());
    origin.thaw();
    wait::until("it is carried out", || origin.say("GET n") == Reply::bulk("1"));
    assert_eq!(larder.say("GET k"), Reply::bulk("v"));
    until_no_lease_is_out(&larder);
    // Not so without EXEC.
    let mut client = larder.connect();
    client.pipeline(&["MULTI", "INCR n"]);
    drop(client);
    until_no_lease_is_out(&larder);
    assert_eq!(origin.say("GET n"), Reply::bulk("1"));
    // What fenced the keys is gone too: they are cached again.
    larder.warm(&mut killer, "GET k");
}

/// A client that is closed with a write of its own on the way: what kept the cache out of its way is gone with it.
#[test]
fn keys_are_cached_again_when_a_connection_is_closed_with_a_write_on_its_way() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut client, mut reader) = (larder.connect(), larder.connect());
    let id = client.say("CLIENT ID").integer().expect("a number");
    reader.say("SET k v");
    larder.warm(&mut reader, "GET k");
    assert_eq!(client.say("WATCH w"), Reply::ok());
    origin.freeze();
    client.send(&["SET", "k", "w"]).expect("sent");
    let list = |client: &mut Client| client.say(&format!("CLIENT LIST ID {id}")).text().expect("text");
    wait::until("it was read", || list(&mut reader).contains("cmd=set"));
    assert_eq!(reader.say(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(client.read_to_close().is_ok());
    origin.thaw();
    until_no_lease_is_out(&larder);
    larder.warm(&mut reader, "GET k");
}

#[test]
fn a_blocked_client_hears_at_once_that_its_connection_is_gone() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.send(&["BLPOP", "q", "0"]).expect("sent");
    until_blocked(&origin, 1);
    assert_eq!(leases(&larder), 1.0);
    kill_leased(&origin);
    assert!(client.read().error().is_some_and(|words| words.contains("closed the connection")));
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    until_no_lease_is_out(&larder);
}
