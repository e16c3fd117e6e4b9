//! The two traits that backends implement.

use std::sync::Arc;
use std::time::Duration;

use crate::{Buffer, DType, Op, Result, Tensor, Weight, WeightSource};

/// All that a model ever sees of a device. It can queue work and do nothing else: it cannot
/// allocate, copy from the host or synchronise. Every forward pass is therefore capturable by
/// construction.
pub trait Enqueue {
    /// Queues `op` behind everything queued before it.
    ///
    /// # Errors
    /// When the op breaks its rule in [`crate::check`], names memory that the stream does not
    /// have, or cannot be launched.
    fn enqueue(&mut self, op: Op) -> Result<()>;
}

/// A list of ops is the simplest queue: it records and runs nothing.
impl Enqueue for Vec<Op> {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        crate::check::check(&op)?;
        self.push(op);
        Ok(())
    }
}

/// What attention can do inside a graph, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GraphSupport {
    /// Attention cannot be captured.
    Never,
    /// Only batches in which every sequence decodes one token.
    UniformSingleTokenDecode,
    /// Only batches in which every sequence has the same number of query tokens.
    UniformBatch,
    /// Any batch.
    Always,
}

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    /// For people, e.g. `cpu (2 threads, avx2)`.
    pub name: String,
    /// Threads or multiprocessors that run an op.
    pub num_workers: usize,
    /// Whether [`Stream::capture`] works at all.
    pub can_capture: bool,
    /// What attention can do inside a graph.
    pub graph_support: GraphSupport,
    /// Whether the host goes on while what it queued runs. Where not, an op has run when it is
    /// queued, and to queue work ahead of time gains nothing.
    pub is_async: bool,
}

/// The device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Bytes that can still be allocated.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Tells streams apart: two are equal when they are clones of one. A stream has one of its own and
/// marks its graphs with it, which name its memory and so may run nowhere else.
#[derive(Clone, Debug, Default)]
pub struct StreamId(Arc<()>);

impl PartialEq for StreamId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StreamId {}

/// What an instantiated graph holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphInfo {
    /// Ops that were recorded.
    pub num_ops: usize,
    /// Kernel launches that a replay makes, of these ops and of nothing else, which the stream has
    /// checked; on the CPU, ops run.
    pub num_launches: usize,
    /// Memory that the graph takes on its device.
    pub size_bytes: u64,
}

/// One device's memory and one in-order queue over it.
pub trait Stream: Enqueue {
    /// Recorded, not yet runnable: a `CUgraph`, or a list of ops on the CPU.
    type Graph;
    /// Instantiated, replayable: a `CUgraphExec`, or a checked list of ops on the CPU.
    type GraphExec;
    /// A copy to the host that is on its way. One that is dropped is given up.
    type Download;

    /// What the device is and can do.
    fn device_info(&self) -> DeviceInfo;

    /// What is left of its memory.
    ///
    /// # Errors
    /// When the device does not answer.
    fn memory_info(&self) -> Result<MemoryInfo>;

    /// The dtype in which activations are best kept for weights of this dtype.
    fn activation_dtype(&self, weights: DType) -> DType;

    /// Allocates `bytes` bytes, aligned for any op. Their content is undefined; debug builds fill
    /// it with NaNs, so that a read of memory that nothing wrote shows.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn alloc(&mut self, bytes: u64) -> Result<Buffer>;

    /// Takes a weight matrix in the layout that suits the backend: mapped and read in place,
    /// copied, or repacked.
    ///
    /// # Errors
    /// When it does not fit into the device's memory or its dtype has no kernel.
    fn load_weight(&mut self, source: WeightSource) -> Result<Weight>;

    /// Copies `src` into `dst`, rows closely packed in `src`. On return `src` may be reused.
    /// Ordered behind all queued work.
    ///
    /// # Errors
    /// When sizes differ, or inside a capture.
    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()>;

    /// Waits for all queued work and copies `src` into `dst`, rows closely packed.
    ///
    /// # Errors
    /// When sizes differ, or when queued work failed.
    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()>;

    /// Queues a copy of `src` to the host behind all queued work, and does not wait for it.
    ///
    /// # Errors
    /// When the stream has no such memory, or there is no room on the host.
    fn start_download(&mut self, src: Tensor) -> Result<Self::Download>;

    /// Waits for the copy, but for nothing that was queued behind it, and brings it to `dst`, rows
    /// closely packed.
    ///
    /// # Errors
    /// When sizes differ, or when work queued before the copy failed.
    fn finish_download(&mut self, download: Self::Download, dst: &mut [u8]) -> Result<()>;

    /// Waits for all queued work.
    ///
    /// # Errors
    /// When queued work failed.
    fn synchronize(&mut self) -> Result<()>;

    /// Records every op that `record` queues and runs none. Capture ends on every way out, error
    /// and panic included, and the stream stays usable.
    ///
    /// # Errors
    /// What `record` returned, or what the device refused.
    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<Self::Graph>;

    /// Makes a recorded graph runnable.
    ///
    /// # Errors
    /// When the device has no room for it or refuses one of its nodes.
    fn instantiate(&mut self, graph: Self::Graph) -> Result<Self::GraphExec>;

    /// Moves the graph to the device ahead of its first replay, so that the replay is not the one
    /// that pays for it.
    ///
    /// # Errors
    /// What the device refused.
    fn upload_graph(&mut self, exec: &Self::GraphExec) -> Result<()>;

    /// Queues one run of the graph.
    ///
    /// # Errors
    /// What the device refused.
    fn replay(&mut self, exec: &Self::GraphExec) -> Result<()>;

    /// What a graph holds.
    fn graph_info(&self, exec: &Self::GraphExec) -> GraphInfo;
}

/// Measures how fast a device can read, the yardstick of every bandwidth-bound op.
pub trait ReadProbe {
    /// Sums the whole buffer once with all workers and says how long that took.
    ///
    /// # Errors
    /// When the stream has no such buffer, or the device failed.
    fn read_probe(&mut self, buffer: Buffer) -> Result<Duration>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clones_of_a_stream_id_are_equal() {
        let id = StreamId::default();
        assert_eq!(id, id.clone());
        assert_ne!(id, StreamId::default());
    }
}
