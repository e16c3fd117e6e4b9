//! What can go wrong below the model layer.

/// The result of everything in this crate and in the backends.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. Every message names what was found, what was expected
/// and, where there is one, the way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op breaks its shape or dtype rule; see [`crate::check`].
    #[error("{op}: {what}")]
    InvalidOp {
        /// The op's name, e.g. `matmul`.
        op: &'static str,
        /// What was found and what the rule asks for.
        what: String,
    },
    /// The device has no room for an allocation.
    #[error(
        "out of device memory: asked for {requested_bytes} bytes, {available_bytes} are free; \
         lower max_num_seqs, max_model_len or the KV cache size, or take a smaller model"
    )]
    OutOfMemory {
        /// Size of the allocation that failed.
        requested_bytes: u64,
        /// What the device said was free.
        available_bytes: u64,
    },
    /// A tensor, cache or weight names an allocation that the stream does not have, or leaves it.
    #[error(
        "buffer {buffer}: bytes {start}..{end} are outside the allocation of {len} bytes; \
         a tensor must come from the stream it is used on"
    )]
    OutOfBounds {
        /// The allocation's index.
        buffer: u32,
        /// First byte of the access.
        start: u64,
        /// One past the last byte of the access.
        end: u64,
        /// The allocation's size, 0 when there is none of that index.
        len: u64,
    },
    /// A host slice does not have the size of the tensor it is copied to or from.
    #[error("host copy of {found_bytes} bytes, but the tensor has {expected_bytes}")]
    HostCopySize {
        /// Size of the host slice.
        found_bytes: u64,
        /// Size of the tensor.
        expected_bytes: u64,
    },
    /// A weight's pieces do not fit together or do not have the bytes that their shape asks for.
    #[error("weight: {0}")]
    InvalidWeight(String),
    /// Something that a capture forbids happened inside one.
    #[error("not allowed while a capture is recording: {0}")]
    Capturing(&'static str),
    /// The backend cannot capture.
    #[error("this stream cannot capture graphs; run with enforce_eager")]
    CaptureUnsupported,
    /// The device or its driver failed.
    #[error("device: {0}")]
    Device(String),
    /// An error with the place it came from put before it, e.g. the layer of the op that failed.
    #[error("{context}: {source}")]
    Context {
        /// Where it happened.
        context: String,
        /// What happened.
        source: Box<Error>,
    },
}

impl Error {
    /// The same error with the place it came from put before it.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        Self::Context { context: context.into(), source: Box::new(self) }
    }
}
