//! A value: always a string, held in the cheapest of three ways.
//!
//! The ways follow Redis's object encodings, so that `OBJECT ENCODING` tells the truth and numbers cost no allocation.

use std::borrow::Cow;

pub(super) use crate::resp::number::integer as parse_integer;

/// The longest string that Redis keeps in one allocation with its header (`embstr`).
const EMBEDDED: usize = 44;

/// The longest string, `proto-max-bulk-len` at its default.
pub(super) const LONGEST: usize = 512 * 1024 * 1024;

/// Spare room of a growing string at most, as in Redis's strings.
const SPARE: usize = 1024 * 1024;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// A number in the form that Redis would print.
    Integer(i64),
    /// Bytes that were set whole.
    Fixed(Box<[u8]>),
    /// Bytes that have been written in part (APPEND, SETRANGE, SETBIT) and have room to grow.
    Grown(Vec<u8>),
}

impl Text {
    /// As SET keeps its argument.
    pub(super) fn new(bytes: &[u8]) -> Self {
        match parse_integer(bytes) {
            Some(number) => Self::Integer(number),
            None => Self::Fixed(bytes.into()),
        }
    }

    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Fixed(bytes) => Cow::Borrowed(bytes),
            Self::Grown(bytes) => Cow::Borrowed(bytes),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integer(number) => {
                let sign = usize::from(*number < 0);
                sign + number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1)
            }
            Self::Fixed(bytes) => bytes.len(),
            Self::Grown(bytes) => bytes.len(),
        }
    }

    /// The number that these bytes are, if they are one.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Fixed(bytes) => parse_integer(bytes),
            Self::Grown(bytes) => parse_integer(bytes),
        }
    }

    /// The name that `OBJECT ENCODING` has for this.
    pub(super) fn encoding(&self) -> &'static str {
        match self {
            Self::Integer(_) => "int",
            Self::Fixed(bytes) if bytes.len() <= EMBEDDED => "embstr",
            Self::Fixed(_) | Self::Grown(_) => "raw",
        }
    }

    /// Bytes on the heap.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Integer(_) => 0,
            Self::Fixed(bytes) => bytes.len(),
            Self::Grown(bytes) => bytes.capacity(),
        }
    }

    /// The capacity that [`Text::grow`] would end with.
    pub(super) fn grown_capacity(&self, len: usize) -> usize {
        match self {
            Self::Grown(bytes) if bytes.capacity() >= len => bytes.capacity(),
            Self::Grown(_) => len.saturating_add(len.min(SPARE)),
            Self::Integer(_) | Self::Fixed(_) => len.max(self.len()),
        }
    }

    /// Turns this into bytes that may be written in place, zero-filled to at least `len`; never shorter than before.
    pub(super) fn grow(&mut self, len: usize) -> &mut [u8] {
        let capacity = self.grown_capacity(len);
        if !matches!(self, Self::Grown(_)) {
            let mut bytes = Vec::with_capacity(capacity);
            bytes.extend_from_slice(&self.bytes());
            *self = Self::Grown(bytes);
        }
        let Self::Grown(bytes) = self else {
            return &mut [];
        };
        if bytes.len() < len {
            bytes.reserve_exact(capacity - bytes.len());
            bytes.resize(len, 0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_a_number_is_that_of_its_text() {
        for number in [0, 9, 10, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(Text::Integer(number).len(), number.to_string().len());
        }
    }

    #[test]
    fn growing_keeps_the_bytes_and_fills_with_zeros() {
        let mut text = Text::new(b"12");
        assert_eq!(text.grow(4), b"12\0\0");
        assert_eq!(text.grow(2), b"12\0\0");
        assert_eq!(text.encoding(), "raw");
        let expected = text.grown_capacity(5);
        text.grow(5);
        assert_eq!(text.allocated(), expected);
    }
}
