//! A model's files, opened and checked; no device involved.

use std::path::PathBuf;

use tintype_config::{ConfigError, GenerationConfig, ModelConfig};
use tintype_ops::SharedBytes;

use crate::shards::Shards;
use crate::storage::Storage;
use crate::synthetic::{self, Synthetic};
use crate::{ModelError, TensorSource};

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";

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
    /// tokenizer: e.g. `llama-3.2-1b`, or `synthetic:llama-3.2-1b`.
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
        match source {
            ModelSource::Folder(path) => Self::read(&Storage::folder(path)?),
            ModelSource::Embedded(files) => Self::read(&Storage::Embedded(files)),
            ModelSource::Synthetic(name) => Self::make_up(&name),
        }
    }

    fn read(storage: &Storage) -> Result<Self, ModelError> {
        let hint = "it says what the model looks like; download the whole folder";
        let config = storage.require(CONFIG, hint)?;
        let config = parse(storage, CONFIG, &config, ModelConfig::from_json)?;
        let generation = match storage.read(GENERATION)? {
            Some(json) => parse(storage, GENERATION, &json, GenerationConfig::from_json)?,
            None => GenerationConfig::default(),
        };
        Ok(Self {
            name: storage.name(),
            config,
            generation,
            tokenizer_json: storage.read("tokenizer.json")?,
            tokenizer_config: storage.read("tokenizer_config.json")?,
            chat_template: storage.read("chat_template.jinja")?,
            tensors: Box::new(Shards::open(storage)?),
        })
    }

    fn make_up(name: &str) -> Result<Self, ModelError> {
        let name = name.strip_prefix(synthetic::PREFIX).unwrap_or(name);
        let file = format!("{}{name}", synthetic::PREFIX);
        let config = ModelConfig::from_json(synthetic::config_json(name)?)
            .map_err(|source| ModelError::Config { file: file.clone(), source: source.into() })?;
        let tensors = Box::new(Synthetic::new(&config));
        Ok(Self {
            name: file,
            config,
            generation: GenerationConfig::default(),
            tokenizer_json: None,
            tokenizer_config: None,
            chat_template: None,
            tensors,
        })
    }
}

fn parse<T>(
    storage: &Storage,
    name: &str,
    json: &SharedBytes,
    read: impl FnOnce(&str) -> Result<T, ConfigError>,
) -> Result<T, ModelError> {
    let file = storage.file_name(name);
    match std::str::from_utf8(json.as_slice()) {
        Ok(text) => read(text).map_err(|source| ModelError::Config { file, source: source.into() }),
        Err(error) => Err(ModelError::Corrupt { file, what: error.to_string() }),
    }
}
