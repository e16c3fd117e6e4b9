//! Which types a model's weights are stored in.

use tintype_model::{ModelError, ModelFiles};
use tintype_ops::DType;

/// The types that the weights are stored in.
pub(super) struct Dtypes {
    /// The first by tensor name that ops read.
    pub(super) first: DType,
    /// All of them, for people: `bf16`, or `bf16, f32`.
    pub(super) names: String,
}

impl Dtypes {
    /// Asks every tensor. One that no op reads is named all the same: files may hold tensors that
    /// the model does not use.
    pub(super) fn of(files: &ModelFiles) -> Result<Self, ModelError> {
        let mut first = None;
        let mut names: Vec<String> = Vec::new();
        for tensor in files.tensors.names() {
            let name = match files.tensors.get(tensor, &[]) {
                Ok(stored) => {
                    first.get_or_insert(stored.dtype);
                    stored.dtype.name().to_owned()
                }
                Err(ModelError::TensorDType { found, .. }) => found,
                Err(error) => return Err(error),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // A source that makes weights up has no names, and makes them in bf16.
        let first = first.unwrap_or(DType::Bf16);
        let names = if names.is_empty() { first.name().into() } else { names.join(", ") };
        Ok(Self { first, names })
    }
}
