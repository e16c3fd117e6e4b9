//! Llama-family architectures as sequences of ops, and their weights from a Hugging Face folder.
//!
//! [`ModelFiles::open`] reads a folder (or the bytes of one, or makes weights up) and validates it;
//! no device is involved. [`load`] hands the weights to a stream and returns a [`Model`], whose
//! [`forward`](Model::forward) queues ops and does nothing else.
//!
//! This crate names no device: it is generic over [`Stream`](tintype_ops::Stream), and only while
//! it loads. Nothing here knows of graphs, batches of requests or text.

mod architectures;
mod error;
mod files;
mod info;
mod layers;
#[allow(unsafe_code)]
mod mmap;
mod model;
mod safetensors_file;
mod shards;
mod storage;
mod synthetic;
mod tensors;
mod unique_map;
mod weights;

pub use error::ModelError;
pub use files::{EmbeddedFile, ModelFiles, ModelSource};
pub use info::ModelInfo;
pub use model::{BatchIo, Limits, LoadProgress, Model, load};
pub use tensors::{StoredTensor, TensorSource};
