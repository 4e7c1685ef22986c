//! Repeatable random numbers, enough to vary a workload.

/// The xorshift64* generator: one word of state, a printed seed repeats a run's choices.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// A generator with this seed; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that the generator never leaves.
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The remainder of a usize fits a usize again.
        (self.roll() % bound as u64) as usize
    }

    /// True `part` times of `whole`.
    pub fn chance(&mut self, part: usize, whole: usize) -> bool {
        self.below(whole) < part
    }
}
