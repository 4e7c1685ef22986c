//! Natural numbers of any size, as far as exact decimal conversion needs them. See [`super::float`].

use std::cmp::Ordering;

/// A natural number of any size: 32-bit digits, the lowest first, no zeros on top.
#[derive(Clone)]
pub(super) struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut natural = Self(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    pub(super) fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for digit in &mut self.0 {
            let product = u64::from(*digit) * u64::from(factor) + carry;
            *digit = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    pub(super) fn shift_left(&mut self, by: usize) {
        if self.is_zero() {
            return;
        }
        let (words, bits) = (by / 32, by % 32);
        self.multiply_add(1 << bits, 0);
        self.0.splice(0..0, std::iter::repeat_n(0, words));
    }

    pub(super) fn multiply_by_power_of_ten(&mut self, mut power: u64) {
        while power > 0 {
            let step = power.min(9);
            self.multiply_add(10_u32.pow(step as u32), 0);
            power -= step;
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn subtract(&mut self, smaller: &Self) {
        let mut borrow = 0_i64;
        for (i, digit) in self.0.iter_mut().enumerate() {
            let other = smaller.0.get(i).map_or(0, |&digit| i64::from(digit));
            let difference = i64::from(*digit) - other - borrow;
            *digit = difference as u32;
            borrow = i64::from(difference < 0);
        }
        self.trim();
    }

    /// The quotient, of at most 128 bits, and whether the division leaves nothing. Bit by bit: callers scale it to few.
    pub(super) fn divide(&self, divisor: &Self) -> (u128, bool) {
        let mut rest = self.clone();
        let mut quotient = 0;
        for bit in (0..=self.bits().saturating_sub(divisor.bits())).rev() {
            let mut part = divisor.clone();
            part.shift_left(bit);
            quotient <<= 1;
            if rest.compare(&part) != Ordering::Less {
                rest.subtract(&part);
                quotient |= 1;
            }
        }
        (quotient, rest.is_zero())
    }

    pub(super) fn decimal(mut self) -> String {
        const GROUP: u64 = 1_000_000_000;
        let mut groups = Vec::new();
        while !self.is_zero() {
            let mut rest = 0_u64;
            for digit in self.0.iter_mut().rev() {
                let value = rest << 32 | u64::from(*digit);
                *digit = (value / GROUP) as u32;
                rest = value % GROUP;
            }
            self.trim();
            groups.push(rest);
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_is_exact_or_says_that_it_is_not() {
        let mut number = Natural::from(3);
        number.multiply_by_power_of_ten(40);
        let divisor = Natural::from(10_000_000_000_000_000_000);
        assert_eq!(number.divide(&divisor), (3 * 10_u128.pow(21), true));
        number.multiply_add(1, 1);
        assert_eq!(number.divide(&divisor), (3 * 10_u128.pow(21), false));
        assert_eq!(number.divide(&number), (1, true));
        assert_eq!(number.decimal(), format!("3{}1", "0".repeat(39)));
    }
}
