//! Malformed requests: the words are Redis's own, compared with a live server's.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

use crate::assert_others_are_served;

/// What the server does after it has read the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
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
        ("a count over 32 bits by one", text("*4294967297\r\n$4\r\nPING\r\n"), Closes),
        ("the greatest count", text("*9223372036854775807\r\n"), Closes),
        ("a count over 64 bits", text("*18446744073709551617\r\n"), Closes),
        ("a count without an end", long("*"), Closes),
        ("no arguments", text("*0\r\n"), GoesOn),
        ("fewer than no arguments", text("*-1\r\n*-9223372036854775808\r\n"), GoesOn),
        ("an integer for an argument", text("*1\r\n:1\r\n"), Closes),
        ("a simple string for an argument", text("*1\r\n+PING\r\n"), Closes),
        ("an array for an argument", text("*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n"), Closes),
        ("a RESP3 map", text("%1\r\n$4\r\nPING\r\n$1\r\na\r\n"), GoesOn),
        ("a length that is no number", text("*1\r\n$abc\r\n"), Closes),
        ("an empty length", text("*1\r\n$\r\n"), Closes),
        ("a null argument", text("*2\r\n$3\r\nGET\r\n$-1\r\n"), Closes),
        ("a negative length", text("*1\r\n$-5\r\nPING\r\n"), Closes),
        ("a length over 512 MB", text("*2\r\n$3\r\nGET\r\n$536870913\r\n"), Closes),
        ("a length over 32 bits by one", text("*2\r\n$3\r\nGET\r\n$4294967297\r\na\r\n"), Closes),
        ("the greatest length", text("*1\r\n$9223372036854775807\r\n"), Closes),
        ("a length over 63 bits", text("*1\r\n$9223372036854775808\r\n"), Closes),
        ("a length without an end", long("*1\r\n$"), Closes),
        ("a length with zeros before", text("*1\r\n$04\r\nPING\r\n"), Closes),
        ("100,000 nested arrays", b"*1\r\n".repeat(100_000), Closes),
        ("an inline command without an end", long("SET key "), Closes),
        ("an open quote", text("SET key \"value\r\n"), Closes),
        ("a quote in a word", text("SET \"a\"b c\r\n"), Closes),
        ("an open single quote", text("GET 'a\r\n"), Closes),
        ("quotes and escapes", text("SET 'a b' \"\\x41\\n\\\"\"\r\nGET \"a b\"\r\n"), GoesOn),
        ("empty lines", text("\r\n\r\n  \r\n\n"), GoesOn),
        ("lines that end with a newline alone", text("SET k v\nGET k\n"), GoesOn),
        ("spaces and tabs", text("  GET \t k  \r\n"), GoesOn),
        ("an unknown inline command", text("hello there\r\n"), GoesOn),
        ("binary noise", b"\xff\xfe\x80\x81\r\n".to_vec(), GoesOn),
        ("HTTP GET", text("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"), HangsUp),
        ("HTTP POST", text("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET hidden 1\r\n"), HangsUp),
        ("HTTP host in small letters", text("host: localhost\r\nSET hidden 1\r\n"), HangsUp),
        (
            "HTTP PUT with a body",
            text("PUT /x HTTP/1.1\r\nHost: a\r\n\r\n*3\r\n$3\r\nSET\r\n$6\r\nhidden\r\n$1\r\n1\r\n"),
            HangsUp,
        ),
        ("POST as an array", encode(&["POST", "/"]), Closes),
        ("a good command before a bad one", text("*1\r\n$4\r\nPING\r\n*1\r\n$x\r\n"), HangsUp),
        ("commands after a bad one", text("*x\r\n*3\r\n$3\r\nSET\r\n$6\r\nhidden\r\n$1\r\n1\r\n"), Closes),
        ("commands after QUIT", text("QUIT\r\nSET hidden 1\r\nPING\r\n"), Closes),
        ("commands after QUIT in arrays", [encode(&["quit"]), encode(&["SET", "hidden", "1"])].concat(), Closes),
        ("a write before QUIT", [encode(&["SET", "seen", "1"]), encode(&["QUIT"])].concat(), Closes),
        ("QUIT after reads", [encode(&["GET", "k"]), encode(&["GET", "none"]), encode(&["QUIT"])].concat(), Closes),
        ("an unknown command of many arguments", encode(&vec!["nosuch"; 5000]), GoesOn),
        ("a name of 10,000 bytes", encode(&["x".repeat(10_000)]), GoesOn),
    ]
}

/// What comes back, to the close or to the PONG behind; in words what happened instead.
pub fn answer(address: SocketAddr, bytes: &[u8], then: Then) -> Result<Vec<u8>, String> {
    let mut client = Client::connect(address);
    // The server may close before it has read all of it.
    let _ = client.send_raw(bytes);
    rest_of_answer(&mut client, then)
}

fn rest_of_answer(client: &mut Client, then: Then) -> Result<Vec<u8>, String> {
    client.set_reply_timeout(Duration::from_secs(5));
    match then {
        Then::Closes | Then::HangsUp => client.read_to_close().map_err(|error| format!("it stays open ({error})")),
        Then::GoesOn => {
            let _ = client.send_raw(&encode(&["PING", "still here"]));
            let answer = client.read_to(b"$10\r\nstill here\r\n");
            answer.map_err(|error| format!("it does not go on ({error})"))
        }
    }
}

/// An answer as text, short enough to be read.
pub fn shown(answer: &Result<Vec<u8>, String>) -> String {
    match answer {
        Ok(bytes) => bytes[..bytes.len().min(300)].escape_ascii().to_string(),
        Err(instead) => instead.clone(),
    }
}

/// Redis skips the two bytes behind an argument unseen. Larder forwards bytes as they came to a connection that many
/// clients share, so it must never read them otherwise than the server behind it: it wants CR LF there.
#[test]
fn an_argument_without_its_line_end_is_refused() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let reply = answer(larder.address(), b"*1\r\n$4\r\nPINGxx", Then::Closes);
    let expected: &[u8] = b"-ERR Protocol error: expected CRLF after bulk\r\n";
    assert_eq!(reply.as_deref(), Ok(expected));
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
        let only_errors =
            |bytes: &Vec<u8>| bytes.split(|&byte| byte == b'\n').all(|line| line.is_empty() || line[0] == b'-');
        let lost_in_redis = then == Then::HangsUp && actual.as_ref().is_ok_and(only_errors);
        if expected.is_err() || actual != expected && !lost_in_redis {
            wrong.push(format!("{name}:\n   redis:  {}\n   larder: {}", shown(&expected), shown(&actual)));
        }
        assert_others_are_served(&mut bystander);
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    for server in [&bare, &origin] {
        assert_eq!(server.say("GET hidden"), Reply::Null, "a command that must not be carried out was");
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
