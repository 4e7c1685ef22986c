use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{Address, Heartbeat};
use crate::upstream::endpoint::Duty;

fn name(text: &str) -> Name {
    Name::from(text.as_bytes())
}

fn shown(event: &Event<'_>) -> Option<String> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    Some(match event {
        Event::Up => "up".to_owned(),
        Event::Unreachable(error, _) => format!("unreachable: {error}"),
        Event::Lost => "lost".to_owned(),
        Event::Confirmed(kind, name, tag) => format!("confirmed {kind:?} {} {tag}", text(name)),
        Event::Refused(kind, name, tag, words) => format!("refused {kind:?} {} {tag}: {words}", text(name)),
        Event::Dropped(kind, name) => format!("dropped {kind:?} {}", text(name)),
        Event::Message(kind, name, frame) => format!("message {kind:?} {} of {} bytes", text(name), frame.len()),
        Event::Idle => "idle".to_owned(),
        Event::Alive { .. } | Event::Batch => return None,
    })
}

/// What a stream on which these wishes were sent hands on for some bytes, whatever pieces they come in; and what is
/// wanted in the end, and what is sent with the next heartbeat.
fn heard(wishes: &[Wish], bytes: &[u8], piece: usize, onward: Onward) -> io::Result<(Vec<String>, usize, String)> {
    let mut words = Vec::new();
    let mut handler = |event: Event<'_>| {
        words.extend(shown(&event));
        onward
    };
    let mut wanted = Wanted::new();
    let mut stream = Stream::new(&mut handler, &mut wanted);
    wishes.iter().for_each(|wish| stream.grant(wish.clone()));
    stream.out.clear();
    let mut scanner = Scanner::default();
    let mut input = Vec::new();
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        let used = stream.receive(&mut scanner, &input)?;
        input.drain(..used);
    }
    stream.ask_again(Micros::now());
    let again = stream.out.escape_ascii().to_string();
    Ok((words, wanted.len(), again))
}

fn subscribe(kind: Kind, of: &str, tag: u64) -> Wish {
    Wish::Subscribe(kind, name(of), tag)
}

#[test]
fn confirmations_messages_and_refusals_are_handed_on_in_order_in_both_versions() {
    let wishes = [subscribe(Kind::Channel, "a", 1), subscribe(Kind::Pattern, "p*", 2), subscribe(Kind::Shard, "no", 3)];
    let bytes = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n\
        >3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:2\r\n\
        >4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\npq\r\n$0\r\n\r\n\
        -NOPERM not for you\r\n\
        >3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\nx\r\n";
    let expected = [
        "confirmed Channel a 1",
        "message Channel a of 32 bytes",
        "confirmed Pattern p* 2",
        "message Pattern p* of 40 bytes",
        "refused Shard no 3: NOPERM not for you",
        "message Shard s of 32 bytes",
    ];
    let resp2: Vec<u8> = bytes.iter().map(|byte| if *byte == b'>' { b'*' } else { *byte }).collect();
    for bytes in [&bytes[..], &resp2] {
        for piece in 1..=bytes.len() {
            let (words, wanted, again) = heard(&wishes, bytes, piece, Onward::Go).expect("well-formed");
            assert_eq!(words, expected, "in pieces of {piece}");
            assert_eq!((wanted, again.as_str()), (2, ""), "what was refused is forgotten");
        }
    }
}

#[test]
fn what_is_refused_for_now_is_asked_again_with_the_heartbeat() {
    let (words, wanted, again) =
        heard(&[subscribe(Kind::Channel, "a", 1)], b"-BUSY\r\n", 7, Onward::Again).expect("well-formed");
    assert_eq!(words, ["refused Channel a 1: BUSY"]);
    assert_eq!((wanted, again.as_str()), (1, "*2\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\na\\r\\n"));
    // Unless nobody wants it any more.
    let wishes = [subscribe(Kind::Channel, "a", 1), Wish::Unsubscribe(Kind::Channel, name("a"))];
    let (_, wanted, again) = heard(&wishes, b"-BUSY\r\n", 7, Onward::Again).expect("well-formed");
    assert_eq!((wanted, again.as_str()), (0, ""));
}

#[test]
fn a_subscription_that_the_endpoint_ends_is_told_and_asked_for_again() {
    let bytes = b">3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n>3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n";
    let (words, _, again) = heard(&[subscribe(Kind::Shard, "s", 1)], bytes, 9, Onward::Go).expect("well-formed");
    assert_eq!(words, ["confirmed Shard s 1", "dropped Shard s"]);
    assert_eq!(again, "*2\\r\\n$10\\r\\nssubscribe\\r\\n$1\\r\\ns\\r\\n");
    // What was wished is no news.
    let wishes = [subscribe(Kind::Shard, "s", 1), Wish::Unsubscribe(Kind::Shard, name("s"))];
    let (words, _, again) = heard(&wishes, bytes, 9, Onward::Go).expect("well-formed");
    assert_eq!((words.len(), again.as_str()), (1, ""));
}

#[test]
fn a_name_that_is_wanted_again_is_not_confirmed_by_the_first_answer() {
    let wishes = [
        subscribe(Kind::Channel, "a", 1),
        Wish::Unsubscribe(Kind::Channel, name("a")),
        subscribe(Kind::Channel, "a", 2),
    ];
    let bytes = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n\
        >3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let (words, ..) = heard(&wishes, bytes, 5, Onward::Go).expect("well-formed");
    assert_eq!(words, ["confirmed Channel a 1", "confirmed Channel a 2"]);
}

#[test]
fn an_answer_that_fits_no_question_ends_the_connection() {
    let wishes = [subscribe(Kind::Channel, "a", 1)];
    for bytes in [
        &b">3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:1\r\n"[..],
        b">3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:1\r\n",
        b"+OK\r\n",
        b"*1\r\n:1\r\n",
        b"$1\r\n1\r\n",
    ] {
        assert!(heard(&wishes, bytes, 99, Onward::Go).is_err(), "{}", bytes.escape_ascii());
    }
    assert!(heard(&[], b"-ERR\r\n", 99, Onward::Go).is_err());
    // Some other push is nobody's.
    assert_eq!(heard(&[], b">2\r\n$10\r\ninvalidate\r\n_\r\n>1\r\n:1\r\n", 99, Onward::Go).map(|h| h.0).ok(), None);
    assert_eq!(heard(&[], b">2\r\n$10\r\ninvalidate\r\n_\r\n", 99, Onward::Go).map(|h| h.0.len()).ok(), Some(0));
}

/// A server of one connection: reads until the words have come, then answers.
async fn expect(peer: &mut TcpStream, words: &str, answer: &str) {
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(words) {
        let mut bytes = [0; 1024];
        let count = peer.read(&mut bytes).await.expect("the other side is there");
        assert!(count > 0, "closed before {words}; got {}", got.escape_ascii());
        got.extend_from_slice(&bytes[..count]);
    }
    peer.write_all(answer.as_bytes()).await.expect("the other side is there");
}

#[test]
fn a_server_without_resp3_is_spoken_to_in_resp2_and_all_is_asked_again_after_a_loss() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = Arc::new(Endpoint {
            upstream: "main".into(),
            address: Address::Tcp { host: "127.0.0.1".into(), port: server.local_addr().expect("bound").port() },
            duty: Duty::Any,
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            heartbeat: Heartbeat { interval: Duration::from_secs(5), timeout: Duration::from_secs(5) },
            dialing: Arc::new(tokio::sync::Semaphore::new(1)),
            speaks: crate::upstream::endpoint::Speaks::Redis,
        });
        let subscriber = Arc::<Subscriber>::default();
        let events = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let (handle, log) = (Arc::clone(&subscriber), std::rc::Rc::clone(&events));
        let task = tokio::task::spawn_local(async move {
            run(endpoint, None, handle, |event| {
                log.borrow_mut().extend(shown(&event));
                Onward::Go
            })
            .await;
        });
        subscriber.wish(subscribe(Kind::Channel, "a", 1));
        for round in 0..2 {
            let (mut peer, _) = server.accept().await.expect("a connection");
            expect(&mut peer, "HELLO", "-ERR unknown command 'HELLO'\r\n").await;
            let (mut peer, _) = server.accept().await.expect("a connection");
            expect(&mut peer, "larder-pubsub", "+OK\r\n").await;
            expect(&mut peer, "$1\r\na\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
            expect(&mut peer, "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
            peer.write_all(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n").await.expect("sent");
            while events.borrow().len() < 4 * round + 3 {
                tokio::task::yield_now().await;
            }
            drop(peer);
            while events.borrow().len() < 4 * round + 4 {
                tokio::task::yield_now().await;
            }
        }
        let each = ["up", "confirmed Channel a 1", "message Channel a of 31 bytes", "lost"];
        assert_eq!(*events.borrow(), [each, each].concat());
        task.abort();
    });
}
