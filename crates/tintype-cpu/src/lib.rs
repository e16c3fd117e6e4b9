//! The CPU backend: the reference for every op, and the embedded default.
//!
//! [`CpuStream`] runs each op as it is queued. Capture records a list of ops and runs none of
//! them; replay runs exactly that list. So what would go wrong in a captured graph on a device
//! (stale inputs, missed padding, baked lengths) goes wrong here as well, without one.
//!
//! **Aliasing.** An op's outputs share no buffer with its inputs. Their storage is taken out of
//! the stream's memory, written while everything else is read, and put back.
//!
//! **Determinism.** A row of a result is computed by one thread from start to end, in an order
//! that depends on the row's own inputs and the size of the batch: not on the other rows'
//! content and not on the number of threads.
//!
//! **Device values.** Ids, positions, slots and block tables are read when an op runs. One that
//! is out of range is what [`tintype_ops::Op`] says, or an error that names it.

mod activation;
mod attention;
mod dense;
mod device_value;
mod embed;
mod execute;
mod float;
mod graph;
mod host_memory;
mod kv;
mod matmul;
mod memory;
mod moe;
mod norm;
mod parallel;
mod rope;
mod sample;
mod scratch;
mod simd;
mod storage;
mod stream;
mod view;
mod weights;

#[cfg(test)]
mod tests;

pub use graph::{CpuGraph, CpuGraphExec};
pub use stream::{CpuStream, MAX_THREADS};
