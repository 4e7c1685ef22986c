//! How it ends: nobody who has been let in loses a reply.

use std::io::ErrorKind;
use std::time::Duration;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::process::Signal;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;
use socket2::SockRef;

/// So long that no test waits for it to be over.
const LONG: &str = "drain_timeout: 10m";
const SHORT: &str = "drain_timeout: 200ms";

fn start(redis: &Redis, sections: &[&str]) -> Larder {
    let settings = sections.iter().fold(Settings::new(redis.address()), |settings, text| settings.section(text));
    Larder::start_with(&settings)
}

/// Tells it to end; returns when it has heard.
fn terminate(larder: &Larder) {
    larder.process().signal(Signal::Terminate);
    wait::until("it drains", || larder.metrics().sum("larder_draining") == 1.0);
}

/// It ends by itself, in good order.
pub fn ends(mut larder: Larder) -> String {
    let mut status = None;
    wait::until("the process has ended", || {
        status = larder.process_mut().exit_status();
        status.is_some()
    });
    let output = larder.process().output();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{output}");
    output
}

fn is_refused(larder: &Larder) -> bool {
    Client::try_connect(larder.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The end of the stream, and nothing before it.
fn sees_the_end(client: &mut Client) {
    client.read_end().expect("an orderly end");
}

#[test]
fn a_client_is_served_until_it_leaves_and_nobody_else_is_let_in() {
    let redis = Redis::start();
    let larder = start(&redis, &[LONG]);
    let mut client = larder.connect();
    assert_eq!(client.say("SET k 1"), Reply::ok());
    terminate(&larder);
    wait::until("new clients are refused", || is_refused(&larder));
    assert_eq!(client.say("INCR k"), Reply::Integer(2));
    drop(client);
    let output = ends(larder);
    assert!(output.contains("SIGTERM: draining, 1 clients are connected"), "{output}");
    assert!(output.contains(" left by themselves, 0 were closed between commands, 0 were cut off"), "{output}");
}

#[test]
fn a_transaction_under_way_is_carried_out() {
    let redis = Redis::start();
    let larder = start(&redis, &[LONG]);
    let mut client = larder.connect();
    assert_eq!(client.say("MULTI"), Reply::ok());
    assert_eq!(client.say("INCR k"), Reply::Simple("QUEUED".to_owned()));
    terminate(&larder);
    wait::until("new clients are refused", || is_refused(&larder));
    assert_eq!(client.say("INCR k"), Reply::Simple("QUEUED".to_owned()));
    assert_eq!(client.say("EXEC"), Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)]));
    drop(client);
    ends(larder);
}

#[test]
fn an_idle_client_is_closed_when_the_time_is_over() {
    let redis = Redis::start();
    let larder = start(&redis, &[SHORT]);
    let (mut idle, mut subscriber) = (larder.connect(), larder.connect());
    assert_eq!(idle.say("PING"), Reply::Simple("PONG".to_owned()));
    subscriber.say("SUBSCRIBE c");
    terminate(&larder);
    sees_the_end(&mut idle);
    sees_the_end(&mut subscriber);
    let output = ends(larder);
    assert!(
        output.contains("of 2 clients 0 left by themselves, 2 were closed between commands, 0 were cut off"),
        "{output}"
    );
}

#[test]
fn a_client_that_stays_in_the_middle_of_a_command_is_cut_off() {
    let redis = Redis::start();
    let larder = start(&redis, &[SHORT]);
    let mut client = larder.connect();
    client.send_raw(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf").expect("sent");
    terminate(&larder);
    let output = ends(larder);
    assert!(output.contains("0 were closed between commands, 1 were cut off"), "{output}");
}

#[test]
fn a_pipeline_under_way_gets_every_reply_before_the_end() {
    const READS: usize = 1000;
    let redis = Redis::start();
    let larder = start(&redis, &["drain_timeout: 0s"]);
    let mut client = larder.connect();
    let value = "v".repeat(10_000);
    assert_eq!(client.call(&["SET", "k", &value]), Reply::ok());
    // More than the sockets hold, so that the last of them are not served before the client reads.
    client.send_raw(&b"GET k\r\n".repeat(READS)).expect("sent");
    client.read();
    larder.process().signal(Signal::Terminate);
    for number in 1..READS {
        let reply = client.try_read().unwrap_or_else(|error| panic!("reply {number}: {error}")).0;
        assert_eq!(reply, Reply::bulk(&value));
    }
    sees_the_end(&mut client);
    ends(larder);
}

#[test]
fn a_command_that_blocks_is_answered_or_ended_with_an_error() {
    let redis = Redis::start();
    let larder = start(&redis, &["drain_timeout: 2s"]);
    let (mut lucky, mut other) = (larder.connect(), larder.connect());
    lucky.send(&["BLPOP", "filled", "0"]).expect("sent");
    other.send(&["BLPOP", "empty", "0"]).expect("sent");
    wait::until("both block", || {
        redis.connect().say("INFO clients").text().is_some_and(|info| info.contains("blocked_clients:2"))
    });
    terminate(&larder);
    assert_eq!(redis.connect().say("RPUSH filled v"), Reply::Integer(1));
    assert_eq!(lucky.read(), Reply::Array(vec![Reply::bulk("filled"), Reply::bulk("v")]));
    let reply = other.read();
    assert!(reply.error().is_some_and(|error| error.starts_with("UNBLOCKED")), "{reply:?}");
    sees_the_end(&mut other);
    sees_the_end(&mut lucky);
    let output = ends(larder);
    assert!(output.contains("2 were closed between commands, 0 were cut off"), "{output}");
}

/// It looks before it sends, as pools do before they hand out a connection. Whether it was carried out is known at the end.
#[test]
fn a_client_that_goes_on_is_served_to_the_end_and_loses_nothing() {
    let redis = Redis::start();
    let larder = start(&redis, &["drain_timeout: 500ms"]);
    let mut clients: Vec<_> = (0..4).map(|_| larder.connect()).collect();
    terminate(&larder);
    let work = |(number, client): (usize, &mut Client)| {
        let key = format!("count:{number}");
        let mut answered = 0;
        while !client.has_ended().expect("an orderly end") {
            answered += 1;
            assert_eq!(
                client.try_call(&["INCR", &key]).expect("served, or closed before it was sent"),
                Reply::Integer(answered)
            );
        }
        assert_eq!(redis.connect().call(&["GET", &key]), Reply::bulk(&answered.to_string()));
        answered
    };
    let served: Vec<i64> = std::thread::scope(|scope| {
        let workers: Vec<_> = clients.iter_mut().enumerate().map(|client| scope.spawn(move || work(client))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no request was lost")).collect()
    });
    assert!(served.iter().all(|count| *count > 10), "{served:?}");
    let output = ends(larder);
    assert!(output.contains("4 were closed between commands, 0 were cut off"), "{output}");
}

#[test]
fn clients_that_have_connected_are_let_in_before_the_door_is_closed() {
    const COUNT: i64 = 300;
    let redis = Redis::start();
    let larder = start(&redis, &[LONG]);
    // While it does not run, the kernel alone answers who connects. So many that it hears of its end before it has accepted them all; and some
    // have gone again by then, which may cost the others nothing.
    larder.process().signal(Signal::Stop);
    let mut clients = Vec::new();
    for number in 0..COUNT * 2 {
        let mut client = larder.connect();
        if number % 2 == 0 {
            SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("a socket");
            continue;
        }
        client.send(&["INCR", "k"]).expect("sent");
        clients.push(client);
    }
    larder.process().signal(Signal::Terminate);
    larder.process().signal(Signal::Continue);
    let mut counts: Vec<_> = clients.iter_mut().map(|client| client.read().integer().expect("a number")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=COUNT).collect::<Vec<_>>());
    drop(clients);
    ends(larder);
}

#[test]
fn readiness_turns_before_the_listener_closes() {
    let redis = Redis::start();
    let larder = start(&redis, &["drain_delay: 10m", LONG]);
    terminate(&larder);
    let mut late = larder.connect();
    assert_eq!(late.say("PING"), Reply::Simple("PONG".to_owned()));
    // A second signal shortens it.
    larder.process().signal(Signal::Terminate);
    let output = ends(larder);
    assert!(output.contains("SIGTERM once more, ending at once"), "{output}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let redis = Redis::start();
    let larder = start(&redis, &[LONG]);
    let mut client = larder.connect();
    assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    terminate(&larder);
    larder.process().signal(Signal::Terminate);
    sees_the_end(&mut client);
    let output = ends(larder);
    assert!(output.contains("once more, ending at once: of 1 clients 0 left by themselves"), "{output}");
}
