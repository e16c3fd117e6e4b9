//! What can be wrong with a model.

use std::io;
use std::path::PathBuf;

use tintype_config::ConfigError;
use tintype_ops::DType;

/// Why a model could not be opened or loaded. Every message names what was found, what was
/// expected and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no folder of this path.
    #[error(
        "no model folder at {}; give a folder in the Hugging Face layout (config.json, \
         model.safetensors, tokenizer.json)",
        path.display()
    )]
    NoFolder {
        /// What was given.
        path: PathBuf,
    },
    /// The folder lacks a file without which there is no model.
    #[error("{model} has no {file}; {hint}")]
    MissingFile {
        /// The folder.
        model: String,
        /// The file's name.
        file: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file exists and cannot be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// Which one.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// `config.json` or `generation_config.json` is not what this crate understands.
    #[error("{file}: {source}")]
    Config {
        /// Which one.
        file: String,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// A safetensors file, or its index, breaks the format.
    #[error("{file} is truncated or corrupt: {what}; download it again")]
    Corrupt {
        /// Which one.
        file: String,
        /// Where it breaks the format.
        what: String,
    },
    /// The index names a shard that the folder lacks.
    #[error(
        "{model} has no {shard}, where model.safetensors.index.json puts {tensor} and others; \
         download the missing shard"
    )]
    MissingShard {
        /// The folder.
        model: String,
        /// The file's name.
        shard: String,
        /// A tensor that should be in it.
        tensor: String,
    },
    /// The architecture has a tensor that the files lack.
    #[error(
        "{model} has no tensor {tensor}, which its config.json asks for; the config contradicts \
         the weights, or a file of weights is missing"
    )]
    TensorMissing {
        /// The folder.
        model: String,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor's shape is not the one that the config gives it.
    #[error(
        "{file}: tensor {tensor} is {found:?}, expected {expected:?}; config.json contradicts the \
         weights"
    )]
    TensorShape {
        /// The file it lies in.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the config asks for.
        expected: Vec<usize>,
    },
    /// A tensor is of a type that no op reads.
    #[error(
        "{file}: tensor {tensor} is {found}, expected F32, F16 or BF16; quantised and 64-bit \
         weights are not supported: take the checkpoint in bf16"
    )]
    TensorDType {
        /// The file it lies in.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type, as safetensors spells it.
        found: String,
    },
    /// Tensors that are stacked into one matrix differ in their type.
    #[error(
        "tensor {tensor} is {found}, but {first_tensor}, which it is stacked with, is {expected}; \
         convert the checkpoint to one dtype"
    )]
    MixedDTypes {
        /// The one that differs.
        tensor: String,
        /// Its type.
        found: DType,
        /// The first one of the matrix.
        first_tensor: String,
        /// The type of that one.
        expected: DType,
    },
    /// The config and the weights describe different models.
    #[error("config.json contradicts the weights: {0}")]
    Contradiction(String),
    /// `synthetic:` something that has no known shape.
    #[error("no synthetic model {name:?}; there are {known}")]
    UnknownSynthetic {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The limits leave no room for a single token, or ask for more than can be addressed.
    #[error("{name} is {found}, expected 1 to {max}")]
    Limits {
        /// The field of [`Limits`](crate::Limits).
        name: &'static str,
        /// Its value.
        found: u32,
        /// The largest one that is accepted.
        max: u32,
    },
    /// The stream refused a weight, an allocation or a copy.
    #[error("loading {what}: {source}")]
    Stream {
        /// What was being loaded.
        what: String,
        /// Why it was refused.
        source: tintype_ops::Error,
    },
}
