//! The persistent buffers that a step's inputs are written to and its results are read from.
//! Graphs bake their addresses, so they live as long as the stream.

use tintype_model::{BatchIo, Limits};
use tintype_ops::sampling::SampleParams;
use tintype_ops::{AttentionMeta, DType, KvCache, Result, Stream, Tensor};

use crate::batch::{BatchShape, HostBatch};

/// The buffers at their full size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoBuffers {
    ids: Tensor,
    positions: Tensor,
    slots: Tensor,
    cu_seqlens: Tensor,
    context_lens: Tensor,
    block_tables: Tensor,
    logit_rows: Tensor,
    logits: Tensor,
    params: Tensor,
    sampled: Tensor,
}

impl IoBuffers {
    /// Allocates for the largest step, and fills the inputs with padding, so that whatever runs
    /// before the first step reads values that are valid.
    pub(crate) fn alloc<S: Stream>(
        stream: &mut S,
        limits: &Limits,
        max_blocks_per_seq: u32,
        vocab_size: u32,
    ) -> Result<Self> {
        let mut alloc = |rows: u32, cols: u32, dtype: DType| -> Result<Tensor> {
            let bytes = u64::from(rows) * u64::from(cols) * dtype.size_bytes() as u64;
            Ok(Tensor::new(stream.alloc(bytes)?, rows, cols, dtype))
        };
        let (num_tokens, num_seqs) = (limits.max_num_tokens, limits.max_num_logit_rows);
        let params_cols = size_of::<SampleParams>() / DType::U32.size_bytes();
        let buffers = Self {
            ids: alloc(num_tokens, 1, DType::I32)?,
            positions: alloc(num_tokens, 1, DType::I32)?,
            slots: alloc(num_tokens, 1, DType::I32)?,
            cu_seqlens: alloc(num_seqs + 1, 1, DType::I32)?,
            context_lens: alloc(num_seqs, 1, DType::I32)?,
            block_tables: alloc(num_seqs, max_blocks_per_seq, DType::I32)?,
            logit_rows: alloc(num_seqs, 1, DType::I32)?,
            logits: alloc(num_seqs, vocab_size, DType::F32)?,
            params: alloc(num_seqs, params_cols as u32, DType::U32)?,
            sampled: alloc(num_seqs, 1, DType::I32)?,
        };
        buffers.clear(stream)?;
        Ok(buffers)
    }

    /// Makes the inputs a batch that is all padding.
    pub(crate) fn clear<S: Stream>(&self, stream: &mut S) -> Result<()> {
        let zeroed = [
            self.ids,
            self.positions,
            self.cu_seqlens,
            self.context_lens,
            self.block_tables,
            self.logit_rows,
        ];
        for tensor in zeroed {
            stream.upload(tensor, &vec![0; tensor.size_bytes() as usize])?;
        }
        upload(stream, self.slots, &vec![-1; self.slots.rows as usize])
    }

    /// The views of a step of this shape.
    pub(crate) fn view<'a>(&self, shape: BatchShape, caches: &'a [KvCache]) -> BatchIo<'a> {
        let BatchShape { num_tokens, num_seqs, decode } = shape;
        BatchIo {
            ids: self.ids.first_rows(num_tokens),
            positions: self.positions.first_rows(num_tokens),
            slots: self.slots.first_rows(num_tokens),
            meta: AttentionMeta {
                cu_seqlens: self.cu_seqlens.first_rows(num_seqs + 1),
                context_lens: self.context_lens.first_rows(num_seqs),
                block_tables: self.block_tables.first_rows(num_seqs),
                decode,
            },
            caches,
            logit_rows: (!decode).then(|| self.logit_rows.first_rows(shape.num_logit_rows())),
            logits: self.logits(shape.num_logit_rows()),
        }
    }

    /// f32 `[num_rows, vocab]`.
    pub(crate) fn logits(&self, num_rows: u32) -> Tensor {
        self.logits.first_rows(num_rows)
    }

    /// f32 `[1, vocab]`: the logits of one row.
    pub(crate) fn logits_row(&self, row: usize) -> Tensor {
        let offset = row as u64 * u64::from(self.logits.stride);
        Tensor { offset, rows: 1, ..self.logits }
    }

    /// u32 `[num_rows, 8]`: a [`SampleParams`] per row.
    pub(crate) fn params(&self, num_rows: u32) -> Tensor {
        self.params.first_rows(num_rows)
    }

    /// i32 `[num_rows, 1]`: the tokens drawn.
    pub(crate) fn sampled(&self, num_rows: u32) -> Tensor {
        self.sampled.first_rows(num_rows)
    }

    /// Blocks that a row of the block tables has room for.
    pub(crate) fn max_blocks_per_seq(&self) -> u32 {
        self.block_tables.cols
    }

    /// Writes a step's inputs.
    pub(crate) fn upload<S: Stream>(&self, stream: &mut S, batch: &HostBatch) -> Result<()> {
        for (tensor, column) in [
            (self.ids, &batch.ids),
            (self.positions, &batch.positions),
            (self.slots, &batch.slots),
            (self.cu_seqlens, &batch.cu_seqlens),
            (self.context_lens, &batch.context_lens),
            (self.logit_rows, &batch.logit_rows),
        ] {
            if !column.is_empty() {
                upload(stream, tensor.first_rows(column.len() as u32), column)?;
            }
        }
        // Only the columns in use: a row has room for the longest sequence.
        let (width, len) = (batch.table_width, batch.block_tables.len());
        let Some(num_rows) = len.checked_div(width) else { return Ok(()) };
        let used = self.block_tables.first_rows(num_rows as u32).columns(0, width as u32);
        upload(stream, used, &batch.block_tables)
    }
}

fn upload<S: Stream>(stream: &mut S, tensor: Tensor, values: &[i32]) -> Result<()> {
    stream.upload(tensor, bytemuck::cast_slice(values))
}
