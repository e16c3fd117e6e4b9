//! Runs steps: pads a batch, replays or queues the forward pass, draws tokens.

use std::time::Instant;

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

/// A step that was queued.
pub(crate) struct QueuedStep<S: Stream> {
    shape: BatchShape,
    num_rows: usize,
    /// Whether every row has its next token after this step.
    is_complete: bool,
    /// On their way; `None` while the draw of them waits for logits.
    tokens: Option<S::Download>,
    /// Of each row that reports log-probabilities; empty where none does.
    logits: Vec<Option<RawLogits>>,
}

impl<S: Stream> QueuedStep<S> {
    /// Whether [`ModelRunner::draw_from_logits`] has to come before its tokens can.
    pub(crate) fn waits_for_logits(&self) -> bool {
        self.tokens.is_none()
    }
}

/// The model's own logits of a row, before penalties.
struct RawLogits {
    values: Vec<f32>,
    /// How many of the most likely tokens are reported.
    num_top: usize,
}

/// What a step drew for one of its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) token: u32,
    pub(crate) logprobs: Option<TokenLogprobs>,
}

impl Sampled {
    fn new(token: u32, logits: Option<&RawLogits>) -> Self {
        let logprobs = |raw: &RawLogits| TokenLogprobs::new(&raw.values, token, raw.num_top);
        Self { token, logprobs: logits.map(logprobs) }
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

    /// Where graphs are captured behind steps: captures at least one, and as many as can be
    /// expected to be done before this step is, since a capture needs the host alone.
    pub(crate) fn capture_behind(&mut self, step: &QueuedStep<S>) -> Result<(), GraphError> {
        if !self.captures_behind_steps() {
            return Ok(());
        }
        self.want_next(step);
        let (start, slack) = (Instant::now(), self.slack.behind(step.shape));
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

    /// Where every row has its next token after this step, the next step decodes as many. That
    /// graph is needed sooner than the one of a prompt that this step may have lacked.
    fn want_next(&mut self, step: &QueuedStep<S>) {
        if step.is_complete {
            let num_rows = step.num_rows as u32;
            self.pool.want(self.pool.dispatcher().dispatch(num_rows, num_rows, true));
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

    /// Queues one step of `rows`, at least one, and the draw of a token after each, unless that
    /// has to wait for logits. Tokens of rows that are not complete mean nothing.
    ///
    /// The first `num_drawn` rows decode the tokens that the step before drew in the same rows,
    /// which need not have reached the host.
    pub(crate) fn queue(
        &mut self,
        rows: &[BatchRow<'_>],
        uniform_decode: bool,
        num_drawn: usize,
    ) -> Result<QueuedStep<S>, GraphError> {
        let real = BatchShape::of(rows, uniform_decode);
        // Before any metadata is built, since it decides what the batch is padded to.
        let dispatch =
            self.pool.dispatcher().dispatch(real.num_tokens, real.num_seqs, uniform_decode);
        let shape = dispatch.descriptor().map_or(real, BatchShape::from);
        self.batch.fill(rows, num_drawn, shape, self.block_size);
        let Self { pool, model, io, caches, batch, stream, .. } = self;
        io.upload(stream, batch)?;
        let view = io.view(shape, caches);
        pool.run(stream, dispatch, &mut |queue| model.forward(queue, &view))?;
        let mut step = QueuedStep {
            shape,
            num_rows: rows.len(),
            is_complete: rows.iter().all(BatchRow::is_complete),
            tokens: None,
            logits: Vec::new(),
        };
        if !rows.iter().any(BatchRow::needs_logits) {
            self.draw(&mut step)?;
        }
        Ok(step)
    }

    /// Queues the draw of a token for each row from the logits, and the tokens' way to the host.
    fn draw(&mut self, step: &mut QueuedStep<S>) -> Result<(), GraphError> {
        let (io, num_rows) = (&self.io, step.num_rows as u32);
        let drawn = self.stream.enqueue(io.sample(step.shape, num_rows));
        let tokens = drawn.and_then(|()| self.stream.start_download(io.drawn(num_rows)));
        step.tokens = Some(tokens.map_err(|error| self.pool.explain(error))?);
        Ok(())
    }

    /// Waits for the logits of a step of these rows that cannot draw without the host, and draws.
    pub(crate) fn draw_from_logits(
        &mut self,
        step: &mut QueuedStep<S>,
        rows: &[BatchRow<'_>],
    ) -> Result<(), GraphError> {
        step.logits = self.prepare_logits(rows).map_err(|error| self.pool.explain(error))?;
        self.draw(step)
    }

    /// Waits for the tokens of a step, which was queued at `since` or before. What the host did
    /// from then on was done behind it.
    pub(crate) fn finish(
        &mut self,
        step: QueuedStep<S>,
        since: Instant,
    ) -> Result<Vec<Sampled>, GraphError> {
        let mut tokens = vec![0; step.num_rows];
        let download = step.tokens.expect("the draw was queued");
        let worked = since.elapsed();
        let outcome = self.stream.finish_download(download, bytemuck::cast_slice_mut(&mut tokens));
        outcome.map_err(|error| self.pool.explain(error))?;
        self.slack.measured(step.shape, worked, since.elapsed() - worked);
        let logits = |row: usize| step.logits.get(row).and_then(Option::as_ref);
        let sampled = tokens.into_iter().enumerate();
        Ok(sampled.map(|(row, token)| Sampled::new(token, logits(row))).collect())
    }

    /// Takes the logits of rows with penalties to the host and back. Returns the model's own
    /// logits of the rows that report log-probabilities.
    fn prepare_logits(
        &mut self,
        rows: &[BatchRow<'_>],
    ) -> tintype_ops::Result<Vec<Option<RawLogits>>> {
        let mut raw: Vec<_> = rows.iter().map(|_| None).collect();
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.needs_logits()) {
            let params = &row.sequence.params;
            let tensor = self.io.logits_row(index);
            let mut logits = vec![0f32; tensor.cols as usize];
            self.stream.download(bytemuck::cast_slice_mut(&mut logits), tensor)?;
            raw[index] =
                params.logprobs.map(|num_top| RawLogits { values: logits.clone(), num_top });
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
