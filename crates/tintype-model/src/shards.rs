//! The weights of a folder: `model.safetensors`, or the shards that an index lists.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::safetensors_file::SafetensorsFile;
use crate::storage::Storage;
use crate::unique_map::UniqueMap;
use crate::{ModelError, StoredTensor, TensorSource};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// All safetensors files of a model.
pub(crate) struct Shards {
    model: String,
    files: Vec<SafetensorsFile>,
    /// Each tensor's file. A tensor that the index does not list is not part of the model.
    tensors: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

impl Shards {
    /// Maps the files and checks them and the index against each other. Like transformers, takes
    /// `model.safetensors` where there are both.
    pub(crate) fn open(storage: &Storage) -> Result<Self, ModelError> {
        if let Some(bytes) = storage.map(SINGLE)? {
            let file = SafetensorsFile::parse(storage.file_name(SINGLE), bytes)?;
            let tensors = file.names().map(|name| (name.to_owned(), 0)).collect();
            return Ok(Self { model: storage.name(), files: vec![file], tensors });
        }
        let hint = "its weights must be safetensors, in one file or in shards with an index; \
                    convert a pytorch_model.bin with transformers' save_pretrained";
        let index = storage.read(INDEX)?.ok_or_else(|| storage.missing(SINGLE, hint))?;
        let index: Index = serde_json::from_slice(index.as_slice()).map_err(|error| {
            ModelError::Corrupt { file: storage.file_name(INDEX), what: error.to_string() }
        })?;
        Self::open_listed(storage, index.weight_map.0)
    }

    fn open_listed(
        storage: &Storage,
        weight_map: BTreeMap<String, String>,
    ) -> Result<Self, ModelError> {
        let mut files = Vec::new();
        let mut opened = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (tensor, shard) in weight_map {
            let file = match opened.get(&shard) {
                Some(&file) => file,
                None => {
                    files.push(open_shard(storage, &shard, &tensor)?);
                    opened.insert(shard.clone(), files.len() - 1);
                    files.len() - 1
                }
            };
            if !files[file].contains(&tensor) {
                let what = format!("it puts tensor {tensor} into {shard}, which does not have it");
                return Err(ModelError::Corrupt { file: storage.file_name(INDEX), what });
            }
            tensors.insert(tensor, file);
        }
        Ok(Self { model: storage.name(), files, tensors })
    }
}

fn open_shard(storage: &Storage, shard: &str, tensor: &str) -> Result<SafetensorsFile, ModelError> {
    // The index comes from outside: it must not reach other folders.
    if shard.contains(['/', '\\']) {
        let what = format!("shard {shard:?} is not the name of a file in this folder");
        return Err(ModelError::Corrupt { file: storage.file_name(INDEX), what });
    }
    let bytes = storage.map(shard)?.ok_or_else(|| ModelError::MissingShard {
        model: storage.name(),
        shard: shard.into(),
        tensor: tensor.into(),
    })?;
    SafetensorsFile::parse(storage.file_name(shard), bytes)
}

impl TensorSource for Shards {
    fn get(&self, name: &str, _shape: &[usize]) -> Result<StoredTensor, ModelError> {
        let found = match self.tensors.get(name) {
            Some(&file) => self.files[file].tensor(name)?,
            None => None,
        };
        let (model, tensor) = (&self.model, name);
        found.ok_or_else(|| ModelError::TensorMissing {
            model: model.clone(),
            tensor: tensor.into(),
        })
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn total_bytes(&self) -> u64 {
        self.tensors.iter().map(|(name, &file)| self.files[file].size_bytes(name)).sum()
    }

    fn resident_bytes(&self) -> u64 {
        0
    }
}
