//! The index of names: from the bytes that a client typed to a row, for every command that passes.
//!
//! A name of up to 24 bytes is folded to lower case inside three machine words, with its length an exact picture of the
//! name, and looked up in an open-addressing table that is mostly empty. Redis's longest name has 20 bytes; longer ones
//! (a module's) are in an ordinary map.

use std::collections::HashMap;

/// The longest name that the words hold, in bytes.
const SHORT: usize = 24;

/// Where the rows of names are. Names are compared without regard to ASCII case.
#[derive(Clone, Debug)]
pub struct Names {
    /// A power of two, at least four times as many as there are names: probes are short, and always end.
    slots: Box<[Slot]>,
    long: HashMap<Box<[u8]>, u32>,
    longest: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    words: [u64; 3],
    /// Of the name; 0 in an empty slot.
    len: u32,
    row: u32,
}

impl Names {
    /// An index of `names`, each at its position; of equal names the first one counts, and an empty one is not found.
    pub fn new<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let slots = (names.len() * 4).next_power_of_two().max(4);
        let mut index = Self { slots: vec![Slot::default(); slots].into(), long: HashMap::new(), longest: SHORT };
        for (row, name) in (0u32..).zip(names) {
            index.insert(name, row);
        }
        index
    }

    fn insert(&mut self, name: &[u8], row: u32) {
        let Some(words) = folded(name) else {
            if !name.is_empty() {
                self.longest = self.longest.max(name.len());
                self.long.entry(name.to_ascii_lowercase().into()).or_insert(row);
            }
            return;
        };
        let mut at = self.start(words);
        while self.slots[at].len != 0 {
            if self.slots[at].words == words && self.slots[at].len as usize == name.len() {
                return;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        // A short name's length fits anything.
        self.slots[at] = Slot { words, len: name.len() as u32, row };
    }

    /// The position of `name`, whatever its case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let Some(words) = folded(name) else {
            return self.find_long(name);
        };
        let mut at = self.start(words);
        loop {
            let slot = &self.slots[at];
            if slot.len == 0 {
                return None;
            }
            if slot.words == words && slot.len as usize == name.len() {
                return Some(slot.row as usize);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[cold]
    fn find_long(&self, name: &[u8]) -> Option<usize> {
        if name.is_empty() || name.len() > self.longest {
            return None;
        }
        self.long.get(&*name.to_ascii_lowercase()).map(|row| *row as usize)
    }

    #[inline]
    fn start(&self, words: [u64; 3]) -> usize {
        let mixed = words[0].wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ words[1].wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ words[2].wrapping_mul(0x1656_67b1_9e37_79f9);
        // The high bits of a product depend on every bit of the word.
        (mixed >> 40) as usize & (self.slots.len() - 1)
    }
}

/// The bytes of a name of 1 to 24 bytes in lower case; equal for two names of one length only if these are equal.
#[inline]
fn folded(name: &[u8]) -> Option<[u64; 3]> {
    let len = name.len();
    let words = if len <= 8 {
        let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(head), Some(tail)) => {
                u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << 32
            }
            // One to three bytes: first, middle and last are all of them.
            _ => {
                let (first, last) = (*name.first()?, *name.last()?);
                u64::from(first) | u64::from(name[len / 2]) << 8 | u64::from(last) << 16
            }
        };
        [word, 0, 0]
    } else {
        let (head, tail) = (name.first_chunk::<8>()?, name.last_chunk::<8>()?);
        let middle = match name[8..].first_chunk() {
            _ if len > SHORT => return None,
            Some(middle) if len > 16 => u64::from_le_bytes(*middle),
            _ => 0,
        };
        [u64::from_le_bytes(*head), u64::from_le_bytes(*tail), middle]
    };
    Some(words.map(lower))
}

/// Every ASCII capital of eight bytes in lower case, the other bytes as they are.
#[inline]
fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let above_z = low + (0x7f - b'Z' as u64) * ONES;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let capital = (from_a ^ above_z) & !word & (0x80 * ONES);
    word | capital >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_any_length_is_found_in_any_case() {
        let names: Vec<Vec<u8>> = (1..60).map(|len| (0..len).map(|i| b'a' + i % 26).collect()).collect();
        let index = Names::new(names.iter().map(Vec::as_slice));
        for (row, name) in names.iter().enumerate() {
            assert_eq!(index.find(name), Some(row));
            assert_eq!(index.find(&name.to_ascii_uppercase()), Some(row));
        }
        assert_eq!(index.find(b""), None);
        assert_eq!(index.find(&[b'a'; 1 << 20]), None);
    }

    #[test]
    fn bytes_that_differ_only_in_the_case_bit_are_not_letters() {
        let index = Names::new([&b"a-b_c"[..], b"[x", b"g@t"].into_iter());
        for stranger in [&b"a\x0db_c"[..], b"a-b\x7fc", b"{x", b"g`t", b"\xc1-b_c"] {
            assert_eq!(index.find(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn an_index_of_nothing_finds_nothing() {
        assert_eq!(Names::new([].into_iter()).find(b"get"), None);
    }

    proptest! {
        #[test]
        fn folding_a_word_is_folding_its_bytes(word: u64) {
            prop_assert_eq!(lower(word).to_le_bytes(), word.to_le_bytes().map(|byte| byte.to_ascii_lowercase()));
        }

        #[test]
        fn a_folded_name_tells_names_apart(a in "[a-cA-C_]{1,24}", b in "[a-cA-C_]{1,24}") {
            let same = a.len() == b.len() && folded(a.as_bytes()) == folded(b.as_bytes());
            prop_assert_eq!(same, a.eq_ignore_ascii_case(&b));
        }
    }
}
