//! Copies of fixtures that a test may spoil.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::{Map, Value};

use crate::model::fixture;

/// A folder of its own, removed at the end of the test.
pub(super) struct Folder(PathBuf);

/// One tensor, taken apart.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<u8>,
}

impl Folder {
    /// A copy of a fixture.
    pub(super) fn copy_of(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&path).unwrap();
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
        }
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).unwrap()
    }

    pub(super) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.join(file), bytes).unwrap();
        self
    }

    pub(super) fn remove(&self, file: &str) -> &Self {
        fs::remove_file(self.0.join(file)).unwrap();
        self
    }

    /// Changes a JSON file's fields.
    pub(super) fn edit(&self, file: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> &Self {
        let mut json: Value = serde_json::from_slice(&self.read(file)).unwrap();
        edit(json.as_object_mut().unwrap());
        self.write(file, json.to_string())
    }

    /// Sets one field of `config.json`.
    pub(super) fn set(&self, field: &str, value: impl Into<Value>) -> &Self {
        self.edit("config.json", |config| {
            config.insert(field.into(), value.into());
        })
    }

    /// Takes `model.safetensors` apart, lets `edit` change its tensors, and puts it together.
    pub(super) fn edit_tensors(&self, edit: impl FnOnce(&mut Vec<Parts>)) -> &Self {
        let file = self.read("model.safetensors");
        let mut tensors: Vec<Parts> = SafeTensors::deserialize(&file)
            .unwrap()
            .tensors()
            .into_iter()
            .map(|(name, tensor)| Parts {
                name,
                dtype: tensor.dtype(),
                shape: tensor.shape().into(),
                data: tensor.data().into(),
            })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        edit(&mut tensors);
        let views = tensors.iter().map(|tensor| {
            let (name, dtype, shape) = (&tensor.name, tensor.dtype, tensor.shape.clone());
            (name, TensorView::new(dtype, shape, &tensor.data).unwrap())
        });
        self.write("model.safetensors", serialize(views, None).unwrap())
    }

    /// Changes one tensor of `model.safetensors`.
    pub(super) fn edit_tensor(&self, name: &str, edit: impl FnOnce(&mut Parts)) -> &Self {
        self.edit_tensors(|tensors| edit(tensors.iter_mut().find(|t| t.name == name).unwrap()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is no reason to fail: it lies in the target folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
