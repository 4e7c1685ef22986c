//! WAIT, which speaks of replicas, and MONITOR, which has no end.

use std::collections::BTreeSet;
use std::time::Duration;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::replicated::Replicated;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use super::{LEASED_NAME, until_no_lease_is_out};

/// A WAIT that was asked on a connection that wrote nothing would always say yes.
#[test]
fn wait_is_about_the_writes_of_the_session_that_asks() {
    let servers = Replicated::start(1);
    let larder = Larder::start(servers.primary.address());
    let mut client = larder.connect();
    for round in 0..10 {
        assert_eq!(client.pipeline(&[&format!("SET k {round}"), "WAIT 1 10000"])[1], Reply::Integer(1));
        assert_eq!(servers.replicas[0].say("GET k"), Reply::bulk(&round.to_string()));
    }
    // What a connection knows of the replica after one WAIT and after two differs.
    for waits in 1..=4 {
        (0..waits).for_each(|_| assert_eq!(client.say("WAIT 1 10000"), Reply::Integer(1)));
        servers.replicas[0].freeze();
        assert_eq!(client.say("SET k frozen"), Reply::ok());
        assert_eq!(client.say("WAIT 1 200"), Reply::Integer(0), "the replica does not have it ({waits})");
        servers.replicas[0].thaw();
    }
    servers.replicas[0].freeze();
    assert_eq!(client.pipeline(&["SET k again", "WAIT 1 100"])[1], Reply::Integer(0));
    client.send(&["WAIT", "1", "0"]).expect("sent");
    client.set_reply_timeout(Duration::from_millis(200));
    assert!(client.try_read().is_err(), "it has it still not");
    servers.replicas[0].thaw();
    client.set_reply_timeout(wait::PATIENCE);
    assert_eq!(client.read(), Reply::Integer(1));
    assert_eq!(servers.replicas[0].say("GET k"), Reply::bulk("again"));
    until_no_lease_is_out(&larder);
}

/// MULTI is no place to wait for ever, and a WAIT that waits is no reason for others to.
#[test]
fn wait_holds_up_nobody_else_and_does_not_wait_inside_a_transaction() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    assert_eq!(client.pipeline(&["MULTI", "SET k v", "WAIT 1 0", "EXEC"])[3].items().map(<[Reply]>::len), Some(2));
    client.send(&["WAIT", "1", "0"]).expect("sent");
    super::until_blocked(&origin, 1);
    for _ in 0..50 {
        assert_eq!(larder.say("GET k"), Reply::bulk("v"));
    }
    drop(client);
    super::until_blocked(&origin, 0);
    until_no_lease_is_out(&larder);
}

fn administered() -> (Redis, Larder) {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("allow_admin: true"));
    (origin, larder)
}

/// Reads lines of MONITOR until one shows this command.
fn until_shown(monitor: &mut Client, command: &str) {
    loop {
        let line = monitor.read().text().expect("a line");
        if line.contains(command) {
            return;
        }
    }
}

#[test]
fn monitor_shows_what_the_origin_does_amid_ordinary_commands() {
    let (origin, larder) = administered();
    let mut monitor = larder.connect();
    assert_eq!(monitor.say("MONITOR"), Reply::ok());
    let mut seen = BTreeSet::new();
    for number in 0..50 {
        let (through, beside) = (format!("\"through:{number}\""), format!("\"beside:{number}\""));
        larder.say(&format!("SET through:{number} x"));
        origin.say(&format!("SET beside:{number} x"));
        while !(seen.contains(&through) && seen.contains(&beside)) {
            let line = monitor.read().text().expect("a line");
            seen.extend(line.split(' ').map(str::to_owned));
        }
    }
    // Its own commands are served, and their replies stand whole among the lines.
    monitor.send(&["INCR", "own"]).expect("sent");
    let mut replies = vec![monitor.read(), monitor.read()];
    while !replies.contains(&Reply::Integer(1)) {
        replies.push(monitor.read());
    }
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Simple(_) | Reply::Integer(1))), "{replies:?}");
    // A second one gets no answer, as in Redis, and no second stream.
    monitor.send(&["MONITOR"]).expect("sent");
    origin.say("SET once x");
    until_shown(&mut monitor, "\"once\"");
    origin.say("SET twice x");
    let line = monitor.read().text().expect("a line");
    assert!(line.contains("\"twice\""), "shown again: {line}");
}

#[test]
fn reset_quit_and_a_disconnect_end_monitor() {
    let (origin, larder) = administered();
    let monitoring = || origin.clients().iter().filter(|client| client["flags"].contains('O')).count();
    for end in ["RESET", "QUIT", "-", "in one packet"] {
        let mut monitor = larder.connect();
        if end == "in one packet" {
            let replies = monitor.pipeline(&["MONITOR", "RESET", "PING"]);
            // There may be a line between the first two.
            let rest =
                if replies[1].text().is_some_and(|text| text == "RESET") { &replies[2..] } else { &replies[3..] };
            assert!(rest.is_empty() || *rest == [Reply::Simple("PONG".to_owned())], "{replies:?}");
        } else {
            assert_eq!(monitor.say("MONITOR"), Reply::ok());
            assert_eq!(monitoring(), 1);
        }
        match end {
            "-" => drop(monitor),
            "QUIT" => {
                monitor.send(&["QUIT"]).expect("sent");
                assert!(monitor.read_to_close().is_ok());
            }
            "RESET" => {
                monitor.send(&["RESET"]).expect("sent");
                while monitor.read() != Reply::Simple("RESET".to_owned()) {}
                until_no_lease_is_out(&larder);
                origin.say("SET unseen x");
                assert_eq!(monitor.say("PING"), Reply::Simple("PONG".to_owned()), "a line after the end");
                // And it can be begun again, whatever becomes of the one before.
                assert_eq!(monitor.say("MONITOR"), Reply::ok());
                origin.say("SET seen x");
                until_shown(&mut monitor, "\"seen\"");
                drop(monitor);
            }
            _ => {}
        }
        wait::until("nobody monitors", || monitoring() == 0);
    }
    until_no_lease_is_out(&larder);
}

/// Who only listens would never learn that there is nothing to hear any more.
#[test]
fn a_client_whose_monitor_is_lost_is_told_and_closed() {
    let (origin, larder) = administered();
    let mut monitor = larder.connect();
    assert_eq!(monitor.say("MONITOR"), Reply::ok());
    assert_eq!(origin.kill_clients_named(LEASED_NAME), 1);
    let rest = monitor.read_to_close().expect("closed");
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("-ERR upstream") && rest.contains("closed the connection"), "{rest}");
    until_no_lease_is_out(&larder);
}

#[test]
fn monitor_that_the_origin_refuses_is_over() {
    let (origin, larder) = administered();
    origin.say("ACL SETUSER default -monitor");
    let mut client = larder.connect();
    assert!(client.say("MONITOR").error().is_some_and(|words| words.starts_with("NOPERM")));
    until_no_lease_is_out(&larder);
    origin.say("ACL SETUSER default +monitor");
    assert_eq!(client.say("MONITOR"), Reply::ok());
}

#[test]
fn monitor_is_for_administrators() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    assert!(larder.say("MONITOR").error().is_some_and(|words| words.contains("allow_admin")));
}
