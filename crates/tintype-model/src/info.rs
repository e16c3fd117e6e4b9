//! What a model weighs, from its config and the headers of its files: nothing is loaded.

use tintype_ops::DType;

use crate::ModelFiles;

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Values in all weights; tied embeddings count once.
    pub num_parameters: u64,
    /// Bytes of all weights.
    pub weight_bytes: u64,
    /// Keys and values that one token adds to the caches of all layers, in elements.
    pub kv_elements_per_token: u64,
}

impl ModelInfo {
    /// Reads off `files` what there is to know without a device.
    #[must_use]
    pub fn new(files: &ModelFiles) -> Self {
        let config = &files.config;
        let kv_elements = 2 * config.num_hidden_layers * config.kv_size();
        Self {
            num_parameters: config.num_parameters(),
            weight_bytes: files.tensors.total_bytes(),
            kv_elements_per_token: kv_elements as u64,
        }
    }

    /// Bytes that one token adds to the caches of all layers, kept in `dtype`.
    #[must_use]
    pub fn kv_bytes_per_token(&self, dtype: DType) -> u64 {
        self.kv_elements_per_token * dtype.size_bytes() as u64
    }
}
