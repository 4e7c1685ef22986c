//! Bytes that no client should send: Larder says what Redis says, closes where Redis closes, and nobody else notices.
//!
//! During each case a PING on another connection must be answered.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// What the server does after it has read the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It says what is wrong, or nothing, and closes.
    Closes,
    /// It closes without a word, and what it had to say to commands just before may be lost with it: Redis
    /// drops replies that are not on their way yet.
    HangsUp,
    /// It answers, if at all, and goes on: a PING sent behind is answered.
    GoesOn,
}

fn cases() -> Vec<(&'static str, Vec<u8>, Then)> {
    use Then::{Closes, GoesOn, HangsUp};
    let text = |text: &str| text.as_bytes().to_vec();
    let long = |start: &str| [start.as_bytes(), &[b'1'; 70_000]].concat();
    vec![
        ("a count that is no number", text("*abc\r\n"), Closes),
        ("a count with a sign", text("*+1\r\n$4\r\nPING\r\n"), Closes),
        ("a count with a space", text("* 1\r\n"), Closes),
        ("an empty count", text("*\r\n"), Closes),
        ("a count over 32 bits", text("*4294967296\r\n"), Closes),
        (
            "a count over 32 bits by one",
            text("*4294967297\r\n$4\r\nPING\r\n"),
            Closes,
        ),
        (
            "the greatest count",
            text("*9223372036854775807\r\n"),
            Closes,
        ),
        (
            "a count over 64 bits",
            text("*18446744073709551617\r\n"),
            Closes,
        ),
        ("a count without an end", long("*"), Closes),
        ("no arguments", text("*0\r\n"), GoesOn),
        (
            "fewer than no arguments",
            text("*-1\r\n*-9223372036854775808\r\n"),
            GoesOn,
        ),
        ("an integer for an argument", text("*1\r\n:1\r\n"), Closes),
        (
            "a simple string for an argument",
            text("*1\r\n+PING\r\n"),
            Closes,
        ),
        (
            "an array for an argument",
            text("*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n"),
            Closes,
        ),
        (
            "a RESP3 map",
            text("%1\r\n$4\r\nPING\r\n$1\r\na\r\n"),
            GoesOn,
        ),
        ("a length that is no number", text("*1\r\n$abc\r\n"), Closes),
        ("an empty length", text("*1\r\n$\r\n"), Closes),
        (
            "a null argument",
            text("*2\r\n$3\r\nGET\r\n$-1\r\n"),
            Closes,
        ),
        ("a negative length", text("*1\r\n$-5\r\nPING\r\n"), Closes),
        (
            "a length over 512 MB",
            text("*2\r\n$3\r\nGET\r\n$536870913\r\n"),
            Closes,
        ),
        (
            "a length over 32 bits by one",
            text("*2\r\n$3\r\nGET\r\n$4294967297\r\na\r\n"),
            Closes,
        ),
        (
            "the greatest length",
            text("*1\r\n$9223372036854775807\r\n"),
            Closes,
        ),
        (
            "a length over 63 bits",
            text("*1\r\n$9223372036854775808\r\n"),
            Closes,
        ),
        ("a length without an end", long("*1\r\n$"), Closes),
        (
            "a length with zeros before",
            text("*1\r\n$04\r\nPING\r\n"),
            Closes,
        ),
        (
            "a wrong end of an argument",
            text("*1\r\n$4\r\nPINGxx"),
            GoesOn,
        ),
        ("100,000 nested arrays", b"*1\r\n".repeat(100_000), Closes),
        ("an inline command without an end", long("SET key "), Closes),
        ("an open quote", text("SET key \"value\r\n"), Closes),
        ("a quote in a word", text("SET \"a\"b c\r\n"), Closes),
        ("an open single quote", text("GET 'a\r\n"), Closes),
        (
            "quotes and escapes",
            text("SET 'a b' \"\\x41\\n\\\"\"\r\nGET \"a b\"\r\n"),
            GoesOn,
        ),
        ("empty lines", text("\r\n\r\n  \r\n\n"), GoesOn),
        (
            "lines that end with a newline alone",
            text("SET k v\nGET k\n"),
            GoesOn,
        ),
        ("spaces and tabs", text("  GET \t k  \r\n"), GoesOn),
        ("an unknown inline command", text("hello there\r\n"), GoesOn),
        ("binary noise", b"\xff\xfe\x80\x81\r\n".to_vec(), GoesOn),
        (
            "HTTP GET",
            text("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"),
            HangsUp,
        ),
        (
            "HTTP POST",
            text("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET hidden 1\r\n"),
            HangsUp,
        ),
        (
            "HTTP host in small letters",
            text("host: localhost\r\nSET hidden 1\r\n"),
            HangsUp,
        ),
        (
            "HTTP PUT with a body",
            text(
                "PUT /x HTTP/1.1\r\nHost: a\r\n\r\n*3\r\n$3\r\nSET\r\n$6\r\nhidden\r\n$1\r\n1\r\n",
            ),
            HangsUp,
        ),
        ("POST as an array", encode(&["POST", "/"]), Closes),
        (
            "a good command before a bad one",
            text("*1\r\n$4\r\nPING\r\n*1\r\n$x\r\n"),
            HangsUp,
        ),
        (
            "commands after a bad one",
            text("*x\r\n*3\r\n$3\r\nSET\r\n$6\r\nhidden\r\n$1\r\n1\r\n"),
            Closes,
        ),
        (
            "commands after QUIT",
            text("QUIT\r\nSET hidden 1\r\nPING\r\n"),
            Closes,
        ),
        (
            "commands after QUIT in arrays",
            [encode(&["quit"]), encode(&["SET", "hidden", "1"])].concat(),
            Closes,
        ),
        (
            "a write before QUIT",
            [encode(&["SET", "seen", "1"]), encode(&["QUIT"])].concat(),
            Closes,
        ),
        (
            "QUIT after reads",
            [
                encode(&["GET", "k"]),
                encode(&["GET", "none"]),
                encode(&["QUIT"]),
            ]
            .concat(),
            Closes,
        ),
        (
            "an unknown command of many arguments",
            encode(&vec!["nosuch"; 5000]),
            GoesOn,
        ),
        (
            "a name of 10,000 bytes",
            encode(&["x".repeat(10_000)]),
            GoesOn,
        ),
    ]
}

/// What comes back, to the close or to the PONG behind; in words what happened instead.
fn answer(address: SocketAddr, bytes: &[u8], then: Then) -> Result<Vec<u8>, String> {
    let mut client = Client::connect(address);
    // The server may close before it has read all of it.
    let _ = client.send_raw(bytes);
    rest_of_answer(&mut client, then)
}

fn rest_of_answer(client: &mut Client, then: Then) -> Result<Vec<u8>, String> {
    client.set_reply_timeout(Duration::from_secs(5));
    match then {
        Then::Closes | Then::HangsUp => client
            .read_to_close()
            .map_err(|error| format!("it stays open ({error})")),
        Then::GoesOn => {
            let _ = client.send_raw(&encode(&["PING", "still here"]));
            let answer = client.read_to(b"$10\r\nstill here\r\n");
            answer.map_err(|error| format!("it does not go on ({error})"))
        }
    }
}

/// An answer as text, short enough to be read.
fn shown(answer: &Result<Vec<u8>, String>) -> String {
    match answer {
        Ok(bytes) => bytes[..bytes.len().min(300)].escape_ascii().to_string(),
        Err(instead) => instead.clone(),
    }
}

fn assert_others_are_served(bystander: &mut Client) {
    assert_eq!(bystander.say("PING"), Reply::Simple("PONG".to_owned()));
    assert!(
        bystander.say("SET bystander 1") == Reply::ok()
            && bystander.say("GET bystander") == Reply::bulk("1")
    );
}

#[test]
fn each_answer_is_redis_s_own() {
    let (bare, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    let mut bystander = larder.connect();
    let mut wrong = Vec::new();
    for (name, bytes, then) in cases() {
        let expected = answer(bare.address(), &bytes, then);
        let actual = thread::scope(|scope| {
            let answering = scope.spawn(|| answer(larder.address(), &bytes, then));
            assert_others_are_served(&mut bystander);
            answering.join().expect("answer does not panic")
        });
        let only_errors = |bytes: &Vec<u8>| {
            bytes
                .split(|&byte| byte == b'\n')
                .all(|line| line.is_empty() || line[0] == b'-')
        };
        let lost_in_redis = then == Then::HangsUp && actual.as_ref().is_ok_and(only_errors);
        if expected.is_err() || actual != expected && !lost_in_redis {
            wrong.push(format!(
                "{name}:\n   redis:  {}\n   larder: {}",
                shown(&expected),
                shown(&actual)
            ));
        }
        assert_others_are_served(&mut bystander);
    }
    assert!(
        wrong.is_empty(),
        "{} answers differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for server in [&bare, &origin] {
        assert_eq!(
            server.say("GET hidden"),
            Reply::Null,
            "a command that must not be carried out was"
        );
        assert_eq!(server.say("GET seen"), Reply::bulk("1"));
    }
}

#[test]
fn bad_bytes_cut_anywhere_are_answered_the_same() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    let short = |(_, bytes, then): &(_, Vec<u8>, _)| bytes.len() < 60 && *then != Then::HangsUp;
    for (name, bytes, then) in cases().into_iter().filter(short) {
        let whole = answer(larder.address(), &bytes, then);
        for cut in [1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut client = larder.connect();
            let _ = client.send_raw(&bytes[..cut]);
            // Answered only after the first part has been read, most likely.
            assert_others_are_served(&mut bystander);
            let _ = client.send_raw(&bytes[cut..]);
            let parts = rest_of_answer(&mut client, then);
            assert_eq!(shown(&parts), shown(&whole), "{name}, cut at {cut}");
        }
    }
}

/// Redis waits for ever after a zero byte outside of an array; any bounded answer will do here.
#[test]
fn bytes_of_other_protocols_hurt_nobody_else() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n";
    let ssh = b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x04\x14\x08\x14";
    let memcached = b"set a 0 0 1\r\nb\r\nget a\r\n\x80\x01\0\0";
    let mut strangers: Vec<Client> = Vec::new();
    for bytes in [
        &tls[..],
        ssh,
        memcached,
        b"\0\0\0\r\n",
        &[0; 100_000],
        &[0xff; 100_000],
    ] {
        let mut stranger = larder.connect();
        let _ = stranger.send_raw(bytes);
        assert_others_are_served(&mut bystander);
        strangers.push(stranger);
    }
    drop(strangers);
    assert_others_are_served(&mut bystander);
}

#[test]
fn half_a_command_waits_for_its_other_half_and_holds_up_nobody() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    let bytes = [encode(&["SET", "half", "value"]), encode(&["GET", "half"])].concat();
    let mut halves: Vec<(Client, usize)> = (1..bytes.len())
        .map(|cut| (larder.connect(), cut))
        .collect();
    for (client, cut) in &mut halves {
        client.send_raw(&bytes[..*cut]).expect("sent");
    }
    assert_others_are_served(&mut bystander);
    for (client, cut) in &mut halves {
        client.send_raw(&bytes[*cut..]).expect("still open");
        assert_eq!(
            (client.read(), client.read()),
            (Reply::ok(), Reply::bulk("value")),
            "cut at {cut}"
        );
    }
}

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
        announcer
            .send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nthe first bytes")
            .expect("sent");
    }
    let mut counters: Vec<Client> = (0..50).map(|_| larder.connect()).collect();
    for counter in &mut counters {
        counter
            .send_raw(b"*1000000\r\n$3\r\nDEL\r\n$1\r\n")
            .expect("sent");
    }
    // Whatever is set aside is set aside when these have been read.
    for client in announcers.iter_mut().chain(&mut counters) {
        client.send_raw(b"x").expect("sent");
    }
    assert_others_are_served(&mut bystander);
    let grown = larder.process().resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "grew by {grown} bytes for 100 announcements"
    );
}

#[test]
fn any_bytes_are_a_key() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let (mut client, mut direct) = (larder.connect(), redis.connect());
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.extend([
        every_byte,
        Vec::new(),
        b"\r\n".to_vec(),
        b"$-1\r\n".to_vec(),
        b"a\0b".to_vec(),
        vec![b'*'; 70_000],
    ]);
    for key in &keys {
        let value = [key.as_slice(), b"\r\n", key].concat();
        assert_eq!(client.call(&[b"SET", key.as_slice(), &value]), Reply::ok());
        for _ in 0..2 {
            assert_eq!(
                client.call(&[b"GET", key.as_slice()]),
                Reply::Bulk(value.clone())
            );
        }
        assert_eq!(
            direct.call(&[b"SET", key.as_slice(), b"changed"]),
            Reply::ok()
        );
        wait::until("a push names a key of any bytes", || {
            client.call(&[b"GET", key.as_slice()]) == Reply::bulk("changed")
        });
    }
    assert_eq!(
        client.say("DBSIZE"),
        Reply::Integer(i64::try_from(keys.len()).expect("a few hundred"))
    );
}

#[test]
fn a_client_that_never_reads_is_closed_and_costs_a_bounded_amount_of_memory() {
    let redis = Redis::start();
    let settings = Settings::new(redis.address()).section("limits: {max_output: 1mb}");
    let larder = Larder::start_with(&settings);
    let mut bystander = larder.connect();
    assert_eq!(
        bystander.call(&[b"SET".as_slice(), b"big", &[b'x'; 100_000]]),
        Reply::ok()
    );
    // From the cache, which needs no origin to fill the buffer.
    larder.warm(&mut bystander, "GET big");
    for (name, request) in [
        ("hits", encode(&["GET", "big"])),
        ("misses", encode(&["GETEX", "big"])),
    ] {
        let before = if larder.is_binary() {
            larder.process().resident_bytes()
        } else {
            0
        };
        let mut greedy = larder.connect();
        assert_eq!(
            greedy.say(&format!("CLIENT SETNAME greedy-{name}")),
            Reply::ok()
        );
        let mut writer = greedy.stream().try_clone().expect("a socket can be cloned");
        writer
            .set_write_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout over zero is accepted");
        let mut most = before;
        let mut listed = true;
        // 400 MB of replies, if nobody stops it.
        for number in 0..4000 {
            match writer.write_all(&request) {
                Ok(()) => {}
                // Not read any further: a bound as well, but the client must be closed.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            if number % 50 == 0 {
                assert_others_are_served(&mut bystander);
                if larder.is_binary() {
                    most = most.max(larder.process().resident_bytes());
                }
                let clients = bystander
                    .say("CLIENT LIST")
                    .text()
                    .expect("CLIENT LIST is text");
                listed = clients.contains(&format!("greedy-{name}"));
                if !listed {
                    break;
                }
            }
        }
        if listed {
            wait::until("the client that never reads is gone", || {
                let clients = bystander
                    .say("CLIENT LIST")
                    .text()
                    .expect("CLIENT LIST is text");
                !clients.contains(&format!("greedy-{name}"))
            });
        }
        let grown = most - before;
        assert!(
            grown < 64 << 20,
            "{name}: grew by {grown} bytes for a client with max_output: 1mb"
        );
        // It gets what was on its way and then the end.
        greedy.read_to_close().expect("closed");
        assert_others_are_served(&mut bystander);
    }
}

#[test]
fn one_client_too_many_is_told_so_and_closed() {
    let redis = Redis::start();
    let settings = Settings::new(redis.address()).section("limits: {max_clients: 5}");
    let larder = Larder::start_with(&settings);
    // The client that found it ready may not be gone yet.
    let mut clients: Vec<Client> = Vec::new();
    wait::until("five clients are served", || {
        if let Ok(mut client) = Client::try_connect(larder.address())
            && client
                .try_call(&["PING"])
                .is_ok_and(|reply| reply.error().is_none())
        {
            clients.push(client);
        }
        clients.len() == 5
    });
    for _ in 0..3 {
        let mut refused = larder.connect();
        let said = refused
            .read_to_close()
            .expect("closed")
            .escape_ascii()
            .to_string();
        assert_eq!(said, "-ERR max number of clients reached\\r\\n");
    }
    for client in &mut clients {
        assert_others_are_served(client);
    }
    clients.pop();
    wait::until("a free place is given away", || {
        let client = Client::try_connect(larder.address());
        client
            .and_then(|mut client| client.try_call(&["PING"]))
            .is_ok_and(|reply| reply.error().is_none())
    });
}

#[test]
fn more_clients_from_one_address_than_allowed_are_refused() {
    let redis = Redis::start();
    let settings = Settings::new(redis.address()).section("limits: {max_clients_per_address: 3}");
    let larder = Larder::start_with(&settings);
    let mut clients: Vec<Client> = Vec::new();
    wait::until("three clients are served", || {
        if let Ok(mut client) = Client::try_connect(larder.address())
            && client
                .try_call(&["PING"])
                .is_ok_and(|reply| reply.error().is_none())
        {
            clients.push(client);
        }
        clients.len() == 3
    });
    let said = larder.connect().read_to_close().expect("closed");
    assert!(said.starts_with(b"-ERR "), "{}", said.escape_ascii());
    assert_others_are_served(&mut clients[0]);
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

/// A thousand clients that come, say nonsense or nothing, and go leave nothing behind.
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    for number in 0..1000 {
        let mut client = larder.connect();
        let _ = match number % 5 {
            0 => client.send_raw(b"*2\r\n$3\r\nGET\r\n$100\r\nabc"),
            1 => client.send_raw(&encode(&["GET", "k"]).repeat(20)),
            2 => client.send_raw(b"*x\r\n"),
            3 => client.send_raw(&encode(&["SET", "k", "v"])),
            _ => Ok(()),
        };
    }
    assert_others_are_served(&mut bystander);
    wait::until("only the bystander is left", || {
        let list = bystander
            .say("CLIENT LIST")
            .text()
            .expect("CLIENT LIST is text");
        list.lines().count() == 1
    });
}
