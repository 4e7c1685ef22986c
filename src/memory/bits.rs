//! Strings as arrays of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Bit 0 is the highest of the first byte.

use super::call::Call;
use super::ranges::span;
use super::store::Lifetime;
use super::text::{LONGEST, Text, parse_integer};
use crate::keyvalue::Refusal;

/// SETBIT key offset value
pub(super) fn setbit(call: &mut Call<'_>) -> Result<(), Refusal> {
    let offset = bit_offset(call.arg(2))?;
    let bit = match parse_integer(call.arg(3)) {
        Some(0) => 0,
        Some(1) => 1,
        _ => return Err(Refusal::BIT),
    };
    let bytes = call.store.grow(call.db, call.arg(1), offset / 8 + 1, call.now)?;
    let old = bit_at(bytes, offset);
    let mask = 0x80 >> (offset % 8);
    if bit == 1 {
        bytes[offset / 8] |= mask;
    } else {
        bytes[offset / 8] &= !mask;
    }
    call.reply_integer(i64::from(old))
}

/// GETBIT key offset
pub(super) fn getbit(call: &mut Call<'_>) -> Result<(), Refusal> {
    let offset = bit_offset(call.arg(2))?;
    let entry = call.store.read(call.db, call.arg(1), call.now);
    let bit = entry.map_or(0, |entry| bit_at(&entry.text.bytes(), offset));
    call.reply_integer(i64::from(bit))
}

/// BITCOUNT key [start end [BYTE | BIT]]
pub(super) fn bitcount(call: &mut Call<'_>) -> Result<(), Refusal> {
    let Some(entry) = call.store.read(call.db, call.arg(1), call.now) else {
        return call.reply_integer(0);
    };
    let bytes = entry.text.bytes();
    let cmd = call.cmd;
    let integer = |i| parse_integer(cmd.arg(i)).ok_or(Refusal::INTEGER);
    let bits = match cmd.len() {
        2 => 0..bytes.len() * 8,
        4 | 5 => {
            let (start, end) = (integer(2)?, integer(3)?);
            // Redis answers a range that runs backwards from the end before it reads the unit.
            if start < 0 && end < 0 && start > end {
                return call.reply_integer(0);
            }
            let unit = Unit::of(cmd.opt(4))?;
            unit.bits(span(start, end, unit.count(bytes.len())))
        }
        _ => return Err(Refusal::SYNTAX),
    };
    let count = count_ones(&bytes, bits);
    call.reply_len(count)
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub(super) fn bitpos(call: &mut Call<'_>) -> Result<(), Refusal> {
    let bit = match call.integer(2)? {
        0 => 0,
        1 => 1,
        _ => return Err(Refusal::BIT_VALUE),
    };
    let Some(entry) = call.store.read(call.db, call.arg(1), call.now) else {
        return call.reply_integer(-bit);
    };
    let bytes = entry.text.bytes();
    let cmd = call.cmd;
    let integer = |i| parse_integer(cmd.arg(i)).ok_or(Refusal::INTEGER);
    let bits = match cmd.len() {
        3 => 0..bytes.len() * 8,
        4..=6 => {
            let start = integer(3)?;
            let unit = Unit::of(cmd.opt(5))?;
            let end = if cmd.len() > 4 { integer(4)? } else { -1 };
            unit.bits(forward_span(start, end, unit.count(bytes.len())))
        }
        _ => return Err(Refusal::SYNTAX),
    };
    let end = bits.end;
    let found = if bits.is_empty() {
        -1
    } else {
        match find_bit(&bytes, bits, bit == 1) {
            Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
            // Without an end the string is taken to go on with zeros.
            None if bit == 0 && cmd.len() <= 4 => i64::try_from(end).unwrap_or(i64::MAX),
            None => -1,
        }
    };
    call.reply_integer(found)
}

/// BITOP AND | OR | XOR | NOT destkey key [key ...]
pub(super) fn bitop(call: &mut Call<'_>) -> Result<(), Refusal> {
    let cmd = call.cmd;
    // NOT has no second operand.
    let combine: Option<fn(u8, u8) -> u8> = match cmd.arg(1).to_ascii_lowercase().as_slice() {
        b"and" => Some(|one, two| one & two),
        b"or" => Some(|one, two| one | two),
        b"xor" => Some(|one, two| one ^ two),
        b"not" if cmd.len() != 4 => return Err(Refusal::BITOP_NOT),
        b"not" => None,
        _ => return Err(Refusal::SYNTAX),
    };
    let mut len = 0;
    for key in cmd.args(3) {
        len = call.store.peek(call.db, key, call.now).map_or(0, |entry| entry.text.len()).max(len);
    }
    let destination = cmd.arg(2);
    if len == 0 {
        call.store.remove(call.db, destination, call.now);
        return call.reply_integer(0);
    }
    let mut result: Vec<u8> = Vec::new();
    for key in cmd.args(3) {
        let entry = call.store.read(call.db, key, call.now);
        let source = entry.map(|entry| entry.text.bytes()).unwrap_or_default();
        let padded = source.iter().copied().chain(std::iter::repeat(0)).take(len);
        match combine.filter(|_| !result.is_empty()) {
            None => result.extend(padded),
            Some(combine) => {
                result.iter_mut().zip(padded).for_each(|(byte, other)| *byte = combine(*byte, other));
            }
        }
    }
    if combine.is_none() {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    call.store.write(call.db, destination, Text::Grown(result), Lifetime::Forever, call.now)?;
    call.reply_len(len)
}

/// What the start and end of a range count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn of(word: Option<&[u8]>) -> Result<Self, Refusal> {
        match word.map(<[u8]>::to_ascii_lowercase).as_deref() {
            None | Some(b"byte") => Ok(Self::Byte),
            Some(b"bit") => Ok(Self::Bit),
            Some(_) => Err(Refusal::SYNTAX),
        }
    }

    /// How many of them `bytes` bytes are.
    fn count(self, bytes: usize) -> usize {
        match self {
            Self::Byte => bytes,
            Self::Bit => bytes * 8,
        }
    }

    fn bits(self, span: Option<std::ops::Range<usize>>) -> std::ops::Range<usize> {
        let span = span.unwrap_or(0..0);
        match self {
            Self::Byte => span.start * 8..span.end * 8,
            Self::Bit => span,
        }
    }
}

/// As [`span`], but a range that runs backwards from the end is clamped before it is compared.
fn forward_span(start: i64, end: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let size = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |at: i64| {
        if at < 0 { at.saturating_add(size).max(0) } else { at }
    };
    span(absolute(start), absolute(end), len)
}

/// The position that the offset argument of SETBIT and GETBIT names.
pub(super) fn bit_offset(offset: &[u8]) -> Result<usize, Refusal> {
    parse_integer(offset)
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset / 8 < LONGEST)
        .ok_or(Refusal::BIT_OFFSET)
}

/// Bit `at`; zero behind the end.
pub(super) fn bit_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1)
}

fn count_ones(bytes: &[u8], bits: std::ops::Range<usize>) -> usize {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first >= last {
        return bits.filter(|&at| bit_at(bytes, at) == 1).count();
    }
    let edges = (bits.start..first * 8).chain(last * 8..bits.end);
    let whole: usize = bytes[first..last].iter().map(|byte| byte.count_ones() as usize).sum();
    whole + edges.filter(|&at| bit_at(bytes, at) == 1).count()
}

fn find_bit(bytes: &[u8], bits: std::ops::Range<usize>, one: bool) -> Option<usize> {
    let barren = if one { 0x00 } else { 0xFF };
    let mut at = bits.start;
    while at < bits.end {
        if at.is_multiple_of(8) && bytes.get(at / 8) == Some(&barren) {
            at += 8;
        } else if (bit_at(bytes, at) == 1) == one {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn bits_count_from_the_highest() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("SETBIT k 1 1"), ":0");
        assert_eq!(shell.run("SETBIT k 7 1"), ":0");
        assert_eq!(shell.run("GET k"), "$1 A");
        assert_eq!(shell.run("SETBIT k 1 0"), ":1");
        assert_eq!(shell.run("GETBIT k 7"), ":1");
        assert_eq!(shell.run("GETBIT k 4294967295"), ":0");
        assert_eq!(shell.run("GETBIT k 4294967296"), "-ERR bit offset is not an integer or out of range");
        assert_eq!(shell.run("SETBIT k 1 2"), "-ERR bit is not an integer or out of range");
    }

    #[test]
    fn ranges_of_bits_and_bytes_are_counted() {
        let mut shell = Shell::new();
        shell.run("SET k foobar");
        assert_eq!(shell.run("BITCOUNT k"), ":26");
        assert_eq!(shell.run("BITCOUNT k 1 1"), ":6");
        assert_eq!(shell.run("BITCOUNT k 5 30 BIT"), ":17");
        assert_eq!(shell.run("BITCOUNT k 0 -5 BIT"), ":25");
        assert_eq!(shell.run("BITCOUNT k 1"), "-ERR syntax error");
    }

    #[test]
    fn a_clear_bit_is_found_behind_the_end_only_without_an_end() {
        let mut shell = Shell::new();
        shell.run_args(&[b"SET", b"k", b"\xff\xff"]);
        assert_eq!(shell.run("BITPOS k 0"), ":16");
        assert_eq!(shell.run("BITPOS k 0 1"), ":16");
        assert_eq!(shell.run("BITPOS k 0 0 -1"), ":-1");
        assert_eq!(shell.run("BITPOS k 1 9 12 BIT"), ":9");
        assert_eq!(shell.run("BITPOS none 1"), ":-1");
    }

    #[test]
    fn strings_are_combined_as_if_padded_with_zeros() {
        let mut shell = Shell::new();
        shell.run("MSET a abc b b");
        assert_eq!(shell.run("BITOP AND d a b"), ":3");
        assert_eq!(shell.run("GET d"), "$3 `\0\0");
        assert_eq!(shell.run("BITOP XOR d a"), ":3");
        assert_eq!(shell.run("GET d"), "$3 abc");
        assert_eq!(shell.run("BITOP OR d b none"), ":1");
        assert_eq!(shell.run("BITOP NOT d a b"), "-ERR BITOP NOT must be called with a single source key.");
        assert_eq!(shell.run("BITOP AND d none"), ":0");
        assert_eq!(shell.run("EXISTS d"), ":0");
    }
}
