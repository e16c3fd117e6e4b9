//! The smallest runner there is: one sequence, fed as many tokens at a time as the test likes.

use bytemuck::cast_slice;
use tintype_model::{BatchIo, Limits, Model, ModelError, ModelFiles, ModelSource, load};
use tintype_ops::{AttentionMeta, DType, KvCache, Stream, Tensor};

use crate::streams::TestStream;

/// Most tokens of a sequence.
const MAX_LEN: u32 = 64;
/// Small, so that even short sequences spread over several blocks.
const BLOCK_SIZE: u32 = 4;
const NUM_BLOCKS: u32 = MAX_LEN / BLOCK_SIZE;

/// A loaded model, its caches and its inputs.
pub(crate) struct Driver<S: TestStream> {
    stream: S,
    pub(crate) model: Box<dyn Model>,
    caches: Vec<KvCache>,
    inputs: Inputs,
    context_len: u32,
}

/// The persistent inputs, and the logits.
struct Inputs {
    ids: Tensor,
    positions: Tensor,
    slots: Tensor,
    logit_rows: Tensor,
    cu_seqlens: Tensor,
    context_lens: Tensor,
    block_tables: Tensor,
    logits: Tensor,
}

impl<S: TestStream> Driver<S> {
    /// Loads a fixture.
    pub(crate) fn open(name: &str) -> Self {
        let source = ModelSource::Folder(super::fixture(name));
        Self::load(&ModelFiles::open(source).unwrap()).unwrap()
    }

    /// Loads any model.
    pub(crate) fn load(files: &ModelFiles) -> Result<Self, ModelError> {
        let mut stream = S::open();
        let limits =
            Limits { max_num_tokens: MAX_LEN, max_num_logit_rows: 1, max_model_len: MAX_LEN };
        let model = load(files, &mut stream, &limits, &mut |_| ())?;
        let caches = caches(&mut stream, model.as_ref());
        let inputs = Inputs::new(&mut stream, model.config().vocab_size as u32);
        Ok(Self { stream, model, caches, inputs, context_len: 0 })
    }

    /// Starts another sequence.
    pub(crate) fn restart(&mut self) -> &mut Self {
        self.context_len = 0;
        self
    }

    /// Runs `tokens` as the next ones of the sequence; the logits of each of them, in order.
    pub(crate) fn feed(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.run(tokens, None)
    }

    /// Like [`feed`](Self::feed), but asks for the logits of the last token only.
    pub(crate) fn feed_for_last(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.run(tokens, Some(tokens.len() as i32 - 1))
    }

    fn run(&mut self, tokens: &[u32], logit_row: Option<i32>) -> Vec<f32> {
        let num_tokens = tokens.len() as u32;
        let positions: Vec<u32> = (self.context_len..self.context_len + num_tokens).collect();
        let slots: Vec<u32> = positions.iter().map(|&position| slot(position)).collect();
        self.context_len += num_tokens;
        let Self { stream, inputs, .. } = self;
        let mut upload =
            |tensor: Tensor, values: &[u32]| stream.upload(tensor, cast_slice(values)).unwrap();
        upload(inputs.ids.first_rows(num_tokens), tokens);
        upload(inputs.positions.first_rows(num_tokens), &positions);
        upload(inputs.slots.first_rows(num_tokens), &slots);
        upload(inputs.cu_seqlens, &[0, num_tokens]);
        upload(inputs.context_lens, &[self.context_len]);
        let logit_rows = logit_row.map(|row| {
            upload(inputs.logit_rows, &[row as u32]);
            inputs.logit_rows
        });
        let num_rows = if logit_row.is_some() { 1 } else { num_tokens };
        let io = inputs.io(&self.caches, num_tokens, logit_rows, num_rows);
        self.model.forward(stream, &io).unwrap();
        let mut logits = vec![0f32; io.logits.num_elements() as usize];
        stream.download(bytemuck::cast_slice_mut(&mut logits), io.logits).unwrap();
        logits
    }
}

impl Inputs {
    fn new<S: Stream>(stream: &mut S, vocab_size: u32) -> Self {
        let block_tables = tensor(stream, 1, NUM_BLOCKS, DType::I32);
        let blocks: Vec<u32> = (0..NUM_BLOCKS).map(physical_block).collect();
        stream.upload(block_tables, cast_slice(&blocks)).unwrap();
        let mut column = |rows| tensor(stream, rows, 1, DType::I32);
        Self {
            ids: column(MAX_LEN),
            positions: column(MAX_LEN),
            slots: column(MAX_LEN),
            logit_rows: column(1),
            cu_seqlens: column(2),
            context_lens: column(1),
            block_tables,
            logits: tensor(stream, MAX_LEN, vocab_size, DType::F32),
        }
    }

    fn io<'a>(
        &self,
        caches: &'a [KvCache],
        num_tokens: u32,
        logit_rows: Option<Tensor>,
        num_logit_rows: u32,
    ) -> BatchIo<'a> {
        BatchIo {
            ids: self.ids.first_rows(num_tokens),
            positions: self.positions.first_rows(num_tokens),
            slots: self.slots.first_rows(num_tokens),
            meta: AttentionMeta {
                cu_seqlens: self.cu_seqlens,
                context_lens: self.context_lens,
                block_tables: self.block_tables,
                decode: num_tokens == 1,
            },
            caches,
            logit_rows,
            logits: self.logits.first_rows(num_logit_rows),
        }
    }
}

/// Blocks lie scattered, as they do in a cache that has been in use.
fn physical_block(logical: u32) -> u32 {
    (logical * 5 + 3) % NUM_BLOCKS
}

fn slot(position: u32) -> u32 {
    physical_block(position / BLOCK_SIZE) * BLOCK_SIZE + position % BLOCK_SIZE
}

fn caches<S: Stream>(stream: &mut S, model: &dyn Model) -> Vec<KvCache> {
    let config = model.config();
    let (num_kv_heads, head_dim) = (config.num_key_value_heads as u32, config.head_dim as u32);
    let (dtype, width) = (model.activation_dtype(), num_kv_heads * head_dim);
    let mut side = || tensor(stream, MAX_LEN, width, dtype).buffer;
    let mut cache = || KvCache {
        k: side(),
        v: side(),
        num_blocks: NUM_BLOCKS,
        block_size: BLOCK_SIZE,
        num_kv_heads,
        head_dim,
        dtype,
    };
    (0..config.num_hidden_layers).map(|_| cache()).collect()
}

fn tensor<S: Stream>(stream: &mut S, rows: u32, cols: u32, dtype: DType) -> Tensor {
    let bytes = u64::from(rows) * u64::from(cols) * dtype.size_bytes() as u64;
    Tensor::new(stream.alloc(bytes).unwrap(), rows, cols, dtype)
}
