//! The floating-point numbers of INCRBYFLOAT: the 80-bit `long double` of x86-64, in whole numbers.
//!
//! Redis parses both numbers to `long double`, adds them, prints 17 decimals and trims the zeros. Its 64-bit mantissa is
//! what makes 10.5 + 0.1 read 10.6; with `f64` the same digits would show 10.59999999999999964. Rust has no such type, so
//! it is done here exactly: a number is mantissa x 2^exponent, every operation rounds once, to the nearest, ties to even.

use super::natural::Natural;

/// Redis parses from a buffer of this size.
const LONGEST: usize = 5 * 1024;

/// A number of at least one digit with a larger decimal exponent is infinite.
const LARGEST_EXPONENT: i64 = 5_000;

/// A number of at most [`LONGEST`] digits with a smaller decimal exponent is nothing at all.
const SMALLEST_EXPONENT: i64 = -10_200;

/// The largest exponent of a number's top bit.
const TOP_BIT_MAX: i64 = 16383;

/// Below this exponent of its top bit a number rounds to zero.
const TOP_BIT_MIN: i64 = -16446;

/// An extended-precision number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// `mantissa` x 2^`exponent`; the mantissa's top bit is set unless the number is zero.
    Finite {
        /// Below zero.
        negative: bool,
        /// 64 bits.
        mantissa: u64,
        /// Of 2.
        exponent: i64,
    },
    /// `inf` and `-inf`.
    Infinite {
        /// Below zero.
        negative: bool,
    },
    /// Of two infinities of opposite sign.
    NotANumber,
}

impl Extended {
    /// What a key that is not there counts for.
    pub const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// As `strtold` reads it, as far as Redis lets it: nothing before or behind the number, and no number that is out of
    /// range.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() >= LONGEST {
            return None;
        }
        let (negative, rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        match rest {
            [b'0', b'x' | b'X', digits @ ..] => Literal::parse(digits, 16)?.round(negative),
            digits => Literal::parse(digits, 10)?.round(negative),
        }
    }

    /// The sum, rounded once.
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotANumber, _) | (_, Self::NotANumber) => Self::NotANumber,
            (Self::Infinite { negative: one }, Self::Infinite { negative: two }) if one != two => Self::NotANumber,
            (Self::Infinite { .. }, _) => self,
            (_, Self::Infinite { .. }) => other,
            (Self::Finite { negative, mantissa, exponent }, Self::Finite { negative: n, mantissa: m, exponent: e }) => {
                if mantissa == 0 {
                    other
                } else if m == 0 {
                    self
                } else if (exponent, mantissa) >= (e, m) {
                    sum((negative, mantissa, exponent), (n, m, e))
                } else {
                    sum((n, m, e), (negative, mantissa, exponent))
                }
            }
        }
    }

    /// Seventeen decimals without the zeros at their end; `None` if it is not finite.
    pub fn text(self) -> Option<String> {
        let Self::Finite { negative, mantissa, exponent } = self else {
            return None;
        };
        let digits = if exponent >= 0 {
            let mut whole = Natural::from(mantissa);
            whole.shift_left(exponent.unsigned_abs() as usize);
            whole.decimal()
        } else {
            // Below 2^64 x 10^17, which is below 2^121.
            let scaled = u128::from(mantissa) * 10_u128.pow(17);
            let shifted = shift_right_rounded(scaled, exponent.unsigned_abs());
            let text = format!("{shifted:018}");
            let (whole, decimals) = text.split_at(text.len() - 17);
            let decimals = decimals.trim_end_matches('0');
            if decimals.is_empty() { whole.to_owned() } else { format!("{whole}.{decimals}") }
        };
        Some(if negative && digits != "0" { format!("-{digits}") } else { digits })
    }
}

/// Adds the smaller to the larger of two numbers, both with their top bit set.
fn sum(large: (bool, u64, i64), small: (bool, u64, i64)) -> Extended {
    // 62 bits of room below the larger mantissa; what falls out of it leaves a mark in the last bit.
    let gap = large.2 - small.2;
    let high = u128::from(large.1) << 62;
    let low = u128::from(small.1) << 62;
    let low = match u32::try_from(gap) {
        Ok(gap) if gap < 127 => {
            let kept = low >> gap;
            kept | u128::from(kept << gap != low)
        }
        _ => 1,
    };
    let total = if large.0 == small.0 { high + low } else { high - low };
    if total == 0 {
        return Extended::ZERO;
    }
    let bits = i64::from(128 - total.leading_zeros());
    let (mantissa, exponent) = if bits <= 64 {
        ((total << (64 - bits)) as u64, bits - 64)
    } else {
        round_mantissa(shift_right_rounded(total, (bits - 64).unsigned_abs()), bits - 64)
    };
    let exponent = large.2 - 62 + exponent;
    if exponent + 63 > TOP_BIT_MAX {
        return Extended::Infinite { negative: large.0 };
    }
    Extended::Finite { negative: large.0, mantissa, exponent }
}

/// A rounded mantissa may have become 2^64: then it is half of that, one exponent up.
fn round_mantissa(mantissa: u128, exponent: i64) -> (u64, i64) {
    match u64::try_from(mantissa) {
        Ok(mantissa) => (mantissa, exponent),
        Err(_) => (1 << 63, exponent + 1),
    }
}

/// `value` / 2^`by`, to the nearest, ties to even.
fn shift_right_rounded(value: u128, by: u64) -> u128 {
    let Some(by) = u32::try_from(by).ok().filter(|&by| by < 128) else {
        return 0;
    };
    if by == 0 {
        return value;
    }
    let kept = value >> by;
    let rest = value - (kept << by);
    let half = 1_u128 << (by - 1);
    kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
}

/// A number as it is written: `digits` x `base`^`exponent`, where a hexadecimal one counts its exponent in bits.
struct Literal {
    digits: Natural,
    base: u32,
    exponent: i64,
}

impl Literal {
    fn parse(text: &[u8], base: u32) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(base);
        let per_digit = if base == 16 { 4 } else { 1 };
        let mut literal = Self { digits: Natural::from(0), base, exponent: 0 };
        let (mut seen, mut point, mut i) = (false, false, 0);
        while let Some(&byte) = text.get(i) {
            if let Some(value) = digit(byte) {
                seen = true;
                literal.digits.multiply_add(base, value);
                literal.exponent -= if point { per_digit } else { 0 };
            } else if byte == b'.' && !point {
                point = true;
            } else {
                break;
            }
            i += 1;
        }
        let marker = if base == 16 { b'p' } else { b'e' };
        match text.get(i) {
            _ if !seen => return None,
            None => return Some(literal),
            Some(byte) if byte.to_ascii_lowercase() == marker => {}
            Some(_) => return None,
        }
        let (negative, power) = match &text[i + 1..] {
            [b'-', power @ ..] => (true, power),
            [b'+', power @ ..] => (false, power),
            power => (false, power),
        };
        if power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let power =
            power.iter().fold(0_i64, |sum, &byte| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
        literal.exponent = literal.exponent.saturating_add(if negative { -power } else { power });
        Some(literal)
    }

    fn round(mut self, negative: bool) -> Option<Extended> {
        if self.digits.is_zero() {
            return Some(Extended::Finite { negative, mantissa: 0, exponent: 0 });
        }
        let mut divisor = Natural::from(1);
        let mut exponent = 0;
        if self.base == 16 {
            exponent = self.exponent;
        } else if (SMALLEST_EXPONENT..=LARGEST_EXPONENT).contains(&self.exponent) {
            let scaled = if self.exponent < 0 { &mut divisor } else { &mut self.digits };
            scaled.multiply_by_power_of_ten(self.exponent.unsigned_abs());
        } else {
            return None;
        }
        // Scaled for a quotient of 66 or 67 bits; one more marks whether anything was left over.
        let room = 66 + divisor.bits() as i64 - self.digits.bits() as i64;
        let scaled = if room < 0 { &mut divisor } else { &mut self.digits };
        scaled.shift_left(room.unsigned_abs() as usize);
        let (quotient, exact) = self.digits.divide(&divisor);
        let marked = quotient << 1 | u128::from(!exact);
        let below = u64::from(64 - marked.leading_zeros());
        let rounded = shift_right_rounded(marked, below);
        let exponent = exponent.saturating_add(below as i64 - 1 - room);
        let (mantissa, exponent) = round_mantissa(rounded, exponent);
        let top = exponent.saturating_add(63);
        (TOP_BIT_MIN..=TOP_BIT_MAX).contains(&top).then_some(Extended::Finite { negative, mantissa, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(one: &str, two: &str) -> Option<String> {
        Extended::parse(one.as_bytes())?.plus(Extended::parse(two.as_bytes())?).text()
    }

    #[test]
    fn sums_read_as_long_double_prints_them() {
        for (one, two, expected) in [
            ("10.5", "0.1", "10.6"),
            ("3", "1.1", "4.1"),
            ("0.1", "0.2", "0.3"),
            ("1e19", "1", "10000000000000000001"),
            ("1", "-1", "0"),
            ("-0.5", "0.25", "-0.25"),
            ("1e-20", "0", "0"),
            ("-1e-20", "0", "0"),
            ("0x1p3", "0x.8", "8.5"),
            ("9007199254740993", "0.5", "9007199254740993.5"),
            ("0.0000000000000000051", "0", "0.00000000000000001"),
            ("1.", ".5", "1.5"),
        ] {
            assert_eq!(added(one, two).as_deref(), Some(expected), "{one} + {two}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in [
            "",
            " 1",
            "1 ",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x",
            "nan",
            "1e6000",
            "1e-6000",
            "1e99999999999999999999",
            "--1",
            "1_0",
        ] {
            assert_eq!(Extended::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(added("inf", "1"), None);
        assert_eq!(added("1e4932", "1.1e4932"), None);
    }
}
