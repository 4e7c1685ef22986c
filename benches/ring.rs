//! What it costs to find the node of a key on a ring: nanoseconds for each, on one core.
//!
//! `cargo bench --bench ring`. No harness: the best of several rounds says what the code costs, the rest is noise.

use std::hint::black_box;
use std::time::Instant;

use larder::config::{KeyHash, Ring as Rule};
use larder::upstream::ring::{Ring, RingNode};

const ROUNDS: usize = 50;
const KEYS: usize = 10_000;
/// For how evenly keys are shared out.
const SHARED: usize = 100_000;

fn main() {
    for count in [3, 16, 100] {
        for hash in [KeyHash::Md5, KeyHash::Fnv1a64, KeyHash::OneAtATime, KeyHash::Crc32a] {
            let node = |number| RingNode { name: format!("10.0.0.{number}:11212"), weight: 1 };
            let nodes: Vec<_> = (0..count).map(node).collect();
            let ring = Ring::new(&nodes, &Rule { hash, ..Rule::default() });
            let [short, long] = [12, 40].map(|length| nanoseconds(&ring, length));
            let (least, most) = spread(&ring, count);
            print(&format!(
                "{count:>3} nodes {hash:?}: {short:.0} ns for 12 bytes, {long:.0} ns for 40; shares {least:.2} to {most:.2}"
            ));
        }
    }
}

fn nanoseconds(ring: &Ring, length: usize) -> f64 {
    let keys: Vec<_> = (0..KEYS).map(|number| format!("{number:k>length$}").into_bytes()).collect();
    let round = || {
        let start = Instant::now();
        for key in &keys {
            black_box(ring.owner(black_box(key)));
        }
        start.elapsed().as_nanos() as f64 / KEYS as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::MAX, f64::min)
}

/// The emptiest and the fullest node's part of keys `key:N`, relative to an equal one.
fn spread(ring: &Ring, count: usize) -> (f64, f64) {
    let mut counts = vec![0_usize; count];
    (0..SHARED).for_each(|number| counts[usize::from(ring.owner(format!("key:{number}").as_bytes()))] += 1);
    let equal = SHARED as f64 / count as f64;
    let share = |of: Option<&usize>| of.map_or(0.0, |of| *of as f64 / equal);
    (share(counts.iter().min()), share(counts.iter().max()))
}

#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn print(line: &str) {
    println!("{line}");
}
