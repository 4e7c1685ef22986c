//! Limits: what is over them is refused, and memory stays bounded.

use std::net::SocketAddr;

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::process::Process;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::assert_others_are_served;
use crate::malformed::{Then, answer, shown};

/// A length is a promise, not a reason to set memory aside.
#[test]
fn announced_bytes_cost_no_memory_before_they_come() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    if !larder.is_binary() {
        return;
    }
    let mut bystander = larder.connect();
    assert_others_are_served(&mut bystander);
    let before = larder.process().resident_bytes();
    let mut announcers: Vec<Client> = (0..50).map(|_| larder.connect()).collect();
    for announcer in &mut announcers {
        announcer.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nthe first bytes").expect("sent");
    }
    let mut counters: Vec<Client> = (0..50).map(|_| larder.connect()).collect();
    for counter in &mut counters {
        counter.send_raw(b"*1000000\r\n$3\r\nDEL\r\n$1\r\n").expect("sent");
    }
    // Whatever is set aside is set aside when these have been read.
    for client in announcers.iter_mut().chain(&mut counters) {
        client.send_raw(b"x").expect("sent");
    }
    assert_others_are_served(&mut bystander);
    let grown = larder.process().resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes for 100 announcements");
}

#[test]
fn a_client_that_never_reads_is_closed_and_costs_a_bounded_amount_of_memory() {
    // Redis with a limit of the same kind shows that the demand is a fair one.
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    assert_greedy_client_is_closed(redis.address(), Some(redis.process()));

    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("limits: {max_output: 1mb}");
    let larder = Larder::start_with(&settings);
    assert_greedy_client_is_closed(larder.address(), larder.is_binary().then(|| larder.process()));
}

/// Asks for 400 MB of replies and takes none: once from the cache, once past it.
fn assert_greedy_client_is_closed(address: SocketAddr, process: Option<&Process>) {
    let resident = || process.map_or(0, Process::resident_bytes);
    let mut bystander = Client::connect(address);
    let value = [b'x'; 100_000];
    assert_eq!(bystander.call(&[b"SET".as_slice(), b"big", &value]), Reply::ok());
    for name in ["GET", "GETEX"] {
        let before = resident();
        let mut most = before;
        let mut greedy = Client::connect(address);
        let title = format!("greedy-{name}");
        assert_eq!(greedy.call(&["CLIENT", "SETNAME", &title]), Reply::ok());
        let mut listed = || {
            let clients = bystander.say("CLIENT LIST").text().expect("CLIENT LIST is text");
            assert_others_are_served(&mut bystander);
            clients.contains(&title)
        };
        let request = encode(&[name, "big"]);
        // 120 KB of requests fit the sockets' buffers if nobody reads them.
        for number in 0..4000 {
            if greedy.send_raw(&request).is_err() {
                break;
            }
            if number % 100 == 0 {
                most = most.max(resident());
                if !listed() {
                    break;
                }
            }
        }
        wait::until("the client that never reads is gone", || {
            most = most.max(resident());
            !listed()
        });
        let grown = most - before;
        assert!(grown < 64 << 20, "{name}: grew by {grown} bytes under a limit of 1 MB");
        // It gets what was on its way and then the end.
        greedy.read_to_close().expect("closed");
    }
}

#[test]
fn one_client_too_many_is_told_so_and_closed() {
    let redis = Redis::start_with(&["--maxclients", "5"]);
    assert_the_sixth_client_is_refused(redis.address());

    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("limits: {max_clients: 5}");
    assert_the_sixth_client_is_refused(Larder::start_with(&settings).address());
}

fn assert_the_sixth_client_is_refused(address: SocketAddr) {
    let mut clients = served_clients(address, 5);
    for _ in 0..3 {
        let said = Client::connect(address).read_to_close().expect("closed");
        assert_eq!(said, b"-ERR max number of clients reached\r\n", "{}", said.escape_ascii());
    }
    clients.iter_mut().for_each(assert_others_are_served);
    clients.pop();
    clients.extend(served_clients(address, 1));
    clients.iter_mut().for_each(assert_others_are_served);
}

/// As many connections as that; the ones before them may not be quite gone yet.
fn served_clients(address: SocketAddr, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    wait::until("that many clients are served", || {
        if let Ok(mut client) = Client::try_connect(address)
            && client.try_call(&["PING"]).is_ok_and(|reply| reply.error().is_none())
        {
            clients.push(client);
        }
        clients.len() == count
    });
    clients
}

#[test]
fn more_clients_from_one_address_than_allowed_are_refused() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("limits: {max_clients_per_address: 3}");
    let larder = Larder::start_with(&settings);
    let mut clients = served_clients(larder.address(), 3);
    let said = larder.connect().read_to_close().expect("closed");
    assert!(said.starts_with(b"-ERR "), "{}", said.escape_ascii());
    clients.iter_mut().for_each(assert_others_are_served);
}

/// The limit of one argument, with Redis's words for it.
#[test]
fn an_argument_over_the_limit_is_refused() {
    let redis = Redis::start_with(&["--proto-max-bulk-len", "1mb"]);
    let settings = Settings::new(redis.address()).section("limits: {max_bulk: 1mb}");
    let larder = Larder::start_with(&settings);
    let mut bystander = larder.connect();
    for (length, then) in [(1_048_576, Then::GoesOn), (1_048_577, Then::Closes)] {
        let bytes = encode(&[b"SET".as_slice(), b"long", &vec![b'x'; length]]);
        assert_eq!(
            shown(&answer(larder.address(), &bytes, then)),
            shown(&answer(redis.address(), &bytes, then)),
            "{length} bytes"
        );
        assert_others_are_served(&mut bystander);
    }
}

/// Replies that are known, behind one that is not, are kept for the client as well as those that it could take.
#[test]
fn replies_behind_one_that_is_awaited_cost_a_bounded_amount_of_memory() {
    let origin = Redis::start_with(&["--enable-debug-command", "yes"]);
    let settings = Settings::new(origin.address()).section("limits: {max_output: 4mb}");
    // A sleeping origin is no lost one here: what is cached stays fresh.
    let larder = Larder::start_with(&settings.upstream("heartbeat: {interval: 2s, timeout: 5s}"));
    let value = vec![b'x'; 900_000];
    let mut client = larder.connect();
    assert_eq!(client.call(&[b"SET".as_slice(), b"big", &value]), Reply::ok());
    larder.warm(&mut client, "GET big");
    let resident = || if larder.is_binary() { larder.process().resident_bytes() } else { 0 };
    let before = resident();
    origin.connect().send(&["DEBUG", "SLEEP", "0.5"]).expect("sent");
    client.send(&["GETEX", "other"]).expect("sent");
    client.send_raw(&encode(&["GET", "big"]).repeat(200)).expect("sent");
    let mut most = before;
    wait::stays_for(std::time::Duration::from_millis(400), || {
        most = most.max(resident());
        true
    });
    assert!(most - before < 32 << 20, "grew by {} bytes under a limit of 4 MB", most - before);
    assert_eq!(client.read(), Reply::Null);
    for number in 0..200 {
        assert!(client.read() == Reply::Bulk(value.clone()), "reply {number}");
    }
}

/// The limit is for clients that do not read: one that does gets a reply that is larger than it, and many at once.
#[test]
fn a_client_that_reads_gets_more_than_max_output() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("limits: {max_output: 1mb}"));
    let mut client = larder.connect();
    let (huge, large) = (vec![b'h'; 20_000_000], vec![b'l'; 700_000]);
    assert_eq!(client.call(&[b"SET".as_slice(), b"huge", &huge]), Reply::ok());
    assert_eq!(client.call(&[b"SET".as_slice(), b"large", &large]), Reply::ok());
    for name in ["GET", "GETEX", "GET"] {
        assert!(client.call(&[name, "huge"]) == Reply::Bulk(huge.clone()), "{name} huge");
        // More than one at a time, over and over, and less than what nobody may leave unread.
        for _ in 0..10 {
            client.send_raw(&encode(&[name, "large"]).repeat(8)).expect("sent");
            for number in 0..8 {
                assert!(client.read() == Reply::Bulk(large.clone()), "{name} large, reply {number}");
            }
        }
    }
}
