//! What the layers above see of a model.

use tintype_config::{MAX_LIMIT, ModelConfig};
use tintype_ops::{AttentionMeta, DType, Enqueue, Error, KvCache, Stream, Tensor};

use crate::weights::Loader;
use crate::{ModelError, ModelFiles, architectures};

/// The largest step that a model makes room for. All memory is allocated while loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens of one (padded) step.
    pub max_num_tokens: u32,
    /// Most rows of logits of one step.
    pub max_num_logit_rows: u32,
    /// Positions of a sequence: 0 up to one less than this.
    pub max_model_len: u32,
}

impl Limits {
    fn check(&self) -> Result<(), ModelError> {
        let limits = [
            ("max_num_tokens", self.max_num_tokens),
            ("max_num_logit_rows", self.max_num_logit_rows),
            ("max_model_len", self.max_model_len),
        ];
        match limits.iter().find(|(_, limit)| !(1..=MAX_LIMIT).contains(limit)) {
            Some(&(name, found)) => Err(ModelError::Limits { name, found, max: MAX_LIMIT }),
            None => Ok(()),
        }
    }
}

/// How far loading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of weights handed to the stream so far.
    pub loaded_bytes: u64,
    /// Bytes of weights in all.
    pub total_bytes: u64,
}

/// One step's inputs and outputs: views of persistent buffers, already cut to the padded size `n`.
/// The runner owns the buffers.
#[derive(Clone, Copy, Debug)]
pub struct BatchIo<'a> {
    /// i32 `[n, 1]`: token ids.
    pub ids: Tensor,
    /// i32 `[n, 1]`: each token's position in its sequence, below [`Limits::max_model_len`].
    pub positions: Tensor,
    /// i32 `[n, 1]`: where each token's key and value are stored; −1 for padding.
    pub slots: Tensor,
    /// Which keys each token attends to.
    pub meta: AttentionMeta,
    /// One per layer, of the model's KV heads and head_dim.
    pub caches: &'a [KvCache],
    /// i32 `[m, 1]`: the tokens whose logits are wanted. `None` means every token, in order.
    pub logit_rows: Option<Tensor>,
    /// f32 `[m, vocab_size]`.
    pub logits: Tensor,
}

/// A loaded model.
pub trait Model: Send {
    /// What it was made from.
    fn config(&self) -> &ModelConfig;

    /// Queues the forward pass of `io`'s padded batch. Queues and does nothing else: the same `io`
    /// always queues the same ops.
    ///
    /// # Errors
    /// When `io` does not fit the model or its [`Limits`], or the queue refuses an op.
    fn forward(&self, queue: &mut dyn Enqueue, io: &BatchIo<'_>) -> tintype_ops::Result<()>;

    /// Bytes of weights that a decode step of one sequence reads: all but an embedding table that
    /// is not tied, and of the experts those that one token chooses.
    fn weight_bytes(&self) -> u64;

    /// Values in all weights; tied embeddings count once.
    fn num_parameters(&self) -> u64;

    /// The dtype of its activations, and the best one for its KV caches.
    fn activation_dtype(&self) -> DType;
}

/// Hands the weights to `stream`, allocates the activations and builds the model. Calls `progress`
/// after every layer.
///
/// # Errors
/// When a tensor is missing or of another shape or dtype than the config asks for, or the stream
/// has no room. Made-up weights that would not fit are refused before the first is made.
pub fn load<S: Stream>(
    files: &ModelFiles,
    stream: &mut S,
    limits: &Limits,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Box<dyn Model>, ModelError> {
    limits.check()?;
    require_memory(files, stream)?;
    let model = architectures::load(Loader::new(files, stream, *limits, progress))?;
    Ok(Box::new(model))
}

/// Refuses made-up weights that would not fit. Systems promise more memory than there is and end
/// the process once it is touched, so no allocation fails in time.
fn require_memory<S: Stream>(files: &ModelFiles, stream: &S) -> Result<(), ModelError> {
    let requested_bytes = files.tensors.resident_bytes();
    if requested_bytes == 0 {
        return Ok(());
    }
    let in_stream = |source| ModelError::Stream { what: files.name.clone(), source };
    let available_bytes = stream.memory_info().map_err(in_stream)?.free_bytes;
    if requested_bytes > available_bytes {
        return Err(in_stream(Error::OutOfMemory { requested_bytes, available_bytes }));
    }
    Ok(())
}
