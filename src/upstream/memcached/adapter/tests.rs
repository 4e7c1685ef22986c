//! What the adapter holds for a node that does not keep up.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::config::Address;

/// An adapter, and the node's side of its socket.
fn pair() -> (Adapter, UnixStream) {
    let (ours, node) = UnixStream::pair().expect("a pair of sockets");
    let server = Arc::new(Server::new(Address::Unix("node".into()), None, Duration::from_secs(1)));
    (Adapter::new(Stream::Unix(ours), server), node)
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, words);
    out
}

/// Whether it takes these bytes now.
async fn takes(adapter: &mut Adapter, bytes: &[u8]) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *adapter).poll_write(cx, bytes))).await.is_ready()
}

/// How often it takes these bytes until it takes no more.
async fn fill(adapter: &mut Adapter, bytes: &[u8]) -> usize {
    let mut times = 0;
    while takes(adapter, bytes).await {
        times += 1;
        assert!(times <= 2 * MOST_UNDERWAY, "there is no bound");
    }
    times
}

#[tokio::test]
async fn for_a_node_that_does_not_read_a_bounded_number_of_bytes_is_held() {
    let (mut adapter, _node) = pair();
    let set = command(&[b"SET", b"k", &[b'x'; 16 << 10]]);
    fill(&mut adapter, &set).await;
    let held = adapter.out.len() - adapter.sent + adapter.input.len();
    assert!((HIGH..HIGH + 2 * set.len()).contains(&held), "{held}");
}

#[tokio::test]
async fn for_a_node_that_does_not_answer_a_bounded_number_of_commands_is_held() {
    let (mut adapter, _node) = pair();
    assert_eq!(fill(&mut adapter, &command(&[b"GET", b"k"])).await, MOST_UNDERWAY);
    assert_eq!(adapter.input.len(), 0);
}

#[tokio::test]
async fn behind_a_command_that_waits_a_bounded_number_of_bytes_is_held() {
    let (mut adapter, mut node) = pair();
    let gets = command(&[b"GET", b"a"]).repeat(MOST_UNDERWAY);
    assert!(takes(&mut adapter, &command(&[b"SET", b"b", b"1", b"KEEPTTL"])).await);
    assert!(takes(&mut adapter, &gets).await);
    // (The same key as the command that is at work.)
    assert!(!takes(&mut adapter, &command(&[b"GET", b"b"])).await);
    assert_eq!((adapter.underway.len(), adapter.changing.len()), (MOST_UNDERWAY, 1));
    let mut heard = vec![0; 8];
    tokio::io::AsyncReadExt::read_exact(&mut node, &mut heard).await.expect("a look");
    assert_eq!(heard, b"mg b c t");
}

#[tokio::test]
async fn of_a_large_write_no_more_is_taken_than_there_is_room_for() {
    let (mut adapter, _node) = pair();
    let set = command(&[b"SET", b"k", &[b'x'; 16 << 10]]);
    let much = set.repeat(1024);
    let mut taken = 0;
    while let Poll::Ready(used) = poll_fn(|cx| Poll::Ready(Pin::new(&mut adapter).poll_write(cx, &much[taken..]))).await
    {
        taken += used.expect("the socket is open");
    }
    let held = adapter.out.len() - adapter.sent + adapter.input.len();
    assert!((HIGH..HIGH + 2 * set.len()).contains(&held) && taken < 2 * HIGH, "{held} of {taken}");
    assert_eq!(adapter.input.len(), 0, "nothing is copied that cannot begin");
}

#[tokio::test]
async fn large_replies_that_wait_for_a_command_in_front_stop_further_commands_until_they_are_gone() {
    const GETS: usize = 40;
    const SIZE: usize = 64 << 10;
    let (mut adapter, mut node) = pair();
    let get = command(&[b"GET", b"a"]);
    assert!(takes(&mut adapter, &command(&[b"SET", b"k", b"v", b"KEEPTTL"])).await);
    assert!(takes(&mut adapter, &get.repeat(GETS)).await);
    let mut answers = b"HD c1 t10 f0\r\n".to_vec();
    for _ in 0..GETS {
        answers.extend_from_slice(format!("VA {SIZE}\r\n").as_bytes());
        answers.extend_from_slice(&[b'x'; SIZE]);
        answers.extend_from_slice(b"\r\n");
    }
    let heard = poll_fn(|cx| {
        let mut bytes = [0; 8];
        let polled = Pin::new(&mut adapter).poll_read(cx, &mut ReadBuf::new(&mut bytes));
        assert!(polled.is_pending(), "nothing is told before the first command is done");
        if adapter.waiting > GETS * SIZE { Poll::Ready(()) } else { Poll::Pending }
    });
    let (sent, ()) = tokio::join!(node.write_all(&answers), heard);
    sent.expect("the adapter reads");
    assert!(!takes(&mut adapter, &get).await, "what waits is enough");
    node.write_all(b"HD c1 t10\r\nHD c2\r\n").await.expect("the adapter reads");
    let mut replies = vec![0; 5 + GETS * (SIZE + 10)];
    adapter.read_exact(&mut replies).await.expect("all replies");
    assert!(replies.starts_with(b"+OK\r\n$65536\r\nxx") && replies.ends_with(b"xx\r\n"));
    assert_eq!(adapter.waiting, 0);
    assert!(takes(&mut adapter, &get).await);
}
