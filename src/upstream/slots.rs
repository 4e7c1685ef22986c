//! Which of a cluster's 16384 slots a key belongs to.
//!
//! The rule is Redis Cluster's: CRC16 (XMODEM) of the key, or of its hash tag where it has one, so that `{user:1}.name`
//! and `{user:1}.mail` lie on one node. <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use crc::{CRC_16_XMODEM, Crc, Table};

/// How many slots a cluster has.
pub const SLOTS: usize = 16_384;

/// One table of 512 bytes, read for every byte of a key: larger ones would gain nothing on keys of usual lengths.
static CRC16: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The slot of a key.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    // A power of two, and less than 16 bits.
    CRC16.checksum(hashed(key)) & (SLOTS - 1) as u16
}

/// What of a key decides its slot: what lies between its first `{` and the next `}`, if that is anything; else all.
fn hashed(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let behind = &key[open + 1..];
    match behind.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &behind[..close],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        assert_eq!(CRC16.checksum(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"123456789"), 0x31c3);
    }

    #[test]
    fn slots_are_those_that_redis_gives() {
        // From CLUSTER KEYSLOT of Redis 7.0.15.
        for (key, slot) in [
            (&b""[..], 0),
            (b"a", 15495),
            (b"foo", 12182),
            (b"bar", 5061),
            (b"{user1000}.following", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
            (b"{}", 15257),
            (b"{}a", 10875),
            (b"a{", 14311),
            (b"a{b", 13340),
            (b"}{x}", 16287),
            (b"\xff\xfe{\xff}", 7920),
            (b"k\r\n", 15500),
            (b"a}b{c}d", 7365),
        ] {
            assert_eq!(slot_of(key), slot, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn hash_tags_are_those_of_the_specification() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(hashed(b"foo{}{bar}"), b"foo{}{bar}", "an empty tag is none, and no later one counts");
        assert_eq!(hashed(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hashed(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hashed(b"foo}bar{baz"), b"foo}bar{baz");
        assert_eq!(hashed(b"}{a}"), b"a");
    }

    proptest! {
        #[test]
        fn every_key_has_a_slot(key in vec(any::<u8>(), 0..64)) {
            prop_assert!(usize::from(slot_of(&key)) < SLOTS);
        }

        #[test]
        fn only_the_tag_decides(
            before in vec(any::<u8>().prop_filter("opens a tag", |byte| *byte != b'{'), 0..16),
            tag in vec(any::<u8>().prop_filter("closes a tag", |byte| *byte != b'}'), 1..16),
            behind in vec(any::<u8>(), 0..16),
        ) {
            let key = [&before, &b"{"[..], &tag, b"}", &behind].concat();
            prop_assert_eq!(hashed(&key), &tag);
        }

        #[test]
        fn a_key_without_a_tag_counts_whole(
            key in vec(any::<u8>().prop_filter("opens a tag", |byte| *byte != b'{'), 0..32),
        ) {
            prop_assert_eq!(hashed(&key), &key);
            let empty_tag = [&key, &b"{}{a}"[..]].concat();
            prop_assert_eq!(hashed(&empty_tag), &empty_tag);
        }
    }
}
