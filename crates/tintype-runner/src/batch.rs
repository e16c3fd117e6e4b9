//! One step's inputs as arrays on the host, padded to the shape that the step runs at.

use tintype_graph::BatchDescriptor;
use tintype_ops::sampling::SampleParams;

use crate::sequence::Sequence;

/// A sequence's part in a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRow<'a> {
    pub(crate) sequence: &'a Sequence,
    /// How many of its uncomputed tokens, at least 1.
    pub(crate) num_tokens: usize,
}

impl BatchRow<'_> {
    /// Tokens in the cache once the step has run.
    pub(crate) fn context_len(&self) -> usize {
        self.sequence.num_computed + self.num_tokens
    }

    /// Whether a token is drawn after the step: no part of the prompt is left.
    pub(crate) fn is_complete(&self) -> bool {
        self.context_len() == self.sequence.len()
    }

    /// Whether its logits have to come to the host before a token is drawn.
    pub(crate) fn needs_logits(&self) -> bool {
        let params = &self.sequence.params;
        self.is_complete() && (params.has_penalties() || params.logprobs.is_some())
    }

    /// How the next token is drawn. Tokens that mean nothing are drawn the quick way.
    fn sample_params(&self) -> SampleParams {
        let sequence = self.sequence;
        match self.is_complete() {
            true => sequence.params.row(sequence.seed, sequence.output().len() as u32),
            false => SampleParams::GREEDY,
        }
    }
}

/// The shape that a step runs at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchShape {
    pub(crate) num_tokens: u32,
    pub(crate) num_seqs: u32,
    /// Whether row `i` is the one token of sequence `i`.
    pub(crate) decode: bool,
}

impl BatchShape {
    /// Of a batch that is not padded.
    pub(crate) fn of(rows: &[BatchRow<'_>], decode: bool) -> Self {
        let num_tokens: usize = rows.iter().map(|row| row.num_tokens).sum();
        Self { num_tokens: num_tokens as u32, num_seqs: rows.len() as u32, decode }
    }

    /// Rows of logits: one per sequence.
    pub(crate) fn num_logit_rows(self) -> u32 {
        self.num_seqs
    }
}

impl From<BatchDescriptor> for BatchShape {
    fn from(BatchDescriptor { num_tokens, num_seqs, uniform }: BatchDescriptor) -> Self {
        Self { num_tokens, num_seqs, decode: uniform }
    }
}

/// Rows of block tables, closely packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockTables {
    /// `[real sequences, width]`.
    pub(crate) entries: Vec<i32>,
    /// The most blocks that a sequence of the batch has.
    pub(crate) width: usize,
}

/// The inputs of a step, one vector per tensor. Reused from step to step.
///
/// Padding is what no real row can notice: a position that is valid, no slot (−1), and sequences
/// without tokens (`cu_seqlens` repeats the number of real ones) and without context. Their token
/// is whichever the device has there; block tables of such sequences are never read and are left
/// as they are.
#[derive(Debug, Default)]
pub(crate) struct HostBatch {
    pub(crate) shape: BatchShape,
    /// Leading tokens that the device has drawn itself.
    num_drawn: usize,
    /// Those behind them, without padding.
    ids: Vec<i32>,
    positions: Vec<i32>,
    slots: Vec<i32>,
    cu_seqlens: Vec<i32>,
    context_lens: Vec<i32>,
    /// The row whose logits each sequence's next token is drawn from; empty where that is every
    /// row in order.
    logit_rows: Vec<i32>,
    /// How each sequence's next token is drawn.
    params: Vec<SampleParams>,
    /// All of these, one after the other.
    packed: Vec<i32>,
    block_tables: BlockTables,
    /// Those that the device has.
    uploaded_tables: BlockTables,
}

impl HostBatch {
    /// Replaces the content by `rows`, at least one, padded to `shape`, which holds them. The
    /// first `num_drawn` rows have one token each, which is on the device.
    pub(crate) fn fill(
        &mut self,
        rows: &[BatchRow<'_>],
        num_drawn: usize,
        shape: BatchShape,
        block_size: usize,
    ) {
        self.clear();
        self.num_drawn = num_drawn;
        self.cu_seqlens.push(0);
        for row in rows {
            self.push_tokens(row, block_size);
        }
        for row in &rows[num_drawn..] {
            let uncomputed = row.sequence.num_computed..row.context_len();
            self.ids.extend(row.sequence.tokens[uncomputed].iter().map(|&id| id as i32));
        }
        self.push_block_tables(rows, block_size);
        self.params.extend(rows.iter().map(BatchRow::sample_params));
        self.pad(shape);
        self.shape = shape;
    }

    /// The tokens that the device does not have, and the row of the first.
    pub(crate) fn ids(&self) -> (usize, &[i32]) {
        (self.num_drawn, &self.ids)
    }

    /// All other inputs but block tables as one list of words, in the order in which they lie on
    /// the device: slots, positions, `cu_seqlens`, `context_lens`, `logit_rows`, which take
    /// `num_logit_words`, then parameters.
    pub(crate) fn pack(&mut self, num_logit_words: usize) -> &[i32] {
        let Self { packed, slots, positions, cu_seqlens, context_lens, .. } = self;
        packed.clear();
        for column in [slots, positions, cu_seqlens, context_lens] {
            packed.extend_from_slice(column);
        }
        let params = packed.len() + num_logit_words;
        packed.extend_from_slice(&self.logit_rows);
        packed.resize(params, 0);
        packed.extend_from_slice(bytemuck::cast_slice(&self.params));
        packed
    }

    /// The block tables where they are not those that the device has. From now on nothing is
    /// known of what it has, until all of them [are uploaded](Self::tables_uploaded).
    pub(crate) fn changed_tables(&mut self) -> Option<&BlockTables> {
        if self.block_tables == self.uploaded_tables {
            return None;
        }
        self.uploaded_tables = BlockTables::default();
        Some(&self.block_tables)
    }

    /// The device has the block tables now.
    pub(crate) fn tables_uploaded(&mut self) {
        self.uploaded_tables.clone_from(&self.block_tables);
    }

    fn clear(&mut self) {
        let columns = [
            &mut self.ids,
            &mut self.positions,
            &mut self.slots,
            &mut self.cu_seqlens,
            &mut self.context_lens,
            &mut self.block_tables.entries,
            &mut self.logit_rows,
        ];
        columns.into_iter().for_each(Vec::clear);
        self.params.clear();
    }

    fn push_tokens(&mut self, row: &BatchRow<'_>, block_size: usize) {
        let Sequence { num_computed, block_table, .. } = row.sequence;
        for position in *num_computed..row.context_len() {
            let block = block_table[position / block_size] as usize;
            self.positions.push(position as i32);
            self.slots.push((block * block_size + position % block_size) as i32);
        }
        let num_tokens = self.positions.len() as i32;
        self.cu_seqlens.push(num_tokens);
        self.context_lens.push(row.context_len() as i32);
        self.logit_rows.push(num_tokens - 1);
    }

    fn push_block_tables(&mut self, rows: &[BatchRow<'_>], block_size: usize) {
        let num_blocks = |row: &BatchRow<'_>| row.context_len().div_ceil(block_size);
        let BlockTables { entries, width } = &mut self.block_tables;
        *width = rows.iter().map(num_blocks).max().unwrap_or(0);
        for row in rows {
            let used = &row.sequence.block_table[..num_blocks(row)];
            let end = entries.len() + *width;
            entries.extend(used.iter().map(|&block| block as i32));
            entries.resize(end, 0);
        }
    }

    fn pad(&mut self, shape: BatchShape) {
        let (num_tokens, num_seqs) = (shape.num_tokens as usize, shape.num_seqs as usize);
        let (real_tokens, real_seqs) = (self.positions.len(), self.context_lens.len());
        assert!(
            (1..=num_tokens).contains(&real_tokens) && real_seqs <= num_seqs,
            "{real_tokens} tokens of {real_seqs} sequences in {shape:?}"
        );
        self.positions.resize(num_tokens, self.positions[0]);
        self.slots.resize(num_tokens, -1);
        self.cu_seqlens.resize(num_seqs + 1, real_tokens as i32);
        self.context_lens.resize(num_seqs, 0);
        self.params.resize(shape.num_logit_rows() as usize, SampleParams::GREEDY);
        match shape.decode {
            true => self.logit_rows.clear(),
            false => self.logit_rows.resize(shape.num_logit_rows() as usize, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, RequestId};

    /// A sequence of tokens 100, 101, … with the first `num_computed` in the cache.
    fn sequence(len: u32, num_computed: usize, block_table: &[u32]) -> Sequence {
        let prompt_ids = (100..100 + len).collect();
        let request = Request { prompt_ids, ..Request::default() };
        let mut sequence = Sequence::new(RequestId(0), request, 0);
        sequence.num_computed = num_computed;
        sequence.block_table = block_table.to_vec();
        sequence
    }

    #[test]
    fn a_mixed_batch_is_padded_in_tokens_and_sequences() {
        let (chunk, decode) = (sequence(7, 2, &[5, 9, 3]), sequence(4, 3, &[1]));
        let rows = [
            BatchRow { sequence: &chunk, num_tokens: 3 },
            BatchRow { sequence: &decode, num_tokens: 1 },
        ];
        let mut batch = HostBatch::default();
        batch.fill(&rows, 0, BatchShape { num_tokens: 6, num_seqs: 3, decode: false }, 4);
        assert_eq!(batch.ids(), (0, &[102, 103, 104, 103][..]));
        assert_eq!(batch.positions, [2, 3, 4, 3, 2, 2]);
        assert_eq!(batch.slots, [22, 23, 36, 7, -1, -1]);
        assert_eq!(batch.cu_seqlens, [0, 3, 4, 4]);
        assert_eq!(batch.context_lens, [5, 4, 0]);
        assert_eq!(
            (batch.block_tables.width, &batch.block_tables.entries[..]),
            (2, &[5, 9, 1, 0][..])
        );
        assert_eq!(batch.logit_rows, [2, 3, 0]);
        assert!(!rows[0].is_complete() && rows[1].is_complete());
    }

    #[test]
    fn a_step_is_packed_in_order_and_tables_go_once() {
        let only = sequence(3, 2, &[4]);
        let rows = [BatchRow { sequence: &only, num_tokens: 1 }];
        let mut batch = HostBatch::default();
        let shape = BatchShape { num_tokens: 2, num_seqs: 1, decode: false };
        batch.fill(&rows, 0, shape, 4);
        let params = bytemuck::cast::<_, [i32; 8]>(SampleParams::GREEDY);
        let columns = [18, -1, 2, 2, 0, 1, 3, 0, 0, 0];
        assert_eq!(batch.pack(3), [&columns[..], &params].concat());
        assert!(batch.changed_tables().is_some());
        batch.tables_uploaded();
        batch.fill(&rows, 0, shape, 4);
        assert_eq!(batch.changed_tables(), None);
    }

    #[test]
    fn after_an_upload_that_failed_the_device_may_have_any_tables() {
        let [first, other] = [[4], [7]].map(|blocks| sequence(3, 2, &blocks));
        let [first, other] =
            [&first, &other].map(|sequence| [BatchRow { sequence, num_tokens: 1 }]);
        let mut batch = HostBatch::default();
        let shape = BatchShape { num_tokens: 1, num_seqs: 1, decode: true };
        batch.fill(&first, 0, shape, 4);
        assert!(batch.changed_tables().is_some());
        batch.tables_uploaded();
        batch.fill(&other, 0, shape, 4);
        assert!(batch.changed_tables().is_some(), "this upload fails");
        batch.fill(&first, 0, shape, 4);
        assert!(batch.changed_tables().is_some());
    }

    #[test]
    fn a_decode_batch_has_logits_in_every_row() {
        let (first, second) = (sequence(3, 2, &[0]), sequence(2, 1, &[7]));
        let rows = [&first, &second].map(|sequence| BatchRow { sequence, num_tokens: 1 });
        let mut batch = HostBatch::default();
        batch.fill(&rows, 0, BatchDescriptor::decode(4).into(), 8);
        assert_eq!(batch.ids(), (0, &[102, 101][..]));
        assert_eq!(batch.slots, [2, 57, -1, -1]);
        assert_eq!(batch.cu_seqlens, [0, 1, 2, 2, 2]);
        assert_eq!(batch.context_lens, [3, 2, 0, 0]);
        assert_eq!(batch.logit_rows, [0; 0]);
    }

    #[test]
    fn tokens_that_the_device_drew_are_not_brought_to_it() {
        let (mut decode, prompt) = (sequence(2, 0, &[1]), sequence(3, 0, &[2]));
        decode.advance(2);
        let rows = [
            BatchRow { sequence: &decode, num_tokens: 1 },
            BatchRow { sequence: &prompt, num_tokens: 3 },
        ];
        let mut batch = HostBatch::default();
        let shape = BatchShape { num_tokens: 6, num_seqs: 2, decode: false };
        batch.fill(&rows, 1, shape, 4);
        assert_eq!(batch.ids(), (1, &[100, 101, 102][..]));
        assert_eq!(batch.positions, [2, 0, 1, 2, 2, 2]);
        assert_eq!(batch.cu_seqlens, [0, 1, 4]);
    }

    #[test]
    fn an_unpadded_batch_has_its_own_shape() {
        let only = sequence(3, 0, &[0]);
        let rows = [BatchRow { sequence: &only, num_tokens: 3 }];
        let shape = BatchShape::of(&rows, false);
        assert_eq!(shape, BatchShape { num_tokens: 3, num_seqs: 1, decode: false });
        let mut batch = HostBatch::default();
        // What an earlier, larger step left behind is gone.
        batch.fill(&rows, 0, BatchShape { num_tokens: 8, num_seqs: 4, decode: false }, 4);
        batch.fill(&rows, 0, shape, 4);
        assert_eq!((batch.ids.len(), batch.cu_seqlens, batch.logit_rows), (3, vec![0, 3], vec![2]));
    }
}
