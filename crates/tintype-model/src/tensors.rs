//! Tensors by name, wherever they come from.

use std::sync::Arc;

use tintype_ops::{DType, SharedBytes};

use crate::ModelError;

/// One tensor, row-major.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// F32, F16 or bf16.
    pub dtype: DType,
    /// Its values, little-endian.
    pub bytes: SharedBytes,
    /// The file it lies in, for messages.
    pub file: Arc<str>,
}

/// Where a model's tensors come from.
pub trait TensorSource: Send + Sync {
    /// The tensor `name`. `shape` is what the config asks for: a source that makes tensors up makes
    /// this one of that shape; a source that stores them returns what it has.
    ///
    /// # Errors
    /// [`ModelError::TensorMissing`], or [`ModelError::TensorDType`] when it is neither F32 nor
    /// F16 nor bf16.
    fn get(&self, name: &str, shape: &[usize]) -> Result<StoredTensor, ModelError>;

    /// The names of the tensors that are stored, in ascending order. None for a source that makes
    /// up whatever it is asked for.
    fn names(&self) -> Vec<&str>;

    /// Whether a tensor of this name is stored.
    fn contains(&self, name: &str) -> bool;

    /// Bytes of all tensors that are stored, or that the whole model will ask for.
    fn total_bytes(&self) -> u64;

    /// Bytes of memory that all tensors take where a backend reads them in place: nothing for
    /// mapped files, whose pages give way when memory is short.
    fn resident_bytes(&self) -> u64;
}
