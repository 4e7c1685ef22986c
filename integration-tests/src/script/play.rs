//! A list of commands played to two servers, and where their replies differ.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use crate::client::{Client, Protocol, encode, shown};
use crate::reply;

/// A command and its arguments.
pub type Command = Vec<Vec<u8>>;

/// How many commands go out before their replies are read.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// One.
    OneByOne,
    /// Many.
    Pipelined,
}

/// The sizes of the chunks of a pipeline, in turn.
const CHUNKS: [usize; 6] = [1, 7, 50, 2, 200, 16];

/// No more differences than one can read.
const SHOWN_DIFFERENCES: usize = 40;

/// Every command whose replies do not pass for the same, with both, in words. `agree` is given the command and the bytes of both replies.
pub fn differences(
    commands: &[Command],
    (expected, actual): (&[Vec<u8>], &[Vec<u8>]),
    agree: impl Fn(&Command, &[u8], &[u8]) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        let (expected, actual) = (&expected[number], &actual[number]);
        if !agree(command, expected, actual) {
            let (expected, actual) = (value(expected), value(actual));
            found.push(format!("#{number} {}\n   redis: {expected}\n   other: {actual}", shown(command)));
        }
    }
    found
}

/// Fails with the first of them if there are any.
#[track_caller]
pub fn assert_none(what: &str, mut differences: Vec<String>) {
    let count = differences.len();
    differences.truncate(SHOWN_DIFFERENCES);
    assert!(count == 0, "{what}: {count} replies differ:\n{}", differences.join("\n"));
}

fn value(bytes: &[u8]) -> String {
    let raw = format!("{:?}", bytes[..bytes.len().min(12)].escape_ascii().to_string());
    match reply::parse(bytes) {
        Ok(Some((reply, _))) => format!("{reply:?}  raw {raw}").chars().take(400).collect(),
        _ => raw,
    }
}

/// The bytes of every reply.
pub fn play(address: SocketAddr, commands: &[Command], protocol: Protocol, pace: Pace) -> Vec<Vec<u8>> {
    let mut client = Client::connect_with(address, protocol);
    match pace {
        Pace::OneByOne => commands.iter().map(|command| client.call_raw(command)).collect(),
        Pace::Pipelined => {
            let mut replies = Vec::new();
            let mut rest = commands;
            for size in CHUNKS.iter().cycle() {
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                replies.extend(in_one_write(&mut client, chunk));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            replies
        }
    }
}

/// Sends the chunk from another thread: a server that waits for its replies to be read must not wait for ever.
fn in_one_write(client: &mut Client, chunk: &[Command]) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = chunk.iter().flat_map(|command| encode(command)).collect();
    let mut writer = client.stream().try_clone().expect("a socket can be cloned");
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&bytes).expect("the server takes a pipeline"));
        let read = |command: &Command| {
            let reply = client.try_read();
            reply.unwrap_or_else(|error| panic!("no reply to {}: {error}", shown(command))).1
        };
        chunk.iter().map(read).collect()
    })
}
