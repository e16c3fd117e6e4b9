//! Runs steps: pads a batch, replays or queues the forward pass, draws tokens.

use std::time::{Duration, Instant};

use tintype_graph::{
    BatchDescriptor, CapturePolicy, CaptureProgress, GraphError, GraphKey, GraphPool,
};
use tintype_model::Model;
use tintype_ops::{Enqueue, KvCache, Stream};

use crate::batch::{BatchRow, BatchShape, HostBatch};
use crate::io_buffers::IoBuffers;
use crate::logprobs::TokenLogprobs;
use crate::penalties;
use crate::random_batch::RandomBatches;
use crate::slack::Slack;

/// What came of a step.
pub(crate) struct RanStep {
    /// For each row.
    pub(crate) sampled: Vec<Sampled>,
    /// Why a capture behind the step failed. The step has its results all the same.
    pub(crate) capture_failure: Option<GraphError>,
}

/// What a step drew for one of its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) token: u32,
    pub(crate) logprobs: Option<TokenLogprobs>,
}

impl Sampled {
    fn new(row: &BatchRow<'_>, token: u32, logits: Option<Vec<f32>>) -> Self {
        let n = row.sequence.params.logprobs.unwrap_or(0);
        Self { token, logprobs: logits.map(|logits| TokenLogprobs::new(&logits, token, n)) }
    }
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
    slack: Slack,
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
        let (batch, slack) = (HostBatch::default(), Slack::default());
        Self { pool, model, io, caches, block_size, max_model_len, batch, slack, stream }
    }

    /// Captures every graph. Nothing runs, save the warmups that the config asks for.
    pub(crate) fn capture_all(
        &mut self,
        progress: &mut dyn FnMut(CaptureProgress),
    ) -> Result<(), GraphError> {
        let Self { pool, model, io, caches, stream, .. } = self;
        pool.capture_all(stream, &mut forward(&**model, io, caches), progress)
    }

    /// Captures one more graph; `None` when there is none left. Between steps, or behind one
    /// where there are no warmups: these must not run on what a step has in the buffers.
    pub(crate) fn capture_next(&mut self) -> Result<Option<GraphKey>, GraphError> {
        let Self { pool, model, io, caches, stream, .. } = self;
        if pool.warms_up() {
            io.clear(stream)?;
        }
        pool.capture_next(stream, &mut forward(&**model, io, caches))
    }

    /// Whether steps are followed by captures, as [`CapturePolicy::Background`] asks for.
    fn captures_behind_steps(&self) -> bool {
        let pool = &self.pool;
        let is_background = pool.options().policy == CapturePolicy::Background;
        is_background && !pool.warms_up() && !pool.is_sealed()
    }

    /// Captures at least one graph, and as many as can be expected to be done before the step of
    /// this shape is, which was just queued: a capture needs the host alone.
    fn capture_behind(&mut self, shape: BatchShape) -> Result<(), GraphError> {
        let (start, slack) = (Instant::now(), self.slack.behind(shape));
        loop {
            let before = start.elapsed();
            if self.capture_next()?.is_none() {
                return Ok(());
            }
            let after = start.elapsed();
            // The next one can be expected to take as long as this one.
            if after + (after - before) > slack {
                return Ok(());
            }
        }
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
    ) -> Result<RanStep, GraphError> {
        let shape = self.queue(rows, uniform_decode)?;
        // Rows that need their logits on the host wait for the device before they can draw.
        let needs_logits = rows.iter().any(BatchRow::needs_logits);
        if !needs_logits {
            self.draw(rows, shape)?;
        }
        let (start, mut capture_failure) = (Instant::now(), None);
        if self.captures_behind_steps() {
            self.want_next(rows);
            capture_failure = self.capture_behind(shape).err();
        }
        let captured = start.elapsed();
        let mut raw = vec![None; rows.len()];
        if needs_logits {
            raw = self.prepare_logits(rows).map_err(|error| self.pool.explain(error))?;
            self.draw(rows, shape)?;
        }
        let tokens = self.download_tokens(rows, shape, captured)?;
        let sampled = rows.iter().zip(tokens).zip(raw);
        let sampled = sampled.map(|((row, token), logits)| Sampled::new(row, token, logits));
        Ok(RanStep { sampled: sampled.collect(), capture_failure })
    }

    /// Queues the forward pass of `rows` and says at which shape it runs.
    fn queue(
        &mut self,
        rows: &[BatchRow<'_>],
        uniform_decode: bool,
    ) -> Result<BatchShape, GraphError> {
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
        Ok(shape)
    }

    /// Where every row has its next token after this step, the next step decodes as many. That
    /// graph is needed sooner than the one of a prompt that this step may have lacked.
    fn want_next(&mut self, rows: &[BatchRow<'_>]) {
        if rows.iter().all(BatchRow::is_complete) {
            let num_rows = rows.len() as u32;
            self.pool.want(self.pool.dispatcher().dispatch(num_rows, num_rows, true));
        }
    }

    /// Queues the draw of a token for each row from the logits of a step of this shape.
    fn draw(&mut self, rows: &[BatchRow<'_>], shape: BatchShape) -> Result<(), GraphError> {
        let op = self.io.sample(shape, rows.len() as u32);
        self.stream.enqueue(op).map_err(|error| self.pool.explain(error))
    }

    /// Waits for the tokens that were drawn. The host `worked` since the step was queued.
    fn download_tokens(
        &mut self,
        rows: &[BatchRow<'_>],
        shape: BatchShape,
        worked: Duration,
    ) -> Result<Vec<u32>, GraphError> {
        let mut tokens = vec![0; rows.len()];
        let start = Instant::now();
        let sampled = self.io.sampled(rows.len() as u32);
        let outcome = self.stream.download(bytemuck::cast_slice_mut(&mut tokens), sampled);
        outcome.map_err(|error| self.pool.explain(error))?;
        self.slack.measured(shape, worked, start.elapsed());
        Ok(tokens)
    }

    /// Takes the logits of rows with penalties to the host and back. Returns the model's own
    /// logits of the rows that report log-probabilities.
    fn prepare_logits(
        &mut self,
        rows: &[BatchRow<'_>],
    ) -> tintype_ops::Result<Vec<Option<Vec<f32>>>> {
        let mut raw = vec![None; rows.len()];
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.needs_logits()) {
            let params = &row.sequence.params;
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
