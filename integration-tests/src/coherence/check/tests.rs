//! Histories that are right and histories that are wrong, each for one promise.

use super::*;
use crate::coherence::history::ALL;

const MS: u64 = 1_000_000;

fn one(version: u64) -> [Cell; MEMBERS] {
    [cell(version), Cell::MISSING, Cell::MISSING]
}

fn cell(version: u64) -> Cell {
    Cell::holding(version)
}

fn write(start_ms: u64, ack_ms: u64, via: Via, cells: [Cell; MEMBERS]) -> Write {
    Write { start: start_ms * MS, ack: ack_ms * MS, via, keys: ALL, cells }
}

fn first() -> Write {
    write(0, 0, Via::Origin, [Cell::MISSING; MEMBERS])
}

fn read(start_ms: u64, end_ms: u64, via: Via, seen: Seen) -> Read {
    let seen = [seen, Seen::NotAsked, Seen::NotAsked];
    Read { unit: 0, via, start: start_ms * MS, end: end_ms * MS, after: 0, seen, form: "GET" }
}

fn judged(writes: &[Write], read: &Read) -> Option<Promise> {
    Timeline::new("unit", writes).judge(read).err().map(|violation| violation.promise)
}

const A: Via = Via::Proxy(0);
const B: Via = Via::Proxy(1);

#[test]
fn a_read_during_a_write_may_show_either_side_but_nothing_from_the_future() {
    let writes = [first(), write(10, 12, A, one(1)), write(20, 30, A, one(2)), write(40, 42, A, one(3))];
    for version in [1, 2] {
        assert_eq!(judged(&writes, &read(25, 26, A, Seen::Version(version))), None);
    }
    assert_eq!(judged(&writes, &read(25, 26, A, Seen::Version(3))), Some(Promise::C8));
    assert_eq!(judged(&writes, &read(5, 6, A, Seen::Missing)), None);
}

#[test]
fn an_acknowledged_write_through_the_same_proxy_binds_at_once() {
    let writes = [first(), write(10, 12, A, one(1)), write(20, 30, A, one(2))];
    assert_eq!(judged(&writes, &read(31, 32, A, Seen::Version(1))), Some(Promise::C2));
    assert_eq!(judged(&writes, &read(31, 32, Via::Origin, Seen::Version(1))), Some(Promise::C2));
    assert_eq!(judged(&writes, &read(31, 32, A, Seen::Version(2))), None);
}

#[test]
fn another_proxys_write_binds_after_the_bound() {
    let writes = [first(), write(10, 12, A, one(1)), write(20, 30, A, one(2))];
    assert_eq!(judged(&writes, &read(900, 901, B, Seen::Version(1))), None);
    assert_eq!(judged(&writes, &read(1031, 1032, B, Seen::Version(1))), Some(Promise::C3));
    let unseen = [first(), write(10, 12, A, one(1)), write(20, 30, Via::Unseen, one(2))];
    assert_eq!(judged(&unseen, &read(31, 32, A, Seen::Version(1))), None);
    assert_eq!(judged(&unseen, &read(1031, 1032, A, Seen::Version(1))), Some(Promise::C3));
    assert_eq!(judged(&unseen, &read(31, 32, A, Seen::Missing)), Some(Promise::C2), "its own write before still binds");
}

#[test]
fn a_write_of_one_key_says_nothing_of_what_others_did_to_another() {
    let pair = |x, y| [cell(x), cell(y), Cell::MISSING];
    let only_x = Write { keys: [true, false, false], ..write(40, 42, A, pair(3, 2)) };
    let writes = [first(), write(10, 12, A, pair(1, 1)), write(20, 22, Via::Beside, pair(1, 2)), only_x];
    let read = |x, y| Read { seen: [x, y, Seen::NotAsked], ..read(50, 51, A, Seen::NotAsked) };
    use Seen::{NotAsked, Version};
    assert_eq!(judged(&writes, &read(NotAsked, Version(1))), None, "the push for y may still be on its way");
    assert_eq!(judged(&writes, &read(NotAsked, Seen::Missing)), Some(Promise::C2), "its own write of y is not");
    assert_eq!(judged(&writes, &read(Version(1), NotAsked)), Some(Promise::C2));
    assert_eq!(judged(&writes, &read(Version(3), Version(1))), Some(Promise::C7), "both are of one instant");
}

#[test]
fn a_pipelined_read_sees_the_write_before_it() {
    let writes = [first(), write(10, 20, A, one(1)), write(11, 20, A, one(2))];
    let mut pipelined = read(10, 20, A, Seen::Version(1));
    pipelined.after = 10 * MS;
    assert_eq!(judged(&writes, &pipelined), None);
    pipelined.after = 11 * MS;
    assert_eq!(judged(&writes, &pipelined), Some(Promise::C1));
}

#[test]
fn a_deleted_key_does_not_come_back() {
    let gone = [first(), write(10, 12, A, one(1)), write(20, 22, A, one(0)), write(30, 32, B, one(0))];
    assert_eq!(judged(&gone, &read(23, 24, A, Seen::Version(1))), Some(Promise::C5));
    assert_eq!(judged(&gone, &read(1033, 1034, B, Seen::Present)), Some(Promise::C5));
    assert_eq!(judged(&gone, &read(23, 24, B, Seen::Version(1))), None);
}

#[test]
fn a_value_is_not_there_after_its_expiry_and_not_gone_before() {
    let expiring = [cell(1).expiring(110 * MS, 112 * MS), Cell::MISSING, Cell::MISSING];
    let writes = [first(), write(10, 12, A, expiring)];
    assert_eq!(judged(&writes, &read(111, 140, A, Seen::Version(1))), None);
    assert_eq!(judged(&writes, &read(138, 140, A, Seen::Version(1))), Some(Promise::C4));
    assert_eq!(judged(&writes, &read(138, 140, A, Seen::Missing)), None);
    assert_eq!(judged(&writes, &read(50, 60, A, Seen::Missing)), Some(Promise::C8));
}

#[test]
fn several_keys_show_one_state() {
    let pair = |x, y| [cell(x), cell(y), Cell::MISSING];
    let writes = [first(), write(10, 12, A, pair(1, 1)), write(20, 30, B, pair(2, 2)), write(30, 40, B, pair(0, 2))];
    let both = |x, y| Read { seen: [x, y, Seen::NotAsked], ..read(25, 35, A, Seen::NotAsked) };
    use Seen::{Missing, Version};
    for (x, y) in [(Version(1), Version(1)), (Version(2), Version(2)), (Missing, Version(2))] {
        assert_eq!(judged(&writes, &both(x, y)), None, "{x:?} {y:?}");
    }
    for (x, y) in [(Version(1), Version(2)), (Version(2), Version(1)), (Missing, Version(1))] {
        assert_eq!(judged(&writes, &both(x, y)), Some(Promise::C7), "{x:?} {y:?}");
    }
}

#[test]
fn a_value_that_nobody_wrote_here_is_found() {
    let writes = [first(), write(10, 12, A, one(1))];
    assert_eq!(judged(&writes, &read(20, 21, B, Seen::Version(77))), Some(Promise::C8));
}
