//! How large the paged KV cache is, and how long a sequence may be.
//!
//! Graphs bake the addresses of the cache, so it must exist before they are captured, although
//! they should come first and the cache take what is left. It is therefore sized from what is
//! free once weights, activations and the step's buffers are in place, and takes only a part of
//! that: [`EngineOptions::kv_memory_fraction`](crate::EngineOptions). The rest is for graphs, whose
//! memory is known only when they exist, and for whoever else uses the device.

use tintype_config::{ModelConfig, Note};
use tintype_ops::{DType, KvCache, Stream};

use crate::EngineError;

/// What the size depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvDemand {
    pub(crate) block_size: usize,
    /// Bytes of one block in all layers, keys and values.
    pub(crate) bytes_per_block: u64,
    pub(crate) max_num_seqs: usize,
    pub(crate) max_model_len: usize,
    /// Whether the user asked for this `max_model_len`.
    pub(crate) is_len_explicit: bool,
    /// The user's number of blocks.
    pub(crate) num_kv_blocks: Option<usize>,
    pub(crate) free_bytes: u64,
    /// Part of the free bytes to take at most.
    pub(crate) memory_fraction: f64,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KvPlan {
    pub(crate) num_blocks: u32,
    pub(crate) max_model_len: usize,
    /// That `max_model_len` is less than the model's.
    pub(crate) note: Option<Note>,
}

impl KvDemand {
    /// As many blocks as full sequences need, or fewer if the memory says so, but enough for one
    /// sequence of full length; a length that is only the model's own is lowered to that.
    pub(crate) fn plan(&self) -> Result<KvPlan, EngineError> {
        let available_bytes = self.available_bytes();
        // Slots are numbered in i32.
        let most = i32::MAX as usize / self.block_size;
        let num_blocks = match self.num_kv_blocks {
            Some(num_blocks) => num_blocks,
            None => {
                let fit = available_bytes / self.bytes_per_block.max(1);
                let wanted = self.max_num_seqs.saturating_mul(self.blocks_per_seq());
                usize::try_from(fit).unwrap_or(most).min(wanted)
            }
        };
        let num_blocks = num_blocks.min(most);
        let max_model_len = self.max_model_len.min(num_blocks * self.block_size);
        let is_lowered = max_model_len < self.max_model_len;
        if num_blocks == 0 || (is_lowered && self.is_len_explicit) {
            return Err(self.too_small(available_bytes));
        }
        let note = is_lowered.then(|| Note {
            field: "max_model_len",
            asked: format!("{} (the model's)", self.max_model_len),
            got: max_model_len.to_string(),
            why: match self.num_kv_blocks {
                Some(_) => format!("num_kv_blocks = {num_blocks} holds no more"),
                None => format!(
                    "num_kv_blocks = {num_blocks}, which fits {}, holds no more; set it to have \
                     another",
                    self.memory_share()
                ),
            },
        });
        Ok(KvPlan { num_blocks: num_blocks as u32, max_model_len, note })
    }

    fn blocks_per_seq(&self) -> usize {
        self.max_model_len.div_ceil(self.block_size)
    }

    fn available_bytes(&self) -> u64 {
        match self.num_kv_blocks {
            Some(num_blocks) => self.bytes_per_block.saturating_mul(num_blocks as u64),
            None => (self.free_bytes as f64 * self.memory_fraction.clamp(0.0, 1.0)) as u64,
        }
    }

    fn source_of_limit(&self) -> String {
        match self.num_kv_blocks {
            Some(num_blocks) => format!("num_kv_blocks = {num_blocks}"),
            None => self.memory_share(),
        }
    }

    fn memory_share(&self) -> String {
        format!("{} of {} bytes free", self.memory_fraction, self.free_bytes)
    }

    fn too_small(&self, available_bytes: u64) -> EngineError {
        let needed_blocks = self.blocks_per_seq();
        let needed_bytes = self.bytes_per_block.saturating_mul(needed_blocks as u64);
        EngineError::KvCacheTooSmall {
            max_model_len: self.max_model_len,
            needed_blocks,
            needed_bytes,
            available_bytes,
            source_of_limit: self.source_of_limit(),
        }
    }
}

/// Bytes of one block in all layers, keys and values.
pub(crate) fn bytes_per_block(config: &ModelConfig, block_size: usize, dtype: DType) -> u64 {
    let per_token = 2 * config.num_hidden_layers * config.kv_size() * dtype.size_bytes();
    (per_token as u64).saturating_mul(block_size as u64)
}

/// One cache per layer.
pub(crate) fn alloc<S: Stream>(
    stream: &mut S,
    config: &ModelConfig,
    num_blocks: u32,
    block_size: u32,
    dtype: DType,
) -> tintype_ops::Result<Vec<KvCache>> {
    let num_kv_heads = config.num_key_value_heads as u32;
    let head_dim = config.head_dim as u32;
    let elements = u64::from(num_blocks) * u64::from(block_size) * config.kv_size() as u64;
    let side_bytes = elements * dtype.size_bytes() as u64;
    let mut layer = || -> tintype_ops::Result<KvCache> {
        let (k, v) = (stream.alloc(side_bytes)?, stream.alloc(side_bytes)?);
        Ok(KvCache { k, v, num_blocks, block_size, num_kv_heads, head_dim, dtype })
    };
    (0..config.num_hidden_layers).map(|_| layer()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: KvDemand = KvDemand {
        block_size: 16,
        bytes_per_block: 1000,
        max_num_seqs: 4,
        max_model_len: 100,
        is_len_explicit: false,
        num_kv_blocks: None,
        free_bytes: 1_000_000,
        memory_fraction: 0.5,
    };

    fn plan(num_blocks: u32, max_model_len: usize) -> KvPlan {
        KvPlan { num_blocks, max_model_len, note: None }
    }

    #[test]
    fn all_sequences_at_full_length_are_enough() {
        assert_eq!(DEMAND.plan().unwrap(), plan(28, 100));
    }

    #[test]
    fn memory_sets_the_limit() {
        let demand = KvDemand { free_bytes: 20_000, ..DEMAND };
        assert_eq!(demand.plan().unwrap(), plan(10, 100));
    }

    #[test]
    fn the_models_length_is_lowered_with_a_note() {
        let demand = KvDemand { free_bytes: 10_000, ..DEMAND };
        let KvPlan { num_blocks, max_model_len, note } = demand.plan().unwrap();
        assert_eq!((num_blocks, max_model_len), (5, 80));
        let note = note.unwrap().to_string();
        let expected = "max_model_len: asked 100 (the model's), got 80: num_kv_blocks = 5, which \
            fits 0.5 of 10000 bytes free, holds no more; set it to have another";
        assert_eq!(note, expected);
    }

    #[test]
    fn a_length_that_was_asked_for_is_kept_or_refused() {
        let demand = KvDemand { free_bytes: 10_000, is_len_explicit: true, ..DEMAND };
        let error = demand.plan().unwrap_err().to_string();
        let expected = "a sequence of 100 tokens takes 7000 bytes of KV cache, and 5000 are to be \
            had (0.5 of 10000 bytes free); lower max_model_len, or set num_kv_blocks to at least 7";
        assert_eq!(error, expected);
        let none = KvDemand { free_bytes: 1000, ..DEMAND };
        assert!(none.plan().is_err());
    }

    #[test]
    fn a_number_of_blocks_overrides_memory() {
        let demand = KvDemand { num_kv_blocks: Some(7), free_bytes: 0, ..DEMAND };
        assert_eq!(demand.plan().unwrap(), plan(7, 100));
        let small = KvDemand { num_kv_blocks: Some(2), ..DEMAND }.plan().unwrap();
        assert_eq!(small.max_model_len, 32);
        assert!(small.note.unwrap().why.contains("num_kv_blocks = 2"));
        let huge = KvDemand { num_kv_blocks: Some(usize::MAX), ..DEMAND }.plan().unwrap();
        assert_eq!(huge.num_blocks, i32::MAX as u32 / 16);
    }
}
