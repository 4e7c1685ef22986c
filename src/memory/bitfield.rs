//! Strings as arrays of integers of any width: BITFIELD and BITFIELD_RO.

use super::bits::bit_at;
use super::call::Call;
use super::text::{LONGEST, parse_integer};
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// An integer type: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy)]
struct Width {
    signed: bool,
    bits: u32,
}

/// What becomes of a value that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

struct Operation {
    action: Action,
    width: Width,
    offset: usize,
    overflow: Overflow,
}

/// BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment] ...
pub(super) fn bitfield(call: &mut Call<'_>) -> Result<(), Refusal> {
    let operations = parse(call)?;
    run(call, &operations)
}

/// BITFIELD_RO key [GET type offset ...]
pub(super) fn bitfield_ro(call: &mut Call<'_>) -> Result<(), Refusal> {
    let operations = parse(call)?;
    if operations.iter().any(Operation::writes) {
        return Err(Refusal::BITFIELD_READ_ONLY);
    }
    run(call, &operations)
}

fn parse(call: &Call<'_>) -> Result<Vec<Operation>, Refusal> {
    let cmd = call.cmd;
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 2;
    while i < cmd.len() {
        let behind = cmd.len() - i - 1;
        if cmd.is(i, "overflow") && behind >= 1 {
            overflow = match cmd.arg(i + 1).to_ascii_lowercase().as_slice() {
                b"wrap" => Overflow::Wrap,
                b"sat" => Overflow::Saturate,
                b"fail" => Overflow::Fail,
                _ => return Err(Refusal::OVERFLOW_TYPE),
            };
            i += 2;
            continue;
        }
        let make: fn(i64) -> Action = if cmd.is(i, "get") && behind >= 2 {
            |_| Action::Get
        } else if cmd.is(i, "set") && behind >= 3 {
            Action::Set
        } else if cmd.is(i, "incrby") && behind >= 3 {
            Action::Increment
        } else {
            return Err(Refusal::SYNTAX);
        };
        let width = Width::parse(cmd.arg(i + 1)).ok_or(Refusal::BITFIELD_TYPE)?;
        let offset = width.offset(cmd.arg(i + 2)).ok_or(Refusal::BIT_OFFSET)?;
        let reads = matches!(make(0), Action::Get);
        let value = if reads { 0 } else { call.integer(i + 3)? };
        operations.push(Operation { action: make(value), width, offset, overflow });
        i += if reads { 3 } else { 4 };
    }
    Ok(operations)
}

fn run(call: &mut Call<'_>, operations: &[Operation]) -> Result<(), Refusal> {
    let end = operations.iter().filter(|one| one.writes()).map(Operation::end).max();
    let key = call.arg(1);
    let out = &mut *call.out;
    encode::array(out, operations.len());
    let Some(end) = end else {
        let entry = call.store.read(call.db, key, call.now);
        let bytes = entry.map(|entry| entry.text.bytes()).unwrap_or_default();
        for one in operations {
            encode::integer(out, one.width.read(&bytes, one.offset) as i64);
        }
        return Ok(());
    };
    // Grown even if every operation fails, as in Redis.
    let bytes = call.store.grow(call.db, key, end.div_ceil(8), call.now)?;
    for one in operations {
        let old = one.width.read(bytes, one.offset);
        let wanted = match one.action {
            Action::Get => {
                encode::integer(out, old as i64);
                continue;
            }
            Action::Set(value) if one.width.signed => i128::from(value),
            Action::Set(value) => i128::from(value as u64),
            Action::Increment(by) => old + i128::from(by),
        };
        let Some(new) = one.width.fit(wanted, one.overflow) else {
            encode::null(out, call.proto);
            continue;
        };
        one.width.write(bytes, one.offset, new);
        let shown = if matches!(one.action, Action::Set(_)) { old } else { new };
        encode::integer(out, shown as i64);
    }
    Ok(())
}

// === impl Operation ===

impl Operation {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// One past its last bit.
    fn end(&self) -> usize {
        self.offset + self.width.bits as usize
    }
}

// === impl Width ===

impl Width {
    fn parse(text: &[u8]) -> Option<Self> {
        let (signed, digits, most) = match text {
            [b'i', digits @ ..] => (true, digits, 64),
            [b'u', digits @ ..] => (false, digits, 63),
            _ => return None,
        };
        let bits = u32::try_from(parse_integer(digits)?).ok()?;
        (1..=most).contains(&bits).then_some(Self { signed, bits })
    }

    /// A position in bits, or behind `#` in integers of this width.
    fn offset(self, text: &[u8]) -> Option<usize> {
        let (digits, unit) = match text {
            [b'#', digits @ ..] => (digits, i64::from(self.bits)),
            digits => (digits, 1),
        };
        let offset = usize::try_from(parse_integer(digits)?.checked_mul(unit)?).ok()?;
        (offset / 8 < LONGEST).then_some(offset)
    }

    fn read(self, bytes: &[u8], offset: usize) -> i128 {
        let raw =
            (offset..offset + self.bits as usize).fold(0_i128, |sum, at| sum << 1 | i128::from(bit_at(bytes, at)));
        self.wrap(raw)
    }

    fn write(self, bytes: &mut [u8], offset: usize, value: i128) {
        for i in 0..self.bits as usize {
            let (at, shift) = (offset + i, self.bits as usize - 1 - i);
            let mask = 0x80 >> (at % 8);
            if value >> shift & 1 == 1 {
                bytes[at / 8] |= mask;
            } else {
                bytes[at / 8] &= !mask;
            }
        }
    }

    /// The value's lowest bits as this type reads them.
    fn wrap(self, value: i128) -> i128 {
        let kept = value & ((1 << self.bits) - 1);
        if self.signed && kept >> (self.bits - 1) & 1 == 1 { kept - (1 << self.bits) } else { kept }
    }

    fn fit(self, value: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        match overflow {
            _ if (least..=most).contains(&value) => Some(value),
            Overflow::Wrap => Some(self.wrap(value)),
            Overflow::Saturate => Some(value.clamp(least, most)),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;

    #[test]
    fn fields_wrap_saturate_or_fail() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("BITFIELD k SET u8 0 255 GET i8 0"), "*2 :0 :-1");
        assert_eq!(shell.run("BITFIELD k INCRBY u8 0 2"), "*1 :1");
        assert_eq!(shell.run("BITFIELD k OVERFLOW SAT INCRBY u8 #0 -9 INCRBY u8 0 300"), "*2 :0 :255");
        assert_eq!(shell.run("BITFIELD k OVERFLOW FAIL INCRBY u8 0 1"), "*1 $-1");
        assert_eq!(shell.run("BITFIELD k"), "*0");
        assert_eq!(shell.run("BITFIELD k GET i64 100"), "*1 :0");
        assert_eq!(shell.run("STRLEN k"), ":1");
    }

    #[test]
    fn only_reads_pass_as_read_only() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("BITFIELD_RO k SET u8 0 1"), "-ERR BITFIELD_RO only supports the GET subcommand");
        assert_eq!(shell.run("BITFIELD_RO k GET u63 0"), "*1 :0");
        assert!(shell.run("BITFIELD k GET u64 0").starts_with("-ERR Invalid bitfield type."));
    }
}
