//! A CUDA device as a stream: ops become kernel launches on one queue.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use tintype_ops::{
    Allocations, Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, GraphSupport, MemoryInfo,
    Op, ReadProbe, Result, Stream, StreamId, Tensor, Weight, WeightSource,
};

use crate::OpenError;
use crate::capture::capture;
use crate::device::{DeviceSummary, OpenDevice};
use crate::download::{CudaDownload, Downloads};
use crate::driver::{Context, Queue};
use crate::graph::{CudaGraph, CudaGraphExec, GraphMemory};
use crate::kernels::Kernels;
use crate::launch::{Launch, Placement, cluster_of_4, layout};
use crate::launcher::Launcher;
use crate::loader::Loader;
use crate::memory::Memory;
use crate::read_probe;
use crate::staging::Staging;
use crate::weights::WeightUpload;

/// How much a stream did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Kernel launches that ran or are queued, those of replayed graphs included.
    pub num_launches: u64,
    /// Different kernels among those that were launched or recorded.
    pub num_kernels: usize,
    /// Calls of the driver.
    pub num_driver_calls: u64,
}

/// Buffers, weights and kernels of one device, and the queue that works on them.
///
/// **Ordering.** All work but the loading of weights goes through one queue. Weights load in the
/// background; the first op, replay or download waits for them, a capture does not. To make a graph
/// is work of the host alone: it waits for nothing that is queued, and its upload is queued behind.
///
/// **Faults.** After a device fault (an access out of range, a trap, ...) every method returns
/// that same error, quickly, and nothing on the device runs any more in this process.
pub struct CudaStream {
    // Dropped in this order: threads, kernels, memory, queue, context. Graphs hold on to their
    // kernels and to the context.
    loader: Option<Loader>,
    kernels: Arc<Kernels>,
    staging: Staging,
    downloads: Downloads,
    memory: Memory,
    queue: Queue,
    context: Arc<Context>,
    id: StreamId,
    device: DeviceSummary,
    launches: Vec<Launch>,
    graph_memory: GraphMemory,
}

impl CudaStream {
    /// Opens the device of this ordinal and loads the kernels for it.
    ///
    /// A program that calls this should first set [`crate::RECOMMENDED_ENVIRONMENT`], which halves
    /// the time it takes.
    ///
    /// # Errors
    /// Why the device cannot be used; a machine without a driver is one such reason.
    pub fn open(ordinal: usize) -> std::result::Result<Self, OpenError> {
        let OpenDevice { summary, mut chip, context } = OpenDevice::open(ordinal)?;
        let images = tintype_kernels::images(chip.compute_capability);
        let kernels = Kernels::load(&context, chip, images.unwrap_or_default())?;
        if chip.is_hopper() {
            let clusters = kernels.max_clusters(&cluster_of_4(chip));
            let refused = |error: Error| OpenError::Kernels { what: error.to_string() };
            chip.clusters_of_4 = clusters.map_err(refused)?;
        }
        let free_bytes = context.memory_info()?.free_bytes;
        let making = |what| OpenError::making(what, Some(free_bytes));
        let queue = Queue::new(&context).map_err(making("a stream"))?;
        let memory = Memory::new(&context, chip, summary.total_bytes);
        Ok(Self {
            loader: None,
            kernels: Arc::new(kernels),
            downloads: Downloads::new(&context, chip.is_hopper()),
            staging: Staging::new(&context).map_err(making("the staging buffer"))?,
            memory: memory.map_err(making("the workspace"))?,
            queue,
            context,
            id: StreamId::default(),
            device: summary,
            launches: Vec::new(),
            graph_memory: GraphMemory::default(),
        })
    }

    /// How much it did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            num_launches: self.kernels.num_launches(),
            num_kernels: self.kernels.num_used(),
            num_driver_calls: self.context.num_calls(),
        }
    }

    /// What every method begins with: the context is current on the calling thread, and nothing
    /// went wrong in the background.
    fn enter(&self) -> Result<()> {
        self.context.bind()?;
        self.loader.as_ref().map_or(Ok(()), Loader::check)
    }

    /// As [`Self::enter`], for work that may read weights.
    fn enter_with_weights(&mut self) -> Result<()> {
        self.context.bind()?;
        let queue = &self.queue;
        self.loader.as_mut().map_or(Ok(()), |loader| loader.join(queue))
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        // What is dropped next may be in use by work that is queued. After a fault none is.
        let _ = self.context.bind().and_then(|()| self.queue.synchronize());
    }
}

impl Enqueue for CudaStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        self.enter_with_weights()?;
        let Self { memory, kernels, queue, launches, .. } = self;
        let num_launches = Launcher { memory, kernels, queue, launches }.launch(&op)?;
        self.kernels.count_launches(num_launches);
        Ok(())
    }
}

impl Stream for CudaStream {
    type Graph = CudaGraph;
    type GraphExec = CudaGraphExec;
    type Download = CudaDownload;

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo {
            name: self.device.to_string(),
            num_workers: self.device.num_sms as usize,
            can_capture: true,
            graph_support: GraphSupport::Always,
            is_async: true,
        }
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        self.enter()?;
        Ok(self.context.memory_info()?)
    }

    fn activation_dtype(&self, weights: DType) -> DType {
        weights
    }

    fn alloc(&mut self, bytes: u64) -> Result<Buffer> {
        self.enter()?;
        self.graph_memory = GraphMemory::default();
        self.memory.alloc(bytes, &self.queue)
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<Weight> {
        self.enter()?;
        self.graph_memory = GraphMemory::default();
        let (rows, cols, dtype) = (source.rows(), source.cols(), source.dtype());
        let layout = layout(self.memory.chip(), &source);
        let Self { loader, kernels, memory, context, .. } = self;
        // Before there is a weight: one that nobody can bring may not be left behind.
        let loader = Loader::running(loader, context, kernels, memory.chip().is_hopper())?;
        let (weight, address) = memory.alloc_weight(rows, cols, dtype, layout)?;
        loader.load(WeightUpload::new(source, address, layout))?;
        Ok(weight)
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        self.enter()?;
        self.memory.require_host_copy("upload", dst, src.len())?;
        let address = self.memory.view(dst).address;
        self.staging.upload(&self.queue, (dst, address), src)
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        self.enter_with_weights()?;
        self.memory.require_host_copy("download", src, dst.len())?;
        let address = self.memory.view(src).address;
        self.staging.download(&self.queue, dst, (src, address))
    }

    fn start_download(&mut self, src: Tensor) -> Result<CudaDownload> {
        self.enter_with_weights()?;
        self.memory.require_host_copy("download", src, src.size_bytes() as usize)?;
        let address = self.memory.view(src).address;
        let Self { id, downloads, kernels, queue, .. } = self;
        downloads.start(id, kernels, queue, (src, address))
    }

    fn finish_download(&mut self, download: CudaDownload, dst: &mut [u8]) -> Result<()> {
        self.enter()?;
        self.downloads.finish(&self.id, download, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.enter_with_weights()?;
        Ok(self.queue.synchronize()?)
    }

    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<CudaGraph> {
        self.enter()?;
        let Self { id, memory, kernels, queue, launches, .. } = self;
        capture(id, memory, kernels, queue, launches, record)
    }

    fn instantiate(&mut self, graph: CudaGraph) -> Result<CudaGraphExec> {
        self.enter()?;
        let CudaGraph { graph, recorded } = graph;
        recorded.require_own(&self.id)?;
        self.graph_memory.begin(&self.context)?;
        let exec = graph.instantiate().map_err(|error| {
            Error::from(error).context(format!("a graph of {} launches", recorded.num_launches))
        })?;
        let size_bytes = self.graph_memory.end(&self.context)?;
        Ok(CudaGraphExec { exec, recorded, size_bytes })
    }

    fn upload_graph(&mut self, exec: &CudaGraphExec) -> Result<()> {
        self.enter()?;
        exec.recorded.require_own(&self.id)?;
        Ok(exec.exec.upload(&self.queue)?)
    }

    fn replay(&mut self, exec: &CudaGraphExec) -> Result<()> {
        exec.recorded.require_own(&self.id)?;
        self.enter_with_weights()?;
        // SAFETY: every launch in it was recorded by this stream, for an op whose operands lie in
        // memory that lives as long as the stream; the modules live as long as the graph, and all
        // work on that memory is in this one queue.
        unsafe { exec.exec.launch(&self.queue) }?;
        self.kernels.count_launches(exec.recorded.num_launches);
        Ok(())
    }

    /// `size_bytes` is what the device has less free memory since it was last asked, which is not
    /// at every graph: many show 0, and some show what those before them took.
    fn graph_info(&self, exec: &CudaGraphExec) -> GraphInfo {
        let CudaGraphExec { recorded, size_bytes, .. } = exec;
        GraphInfo {
            num_ops: recorded.num_ops,
            num_launches: recorded.num_launches,
            size_bytes: *size_bytes,
        }
    }
}

impl ReadProbe for CudaStream {
    fn read_probe(&mut self, buffer: Buffer) -> Result<Duration> {
        self.enter_with_weights()?;
        let range = self.memory.buffer_range(buffer)?;
        let took = read_probe::run(&self.kernels, &self.queue, range, self.memory.workspace())?;
        self.kernels.count_launches(1);
        Ok(took)
    }
}
