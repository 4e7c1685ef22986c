//! A server that is no longer the primary while clients have connections to it for themselves.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::wait;

use super::{leases, until_no_lease_is_out};

/// Silent, not closed: no connection tells of it.
#[test]
fn clients_on_leased_connections_are_released_when_their_primary_is_replaced() {
    let set = SentinelSet::start();
    let larder = Larder::start_with(&Settings::sentinel(&set).section("allow_admin: true"));
    let old = set.primary();
    let [mut blocked, mut queueing, mut watching, mut monitoring] = [(); 4].map(|()| larder.connect());
    assert_eq!(monitoring.say("MONITOR"), Reply::ok());
    blocked.send(&["BLPOP", "q", "0"]).expect("sent");
    super::until_blocked(set.server(old), 1);
    assert_eq!(queueing.pipeline(&["MULTI", "SET queued 1"])[0], Reply::ok());
    assert_eq!(watching.say("WATCH watched"), Reply::ok());
    assert_eq!(leases(&larder), 4.0);

    set.server(old).freeze();
    let new = set.wait_for_new_primary(old);
    let told = |reply: Reply| reply.error().is_some_and(|words| words.contains("left the upstream"));
    assert!(told(blocked.read()), "a blocked client waits for a server that nobody writes to");
    assert!(String::from_utf8_lossy(&monitoring.read_to_close().expect("closed")).contains("left the upstream"));
    wait::until("Larder writes to the new primary", || larder.say("SET other 1") == Reply::ok());

    // Nothing of them reaches the old one, which goes on and for a moment believes that it is a primary.
    let exec = queueing.say("EXEC");
    assert!(exec.error().is_some_and(|words| words.starts_with("EXECABORT") && words.contains("has left")), "{exec:?}");
    let replies = watching.pipeline(&["MULTI", "SET watched 1", "EXEC"]);
    assert!(replies[2].error().is_some_and(|words| words.starts_with("EXECABORT")), "{replies:?}");
    set.server(old).thaw();
    for address in [old, new] {
        assert_eq!(Client::connect(address).say("EXISTS queued watched"), Reply::Integer(0));
    }

    // All of them go on.
    blocked.send(&["BLPOP", "q", "0"]).expect("sent");
    super::until_blocked(set.server(new), 1);
    for client in [&mut queueing, &mut watching] {
        let replies = client.pipeline(&["WATCH watched", "MULTI", "RPUSH q element", "EXEC"]);
        assert!(replies[3].items().is_some(), "{replies:?}");
    }
    assert_eq!(blocked.read(), Reply::Array(vec![Reply::bulk("q"), Reply::bulk("element")]));
    until_no_lease_is_out(&larder);
}
