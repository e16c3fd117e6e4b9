//! What a model weighs, from its configs alone: nothing is loaded.

use tintype_config::WeightDType;
use tintype_ops::DType;

use crate::ModelFiles;

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Values in all weights; tied embeddings count once.
    pub num_parameters: u64,
    /// Bytes of all weights: those of the files, or of the parameters in the config's dtype.
    pub weight_bytes: u64,
    /// Keys and values that one token adds to the caches of all layers, in elements.
    pub kv_elements_per_token: u64,
}

impl ModelInfo {
    /// Reads off `files` what there is to know without a device.
    #[must_use]
    pub fn new(files: &ModelFiles) -> Self {
        let config = &files.config;
        let num_parameters = config.num_parameters();
        let value_bytes = match config.dtype {
            Some(WeightDType::F32) | None => DType::F32.size_bytes(),
            Some(WeightDType::F16 | WeightDType::Bf16) => DType::Bf16.size_bytes(),
        };
        let weight_bytes = match files.tensors.total_bytes() {
            0 => num_parameters * value_bytes as u64,
            stored => stored,
        };
        let kv_elements = 2 * config.num_hidden_layers * config.kv_size();
        Self { num_parameters, weight_bytes, kv_elements_per_token: kv_elements as u64 }
    }

    /// Bytes that one token adds to the caches of all layers, kept in `dtype`.
    #[must_use]
    pub fn kv_bytes_per_token(&self, dtype: DType) -> u64 {
        self.kv_elements_per_token * dtype.size_bytes() as u64
    }
}
