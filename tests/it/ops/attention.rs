//! Attention over the paged cache: decode, prefill and mixed batches, with padding.

use tintype_ops::{AttentionMeta, Buffer, DType, KvCache, Norm, Op, RopeKv, Tensor};

use super::pair::{Pair, Rows};
use super::{Dtypes, MIXES};
use crate::streams::{TestStream, on_cuda};

on_cuda! {
    decode_batches_agree,
    mixed_batches_agree,
    windows_agree,
    any_head_size_agrees,
    rotation_and_attention_agree_with_the_two_in_turn,
}

/// An entry of a block table that must not be read.
const UNUSED: i32 = i32::MAX;

/// A batch of sequences over one cache.
#[derive(Clone, Copy, Debug)]
struct Case {
    num_kv_heads: u32,
    /// Query heads of a KV head.
    group: u32,
    head_dim: u32,
    block_size: u32,
    window: Option<u32>,
    /// Query tokens and context length of each sequence.
    sequences: &'static [(u32, u32)],
    decode: bool,
    /// Rows of no sequence at the end.
    padding: u32,
}

const PLAIN: Case = Case {
    num_kv_heads: 2,
    group: 2,
    head_dim: 16,
    block_size: 4,
    window: None,
    sequences: &[(5, 5), (1, 9), (7, 30)],
    decode: false,
    padding: 0,
};

impl Case {
    /// Tables whose blocks were handed out from the back, so that none is in order; the cache has
    /// a block more than they name.
    fn tables(&self) -> (u32, u32, Vec<i32>) {
        let blocks_of = |&(_, len): &(u32, u32)| len.div_ceil(self.block_size);
        let num_blocks = 1 + self.sequences.iter().map(blocks_of).sum::<u32>();
        let max_blocks = 1 + self.sequences.iter().map(blocks_of).max().unwrap();
        let mut free = (0..num_blocks as i32).rev();
        let mut tables = vec![UNUSED; self.sequences.len() * max_blocks as usize];
        for (sequence, table) in self.sequences.iter().zip(tables.chunks_mut(max_blocks as usize)) {
            table[..blocks_of(sequence) as usize].fill_with(|| free.next().unwrap());
        }
        (num_blocks, max_blocks, tables)
    }

    fn meta<S: TestStream>(&self, pair: &mut Pair<S>) -> (u32, AttentionMeta) {
        let (num_blocks, max_blocks, tables) = self.tables();
        let ends = self.sequences.iter().scan(0, |end, &(tokens, _)| {
            *end += tokens as i32;
            Some(*end)
        });
        let cu_seqlens: Vec<i32> = [0].into_iter().chain(ends).collect();
        let lens: Vec<i32> = self.sequences.iter().map(|&(_, len)| len as i32).collect();
        let meta = AttentionMeta {
            cu_seqlens: pair.ints(1, &cu_seqlens),
            context_lens: pair.ints(1, &lens),
            block_tables: pair.ints(max_blocks, &tables),
            decode: self.decode,
        };
        (num_blocks, meta)
    }

    fn cache<S: TestStream>(&self, pair: &mut Pair<S>, num_blocks: u32, dtype: DType) -> KvCache {
        let none = Buffer::from_index(0);
        let Self { num_kv_heads, head_dim, block_size, .. } = *self;
        let (k, v) = (none, none);
        pair.cache(KvCache { k, v, num_blocks, block_size, num_kv_heads, head_dim, dtype })
    }

    fn num_rows(&self) -> u32 {
        self.sequences.iter().map(|(tokens, _)| tokens).sum::<u32>() + self.padding
    }

    /// Position and slot of each row.
    fn places(&self) -> (Vec<i32>, Vec<i32>) {
        let (_, max_blocks, tables) = self.tables();
        let tables = tables.chunks(max_blocks as usize);
        let tokens = self.sequences.iter().zip(tables).flat_map(|(&(tokens, len), table)| {
            (0..tokens).map(move |token| match (len + token).checked_sub(tokens) {
                Some(position) if len > 0 => {
                    let block = table[(position / self.block_size) as usize];
                    let slot = block as u32 * self.block_size + position % self.block_size;
                    (position as i32, slot as i32)
                }
                _ => (0, -1),
            })
        });
        tokens.chain((0..self.padding).map(|_| (0, -1))).unzip()
    }

    /// With `rotary` elements of each head rotated first, and its heads normalised.
    fn compare_from_qkv<S: TestStream>(&self, dtypes: Dtypes, rotary: u32, normed: bool) {
        let mut pair = Pair::<S>::new(Rows::Packed);
        let Self { num_kv_heads, group, head_dim, window, .. } = *self;
        let (num_blocks, meta) = self.meta(&mut pair);
        let cache = self.cache(&mut pair, num_blocks, dtypes.weight);
        let (n, heads) = (self.num_rows(), num_kv_heads * (group + 2));
        let (positions, slots) = self.places();
        let (positions, slots) = (pair.ints(1, &positions), pair.ints(1, &slots));
        let table = pair.floats(200, rotary, DType::F32);
        let mut norm = || Norm { weight: pair.floats(1, head_dim, dtypes.out), eps: 1e-6 };
        let norms = normed.then(|| [norm(), norm()]);
        let q: Tensor = pair.floats(n, heads * head_dim, dtypes.x);
        let out = pair.tensor(n, num_kv_heads * group * head_dim, dtypes.x);
        let rope_kv = Some(RopeKv { norms, positions, table, slots });
        pair.compare(Op::Attention { out, q, cache, rope_kv, meta, scale: 0.3, window });
    }

    fn compare<S: TestStream>(&self, dtypes: Dtypes, rows: Rows) -> f64 {
        let mut pair = Pair::<S>::new(rows);
        let Self { num_kv_heads, group, head_dim, window, .. } = *self;
        let (num_blocks, meta) = self.meta(&mut pair);
        let cache = self.cache(&mut pair, num_blocks, dtypes.weight);
        let (n, cols) = (self.num_rows(), num_kv_heads * group * head_dim);
        let q = pair.floats(n, cols, dtypes.x);
        let out = pair.tensor(n, cols, dtypes.x);
        pair.compare(Op::Attention { out, q, cache, rope_kv: None, meta, scale: 0.3, window })
    }

    /// With the mixes that models use, and some that are only allowed.
    fn compare_all<S: TestStream>(&self) {
        let num_mixes = S::size(MIXES.len(), 4);
        for (rows, mixes) in [(Rows::Packed, &MIXES[..num_mixes]), (Rows::Gapped, &MIXES[..3])] {
            for &mix in mixes {
                let error = self.compare::<S>(mix, rows);
                assert!(error < 1e-2, "{self:?}, {mix:?}: {error:e}");
            }
        }
    }
}

fn decode_batches_agree<S: TestStream>() {
    let decode = Case { decode: true, ..PLAIN };
    Case { sequences: &[(1, 1)], ..decode }.compare_all::<S>();
    // A context of 0 is padding.
    Case { sequences: &[(1, 3), (1, 150), (1, 0), (1, 17)], ..decode }.compare_all::<S>();
    Case { sequences: &[(1, 300)], block_size: 16, head_dim: 64, ..decode }.compare_all::<S>();
    Case { sequences: &[(1, 40); 3], group: 4, head_dim: 128, ..decode }.compare_all::<S>();
}

fn mixed_batches_agree<S: TestStream>() {
    PLAIN.compare_all::<S>();
    Case { padding: 3, ..PLAIN }.compare_all::<S>();
    Case { sequences: &[(70, 70), (1, 100), (33, 90)], head_dim: 64, block_size: 16, ..PLAIN }
        .compare_all::<S>();
    // The padded sequences own no row.
    Case { sequences: &[(3, 3), (0, 0), (0, 0)], padding: 5, ..PLAIN }.compare_all::<S>();
}

fn windows_agree<S: TestStream>() {
    for &window in &[7, 1, 64][..S::size(3, 1)] {
        let case = Case { window: Some(window), ..PLAIN };
        case.compare_all::<S>();
        Case { sequences: &[(1, 3), (1, 90)], decode: true, ..case }.compare_all::<S>();
        Case { sequences: &[(40, 40), (20, 95)], ..case }.compare_all::<S>();
    }
}

fn any_head_size_agrees<S: TestStream>() {
    for (head_dim, group) in [(1, 1), (5, 3), (80, 1), (96, 5), (256, 2)] {
        let case = Case { head_dim, group, ..PLAIN };
        let sizes = [DType::Bf16, DType::F32];
        for mix in MIXES.iter().filter(|mix| sizes.contains(&mix.weight) && mix.x == mix.weight) {
            case.compare::<S>(*mix, Rows::Packed);
            let decode = Case { sequences: &[(1, 3), (1, 35)], decode: true, ..case };
            decode.compare::<S>(*mix, Rows::Packed);
        }
    }
}

/// The CPU runs the sequence, so the comparison is with that.
fn rotation_and_attention_agree_with_the_two_in_turn<S: TestStream>() {
    let decode = Case {
        sequences: &[(1, 3), (1, 17), (1, 0), (1, 150), (1, 1)],
        decode: true,
        block_size: 16,
        head_dim: 64,
        ..PLAIN
    };
    for mix in MIXES {
        for normed in [false, true] {
            decode.compare_from_qkv::<S>(mix, 64, normed);
            PLAIN.compare_from_qkv::<S>(mix, 16, normed);
        }
    }
    let model = MIXES[0];
    Case { head_dim: 128, window: Some(20), ..decode }.compare_from_qkv::<S>(model, 128, true);
    Case { head_dim: 128, ..decode }.compare_from_qkv::<S>(model, 96, false);
    Case { group: 9, block_size: 3, ..decode }.compare_from_qkv::<S>(model, 64, false);
    Case { padding: 3, ..PLAIN }.compare_from_qkv::<S>(model, 16, false);
}
