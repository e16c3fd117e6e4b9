//! What [`crate::Op::Sample`] means, to the bit.
//!
//! A draw depends on the row's logits and parameters alone, never on which other rows share the
//! batch: its noise is a hash of seed, step and token id. So a seed gives the same text at any
//! batch composition, and every backend can work on the vocabulary in any order.

use bytemuck::{Pod, Zeroable};

/// Parameters of one row of [`crate::Op::Sample`]; 32 bytes, the row of its `params` tensor.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleParams {
    /// Divides the logits; 0 takes the largest logit (greedy) and ignores all that follows.
    pub temperature: f32,
    /// Keeps the most likely tokens until their probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Of the sequence, not of the batch; low half first.
    pub seed: [u32; 2],
    /// How many tokens the sequence has drawn before this one.
    pub step: u32,
    /// 0.
    pub reserved: u32,
}

impl SampleParams {
    /// Takes the largest logit.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        min_p: 0.0,
        top_k: 0,
        seed: [0; 2],
        step: 0,
        reserved: 0,
    };

    fn seed(&self) -> u64 {
        u64::from(self.seed[1]) << 32 | u64::from(self.seed[0])
    }
}

const _: () = assert!(size_of::<SampleParams>() == 32);

/// How many of the largest values top-p sorts at first.
const FIRST_SORTED: usize = 256;

/// The token that `params` draws from `logits`: the reference that backends must agree with.
///
/// Logits that are NaN count as −∞. Filters apply in vLLM's order: temperature, min-p, top-k,
/// top-p; tokens as likely as the last one kept are kept too, so no order among equals is
/// needed. Of the kept tokens the one with the largest `logit / temperature + gumbel` wins, the
/// lowest id on a tie: a draw from their softmax.
#[must_use]
pub fn sample(logits: &[f32], params: &SampleParams) -> u32 {
    if params.temperature == 0.0 {
        return argmax(logits.iter().copied());
    }
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return 0;
    }
    let scaled = |logit: f32| (logit - max) / params.temperature;
    let threshold = keep_threshold(logits.iter().map(|&logit| scaled(logit)), params);
    argmax(logits.iter().zip(0u32..).map(|(&logit, id)| {
        let value = scaled(logit);
        if value >= threshold { value + gumbel(params, id) } else { f32::NEG_INFINITY }
    }))
}

/// Index of the largest value; the lowest on a tie, NaN counting as −∞.
fn argmax(values: impl Iterator<Item = f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, value) in (0u32..).zip(values) {
        if value > best.1 {
            best = (id, value);
        }
    }
    best.0
}

/// The smallest scaled logit that all filters keep. `scaled` has 0 for the most likely token.
fn keep_threshold(scaled: impl Iterator<Item = f32>, params: &SampleParams) -> f32 {
    let min_p = if params.min_p > 0.0 { params.min_p.ln() } else { f32::MIN };
    if params.top_k == 0 && params.top_p >= 1.0 {
        return min_p;
    }
    let mut kept: Vec<f32> = scaled.filter(|&value| value >= min_p).collect();
    let top_k = top_k_threshold(&mut kept, params.top_k);
    if params.top_p >= 1.0 {
        return top_k;
    }
    kept.retain(|&value| value >= top_k);
    top_p_threshold(&mut kept, params.top_p)
}

/// The `top_k`-th largest value; the smallest value when there are fewer or `top_k` is 0.
fn top_k_threshold(values: &mut [f32], top_k: u32) -> f32 {
    let top_k = top_k as usize;
    if top_k == 0 || top_k >= values.len() {
        return values.iter().copied().fold(f32::INFINITY, f32::min);
    }
    *values.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a)).1
}

/// The smallest value of the least set of largest values that holds `top_p` of the mass.
///
/// Most of the mass is in few values: only the largest are sorted, more of them until they hold
/// enough.
fn top_p_threshold(values: &mut [f32], top_p: f32) -> f32 {
    let mass = |value: f32| f64::from(value).exp();
    let wanted = f64::from(top_p) * values.iter().map(|&value| mass(value)).sum::<f64>();
    let (mut rest, mut sum, mut take) = (values, 0.0, FIRST_SORTED);
    loop {
        let len = rest.len();
        if take < len {
            rest.select_nth_unstable_by(take, |a, b| b.total_cmp(a));
        }
        let (largest, others) = rest.split_at_mut(take.min(len));
        largest.sort_unstable_by(|a, b| b.total_cmp(a));
        for &value in largest.iter() {
            sum += mass(value);
            if sum >= wanted {
                return value;
            }
        }
        if others.is_empty() {
            return largest.last().copied().unwrap_or(f32::NEG_INFINITY);
        }
        (rest, take) = (others, take * 8);
    }
}

/// Standard Gumbel noise of one token: `-ln(-ln(u))`, `u` uniform in (0, 1).
fn gumbel(params: &SampleParams, id: u32) -> f32 {
    let bits = hash(params.seed(), params.step, id) >> 40;
    let u = (bits as f32 + 0.5) * (1.0 / (1u32 << 24) as f32);
    -(-u.ln()).ln()
}

/// A counter-based generator: SplitMix64 of the mixed seed at position `step << 32 | id`.
fn hash(seed: u64, step: u32, id: u32) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let position = u64::from(step) << 32 | u64::from(id);
    mix(mix(seed).wrapping_add(position.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
