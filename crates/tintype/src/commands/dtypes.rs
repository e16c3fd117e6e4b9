//! Which types a model's weights are stored in.

use tintype_model::{ModelError, ModelFiles};
use tintype_ops::DType;

/// The types that the weights are stored in.
pub(super) struct Dtypes {
    /// Of the first tensor by name.
    pub(super) first: DType,
    /// All of them, for people: `bf16`, or `bf16, f32`.
    pub(super) names: String,
}

impl Dtypes {
    /// Asks every tensor.
    pub(super) fn of(files: &ModelFiles) -> Result<Self, ModelError> {
        let mut found: Vec<DType> = Vec::new();
        for name in files.tensors.names() {
            let dtype = files.tensors.get(name, &[])?.dtype;
            if !found.contains(&dtype) {
                found.push(dtype);
            }
        }
        // A source that makes weights up has no names, and makes them in bf16.
        let first = found.first().copied().unwrap_or(DType::Bf16);
        let names: Vec<_> = found.iter().map(|dtype| dtype.name()).collect();
        let names = if names.is_empty() { first.name().into() } else { names.join(", ") };
        Ok(Self { first, names })
    }
}
