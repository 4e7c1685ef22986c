use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::command::Nulls;

const NOW: Micros = Micros(10);
const LATER: Micros = Micros(1_000_000);

fn covered() -> (NearCache, Coverage) {
    let coverage = Coverage::default();
    coverage.begin(LATER);
    (NearCache::new(1 << 20, 1 << 16), coverage)
}

fn query<'a>(near: &NearCache, key: &'a [u8]) -> Query<'a> {
    Query { hash: near.hash(0, key), upstream: 0, database: 0, command: 1, key, args: b"" }
}

fn waiter(session: u64) -> Waiter {
    Waiter { worker: 0, session, seq: 0, tracks: false }
}

fn filled(reply: &[u8]) -> Filled<'_> {
    Filled {
        reply,
        shape: Shape { nulls: Nulls::Bulk, pairs: false },
        same_in_both: true,
        negative: false,
        read_at: NOW,
        expires_at: LATER,
        ends_at: Micros::NEVER,
        keep: true,
    }
}

fn lead(near: &NearCache, coverage: &Coverage, key: &[u8]) -> Fill {
    match near.join(&query(near, key), coverage, NOW, waiter(1)) {
        Join::Lead(fill) => fill,
        other => panic!("{other:?}"),
    }
}

fn cached(near: &NearCache, coverage: &Coverage, key: &[u8]) -> Option<(Vec<u8>, Freshness)> {
    near.find(&query(near, key), coverage, NOW, |form, worth| (form.reply().to_vec(), worth))
}

#[test]
fn a_reply_read_before_an_invalidation_answers_its_waiters_and_is_not_kept() {
    let (near, coverage) = covered();
    let fill = lead(&near, &coverage, b"k");
    assert!(matches!(near.join(&query(&near, b"k"), &coverage, NOW, waiter(2)), Join::Follow));
    near.invalidate(0, b"k", Cause::Push);
    let (entry, waiters) = near.finish(fill, &coverage, &filled(b"$1\r\na\r\n")).expect("the flight was there");
    assert_eq!(entry.reply(), b"$1\r\na\r\n");
    assert_eq!(waiters.as_slice(), [waiter(1), waiter(2)]);
    assert_eq!(cached(&near, &coverage, b"k"), None);
    assert_eq!(near.tallies.refused_moved.load(Ordering::Relaxed), 1);
}

#[test]
fn a_read_after_a_write_does_not_join_one_from_before_it() {
    let (near, coverage) = covered();
    let before = lead(&near, &coverage, b"k");
    let fence = near.fence(0, b"k");
    assert!(matches!(near.join(&query(&near, b"k"), &coverage, NOW, waiter(2)), Join::Bypass));
    near.lift(fence);
    let after = lead(&near, &coverage, b"k");
    near.finish(after, &coverage, &filled(b"$3\r\nnew\r\n"));
    near.finish(before, &coverage, &filled(b"$3\r\nold\r\n"));
    assert_eq!(cached(&near, &coverage, b"k"), Some((b"$3\r\nnew\r\n".to_vec(), Freshness::Fresh)));
}

#[test]
fn a_fill_that_spans_a_whole_write_is_not_kept() {
    let (near, coverage) = covered();
    let fill = lead(&near, &coverage, b"k");
    let fence = near.fence(0, b"k");
    near.lift(fence);
    near.finish(fill, &coverage, &filled(b"$1\r\na\r\n"));
    assert_eq!(cached(&near, &coverage, b"k"), None);
}

#[test]
fn what_was_read_on_a_lost_connection_or_before_a_flush_is_never_fresh() {
    let (near, coverage) = covered();
    near.finish(lead(&near, &coverage, b"a"), &coverage, &filled(b"$1\r\na\r\n"));
    let under_way = lead(&near, &coverage, b"b");
    coverage.lose();
    assert_eq!(cached(&near, &coverage, b"a").map(|(_, worth)| worth), Some(Freshness::Suspect));
    assert!(matches!(near.join(&query(&near, b"c"), &coverage, NOW, waiter(1)), Join::Bypass));
    coverage.begin(LATER);
    near.finish(under_way, &coverage, &filled(b"$1\r\nb\r\n"));
    assert_eq!(cached(&near, &coverage, b"b"), None);
    near.finish(lead(&near, &coverage, b"a"), &coverage, &filled(b"$1\r\na\r\n"));
    assert_eq!(cached(&near, &coverage, b"a").map(|(_, worth)| worth), Some(Freshness::Fresh));
    near.flush(&coverage);
    assert_eq!(cached(&near, &coverage, b"a"), None);
}

#[test]
fn nothing_is_filled_while_a_command_that_may_change_any_key_is_under_way() {
    let (near, coverage) = covered();
    coverage.begin_wholesale();
    assert!(matches!(near.join(&query(&near, b"k"), &coverage, NOW, waiter(1)), Join::Bypass));
    assert!(near.begin(near.hash(0, b"k"), &coverage, NOW).is_none());
    coverage.end_wholesale();
    near.finish(lead(&near, &coverage, b"k"), &coverage, &filled(b"$1\r\na\r\n"));
    assert!(cached(&near, &coverage, b"k").is_some());
}

#[test]
fn an_abandoned_flight_gives_its_waiters_back_and_can_be_led_again() {
    let (near, coverage) = covered();
    let fill = lead(&near, &coverage, b"k");
    near.join(&query(&near, b"k"), &coverage, NOW, waiter(2));
    assert_eq!(near.abandon(&fill).as_slice(), [waiter(1), waiter(2)]);
    let _ = lead(&near, &coverage, b"k");
}

#[test]
fn one_push_kills_every_form_of_a_key_in_every_database() {
    let (near, coverage) = covered();
    for (database, command, args) in [(0, 1, &b""[..]), (3, 1, b""), (0, 2, b"$1\r\nf\r\n")] {
        let query = Query { database, command, args, ..query(&near, b"k") };
        let Join::Lead(fill) = near.join(&query, &coverage, NOW, waiter(1)) else { panic!("no flight is under way") };
        near.finish(fill, &coverage, &filled(b"+x\r\n"));
    }
    assert_eq!(near.inspect(0, b"k", &coverage, NOW).len(), 3);
    assert!(near.invalidate(0, b"k", Cause::Push));
    assert!(near.inspect(0, b"k", &coverage, NOW).is_empty());
}

/// Writers and fillers on threads of their own: a reader never finds less than what was acknowledged before it looked.
#[test]
fn no_reader_ever_finds_less_than_what_was_acknowledged() {
    let (near, coverage) = covered();
    let (near, coverage) = (Arc::new(near), Arc::new(coverage));
    let (origin, acknowledged, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let hits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1..=20_000u64 {
                let fence = near.fence(0, b"k");
                origin.store(version, Ordering::SeqCst);
                near.lift(fence);
                acknowledged.store(version, Ordering::SeqCst);
                // Now and then the key is left alone until it has been found, so that finding it is really tried.
                let found = hits.load(Ordering::SeqCst);
                while version % 500 == 0 && hits.load(Ordering::SeqCst) == found {
                    std::thread::yield_now();
                }
            }
            stop.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    if let Join::Lead(fill) = near.join(&query(&near, b"k"), &coverage, NOW, waiter(1)) {
                        let reply = origin.load(Ordering::SeqCst).to_string();
                        near.finish(fill, &coverage, &filled(reply.as_bytes()));
                    }
                }
            });
        }
        while !stop.load(Ordering::SeqCst) {
            let least = acknowledged.load(Ordering::SeqCst);
            if let Some((reply, Freshness::Fresh)) = cached(&near, &coverage, b"k") {
                let version: u64 = String::from_utf8_lossy(&reply).parse().expect("a version was stored");
                assert!(version >= least, "{version} was found after {least} was acknowledged");
                hits.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    assert!(hits.into_inner() >= 40);
}
