//! The order of things that have none: lanes, warps, blocks.

/// Permutes indices by a seed.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    seed: u64,
    /// The order in which the lanes of one instruction take effect.
    pub(crate) lanes: [u8; 32],
}

impl Order {
    /// The orders of a seed; 0 leaves everything ascending.
    pub(crate) fn new(seed: u64) -> Self {
        let mut order = Self { seed, lanes: std::array::from_fn(|lane| lane as u8) };
        order.lanes = std::array::from_fn(|at| order.permuted(at as u64, 32, 1) as u8);
        order
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Which of `len` things comes at place `at`; different `salt`s give different orders.
    ///
    /// A walk in steps that have no divisor in common with `len` visits each thing once.
    pub(crate) fn permuted(&self, at: u64, len: u64, salt: u64) -> u64 {
        if self.seed == 0 || len < 2 {
            return at;
        }
        let random = mix(self.seed ^ mix(salt));
        let mut step = (random >> 32) % len;
        while gcd(step, len) != 1 {
            step = (step + 1) % len;
        }
        let walk = u128::from(at) * u128::from(step) + u128::from(random as u32);
        (walk % u128::from(len)) as u64
    }
}

/// A well-known mixer of 64 bits (the finaliser of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_comes_once() {
        for (seed, len) in [(0, 32), (1, 32), (2, 1), (3, 7), (u64::MAX, 1000)] {
            let order = Order::new(seed);
            let mut places: Vec<u64> = (0..len).map(|at| order.permuted(at, len, 5)).collect();
            let ascending = places.is_sorted();
            assert_eq!(ascending, seed == 0 || len == 1, "seed {seed}, {len} things: {places:?}");
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..len), "seed {seed}, {len} things: {places:?}");
        }
    }

    #[test]
    fn seeds_and_salts_differ() {
        let orders: Vec<Vec<u64>> = [(1, 0), (1, 1), (2, 0), (2, 1)]
            .map(|(seed, salt)| {
                let order = Order::new(seed);
                (0..64).map(|at| order.permuted(at, 64, salt)).collect()
            })
            .into();
        for (at, order) in orders.iter().enumerate() {
            assert!(!orders[..at].contains(order));
        }
    }
}
