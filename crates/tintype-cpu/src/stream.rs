//! The CPU as a stream: every op runs at once, on threads of the stream's own.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tintype_ops::{
    Allocations, Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, GraphSupport, MemoryInfo,
    Op, ReadProbe, Result, Stream, StreamId, Tensor, Weight, WeightSource, require_copy_size,
};

use crate::execute::execute;
use crate::graph::{CpuGraph, CpuGraphExec, Recorder, check_op};
use crate::host_memory::memory_info;
use crate::memory::Memory;
use crate::parallel::Workers;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Most threads of a [`CpuStream`]: more than any machine runs at once only cost time to start.
pub const MAX_THREADS: usize = 1024;

/// Bytes that a task of the read probe sums: small enough to share out evenly.
const PROBE_TASK_BYTES: usize = 1 << 20;

/// Buffers, weights, and the threads that work on them.
///
/// Results do not depend on the number of threads.
pub struct CpuStream {
    id: StreamId,
    memory: Memory,
    scratch: Scratch,
    pool: ThreadPool,
    simd: Simd,
}

impl CpuStream {
    /// A stream with `threads` threads; with `None`, as many as the machine runs at once.
    ///
    /// # Errors
    /// When the system gives no threads, or `threads` is not between 1 and [`MAX_THREADS`].
    pub fn new(threads: Option<usize>) -> Result<Self> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let num_threads = threads.unwrap_or_else(|| available().min(MAX_THREADS));
        if !(1..=MAX_THREADS).contains(&num_threads) {
            let what = format!("{num_threads} threads, expected 1 to {MAX_THREADS}");
            return Err(Error::Device(what));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(num_threads)
            .thread_name(|i| format!("tintype-cpu-{i}"))
            .build()
            .map_err(|error| Error::Device(format!("starting {num_threads} threads: {error}")))?;
        Ok(Self {
            id: StreamId::default(),
            memory: Memory::default(),
            scratch: Scratch::default(),
            pool,
            simd: Simd::detect(),
        })
    }

    /// How many threads run an op.
    #[must_use]
    pub fn num_threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl Enqueue for CpuStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        check_op(&op, &self.memory)?;
        let workers = Workers { pool: &self.pool, simd: self.simd };
        execute(&op, &mut self.memory, &mut self.scratch, workers)
    }
}

impl Stream for CpuStream {
    type Graph = CpuGraph;
    type GraphExec = CpuGraphExec;
    type Download = Vec<u8>;

    fn device_info(&self) -> DeviceInfo {
        let num_workers = self.num_threads();
        let plural = if num_workers == 1 { "" } else { "s" };
        DeviceInfo {
            name: format!("cpu ({num_workers} thread{plural}, {})", self.simd.name()),
            num_workers,
            can_capture: true,
            graph_support: GraphSupport::Always,
            is_async: false,
        }
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        Ok(memory_info())
    }

    fn activation_dtype(&self, _weights: DType) -> DType {
        DType::F32
    }

    fn alloc(&mut self, bytes: u64) -> Result<Buffer> {
        self.memory.alloc(bytes, memory_info())
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<Weight> {
        self.memory.load_weight(source)
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        self.memory.upload(dst, src)
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        self.memory.download(dst, src)
    }

    fn start_download(&mut self, src: Tensor) -> Result<Vec<u8>> {
        let len = src.size_bytes() as usize;
        self.memory.require_host_copy("download", src, len)?;
        let mut copy = vec![0; len];
        self.memory.download(&mut copy, src)?;
        Ok(copy)
    }

    fn finish_download(&mut self, download: Vec<u8>, dst: &mut [u8]) -> Result<()> {
        require_copy_size(dst.len() as u64, download.len() as u64)?;
        dst.copy_from_slice(&download);
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<CpuGraph> {
        let mut recorder = Recorder::new(&self.memory);
        record(&mut recorder)?;
        Ok(recorder.finish())
    }

    fn instantiate(&mut self, graph: CpuGraph) -> Result<CpuGraphExec> {
        graph.ops.iter().try_for_each(|op| check_op(op, &self.memory))?;
        Ok(CpuGraphExec { ops: graph.ops.into(), stream: self.id.clone() })
    }

    fn upload_graph(&mut self, _exec: &CpuGraphExec) -> Result<()> {
        Ok(())
    }

    fn replay(&mut self, exec: &CpuGraphExec) -> Result<()> {
        if exec.stream != self.id {
            let what = "the graph belongs to another stream; replay it on the one that made it";
            return Err(Error::Device(what.into()));
        }
        let Self { memory, scratch, pool, simd, .. } = self;
        let workers = Workers { pool, simd: *simd };
        let run = |(i, op): (usize, &Op)| {
            let of = exec.ops.len();
            execute(op, memory, scratch, workers).map_err(|e| e.context(format!("op {i} of {of}")))
        };
        // One hand-over to the threads for the whole list.
        pool.install(|| exec.ops.iter().enumerate().try_for_each(run))
    }

    fn graph_info(&self, exec: &CpuGraphExec) -> GraphInfo {
        let num_ops = exec.ops.len();
        GraphInfo { num_ops, num_launches: num_ops, size_bytes: size_of_val(&*exec.ops) as u64 }
    }
}

impl ReadProbe for CpuStream {
    fn read_probe(&mut self, buffer: Buffer) -> Result<Duration> {
        let storage = self.memory.storage_mut(buffer)?;
        storage.make_resident();
        let (words, simd) = (storage.as_slice::<u32>(), self.simd);
        let tasks = words.par_chunks(PROBE_TASK_BYTES / size_of::<u32>());
        self.pool.install(|| {
            let start = Instant::now();
            let sum = tasks.map(|words| simd.sum_u32(words)).reduce(|| 0, u32::wrapping_add);
            std::hint::black_box(sum);
            Ok(start.elapsed())
        })
    }
}
