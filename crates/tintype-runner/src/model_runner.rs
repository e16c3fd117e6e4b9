//! Runs steps: pads a batch, replays or queues the forward pass, draws tokens.

use tintype_graph::{BatchDescriptor, CaptureProgress, GraphError, GraphKey, GraphPool};
use tintype_model::Model;
use tintype_ops::{Enqueue, KvCache, Stream};

use crate::batch::{BatchRow, BatchShape, HostBatch};
use crate::io_buffers::IoBuffers;
use crate::logprobs::TokenLogprobs;
use crate::penalties;
use crate::random_batch::RandomBatches;

/// What a step drew for one of its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) token: u32,
    pub(crate) logprobs: Option<TokenLogprobs>,
}

/// A loaded model on its stream, with the buffers, caches and graphs of its steps.
pub(crate) struct ModelRunner<S: Stream> {
    // Graphs first: what they point to must outlive them.
    pub(crate) pool: GraphPool<S>,
    pub(crate) model: Box<dyn Model>,
    pub(crate) io: IoBuffers,
    pub(crate) caches: Vec<KvCache>,
    pub(crate) block_size: usize,
    pub(crate) max_model_len: usize,
    batch: HostBatch,
    pub(crate) stream: S,
}

impl<S: Stream> ModelRunner<S> {
    pub(crate) fn new(
        stream: S,
        pool: GraphPool<S>,
        model: Box<dyn Model>,
        io: IoBuffers,
        caches: Vec<KvCache>,
        max_model_len: usize,
    ) -> Self {
        let block_size = caches.first().map_or(1, |cache| cache.block_size as usize);
        let batch = HostBatch::default();
        Self { pool, model, io, caches, block_size, max_model_len, batch, stream }
    }

    /// Captures every graph. Nothing runs, save the warmups that the config asks for.
    pub(crate) fn capture_all(
        &mut self,
        progress: &mut dyn FnMut(CaptureProgress),
    ) -> Result<(), GraphError> {
        let Self { pool, model, io, caches, stream, .. } = self;
        pool.capture_all(stream, &mut forward(&**model, io, caches), progress)
    }

    /// Captures one more graph; `None` when there is none left. Between steps only: a warmup must
    /// not run on what the last step left in the buffers.
    pub(crate) fn capture_next(&mut self) -> Result<Option<GraphKey>, GraphError> {
        let Self { pool, model, io, caches, stream, .. } = self;
        io.clear(stream)?;
        pool.capture_next(stream, &mut forward(&**model, io, caches))
    }

    /// Replays every graph against eager on random inputs, bit for bit, and says how many there
    /// are. Overwrites the KV cache.
    pub(crate) fn verify_all(&mut self) -> Result<usize, GraphError> {
        let Self { pool, model, io, caches, stream, .. } = self;
        let mut random = RandomBatches {
            io,
            caches,
            vocab_size: model.config().vocab_size,
            max_model_len: self.max_model_len,
        };
        let verified = pool.verify_all(stream, &mut forward(&**model, io, caches), &mut random);
        // The device's block tables are no longer those of the last step.
        self.batch = HostBatch::default();
        verified
    }

    /// Runs one step of `rows`, at least one, and draws a token after each. Tokens of rows that
    /// are not complete mean nothing.
    pub(crate) fn run(
        &mut self,
        rows: &[BatchRow<'_>],
        uniform_decode: bool,
    ) -> Result<Vec<Sampled>, GraphError> {
        let real = BatchShape::of(rows, uniform_decode);
        // Before any metadata is built, since it decides what the batch is padded to.
        let dispatch =
            self.pool.dispatcher().dispatch(real.num_tokens, real.num_seqs, uniform_decode);
        let shape = dispatch.descriptor().map_or(real, BatchShape::from);
        self.batch.fill(rows, shape, self.block_size);
        let Self { pool, model, io, caches, batch, stream, .. } = self;
        io.upload(stream, batch)?;
        let view = io.view(shape, caches);
        pool.run(stream, dispatch, &mut |queue| model.forward(queue, &view))?;
        self.sample(rows, shape).map_err(|error| self.pool.explain(error))
    }

    /// Draws a token for each row from the logits that a step of this shape left.
    fn sample(
        &mut self,
        rows: &[BatchRow<'_>],
        shape: BatchShape,
    ) -> tintype_ops::Result<Vec<Sampled>> {
        let raw = self.prepare_logits(rows)?;
        let num_rows = rows.len() as u32;
        let Self { io, stream, .. } = self;
        stream.enqueue(io.sample(shape, num_rows))?;
        let mut tokens = vec![0i32; rows.len()];
        stream.download(bytemuck::cast_slice_mut(&mut tokens), io.sampled(num_rows))?;
        let sampled = rows.iter().zip(tokens).zip(raw).map(|((row, token), logits)| {
            let token = token as u32;
            let n = row.sequence.params.logprobs.unwrap_or(0);
            let logprobs = logits.map(|logits| TokenLogprobs::new(&logits, token, n));
            Sampled { token, logprobs }
        });
        Ok(sampled.collect())
    }

    /// Takes the logits of rows with penalties to the host and back. Returns the model's own
    /// logits of the rows that report log-probabilities.
    fn prepare_logits(
        &mut self,
        rows: &[BatchRow<'_>],
    ) -> tintype_ops::Result<Vec<Option<Vec<f32>>>> {
        let mut raw = vec![None; rows.len()];
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.is_complete()) {
            let params = &row.sequence.params;
            if !params.has_penalties() && params.logprobs.is_none() {
                continue;
            }
            let tensor = self.io.logits_row(index);
            let mut logits = vec![0f32; tensor.cols as usize];
            self.stream.download(bytemuck::cast_slice_mut(&mut logits), tensor)?;
            raw[index] = params.logprobs.map(|_| logits.clone());
            if params.has_penalties() {
                penalties::apply(&mut logits, row.sequence);
                self.stream.upload(tensor, bytemuck::cast_slice(&logits))?;
            }
        }
        Ok(raw)
    }
}

/// Queues the forward pass at the shape of any descriptor.
fn forward(
    model: &dyn Model,
    io: &IoBuffers,
    caches: &[KvCache],
) -> impl FnMut(BatchDescriptor, &mut dyn Enqueue) -> tintype_ops::Result<()> {
    |descriptor, queue| model.forward(queue, &io.view(BatchShape::from(descriptor), caches))
}
