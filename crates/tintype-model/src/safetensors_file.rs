//! One safetensors file: a JSON header with each tensor's place, then the tensors' bytes.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The `safetensors` crate checks
//! that the header is JSON, that every tensor's bytes are those of its shape and dtype, and that
//! the tensors lie one after the other, without gap or overlap, up to the end of the file. This
//! module adds that no name occurs twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde::de::IgnoredAny;
use tintype_ops::{DType, SharedBytes};

use crate::unique_map::UniqueMap;
use crate::{ModelError, StoredTensor};

/// Bytes of the header's length, which the file starts with.
const LENGTH_BYTES: usize = 8;

/// A checked file.
pub(crate) struct SafetensorsFile {
    name: Arc<str>,
    bytes: SharedBytes,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In bytes from the start of the file.
    range: Range<usize>,
}

impl SafetensorsFile {
    /// Checks the whole header against the length of the file. Reads none of the tensors.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`].
    pub(crate) fn parse(name: String, bytes: SharedBytes) -> Result<Self, ModelError> {
        match parse_header(bytes.as_slice()) {
            Ok(tensors) => Ok(Self { name: name.into(), bytes, tensors }),
            Err(what) => {
                let what = format!("{what} (the file has {} bytes)", bytes.len());
                Err(ModelError::Corrupt { file: name, what })
            }
        }
    }

    /// The tensors' names, in ascending order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether the file has this tensor.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Bytes of one tensor; 0 where there is none.
    pub(crate) fn size_bytes(&self, name: &str) -> u64 {
        self.tensors.get(name).map_or(0, |entry| entry.range.len() as u64)
    }

    /// One tensor, as a part of the file; `None` where there is none.
    ///
    /// # Errors
    /// [`ModelError::TensorDType`].
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<StoredTensor>, ModelError> {
        let Some(Entry { dtype, shape, range }) = self.tensors.get(name) else { return Ok(None) };
        let dtype = float(*dtype).ok_or_else(|| ModelError::TensorDType {
            file: self.name.to_string(),
            tensor: name.into(),
            found: dtype.to_string(),
        })?;
        let bytes = self.bytes.slice(range.clone());
        let bytes = bytes.expect("every range was checked against the length of the file");
        let (shape, file) = (shape.clone(), Arc::clone(&self.name));
        Ok(Some(StoredTensor { shape, dtype, bytes, file }))
    }
}

fn parse_header(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let (header_len, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let data_start = LENGTH_BYTES + header_len;
    let header = &bytes[LENGTH_BYTES..data_start];
    serde_json::from_slice::<UniqueMap<IgnoredAny>>(header).map_err(|error| error.to_string())?;
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (start, end) = info.data_offsets;
        let range = data_start + start..data_start + end;
        (name, Entry { dtype: info.dtype, shape: info.shape.clone(), range })
    };
    Ok(metadata.tensors().into_iter().map(entry).collect())
}

/// The types that ops read weights in.
fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::Bf16),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
