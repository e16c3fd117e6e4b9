//! A caller's own stream: all that a device needs to be driven by a graph pool.
//!
//! This one keeps f32 matrices in vectors, knows a single op, and counts how often it is called,
//! which is what a graph saves.
//!
//! `cargo run -p tintype-graph --example own_stream`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::ops::Range;

use tintype_config::{CompilationConfig, EngineConfig, resolve};
use tintype_graph::{BatchDescriptor, GraphOptions, GraphPool, backend_of};
use tintype_ops::{
    Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, GraphSupport, MemoryInfo, Op, Result,
    Stream, Tensor, Weight, WeightSource, check, require_copy_size,
};

/// A device of vectors. A graph of it is a list of ops, checked when they were recorded.
#[derive(Default)]
struct TinyStream {
    buffers: Vec<Vec<u8>>,
    num_calls: usize,
}

impl TinyStream {
    /// The bytes of a contiguous view, or why it has none here.
    fn bytes(&mut self, tensor: Tensor) -> Result<&mut [u8]> {
        let buffer = tensor.buffer.index();
        let (start, end) = tensor.byte_range();
        let bytes = self.buffers.get_mut(buffer as usize).map(Vec::as_mut_slice).unwrap_or(&mut []);
        let len = bytes.len() as u64;
        let range: Range<usize> = start as usize..end as usize;
        bytes.get_mut(range).ok_or(Error::OutOfBounds { buffer, start, end, len })
    }

    fn execute(&mut self, op: Op) -> Result<()> {
        let Op::Add { out, x } = op else {
            let what = "this stream knows only `add`".into();
            return Err(Error::InvalidOp { op: op.name(), what });
        };
        let values = self.bytes(x)?.to_vec();
        for (sum, value) in self.bytes(out)?.chunks_mut(4).zip(values.chunks(4)) {
            sum.copy_from_slice(&(float(sum) + float(value)).to_le_bytes());
        }
        Ok(())
    }
}

fn float(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(f32::NAN, f32::from_le_bytes)
}

impl Enqueue for TinyStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        check::check(&op)?;
        self.num_calls += 1;
        self.execute(op)
    }
}

impl Stream for TinyStream {
    type Graph = Vec<Op>;
    type GraphExec = Vec<Op>;
    type Download = Vec<u8>;

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "tiny".into(),
            num_workers: 1,
            can_capture: true,
            graph_support: GraphSupport::Always,
            is_async: false,
        }
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        Ok(MemoryInfo { free_bytes: u64::MAX, total_bytes: u64::MAX })
    }

    fn activation_dtype(&self, _weights: DType) -> DType {
        DType::F32
    }

    fn alloc(&mut self, bytes: u64) -> Result<Buffer> {
        let index = u32::try_from(self.buffers.len());
        let index = index.map_err(|_| Error::Device("2^32 buffers are enough".into()))?;
        self.buffers.push(vec![0; bytes as usize]);
        Ok(Buffer::from_index(index))
    }

    fn load_weight(&mut self, _source: WeightSource) -> Result<Weight> {
        Err(Error::InvalidWeight("this stream has no op that takes one".into()))
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        let bytes = self.bytes(dst)?;
        require_copy_size(src.len() as u64, bytes.len() as u64)?;
        bytes.copy_from_slice(src);
        Ok(())
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        let download = self.start_download(src)?;
        self.finish_download(download, dst)
    }

    fn start_download(&mut self, src: Tensor) -> Result<Vec<u8>> {
        Ok(self.bytes(src)?.to_vec())
    }

    fn finish_download(&mut self, download: Vec<u8>, dst: &mut [u8]) -> Result<()> {
        require_copy_size(dst.len() as u64, download.len() as u64)?;
        dst.copy_from_slice(&download);
        Ok(())
    }

    /// Ops run as they are queued.
    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    /// A list of ops is a queue that records, so a capture cannot touch the device, and ends
    /// whichever way `record` does.
    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        record(&mut ops)?;
        Ok(ops)
    }

    fn instantiate(&mut self, graph: Vec<Op>) -> Result<Vec<Op>> {
        Ok(graph)
    }

    fn upload_graph(&mut self, _exec: &Vec<Op>) -> Result<()> {
        Ok(())
    }

    fn replay(&mut self, exec: &Vec<Op>) -> Result<()> {
        self.num_calls += 1;
        exec.iter().try_for_each(|&op| self.execute(op))
    }

    fn graph_info(&self, exec: &Vec<Op>) -> GraphInfo {
        let size_bytes = size_of_val(exec.as_slice()) as u64;
        GraphInfo { num_ops: exec.len(), num_launches: exec.len(), size_bytes }
    }
}

/// What the example did.
pub(crate) struct Outcome {
    /// Calls that reached the device for a step of 100 ops that was run eagerly.
    pub(crate) eager_calls: usize,
    /// Calls for the same step replayed.
    pub(crate) replay_calls: usize,
    /// The sum after both: one hundred times the input, twice.
    pub(crate) sum: f32,
}

/// Adds `x` to `sum` a hundred times.
fn queue_sums(sum: Tensor, x: Tensor, queue: &mut dyn Enqueue) -> Result<()> {
    (0..100).try_for_each(|_| queue.enqueue(Op::Add { out: sum, x }))
}

/// Runs the sums eagerly, captures them, and replays them.
pub(crate) fn run() -> std::result::Result<Outcome, Box<dyn std::error::Error>> {
    let mut stream = TinyStream::default();
    let mut scalar = || stream.alloc(4).map(|buffer| Tensor::new(buffer, 1, 1, DType::F32));
    let (sum, x) = (scalar()?, scalar()?);
    stream.upload(x, &0.5f32.to_le_bytes())?;

    let engine = EngineConfig {
        max_num_seqs: 1,
        compilation: CompilationConfig::from_json(
            r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [1]}"#,
        )?,
        ..EngineConfig::default()
    };
    let (compilation, _notes) = resolve(&engine, &backend_of(&stream))?;
    let mut pool = GraphPool::new(&compilation, 1, GraphOptions::default());
    let dispatch = pool.dispatcher().dispatch(1, 1, true);

    // Nothing is captured yet, and the default policy captures nothing inside a step.
    pool.run(&mut stream, dispatch, &mut |queue| queue_sums(sum, x, queue))?;
    let eager_calls = std::mem::take(&mut stream.num_calls);

    let mut forward = |_: BatchDescriptor, queue: &mut dyn Enqueue| queue_sums(sum, x, queue);
    pool.capture_all(&mut stream, &mut forward, &mut |_| {})?;
    pool.run(&mut stream, dispatch, &mut |queue| queue_sums(sum, x, queue))?;
    let replay_calls = stream.num_calls;

    let mut bytes = [0; 4];
    stream.download(&mut bytes, sum)?;
    Ok(Outcome { eager_calls, replay_calls, sum: f32::from_le_bytes(bytes) })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let Outcome { eager_calls, replay_calls, sum } = run()?;
    println!("eager: {eager_calls} calls, replay: {replay_calls} call, sum: {sum}");
    Ok(())
}
