//! The cursor of SCAN over several primaries: where the scan is, in one number, with nothing kept between two calls.
//!
//! The primaries are scanned one behind the other, in the order of their ids, and then once more those to which slots are
//! moving. A cursor holds which of these stages it is at, the primary's own cursor, and a part of the digest of who owns
//! what:
//!
//! ```text
//! bit   63 .................. 22 | 21 ........ 10 | 9 ....... 0
//!       the primary's own cursor | digest of the  | stage
//!                                | topology       |
//! ```
//!
//! The node's cursor stands in front, so that the whole stays below 2^53, which is what clients can count that know
//! no integers but those of a double, as long as it is below 2^31: a table of two thousand million keys.
//!
//! **When the topology changes** between two calls, the cursor leads nowhere: keys may have moved from a primary that
//! is still to be scanned to one that has been, and the cursor of a primary means nothing to the replica that took its
//! place. The scan then begins again. Keys may come twice, as SCAN allows, and none is missed. Twelve bits of the
//! digest take one change in 4096 for none; more would not leave room for the rest.

use crate::resp::view::View;
use crate::resp::{encode, number};

/// Bits for the stage.
const STAGE_BITS: u32 = 10;
/// Bits of the digest.
const DIGEST_BITS: u32 = 12;
/// Bits in front of which the primary's own cursor stands.
const BELOW: u32 = STAGE_BITS + DIGEST_BITS;

/// The most stages that a scan can have.
pub const MAX_STAGES: usize = 1 << STAGE_BITS;

/// Redis's words for a cursor that is none.
pub const INVALID: &str = "ERR invalid cursor";

/// A place in a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which stage.
    pub stage: usize,
    /// The cursor to hand to its primary.
    pub cursor: u64,
}

/// What a client's cursor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on there; from a cursor of 0, at the very beginning.
    At(Place),
    /// The topology has changed since: begin again, which is at [`Place::default`].
    Anew,
}

/// Reads a client's cursor; `digest` is that of the present topology, whose scan has so many `stages`. `None`: it is no
/// cursor at all, and the answer is [`INVALID`].
pub fn decode(cursor: &[u8], digest: u64, stages: usize) -> Option<Step> {
    let value = unsigned(cursor)?;
    if value == 0 {
        return Some(Step::At(Place::default()));
    }
    // Below 2^10.
    let stage = (value & low(STAGE_BITS)) as usize;
    let made_with = value >> STAGE_BITS & low(DIGEST_BITS);
    if made_with != digest & low(DIGEST_BITS) || stage >= stages {
        return Some(Step::Anew);
    }
    Some(Step::At(Place { stage, cursor: value >> BELOW }))
}

/// The cursor for the client, when the primary of `stage` has answered with the cursor `answered`: 0 at the end of the last
/// one. `None`: it cannot be told, because there are too many stages or `answered` is too large for the room that there is.
pub fn advance(stage: usize, answered: u64, digest: u64, stages: usize) -> Option<u64> {
    let place = match answered {
        0 => Place { stage: stage + 1, cursor: 0 },
        cursor => Place { stage, cursor },
    };
    if place.stage >= stages {
        return Some(0);
    }
    if place.stage >= MAX_STAGES || place.cursor > u64::MAX >> BELOW {
        return None;
    }
    // Never 0: either the stage is not the first or the primary's cursor is not 0.
    Some(place.cursor << BELOW | (digest & low(DIGEST_BITS)) << STAGE_BITS | place.stage as u64)
}

fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// A number as Redis reads a cursor, with C's `strtoul`: a sign is allowed, zeros may lead, nothing at all is 0.
fn unsigned(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The cursor of a primary's SCAN reply, `[cursor, [key, ...]]`, and the bytes of its second element; `None` for any
/// other reply.
pub fn of_reply(reply: &[u8]) -> Option<(u64, &[u8])> {
    let View::List(mut parts) = View::whole(reply).ok()? else {
        return None;
    };
    let cursor = parts.view()?.text().and_then(unsigned)?;
    let keys = parts.next()?;
    parts.next().is_none().then_some((cursor, keys))
}

/// Writes a SCAN reply with another cursor in front of the same keys.
pub fn write_reply(out: &mut Vec<u8>, cursor: u64, keys: &[u8]) {
    let mut digits = Vec::new();
    number::write_unsigned(&mut digits, cursor);
    encode::array(out, 2);
    encode::bulk(out, &digits);
    out.extend_from_slice(keys);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(cursor: u64) -> Vec<u8> {
        cursor.to_string().into_bytes()
    }

    #[test]
    fn a_scan_visits_every_stage_and_ends() {
        let digest = 0xdead_beef;
        let mut visited = Vec::new();
        let mut cursor = 0;
        loop {
            let Some(Step::At(place)) = decode(&text(cursor), digest, 3) else { panic!("{cursor}") };
            visited.push((place.stage, place.cursor));
            // Each of the stages ends at its third call.
            let next = [7, 5, 0][visited.len().wrapping_sub(1) % 3];
            cursor = advance(place.stage, next, digest, 3).unwrap();
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(visited, [(0, 0), (0, 7), (0, 5), (1, 0), (1, 7), (1, 5), (2, 0), (2, 7), (2, 5)]);
    }

    #[test]
    fn after_a_change_of_the_topology_the_scan_begins_again() {
        let cursor = text(advance(1, 9, 77, 3).unwrap());
        assert_eq!(decode(&cursor, 77, 3), Some(Step::At(Place { stage: 1, cursor: 9 })));
        assert_eq!(decode(&cursor, 78, 3), Some(Step::Anew));
        assert_eq!(decode(&cursor, 77, 1), Some(Step::Anew), "fewer stages than it was made for");
        assert_eq!(decode(b"0", 78, 3), Some(Step::At(Place::default())), "the beginning belongs to every topology");
    }

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        for (cursor, value) in [
            ("", Some(0)),
            ("0", Some(0)),
            ("00", Some(0)),
            ("-0", Some(0)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
            ("--1", None),
            ("-", None),
            ("+", None),
            (" 1", None),
            ("1 ", None),
            ("0x1", None),
            ("1x", None),
        ] {
            assert_eq!(unsigned(cursor.as_bytes()), value, "{cursor:?}");
            assert_eq!(decode(cursor.as_bytes(), 0, 1).is_none(), value.is_none(), "{cursor:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_made_into_something_else() {
        assert_eq!(advance(0, 1 << 42, 0, 1), None);
        assert!(advance(0, (1 << 42) - 1, 0, 1).is_some());
        assert_eq!(advance(MAX_STAGES, 1, 0, MAX_STAGES + 1), None);
        assert_eq!(advance(MAX_STAGES - 1, 0, 0, MAX_STAGES + 1), None);
    }

    #[test]
    fn the_cursor_of_a_reply_is_replaced_and_nothing_else() {
        let reply = b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
        let (cursor, keys) = of_reply(reply).unwrap();
        assert_eq!(cursor, 17);
        let mut out = Vec::new();
        write_reply(&mut out, 90_071, keys);
        assert_eq!(out, b"*2\r\n$5\r\n90071\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        for other in ["-ERR invalid cursor\r\n", "*1\r\n+1\r\n", "*3\r\n+1\r\n*0\r\n*0\r\n", "*2\r\n+x\r\n*0\r\n", ""] {
            assert_eq!(of_reply(other.as_bytes()), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_where_it_was_made(
            stages in 1..=MAX_STAGES, share in 0.0f64..1.0, next in 0u64..1 << 31, digest: u64,
        ) {
            let stage = (stages as f64 * share) as usize;
            let cursor = advance(stage, next, digest, stages).unwrap();
            prop_assert!(cursor < 1 << 53);
            prop_assert_eq!(cursor == 0, next == 0 && stage + 1 == stages);
            let place = match next {
                _ if cursor == 0 => Place::default(),
                0 => Place { stage: stage + 1, cursor: 0 },
                next => Place { stage, cursor: next },
            };
            prop_assert_eq!(decode(&text(cursor), digest, stages), Some(Step::At(place)));
        }

        #[test]
        fn no_cursor_leads_beyond_the_stages(cursor: u64, digest: u64, stages in 1..=MAX_STAGES) {
            if let Some(Step::At(place)) = decode(&text(cursor), digest, stages) {
                prop_assert!(place.stage < stages);
            }
        }

        #[test]
        fn no_bytes_panic(cursor in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = decode(&cursor, 1, 1);
            let _ = of_reply(&cursor);
        }
    }
}
