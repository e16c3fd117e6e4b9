//! A caller's own list of ops, captured and replayed on the CPU.
//!
//! The ops are one block of a multilayer perceptron, `x += down(silu(gate) * up)`, and the batch
//! is rows of `x`. Nothing here is a language model: the pool runs whatever a closure queues.
//!
//! `cargo run -p tintype-graph --example own_ops`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use tintype_config::{CompilationConfig, EngineConfig, resolve};
use tintype_cpu::CpuStream;
use tintype_graph::{BatchDescriptor, GraphOptions, GraphPool, Ran, RandomBatch, backend_of};
use tintype_ops::{
    DType, Enqueue, Epilogue, Norm, Op, Result, SharedBytes, Stream, Tensor, Weight, WeightPiece,
    WeightRole, WeightSource,
};

const MAX_ROWS: u32 = 8;
const HIDDEN: u32 = 64;
const INTERMEDIATE: u32 = 128;

/// Everything that the ops use, allocated once: a graph holds on to the addresses.
struct Block {
    x: Tensor,
    activated: Tensor,
    norm: Norm,
    gate_up: Weight,
    down: Weight,
}

/// `len` small numbers that depend on `seed`.
fn numbers(len: u32, seed: u64) -> Vec<u8> {
    let number = |index: u32| ((u64::from(index) * 31 + seed * 17) % 61) as f32 / 64.0 - 0.5;
    (0..len).flat_map(|index| number(index).to_le_bytes()).collect()
}

fn weight(stream: &mut impl Stream, rows: u32, cols: u32, role: WeightRole) -> Result<Weight> {
    let bytes = SharedBytes::new(numbers(rows * cols, u64::from(rows)));
    let source = WeightSource::new(vec![WeightPiece { rows, bytes }], cols, DType::F32, role)?;
    stream.load_weight(source)
}

fn tensor(stream: &mut impl Stream, rows: u32, cols: u32) -> Result<Tensor> {
    let buffer = stream.alloc(u64::from(rows) * u64::from(cols) * 4)?;
    Ok(Tensor::new(buffer, rows, cols, DType::F32))
}

impl Block {
    fn load(stream: &mut impl Stream) -> Result<Self> {
        let norm = Norm { weight: tensor(stream, 1, HIDDEN)?, eps: 1e-5 };
        stream.upload(norm.weight, &numbers(HIDDEN, 1))?;
        Ok(Self {
            x: tensor(stream, MAX_ROWS, HIDDEN)?,
            activated: tensor(stream, MAX_ROWS, INTERMEDIATE)?,
            norm,
            gate_up: weight(stream, 2 * INTERMEDIATE, HIDDEN, WeightRole::GateUp)?,
            down: weight(stream, HIDDEN, INTERMEDIATE, WeightRole::Plain)?,
        })
    }

    /// The forward pass. It only queues, so it can be captured.
    fn forward(&self, batch: BatchDescriptor, queue: &mut dyn Enqueue) -> Result<()> {
        let x = self.x.first_rows(batch.num_tokens);
        let activated = self.activated.first_rows(batch.num_tokens);
        queue.enqueue(Op::Matmul {
            out: activated,
            x,
            weight: self.gate_up,
            bias: None,
            norm: Some(self.norm),
            epilogue: Epilogue::SiluMul,
        })?;
        queue.enqueue(Op::Matmul {
            out: x,
            x: activated,
            weight: self.down,
            bias: None,
            norm: None,
            epilogue: Epilogue::Add,
        })
    }
}

impl RandomBatch<CpuStream> for &Block {
    fn fill(&mut self, stream: &mut CpuStream, _: BatchDescriptor, seed: u64) -> Result<()> {
        stream.upload(self.x, &numbers(MAX_ROWS * HIDDEN, seed))
    }

    fn outputs(&self, batch: BatchDescriptor) -> Vec<Tensor> {
        vec![self.x.first_rows(batch.num_tokens)]
    }
}

/// What the example did.
pub(crate) struct Outcome {
    /// How each batch was run, and the rows that it was padded to, if it was.
    pub(crate) ran: Vec<(Ran, Option<u32>)>,
    /// Graphs whose replay gave the bits of an eager run.
    pub(crate) num_verified: usize,
    /// The report, as text.
    pub(crate) report: String,
}

/// Captures the block for 1, 2, 4 and 8 rows, verifies the graphs, and runs a few batches.
pub(crate) fn run() -> std::result::Result<Outcome, Box<dyn Error>> {
    let mut stream = CpuStream::new(Some(1))?;
    let engine = EngineConfig {
        max_num_seqs: MAX_ROWS as usize,
        compilation: CompilationConfig::from_json(
            r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [1, 2, 4, 8]}"#,
        )?,
        ..EngineConfig::default()
    };
    let (compilation, _notes) = resolve(&engine, &backend_of(&stream))?;

    let block = Block::load(&mut stream)?;
    let mut forward = |batch, queue: &mut dyn Enqueue| block.forward(batch, queue);
    let mut pool = GraphPool::new(&compilation, MAX_ROWS, GraphOptions::default());
    pool.capture_all(&mut stream, &mut forward, &mut |_| {})?;
    pool.seal();
    let num_verified = pool.verify_all(&mut stream, &mut forward, &mut &block)?;

    let mut ran = Vec::new();
    for rows in [1, 3, 8, 5] {
        let dispatch = pool.dispatcher().dispatch(rows, rows, true);
        let batch = dispatch.descriptor().unwrap_or(BatchDescriptor::decode(rows));
        // The padding of a batch may hold anything valid; here it is more of the same.
        stream.upload(block.x, &numbers(MAX_ROWS * HIDDEN, u64::from(rows)))?;
        let mut step = |queue: &mut dyn Enqueue| forward(batch, queue);
        let how = pool.run(&mut stream, dispatch, &mut step)?;
        ran.push((how, dispatch.descriptor().map(|batch| batch.num_tokens)));
    }
    stream.synchronize()?;
    Ok(Outcome { ran, num_verified, report: pool.report().to_string() })
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let outcome = run()?;
    println!("{} graphs give the bits of eager runs", outcome.num_verified);
    for (ran, padded) in outcome.ran {
        println!("padded to {padded:?}: {ran:?}");
    }
    print!("{}", outcome.report);
    Ok(())
}
