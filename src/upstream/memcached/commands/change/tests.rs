//! Commands at work against a node with one key, whose clock ticks when it is told to.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::Address;
use crate::resp::Proto;
use crate::resp::decode::{DecodeLimits, Decoder};
use crate::upstream::memcached::meta::Found;
use crate::upstream::memcached::{Server, commands, meta};

const LIMITS: DecodeLimits =
    DecodeLimits { max_bulk: 1 << 20, max_args: 16, max_inline: 1 << 10, max_request: 1 << 20 };

/// As much of memcached as these commands need.
#[derive(Debug)]
struct Node {
    value: Vec<u8>,
    client: u32,
    cas: u64,
    /// In seconds of its clock; `None`: never.
    end: Option<i64>,
    now: i64,
    /// In front of which batches of requests its clock ticks. What is sent in one go reaches it between two ticks.
    ticks: Vec<usize>,
    batches: usize,
}

impl Node {
    fn holding(value: &str, seconds: Option<i64>, ticks: &[usize]) -> Self {
        let end = seconds.map(|seconds| 1000 + seconds);
        Self { value: value.into(), client: 7, cas: 1, end, now: 1000, ticks: ticks.to_vec(), batches: 0 }
    }

    /// Answers everything that has been sent.
    fn answer(&mut self, requests: &[u8]) -> Vec<u8> {
        self.now += self.ticks.iter().filter(|batch| **batch == self.batches).count() as i64;
        self.batches += 1;
        let text = std::str::from_utf8(requests).expect("plain requests");
        let mut lines = text.split_terminator("\r\n");
        let mut out = String::new();
        while let Some(line) = lines.next() {
            let mut words = line.split(' ');
            let (verb, key) = (words.next(), words.next());
            assert_eq!(key, Some("k"));
            if verb == Some("mg") {
                out += &self.read(words);
            } else {
                assert_eq!(verb, Some("ms"), "{line}");
                out += &self.write(words.skip(1), lines.next().expect("a value"));
            }
        }
        out.into_bytes()
    }

    fn read<'a>(&self, flags: impl Iterator<Item = &'a str>) -> String {
        let (mut told, mut with_value) = (String::new(), false);
        for flag in flags {
            match flag {
                "v" => with_value = true,
                "c" => told += &format!(" c{}", self.cas),
                "t" => told += &format!(" t{}", self.end.map_or(-1, |end| end - self.now)),
                "f" => told += &format!(" f{}", self.client),
                other => panic!("{other}"),
            }
        }
        match with_value {
            true => format!("VA {}{told}\r\n{}\r\n", self.value.len(), String::from_utf8_lossy(&self.value)),
            false => format!("HD{told}\r\n"),
        }
    }

    fn write<'a>(&mut self, flags: impl Iterator<Item = &'a str>, value: &str) -> String {
        let (mut client, mut end) = (0, None);
        for flag in flags {
            let number = flag.get(1..).and_then(|number| number.parse::<i64>().ok());
            match (flag.split_at(1).0, number) {
                ("T", Some(seconds)) => end = Some(self.now + seconds),
                ("F", Some(flags)) => client = u32::try_from(flags).expect("32 bits"),
                ("C", Some(cas)) if cas == self.cas as i64 => {}
                ("C", Some(_)) => return "EX\r\n".to_owned(),
                ("c", None) => {}
                _ => panic!("{flag}"),
            }
        }
        self.value = value.into();
        (self.client, self.end, self.cas) = (client, end, self.cas + 1);
        format!("HD c{}\r\n", self.cas)
    }
}

/// What the client is told.
fn run(words: &str, node: &mut Node) -> String {
    let server = Arc::new(Server::new(Address::Unix("node".into()), None, Duration::from_secs(1)));
    let mut request = Vec::new();
    encode::command(&mut request, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    let mut decoder = Decoder::default();
    decoder.decode(&request, &LIMITS).expect("a command");
    let command = decoder.command(&request).expect("a command");
    let (mut out, mut reply) = (Vec::new(), Vec::new());
    let desk = &mut Desk { out: &mut out, asked: 0, server: &server, proto: Proto::Resp2, reply: &mut reply };
    let mut work = commands::begin(&command, desk).expect("it is served");
    let mut step = Step::More;
    while step == Step::More {
        let said = node.answer(&std::mem::take(desk.out));
        let mut rest = &said[..];
        while let Ok(Found::Whole(answer, used)) = meta::find(rest) {
            assert_eq!(step, Step::More, "an answer that nobody awaits");
            step = work.take(&answer, desk);
            rest = &rest[used..];
        }
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(rest));
    }
    String::from_utf8(reply).expect("text")
}

/// Every way in which a few ticks fall between the batches of a command.
fn ticks() -> impl Iterator<Item = Vec<usize>> {
    (0..1usize << 6)
        .map(|set| (0..6).filter(|batch| set >> batch & 1 == 1).collect::<Vec<_>>())
        .filter(|ticks| ticks.len() < 5)
}

#[test]
fn a_value_that_is_written_again_keeps_its_end_wherever_the_clock_ticks() {
    for (words, before, after, told) in [
        ("SET k new KEEPTTL", "old", "new", "+OK\r\n"),
        ("SET k new KEEPTTL GET", "old", "new", "$3\r\nold\r\n"),
        ("DECR k", "10", "9", ":9\r\n"),
        ("INCRBY k -20", "10", "-10", ":-10\r\n"),
        ("INCRBYFLOAT k 0.5", "10", "10.5", "$4\r\n10.5\r\n"),
    ] {
        for ticks in ticks() {
            let mut node = Node::holding(before, Some(100), &ticks);
            assert_eq!(run(words, &mut node), told, "{words}, ticks at {ticks:?}");
            assert_eq!((String::from_utf8_lossy(&node.value).as_ref(), node.client), (after, 7), "{words}");
            assert_eq!(node.end, Some(1100), "{words}, ticks at {ticks:?}");
        }
    }
}

/// What the correction is for: one second a write would be no end at all.
#[test]
fn a_counter_that_is_written_at_every_tick_ends_when_it_should() {
    let mut node = Node::holding("0", Some(100), &[]);
    for number in 1..=90 {
        node.ticks = vec![node.batches + 1];
        assert_eq!(run("DECR k", &mut node), format!(":-{number}\r\n"));
    }
    assert_eq!((node.end, node.now), (Some(1100), 1090));
}

#[test]
fn a_value_that_never_ends_is_not_given_an_end() {
    for ticks in ticks() {
        let mut node = Node::holding("old", None, &ticks);
        assert_eq!(run("SET k new KEEPTTL", &mut node), "+OK\r\n");
        assert_eq!((node.end, node.client, node.batches), (None, 7, 2), "ticks at {ticks:?}");
    }
}

#[test]
fn a_clock_that_stands_still_costs_no_correction() {
    let mut node = Node::holding("10", Some(100), &[]);
    run("DECR k", &mut node);
    assert_eq!((node.batches, node.cas), (2, 2), "a look and a write");
}
