//! Decimal integers as the protocol writes them: one spelling per value, no sign but a minus, no leading zeros.
//!
//! Being strict matters here. A length that two parsers read differently (`$+3`, `$03`, `$4294967297` on 32 bits) is
//! how one side takes for data what the other takes for a command. Redis reads every length with `string2ll`, and so
//! does this module. Loops over single bytes: a search for the line's end costs more than reading four digits.

/// The most digits of a length that is read the short way; ten hold every length that Redis allows.
const SHORT: usize = 10;

/// Reads a non-negative length at `buf[at..]` with the CR LF behind it: the length and where the next byte lies.
///
/// `None` says only that it is not a whole, short and correct one; callers then find out why.
#[inline]
pub fn length(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = buf.get(at..)?;
    let mut value = 0u64;
    let mut digits = 0;
    loop {
        let byte = *line.get(digits)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let ends = byte == b'\r' && digits > 0 && *line.get(digits + 1)? == b'\n';
            return if ends { Some((usize::try_from(value).ok()?, at + digits + 2)) } else { None };
        }
        // A digit behind a zero that stands first.
        if digits == SHORT || (digits == 1 && value == 0) {
            return None;
        }
        value = value * 10 + u64::from(digit);
        digits += 1;
    }
}

/// An integer as Redis's `string2ll` accepts it; `None` for any other spelling and for what an `i64` cannot hold.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0', ..] if negative || digits.len() > 1 => return None,
        _ => {}
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Counted downwards, since the smallest integer has no positive twin.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Appends `value` in decimal.
#[inline]
pub fn write(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends a length or a count in decimal.
#[inline]
pub(super) fn write_length(out: &mut Vec<u8>, value: usize) {
    write_unsigned(out, value as u64);
}

/// Appends `value` in decimal.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    // Twenty digits hold every u64.
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    while value > 0 {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_has_one_spelling() {
        assert_eq!(length(b"$0\r\n", 1), Some((0, 4)));
        assert_eq!(length(b"16\r\nx", 0), Some((16, 4)));
        assert_eq!(length(b"4294967297\r\n", 0), Some((4_294_967_297, 12)));
        let wrong = ["", "1", "1\r", "\r\n", "01\r\n", "00\r\n", "+1\r\n", "-1\r\n", " 1\r\n", "1 \r\n", "1\rx", "1\n"];
        for text in wrong.into_iter().chain(["99999999999\r\n", "18446744073709551617\r\n"]) {
            assert_eq!(length(text.as_bytes(), 0), None, "{text:?}");
        }
    }

    #[test]
    fn integers_reach_both_ends_and_no_further() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"-1"), Some(-1));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for text in
            ["", "-", "-0", "00", "01", "-01", "+1", " 1", "1 ", "1a", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value: i64) {
            let mut out = Vec::new();
            write(&mut out, value);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), value.to_string());
            prop_assert_eq!(integer(&out), Some(value));
        }

        #[test]
        fn an_integer_is_read_as_the_standard_library_reads_its_own_spelling(text in "[-+0-9a]{0,21}") {
            let std = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(integer(text.as_bytes()), std);
        }
    }
}
