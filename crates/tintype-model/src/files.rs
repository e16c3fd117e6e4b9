//! A model's files, opened and checked; no device involved.

use std::path::PathBuf;

use tintype_config::{GenerationConfig, ModelConfig};
use tintype_ops::SharedBytes;

use crate::{ModelError, TensorSource};

/// A file's name and bytes.
pub type EmbeddedFile = (&'static str, &'static [u8]);

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// A folder in the Hugging Face layout. Its safetensors are mapped, not read: nobody may
    /// shorten or overwrite them while the process runs.
    Folder(PathBuf),
    /// The files of such a folder, e.g. by `include_bytes!`.
    Embedded(&'static [EmbeddedFile]),
    /// Random weights in the shape of a known model, the same ones every time, without a
    /// tokenizer: e.g. `llama-3.2-1b`.
    Synthetic(String),
}

/// An opened model: everything but weights on a device.
pub struct ModelFiles {
    /// For people: the folder's path, `embedded`, or `synthetic:NAME`.
    pub name: String,
    /// `config.json`.
    pub config: ModelConfig,
    /// `generation_config.json`; the defaults where there is none.
    pub generation: GenerationConfig,
    /// `tokenizer.json`. Without one the model still takes and gives token ids.
    pub tokenizer_json: Option<SharedBytes>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<SharedBytes>,
    /// `chat_template.jinja`; older folders have the template in `tokenizer_config`.
    pub chat_template: Option<SharedBytes>,
    /// The weights, by name.
    pub tensors: Box<dyn TensorSource>,
}

impl ModelFiles {
    /// Reads the configs, maps the safetensors and checks that every tensor lies inside its file.
    ///
    /// # Errors
    /// When the folder or a file is missing or corrupt, or the architecture is not supported.
    pub fn open(source: ModelSource) -> Result<Self, ModelError> {
        Err(ModelError::Contradiction(format!("cannot open {source:?} yet")))
    }
}
