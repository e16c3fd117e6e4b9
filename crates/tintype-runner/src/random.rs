//! Random numbers for seeds, benchmarks and verification: the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014): a counter, hashed.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator of `seed` once it has given `index` numbers.
    pub(crate) fn at(seed: u64, index: u64) -> Self {
        Self { state: seed.wrapping_add(index.wrapping_mul(GOLDEN)) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `bound`, which is not 0; near enough to uniform for bounds far below 2^64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Token ids of a vocabulary.
    pub(crate) fn token_ids(&mut self, len: usize, vocab_size: usize) -> Vec<u32> {
        (0..len).map(|_| self.below(vocab_size) as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference() {
        // The first three of seed 1234567 in the authors' C code.
        let mut random = SplitMix64::new(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!(first, expected);
        assert_eq!(SplitMix64::at(1_234_567, 2).next(), expected[2]);
    }
}
