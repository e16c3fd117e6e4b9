//! The persistent buffers that a step's inputs are written to and its results are read from.
//! Graphs bake their addresses, so they live as long as the stream.

use tintype_model::{BatchIo, Limits};
use tintype_ops::sampling::SampleParams;
use tintype_ops::{AttentionMeta, DType, KvCache, Op, Result, Stream, Tensor};

use crate::batch::{BatchShape, BlockTables, HostBatch};

/// The buffers at their full size.
///
/// Every input of a step but its tokens and block tables lies in one buffer, closely packed for the
/// step's shape, so that one copy brings them all. Graphs are captured per shape, so where an input
/// lies may depend on it.
///
/// A step draws its tokens where the next one reads them, whatever the shapes: a sequence that
/// decodes in the same row as before finds its token there, and the host need not know it yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoBuffers {
    /// 32-bit words: slots end at `num_slots`, whatever else there is starts there. So the words
    /// that stand before are all slots (−1 is padding), and those behind never are.
    inputs: Tensor,
    num_slots: u32,
    /// Every row is a token of the vocabulary at all times, so what pads a step can be any.
    ids: Tensor,
    block_tables: Tensor,
    logits: Tensor,
}

/// 32-bit words of one row of [`tintype_ops::Op::Sample`]'s parameters.
const PARAMS_COLS: u32 = (size_of::<SampleParams>() / DType::U32.size_bytes()) as u32;

/// Where the inputs of a step of one shape lie, in words from the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    slots: u32,
    positions: u32,
    cu_seqlens: u32,
    context_lens: u32,
    logit_rows: u32,
    params: u32,
    end: u32,
}

impl Layout {
    fn new(num_slots: u32, shape: BatchShape) -> Self {
        let BatchShape { num_tokens, num_seqs, decode } = shape;
        let num_rows = shape.num_logit_rows();
        let positions = num_slots;
        let cu_seqlens = positions + num_tokens;
        let context_lens = cu_seqlens + num_seqs + 1;
        let logit_rows = context_lens + num_seqs;
        // A row of parameters is read as a whole.
        let params = (logit_rows + if decode { 0 } else { num_rows }).next_multiple_of(PARAMS_COLS);
        Self {
            slots: num_slots - num_tokens,
            positions,
            cu_seqlens,
            context_lens,
            logit_rows,
            params,
            end: params + num_rows * PARAMS_COLS,
        }
    }
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
        let num_slots = num_tokens.next_multiple_of(PARAMS_COLS);
        let largest = Layout::new(num_slots, BatchShape { num_tokens, num_seqs, decode: false });
        let buffers = Self {
            inputs: alloc(largest.end, 1, DType::I32)?,
            num_slots,
            ids: alloc(num_tokens.max(num_seqs), 1, DType::I32)?,
            block_tables: alloc(num_seqs, max_blocks_per_seq, DType::I32)?,
            logits: alloc(num_seqs, vocab_size, DType::F32)?,
        };
        for tensor in [buffers.ids, buffers.block_tables] {
            stream.upload(tensor, &vec![0; tensor.size_bytes() as usize])?;
        }
        buffers.clear(stream)?;
        Ok(buffers)
    }

    /// Makes the inputs of every shape a batch that is all padding. Tokens and block tables stay as
    /// they are: padding has any token and no table.
    pub(crate) fn clear<S: Stream>(&self, stream: &mut S) -> Result<()> {
        let mut words = vec![-1; self.num_slots as usize];
        words.resize(self.inputs.rows as usize, 0);
        upload(stream, self.inputs, &words)
    }

    /// A column of the inputs.
    fn column(&self, first_word: u32, rows: u32) -> Tensor {
        Tensor { offset: first_word.into(), rows, ..self.inputs }
    }

    /// The views of a step of this shape.
    pub(crate) fn view<'a>(&self, shape: BatchShape, caches: &'a [KvCache]) -> BatchIo<'a> {
        let BatchShape { num_tokens, num_seqs, decode } = shape;
        let at = Layout::new(self.num_slots, shape);
        let num_rows = shape.num_logit_rows();
        BatchIo {
            ids: self.ids.first_rows(num_tokens),
            positions: self.column(at.positions, num_tokens),
            slots: self.column(at.slots, num_tokens),
            meta: AttentionMeta {
                cu_seqlens: self.column(at.cu_seqlens, num_seqs + 1),
                context_lens: self.column(at.context_lens, num_seqs),
                block_tables: self.block_tables.first_rows(num_seqs),
                decode,
            },
            caches,
            logit_rows: (!decode).then(|| self.column(at.logit_rows, num_rows)),
            logits: self.logits.first_rows(num_rows),
        }
    }

    /// f32 `[1, vocab]`: the logits of one row.
    pub(crate) fn logits_row(&self, row: usize) -> Tensor {
        let offset = row as u64 * u64::from(self.logits.stride);
        Tensor { offset, rows: 1, ..self.logits }
    }

    /// Draws a token for each of the first `num_rows` rows of a step of this shape.
    pub(crate) fn sample(&self, shape: BatchShape, num_rows: u32) -> Op {
        let first_word = Layout::new(self.num_slots, shape).params;
        let params = Tensor {
            offset: first_word.into(),
            rows: num_rows,
            cols: PARAMS_COLS,
            stride: PARAMS_COLS,
            dtype: DType::U32,
            ..self.inputs
        };
        let logits = self.logits.first_rows(num_rows);
        Op::Sample { out: self.drawn(num_rows), logits, params }
    }

    /// i32 `[num_rows, 1]`: the tokens drawn last.
    pub(crate) fn drawn(&self, num_rows: u32) -> Tensor {
        self.ids.first_rows(num_rows)
    }

    /// Blocks that a row of the block tables has room for.
    pub(crate) fn max_blocks_per_seq(&self) -> u32 {
        self.block_tables.cols
    }

    /// Writes a step's inputs: one copy, another for the tokens that the device does not have, and
    /// one where block tables are not those of the step before.
    pub(crate) fn upload<S: Stream>(&self, stream: &mut S, batch: &mut HostBatch) -> Result<()> {
        let at = Layout::new(self.num_slots, batch.shape);
        let words = batch.pack((at.params - at.logit_rows) as usize);
        debug_assert_eq!(words.len(), (at.end - at.slots) as usize, "{:?}", batch.shape);
        upload(stream, self.column(at.slots, words.len() as u32), words)?;
        let (first_row, ids) = batch.ids();
        if !ids.is_empty() {
            let rows = Tensor { offset: first_row as u64, rows: ids.len() as u32, ..self.ids };
            upload(stream, rows, ids)?;
        }
        let Some(tables) = batch.changed_tables() else { return Ok(()) };
        // Only the columns in use: a row has room for the longest sequence.
        let BlockTables { entries, width } = tables;
        let Some(num_rows) = entries.len().checked_div(*width) else { return Ok(()) };
        let used = self.block_tables.first_rows(num_rows as u32).columns(0, *width as u32);
        upload(stream, used, entries)?;
        batch.tables_uploaded();
        Ok(())
    }
}

fn upload<S: Stream>(stream: &mut S, tensor: Tensor, values: &[i32]) -> Result<()> {
    stream.upload(tensor, bytemuck::cast_slice(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_a_shape_follow_each_other() {
        let shape = BatchShape { num_tokens: 5, num_seqs: 2, decode: false };
        let at = Layout::new(16, shape);
        let starts = [at.slots, at.positions, at.cu_seqlens, at.context_lens];
        assert_eq!(starts, [11, 16, 21, 24]);
        assert_eq!((at.logit_rows, at.params, at.end), (26, 32, 48));
        let decode = Layout::new(16, BatchShape { num_tokens: 2, num_seqs: 2, decode: true });
        assert_eq!((decode.slots, decode.logit_rows, decode.params), (14, 23, 24));
    }
}
