//! The ceiling of the benchmark: what any single-threaded server can reach on this machine.
//!
//! An epoll loop that reads, finds where each command ends, and answers each with the same bulk string of 32 bytes. It
//! looks at no name and no key, and keeps nothing. What a server needs beyond this is its own; what this needs is the
//! price of sockets. Started by `bench/run` as `bare-loop PORT`; ends when it is killed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// The answer to everything.
const REPLY: &[u8] = b"$32\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
const LISTENER: Token = Token(usize::MAX);
/// How much is read at once: as much as Larder reads.
const READ: usize = 64 << 10;

struct Connection {
    stream: TcpStream,
    /// The start of a command whose end has not come yet.
    rest: Vec<u8>,
    out: Vec<u8>,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

fn main() -> io::Result<()> {
    let usage = || io::Error::new(ErrorKind::InvalidInput, "usage: bare-loop PORT");
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).ok_or_else(usage)?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; READ];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections)?;
                continue;
            }
            let Some(slot) = connections.get_mut(event.token().0) else { continue };
            // A connection that fails is one that ended: the client's report will tell.
            let state = slot.as_mut().map_or(Ok(State::Ended), |connection| connection.serve(&mut scratch));
            if !matches!(state, Ok(State::Open)) {
                *slot = None;
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(connections.len()), both)?;
                connections.push(Some(Connection { stream, rest: Vec::new(), out: Vec::new() }));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Connection {
    fn serve(&mut self, scratch: &mut [u8]) -> io::Result<State> {
        loop {
            if self.send()? == State::Ended {
                return Ok(State::Ended);
            }
            let count = match self.stream.read(scratch) {
                Ok(0) => return Ok(State::Ended),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(State::Open),
                Err(error) => return Err(error),
            };
            self.answer(&scratch[..count]);
            // A read that leaves room has emptied the socket; the next bytes are a new event.
            if count < scratch.len() {
                return self.send();
            }
        }
    }

    /// A reply for each command that ends in `bytes`.
    fn answer(&mut self, bytes: &[u8]) {
        if self.rest.is_empty() {
            let used = count_commands(bytes, &mut self.out);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = count_commands(&self.rest, &mut self.out);
            self.rest.drain(..used);
        }
    }

    /// Writes what the socket takes; the rest goes with the event that says that there is room again.
    fn send(&mut self) -> io::Result<State> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Ok(State::Ended),
                Ok(count) if count == self.out.len() => self.out.clear(),
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(State::Open)
    }
}

/// Appends a reply for each whole command at the start of `bytes`; how many bytes these commands are.
fn count_commands(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while let Some(length) = command_length(&bytes[used..]) {
        out.extend_from_slice(REPLY);
        used += length;
    }
    used
}

/// The length of the command at the start of `bytes`, `None` if its end is not there. No fault is looked for: the
/// only client is redis-benchmark.
fn command_length(bytes: &[u8]) -> Option<usize> {
    let (words, mut at) = number(bytes, 1)?;
    for _ in 0..words {
        let (length, behind) = number(bytes, at + 1)?;
        at = behind + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// The number whose digits start at `at`, and where the next line starts.
fn number(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0usize;
    loop {
        match bytes.get(at)? {
            b'\r' => return Some((number, at + 2)),
            digit => number = number.wrapping_mul(10).wrapping_add(usize::from(digit.wrapping_sub(b'0'))),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_gets_one_reply_however_the_bytes_are_cut() {
        let commands = b"*2\r\n$3\r\nGET\r\n$5\r\na*$\r\n\r\n".repeat(3);
        for cut in 0..commands.len() {
            let (mut out, mut rest) = (Vec::new(), commands[..cut].to_vec());
            let used = count_commands(&rest, &mut out);
            rest.drain(..used);
            rest.extend_from_slice(&commands[cut..]);
            assert_eq!(count_commands(&rest, &mut out), rest.len());
            assert_eq!(out, REPLY.repeat(3));
        }
    }
}
