//! What clients that track are told when Larder cannot hear of changes any more, and who is not served.

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

fn is_flush(reply: &Reply) -> bool {
    matches!(reply, Reply::Push(items) if items[0] == Reply::bulk("invalidate") && items[1].items().is_none())
}

fn tracking(larder: &Larder, how: &str) -> Client {
    let mut client = larder.connect_with(Protocol::Resp3);
    assert_eq!(client.say(how), Reply::ok(), "{how}");
    client
}

#[test]
fn a_lost_tracked_connection_voids_all_that_was_read() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let mut client = tracking(&larder, "CLIENT TRACKING ON");
    client.say("GET k");
    assert_eq!(origin.kill_clients_named("larder-tracked"), 1);
    assert!(is_flush(&client.read()));
}

#[test]
fn a_lost_connection_of_a_prefix_voids_all_under_it() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let mut client = tracking(&larder, "CLIENT TRACKING ON BCAST PREFIX a");
    let mut second = tracking(&larder, "CLIENT TRACKING ON BCAST PREFIX a");
    assert_eq!(origin.kill_clients_named("larder-broadcast"), 1, "one connection for both");
    for client in [&mut client, &mut second] {
        // When it is lost, and when it is back: between, more may have changed.
        assert!(is_flush(&client.read()) && is_flush(&client.read()));
    }
    origin.say("SET a1 x");
    assert!(matches!(client.read(), Reply::Push(_)));
    drop((client, second));
    wait::until("nobody listens to the prefix", || origin.clients_named("larder-broadcast") == 0);
}

#[test]
fn who_has_left_is_forgotten() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_covered();
    let figure = |name: &str| larder.metrics().sum(name);
    let mut client = tracking(&larder, "CLIENT TRACKING ON");
    client.say("MGET a b c");
    wait::until("three keys are tracked", || figure("larder_tracking_keys") == 3.0);
    assert_eq!(figure("larder_tracking_clients"), 1.0);
    client.say("RESET");
    wait::until("RESET ends it", || figure("larder_tracking_clients") == 0.0 && figure("larder_tracking_keys") == 0.0);
    let mut client = tracking(&larder, "CLIENT TRACKING ON");
    client.say("GET a");
    drop(client);
    wait::until("so does leaving", || figure("larder_tracking_clients") == 0.0);
}

#[test]
fn without_an_upstream_that_tells_of_changes_tracking_is_refused() {
    let origin = Redis::start();
    let untold = Larder::start_with(&Settings::new(origin.address()).upstream("coherence: ttl"));
    for larder in [untold, Larder::start_with(&Settings::memory())] {
        let reply = larder.say("CLIENT TRACKING ON");
        assert!(reply.error().is_some_and(|error| error.contains("CLIENT TRACKING")), "{reply:?}");
        assert_eq!(larder.say("CLIENT TRACKING OFF"), Reply::ok());
    }
}
