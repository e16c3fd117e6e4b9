//! The kernel layer's vocabulary: what a model may ask of a device, and what a device promises.
//!
//! Models queue [`Op`]s through [`Enqueue`]; backends implement [`Stream`]. Neither knows the
//! other, and this crate knows neither: it holds no I/O, no backend and no `unsafe`.
//!
//! Why ops are data. A forward pass is a list of plain `Copy` values. Running it, capturing it,
//! replaying it, cutting it into pieces, drawing it, auditing it and naming the op that failed
//! all read the same list. The enum is closed: a new op does not compile until every backend
//! handles it.
//!
//! Why [`Enqueue`] is so small. A forward pass that could allocate, copy from the host or wait
//! could not be captured. A model that sees only `enqueue` cannot write one that is illegal to
//! capture.
//!
//! **Baked or pointed-to.** What stands in an op (shapes, scalars, addresses) is baked into a
//! graph and depends only on the batch descriptor and the model. Whatever differs between two
//! replays is read through a tensor.

mod allocations;
mod error;
mod op;
mod operand;
mod stream;
mod tensor;
mod weight;

pub mod check;
pub mod sampling;

#[cfg(test)]
mod sample_ops;

pub use allocations::{Allocations, require_copy_size};
pub use error::{Error, Result};
pub use op::{AttentionMeta, Epilogue, Norm, Op, RopeKv};
pub use operand::{Access, Memory, Operand};
pub use stream::{
    DeviceInfo, Enqueue, GraphInfo, GraphSupport, MemoryInfo, ReadProbe, Stream, StreamId,
};
pub use tensor::{Buffer, DType, KvCache, Tensor, Weight};
pub use weight::{SharedBytes, WeightPiece, WeightRole, WeightSource};
