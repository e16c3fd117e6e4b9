//! What the tests share: a small forward pass over persistent buffers, and a pool around it.

mod stream;

use tintype_config::{CompilationConfig, EngineConfig, resolve};
use tintype_graph::{
    BatchDescriptor, Dispatch, GraphError, GraphKey, GraphMode, GraphOptions, GraphPool, Ran,
    RandomBatch, backend_of,
};
use tintype_ops::{DType, Enqueue, Op, Result, Stream, Tensor};

pub(crate) use stream::{Event, Fault, TapeStream};

/// The largest batch of the tests.
pub(crate) const MAX_TOKENS: u32 = 8;
pub(crate) const MAX_SEQS: u32 = 4;
const TABLE_ROWS: u32 = 16;
const HIDDEN: u32 = 4;

/// Two gathers, then per layer a silu_mul, at which piecewise graphs are cut, and an add.
#[derive(Clone, Copy)]
pub(crate) struct Forward {
    pub(crate) ids: Tensor,
    table: Tensor,
    gate_up: Tensor,
    activated: Tensor,
    pub(crate) hidden: Tensor,
    num_layers: usize,
}

impl Forward {
    pub(crate) fn new(stream: &mut impl Stream, num_layers: usize) -> Self {
        let mut alloc = |rows, cols, dtype| {
            let buffer = stream.alloc(u64::from(rows * cols) * 4).unwrap();
            Tensor::new(buffer, rows, cols, dtype)
        };
        let forward = Self {
            ids: alloc(MAX_TOKENS, 1, DType::I32),
            table: alloc(TABLE_ROWS, 2 * HIDDEN, DType::F32),
            gate_up: alloc(MAX_TOKENS, 2 * HIDDEN, DType::F32),
            activated: alloc(MAX_TOKENS, HIDDEN, DType::F32),
            hidden: alloc(MAX_TOKENS, HIDDEN, DType::F32),
            num_layers,
        };
        let values = (0..TABLE_ROWS * 2 * HIDDEN).map(|index| (index % 37) as f32 * 0.125 - 2.0);
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        stream.upload(forward.table, &bytes).unwrap();
        forward.set_ids(stream, 0);
        forward
    }

    /// Ids that differ from token to token and from seed to seed.
    pub(crate) fn set_ids(&self, stream: &mut impl Stream, seed: u64) {
        let id = |token: u32| ((token + 1) as i32 * (3 + 2 * seed as i32)) % TABLE_ROWS as i32;
        let bytes: Vec<u8> = (0..MAX_TOKENS).flat_map(|token| id(token).to_le_bytes()).collect();
        stream.upload(self.ids, &bytes).unwrap();
    }

    /// Queues the ops of a batch. Errors carry their layer, as a model's do.
    pub(crate) fn queue(&self, batch: BatchDescriptor, queue: &mut dyn Enqueue) -> Result<()> {
        let first = |tensor: Tensor| tensor.first_rows(batch.num_tokens);
        let (hidden, gate_up, activated) =
            (first(self.hidden), first(self.gate_up), first(self.activated));
        let (x, rows) = (self.table, first(self.ids));
        queue.enqueue(Op::Gather { out: gate_up, x, rows })?;
        queue.enqueue(Op::Gather { out: hidden, x: x.columns(0, HIDDEN), rows })?;
        for layer in 0..self.num_layers {
            queue
                .enqueue(Op::SiluMul { out: activated, gate_up })
                .and_then(|()| queue.enqueue(Op::Add { out: hidden, x: activated }))
                .map_err(|error| error.context(format!("layer {layer}")))?;
        }
        Ok(())
    }

    /// The bits of the first rows of the result.
    pub(crate) fn result(&self, stream: &mut impl Stream, num_tokens: u32) -> Vec<u8> {
        let tensor = self.hidden.first_rows(num_tokens);
        let mut bytes = vec![0; tensor.size_bytes() as usize];
        stream.download(&mut bytes, tensor).unwrap();
        bytes
    }

    /// Overwrites the result, and says with what.
    pub(crate) fn poison(&self, stream: &mut impl Stream) -> Vec<u8> {
        let bytes = vec![0xff; self.hidden.size_bytes() as usize];
        stream.upload(self.hidden, &bytes).unwrap();
        bytes
    }
}

impl<S: Stream> RandomBatch<S> for Forward {
    fn fill(&mut self, stream: &mut S, _batch: BatchDescriptor, seed: u64) -> Result<()> {
        self.set_ids(stream, seed);
        Ok(())
    }

    fn outputs(&self, batch: BatchDescriptor) -> Vec<Tensor> {
        vec![self.hidden.first_rows(batch.num_tokens)]
    }
}

/// A stream, a forward pass of two layers and a pool.
pub(crate) struct Rig<S: Stream> {
    pub(crate) stream: S,
    pub(crate) forward: Forward,
    pub(crate) pool: GraphPool<S>,
}

/// A rig on a stream that logs; `config` is a `--compilation-config`.
pub(crate) fn rig(config: &str, options: GraphOptions) -> Rig<TapeStream> {
    rig_on(TapeStream::default(), config, options)
}

pub(crate) fn rig_on<S: Stream>(mut stream: S, config: &str, options: GraphOptions) -> Rig<S> {
    let engine = EngineConfig {
        max_num_seqs: MAX_SEQS as usize,
        max_num_batched_tokens: 64,
        compilation: CompilationConfig::from_json(config).unwrap(),
        ..EngineConfig::default()
    };
    let (compilation, _) = resolve(&engine, &backend_of(&stream)).unwrap();
    let forward = Forward::new(&mut stream, 2);
    let pool = GraphPool::new(&compilation, MAX_SEQS, options);
    Rig { stream, forward, pool }
}

impl<S: Stream> Rig<S> {
    pub(crate) fn capture_all(&mut self) -> std::result::Result<(), GraphError> {
        let mut queue = |batch, queue: &mut dyn Enqueue| self.forward.queue(batch, queue);
        self.pool.capture_all(&mut self.stream, &mut queue, &mut |_| {})
    }

    pub(crate) fn capture(&mut self, key: GraphKey) -> std::result::Result<(), GraphError> {
        let mut queue = |batch, queue: &mut dyn Enqueue| self.forward.queue(batch, queue);
        self.pool.capture(&mut self.stream, key, &mut queue)
    }

    pub(crate) fn capture_next(&mut self) -> std::result::Result<Option<GraphKey>, GraphError> {
        let mut queue = |batch, queue: &mut dyn Enqueue| self.forward.queue(batch, queue);
        self.pool.capture_next(&mut self.stream, &mut queue)
    }

    /// Runs a batch, padded if its outcome says so.
    pub(crate) fn run(&mut self, dispatch: Dispatch) -> std::result::Result<Ran, GraphError> {
        let batch = dispatch.descriptor().unwrap_or(BatchDescriptor::decode(1));
        let mut queue = |queue: &mut dyn Enqueue| self.forward.queue(batch, queue);
        self.pool.run(&mut self.stream, dispatch, &mut queue)
    }

    pub(crate) fn verify_all(&mut self) -> std::result::Result<usize, GraphError> {
        let (forward, mut batch) = (self.forward, self.forward);
        let mut queue = |batch, queue: &mut dyn Enqueue| forward.queue(batch, queue);
        self.pool.verify_all(&mut self.stream, &mut queue, &mut batch)
    }
}

pub(crate) const fn full(num_tokens: u32) -> GraphKey {
    GraphKey { mode: GraphMode::Full, descriptor: BatchDescriptor::decode(num_tokens) }
}

pub(crate) const fn piecewise(num_tokens: u32) -> GraphKey {
    let descriptor = BatchDescriptor::mixed(num_tokens, MAX_SEQS);
    GraphKey { mode: GraphMode::Piecewise, descriptor }
}

/// Only decode graphs, of 1, 2 and 4 sequences.
pub(crate) const DECODE: &str =
    r#"{"cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": [1, 2, 4]}"#;

/// Decode graphs of 1 and 4, and pieces of 1, 4 and 8 tokens, cut at `silu_mul`.
pub(crate) const BOTH: &str = r#"{
    "cudagraph_mode": "FULL_AND_PIECEWISE", "cudagraph_capture_sizes": [1, 4, 8],
    "splitting_ops": ["silu_mul"]
}"#;
