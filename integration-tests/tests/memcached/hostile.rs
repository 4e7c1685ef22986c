//! A node that says what it should not.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::standing::{self, Standing};
use larder_integration_tests::wait;

use super::{NO_CACHE, failures};

/// Answers `mn` as it should, and everything else with these bytes.
fn liar(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || lie(&stream, answer));
        }
    });
    address
}

fn lie(stream: &TcpStream, answer: &[u8]) {
    let mut writer = stream;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        let said = if line == "mn" { b"MN\r\n" } else { answer };
        if line.starts_with("ms ") {
            lines.next();
        }
        if writer.write_all(said).is_err() {
            return;
        }
    }
}

#[test]
fn bytes_that_are_no_reply_end_the_connection_and_reach_nobody() {
    for answer in [
        &b"$5\r\nhello\r\n"[..],
        b"VA x\r\n",
        b"VA 5\r\nhello world\r\n",
        b"VA 99999999999999\r\n",
        b"HD\nHD\n",
        b"VALUE k 0 5\r\nhello\r\nEND\r\n",
        b"ERROR\r\n",
        b"CLIENT_ERROR bad command line format\r\n",
        b"HD t\r\n",
        b"\0\0\0\0\r\n",
    ] {
        let larder = Larder::start_with(&Settings::memcached(&[liar(answer)]).section(NO_CACHE));
        let reply = larder.connect().say("GET k");
        let text = reply.error().unwrap_or_else(|| panic!("{:?}: {reply:?}", String::from_utf8_lossy(answer)));
        assert!(text.contains("upstream 'main'"), "{text}");
    }
}

/// Replies that nobody asked for would be taken for the next command's, were they not counted.
#[test]
fn a_reply_too_many_ends_the_connection() {
    let larder = Larder::start_with(&Settings::memcached(&[liar(b"EN\r\nVA 1\r\nx\r\n")]).section(NO_CACHE));
    let mut client = larder.connect();
    for _ in 0..20 {
        assert_ne!(client.say("GET k").text().as_deref(), Some("x"));
    }
}

/// A key that changes whenever it is looked at: a bound, and words.
#[test]
fn a_key_that_never_stands_still_is_given_up_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut writer = &stream;
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                for line in lines {
                    let said: &[u8] = match &line[..2] {
                        "mn" => b"MN\r\n",
                        "mg" => b"VA 1 c7 t-1 f0\r\n5\r\n",
                        _ => b"EX\r\n",
                    };
                    if writer.write_all(said).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let larder = Larder::start_with(&Settings::memcached(&[address]).section(NO_CACHE));
    let mut client = larder.connect();
    client.set_reply_timeout(Duration::from_secs(10));
    let reply = client.say("INCR k");
    assert!(reply.error().is_some_and(|text| text.contains("kept changing this key")), "{reply:?}");
}

/// Half of these commands fail, which would open any breaker.
#[test]
fn a_node_that_refuses_values_is_not_taken_for_one_that_is_ill() {
    for (answer, code) in [
        (&b"SERVER_ERROR object too large for cache\r\n"[..], "ERR "),
        (b"SERVER_ERROR out of memory storing object\r\n", "OOM "),
        (b"SERVER_ERROR something else\r\n", "ERR "),
    ] {
        let larder = Larder::start_with(&touchy(liar(answer)));
        let mut client = larder.connect();
        for number in 0..40 {
            let reply = client.say(&format!("SET k {number}"));
            assert!(reply.error().is_some_and(|text| text.starts_with(code)), "{reply:?}");
        }
        assert!(standing::standings(&larder).iter().all(Standing::is_normal), "{:?}", standing::standings(&larder));
    }
}

#[test]
fn a_node_that_says_that_it_cannot_serve_anybody_opens_its_breaker() {
    let larder = Larder::start_with(&touchy(liar(b"SERVER_ERROR timeout\r\n")));
    let mut client = larder.connect();
    wait::until("the breaker opens", || {
        client.say("SET k v");
        standing::standings(&larder).iter().any(|standing| standing.breaker() == "open")
    });
}

/// A breaker that opens at the second failure, and does not close for a while.
fn touchy(node: SocketAddr) -> Settings {
    let breaker = "breaker: {failure_threshold: 2, error_rate: 10%, min_requests: 10, reset_timeout: 1m}";
    Settings::memcached(&[node]).upstream(breaker).section(NO_CACHE)
}

/// A node that takes everything and answers nothing, but for those who ask whether it is well.
#[test]
fn what_is_held_for_a_node_that_never_answers_is_bounded() {
    let settings = failures::persistence(Settings::memcached(&[liar(b"")])).section(NO_CACHE);
    failures::assert_much_is_refused_in_time(&Larder::start_with(&settings));
}
