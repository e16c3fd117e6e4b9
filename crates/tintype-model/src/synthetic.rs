//! Models made up on the spot: the shape of a known model, random weights, no download.
//!
//! The same name always gives the same weights, on any machine and any number of threads, so a
//! figure measured on one can be measured again elsewhere. What such a model says means nothing.

mod shapes;

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use half::bf16;
use tintype_config::ModelConfig;
use tintype_ops::{DType, SharedBytes};

use crate::{ModelError, StoredTensor, TensorSource};

/// What the name of such a model starts with.
pub(crate) const PREFIX: &str = "synthetic:";

/// Where all random bits start from.
const SEED: u64 = 0x7469_6e74_7970_6521;

/// Words that are filled from one seed. A tensor's values do not depend on how its chunks are
/// spread over threads.
const CHUNK_WORDS: usize = 1 << 16;

/// bf16 values in a word.
const VALUES_PER_WORD: usize = 4;

/// Sign and mantissa of each of a word's four values.
const SIGNS_AND_MANTISSAS: u64 = 0x807f_807f_807f_807f;

/// `config.json` of the synthetic model `name`.
///
/// # Errors
/// [`ModelError::UnknownSynthetic`], which lists the names.
pub(crate) fn config_json(name: &str) -> Result<&'static str, ModelError> {
    let found = shapes::CONFIGS.iter().find(|(known, _)| *known == name);
    found.map(|&(_, json)| json).ok_or_else(|| {
        let known = shapes::CONFIGS.map(|(known, _)| known).join(", ");
        ModelError::UnknownSynthetic { name: name.into(), known }
    })
}

/// Makes up any tensor that it is asked for, in bf16.
pub(crate) struct Synthetic {
    total_bytes: u64,
}

impl Synthetic {
    /// The weights of a model of this config.
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self { total_bytes: config.num_parameters() * size_of::<bf16>() as u64 }
    }
}

impl TensorSource for Synthetic {
    /// Norms are ones. Everything else is drawn with mean 0 and the variance that keeps
    /// activations and logits of the order of 1.
    fn get(&self, name: &str, shape: &[usize]) -> Result<StoredTensor, ModelError> {
        let num_values = shape.iter().product();
        let is_norm = shape.len() == 1 && name.ends_with("norm.weight");
        let fill = if is_norm { ones } else { random };
        let fan_in = shape.last().copied().unwrap_or(1);
        let words = make(num_values, |chunk, index| fill(chunk, seed(name, index), fan_in));
        let bytes = SharedBytes::new(Words(words)).slice(0..num_values * size_of::<bf16>());
        let bytes = bytes.expect("words were made for this many values");
        let (shape, file) = (shape.to_vec(), Arc::from("synthetic"));
        Ok(StoredTensor { shape, dtype: DType::Bf16, bytes, file })
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn contains(&self, _name: &str) -> bool {
        false
    }

    fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    fn resident_bytes(&self) -> u64 {
        self.total_bytes
    }
}

/// Owner of a tensor's bytes.
struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Words for `num_values` values, whose chunks `fill` makes on all cores. The vector starts as
/// untouched zero pages, so the threads share the cost of the page faults too.
fn make(num_values: usize, fill: impl Fn(&mut [u64], usize) + Sync) -> Vec<u64> {
    let mut words = vec![0u64; num_values.div_ceil(VALUES_PER_WORD)];
    let num_chunks = words.len().div_ceil(CHUNK_WORDS);
    let num_threads = thread::available_parallelism().map_or(1, NonZero::get);
    let chunks_each = num_chunks.div_ceil(num_threads).max(1);
    let fill_part = |part: usize, words: &mut [u64]| {
        for (index, chunk) in words.chunks_mut(CHUNK_WORDS).enumerate() {
            fill(chunk, part * chunks_each + index);
        }
    };
    if num_chunks <= 1 {
        fill_part(0, &mut words);
        return words;
    }
    thread::scope(|scope| {
        for (part, words) in words.chunks_mut(chunks_each * CHUNK_WORDS).enumerate() {
            let fill_part = &fill_part;
            scope.spawn(move || fill_part(part, words));
        }
    });
    words
}

fn ones(words: &mut [u64], _seed: u64, _fan_in: usize) {
    words.fill(repeated(bf16::ONE.to_bits()));
}

/// Values of random sign in `[2^e, 2^(e + 1))`: one draw and two masks make four of them. `2^e` is
/// the power of two that brings their root mean square, 1.53 · 2^e, closest to `1 / √fan_in`.
fn random(words: &mut [u64], seed: u64, fan_in: usize) {
    let root_mean_square = 1.0 / (fan_in.max(1) as f32).sqrt();
    let exponent = (root_mean_square / 1.53).log2().round() as i32;
    let scale = repeated(bf16::from_f32((exponent as f32).exp2()).to_bits());
    for (word, counter) in words.iter_mut().zip(0u64..) {
        let bits = mix(seed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        *word = ((bits & SIGNS_AND_MANTISSAS) | scale).to_le();
    }
}

fn repeated(value: u16) -> u64 {
    u64::from(value) * 0x0001_0001_0001_0001
}

/// The seed of one chunk of one tensor: FNV-1a of the name, mixed with the chunk's index.
fn seed(name: &str, chunk_idx: usize) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ SEED, step);
    mix(hash ^ mix(chunk_idx as u64))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
