//! What a command and a reply cost before anything is done with them: nanoseconds each, on one core.
//!
//! `cargo bench --bench resp`. No harness: the best of several rounds says what the code costs, the rest is noise.

use std::hint::black_box;
use std::time::Instant;

use larder::command::{Nulls, Shape};
use larder::resp::decode::{DecodeLimits, Decoder};
use larder::resp::scan::Scanner;
use larder::resp::{convert, encode};

const LIMITS: DecodeLimits =
    DecodeLimits { max_bulk: 512 << 20, max_args: 1 << 20, max_inline: 64 << 10, max_request: 1 << 30 };

/// Commands or replies in one buffer, as one read of a busy pipeline brings them.
const BATCH: usize = 100;

const ROUNDS: usize = 200;
const BATCHES_PER_ROUND: usize = 200;

fn main() {
    let key = [b'k'; 16];
    let value = [b'v'; 64];
    let get = request(&[b"GET", &key]);
    let set = request(&[b"SET", &key, &value, b"PX", b"1000"]);
    report("decode *2 GET, 16 byte key", &get, commands);
    report("decode *5 SET, 64 byte value", &set, commands);
    report("decode inline PING", &b"PING\r\n".repeat(BATCH), commands);

    let mut bulk = Vec::new();
    encode::bulk(&mut bulk, &value);
    let mut array = Vec::new();
    encode::command(&mut array, &[value.as_slice(); 10]);
    report("scan $64", &bulk.repeat(BATCH), replies);
    report("scan +OK", &b"+OK\r\n".repeat(BATCH), replies);
    report("scan :1000", &b":1000\r\n".repeat(BATCH), replies);
    report("scan _", &b"_\r\n".repeat(BATCH), replies);
    report("scan *10 of $64", &array.repeat(BATCH), replies);

    let mut scores = b"*10\r\n".to_vec();
    scores.extend_from_slice(&b"*2\r\n$6\r\nmember\r\n,1.5\r\n".repeat(10));
    report("convert ten scores to RESP2", &scores, conversions);
    let mut out = Vec::new();
    report("encode $64", &[0; BATCH], |batch| {
        out.clear();
        for _ in batch {
            encode::bulk(&mut out, black_box(&value));
        }
        black_box(&out);
        batch.len()
    });
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, args);
    out.repeat(BATCH)
}

fn commands(batch: &[u8]) -> usize {
    let mut decoder = Decoder::default();
    let (mut at, mut count) = (0, 0);
    while let Ok(Some(n)) = decoder.decode(&batch[at..], &LIMITS) {
        black_box(decoder.command(&batch[at..]));
        at += n;
        count += 1;
    }
    count
}

fn replies(batch: &[u8]) -> usize {
    let mut scanner = Scanner::default();
    let (mut at, mut count) = (0, 0);
    while let Ok(Some(n)) = scanner.scan(&batch[at..]) {
        at += black_box(n);
        count += 1;
    }
    count
}

fn conversions(reply: &[u8]) -> usize {
    let shape = Shape { nulls: Nulls::Bulk, pairs: true };
    let mut out = Vec::with_capacity(1 << 10);
    for _ in 0..BATCH {
        out.clear();
        let _ = black_box(convert::to_resp2(reply, shape, &mut out));
    }
    BATCH
}

/// Prints the best round of `work`, which says how many items it handled.
fn report(what: &str, batch: &[u8], mut work: impl FnMut(&[u8]) -> usize) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut items = 0;
        for _ in 0..BATCHES_PER_ROUND {
            items += work(black_box(batch));
        }
        best = best.min(started.elapsed().as_nanos() as f64 / items as f64);
    }
    print(what, best);
}

#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn print(what: &str, nanoseconds: f64) {
    println!("{what:32} {nanoseconds:7.1} ns");
}
