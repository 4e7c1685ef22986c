//! Parts of values: APPEND, STRLEN, GETRANGE, SETRANGE.

use super::call::Call;
use super::store::Lifetime;
use super::text::{LONGEST, Text};
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// APPEND key value
pub(super) fn append(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (key, tail) = (call.arg(1), call.arg(2));
    let Some(old) = call.store.peek(call.db, key, call.now).map(|entry| entry.text.len()) else {
        call.store.write(call.db, key, Text::new(tail), Lifetime::Forever, call.now)?;
        return call.reply_len(tail.len());
    };
    let len = checked_len(old, tail.len())?;
    call.store.grow(call.db, key, len, call.now)?[old..].copy_from_slice(tail);
    call.reply_len(len)
}

/// STRLEN key
pub(super) fn strlen(call: &mut Call<'_>) -> Result<(), Refusal> {
    let len = call.store.read(call.db, call.arg(1), call.now).map_or(0, |entry| entry.text.len());
    call.reply_len(len)
}

/// GETRANGE key start end, also called SUBSTR
pub(super) fn getrange(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(entry) = call.store.read(call.db, call.arg(1), call.now) else {
        return call.reply_bulk(b"");
    };
    let bytes = entry.text.bytes();
    encode::bulk(call.out, span(start, end, bytes.len()).map_or(&[], |span| &bytes[span]));
    Ok(())
}

/// SETRANGE key offset value
pub(super) fn setrange(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (key, part) = (call.arg(1), call.arg(3));
    let offset = usize::try_from(call.integer(2)?).map_err(|_| Refusal::OFFSET)?;
    if part.is_empty() {
        return strlen(call);
    }
    let end = checked_len(offset, part.len())?;
    let bytes = call.store.grow(call.db, key, end, call.now)?;
    bytes[offset..end].copy_from_slice(part);
    let len = bytes.len();
    call.reply_len(len)
}

/// The positions from `start` to `end`, both included and counted from the end when negative, that a string of `len` has.
pub(super) fn span(start: i64, end: i64, len: usize) -> Option<std::ops::Range<usize>> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let size = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |at: i64| {
        if at < 0 { at.saturating_add(size).max(0) } else { at }
    };
    let (start, end) = (absolute(start), absolute(end).min(size - 1));
    (start <= end).then(|| start as usize..end as usize + 1)
}

fn checked_len(old: usize, more: usize) -> Result<usize, Refusal> {
    old.checked_add(more).filter(|&len| len <= LONGEST).ok_or(Refusal::TOO_LONG)
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;
    use super::span;

    #[test]
    fn ranges_clamp_to_the_string() {
        assert_eq!(span(0, -1, 3), Some(0..3));
        assert_eq!(span(-100, 100, 3), Some(0..3));
        assert_eq!(span(-1, -2, 3), None);
        assert_eq!(span(3, 5, 3), None);
        assert_eq!(span(-10, -9, 3), Some(0..1));
        assert_eq!(span(0, 0, 0), None);
        assert_eq!(span(i64::MIN, i64::MAX, 3), Some(0..3));
    }

    #[test]
    fn setrange_pads_with_zeros_and_creates_nothing_for_nothing() {
        let mut shell = Shell::new();
        assert_eq!(shell.run("SETRANGE k 5 "), ":0");
        assert_eq!(shell.run("EXISTS k"), ":0");
        assert_eq!(shell.run("SETRANGE k 2 ab"), ":4");
        assert_eq!(shell.run("GET k"), "$4 \0\0ab");
        assert_eq!(shell.run("SETRANGE k -1 x"), "-ERR offset is out of range");
        assert_eq!(
            shell.run("SETRANGE k 536870912 x"),
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        );
    }
}
