//! Attention and the cache against plain f64 loops.

use tintype_ops::{AttentionMeta, DType, KvCache, Op, Tensor};

use crate::tests::device::{Device, Values};

/// An entry of a block table that must not be read.
const UNUSED: i32 = i32::MAX;

/// A batch of sequences over one cache.
#[derive(Clone, Copy)]
struct Case<'a> {
    dtype: DType,
    cache_dtype: DType,
    num_kv_heads: u32,
    group: u32,
    head_dim: u32,
    block_size: u32,
    window: Option<u32>,
    /// Query tokens and context length of each sequence.
    sequences: &'a [(u32, u32)],
    decode: bool,
    /// Rows of no sequence at the end.
    padding: u32,
}

const PLAIN: Case<'_> = Case {
    dtype: DType::F32,
    cache_dtype: DType::F32,
    num_kv_heads: 2,
    group: 3,
    head_dim: 16,
    block_size: 4,
    window: None,
    sequences: &[(5, 5), (1, 9), (7, 30)],
    decode: false,
    padding: 0,
};

/// A case whose tensors exist; the cache holds every sequence's keys and values.
struct Batch {
    device: Device,
    op: Op,
    out: Tensor,
    q: Values,
    /// For each sequence, as rounded to the cache's dtype.
    keys: Vec<Values>,
    values: Vec<Values>,
}

impl Case<'_> {
    fn num_tokens(&self) -> u32 {
        self.sequences.iter().map(|(tokens, _)| tokens).sum::<u32>() + self.padding
    }

    fn kv_width(&self) -> u32 {
        self.num_kv_heads * self.head_dim
    }

    fn build(&self, device: Device) -> Batch {
        let mut device = device;
        let blocks_of = |context: u32| context.div_ceil(self.block_size);
        let num_blocks = 1 + self.sequences.iter().map(|(_, len)| blocks_of(*len)).sum::<u32>();
        let max_blocks = self.sequences.iter().map(|(_, len)| blocks_of(*len)).max().unwrap() + 1;
        let mut cache = KvCache {
            k: device.buffer(0),
            v: device.buffer(0),
            num_blocks,
            block_size: self.block_size,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            dtype: self.cache_dtype,
        };
        cache.k = device.buffer(cache.side_bytes());
        cache.v = device.buffer(cache.side_bytes());
        let mut tables = vec![UNUSED; self.sequences.len() * max_blocks as usize];
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        // Blocks are handed out from the back, so that no table is in order.
        let mut free = num_blocks;
        for (&(tokens, len), table) in
            self.sequences.iter().zip(tables.chunks_mut(max_blocks as usize))
        {
            for entry in &mut table[..blocks_of(len) as usize] {
                free -= 1;
                *entry = free as i32;
            }
            let (k, v) = self.fill(&mut device, cache, table, len);
            keys.push(k);
            values.push(v);
            self.forget(table, tokens, len);
        }
        let (q_tensor, q) = {
            let cols = self.group * self.kv_width();
            device.floats(self.num_tokens(), cols, self.dtype)
        };
        let out = device.tensor(self.num_tokens(), q_tensor.cols, self.dtype);
        let meta = self.meta(&mut device, &tables, max_blocks);
        let op = Op::Attention {
            out,
            q: q_tensor,
            cache,
            rope_kv: None,
            meta,
            scale: 0.3,
            window: self.window,
        };
        Batch { device, op, out, q, keys, values }
    }

    /// Writes random keys and values to the cache, and returns them.
    fn fill(
        &self,
        device: &mut Device,
        cache: KvCache,
        table: &[i32],
        len: u32,
    ) -> (Values, Values) {
        let mut side = || match len {
            0 => (None, Values::new(self.kv_width() as usize, Vec::new())),
            _ => {
                // Of the cache's dtype, so that storing them rounds nothing.
                let (tensor, values) = device.floats(len, self.kv_width(), self.cache_dtype);
                (Some(tensor), values)
            }
        };
        let ((k, keys), (v, values)) = (side(), side());
        if let (Some(k), Some(v)) = (k, v) {
            let slot = |position: u32| {
                let block = table[(position / self.block_size) as usize];
                block * self.block_size as i32 + (position % self.block_size) as i32
            };
            let slots = device.ints(1, &(0..len).map(slot).collect::<Vec<_>>());
            device.run(Op::WriteKv { cache, k, v, slots });
        }
        (keys, values)
    }

    /// Blocks that left the window of every query token need not exist any more.
    fn forget(&self, table: &mut [i32], tokens: u32, len: u32) {
        if let Some(window) = self.window {
            let first_key = (len - tokens + 1).saturating_sub(window);
            table[..(first_key / self.block_size) as usize].fill(UNUSED);
        }
    }

    fn meta(&self, device: &mut Device, tables: &[i32], max_blocks: u32) -> AttentionMeta {
        let mut cu_seqlens = vec![0];
        for (tokens, _) in self.sequences {
            cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + *tokens as i32);
        }
        let context_lens: Vec<i32> = self.sequences.iter().map(|(_, len)| *len as i32).collect();
        AttentionMeta {
            cu_seqlens: device.ints(1, &cu_seqlens),
            context_lens: device.ints(1, &context_lens),
            block_tables: device.ints(max_blocks, tables),
            decode: self.decode,
        }
    }

    /// What attention must give.
    fn expected(&self, batch: &Batch) -> Values {
        let mut rows = Vec::new();
        for (index, &(tokens, len)) in self.sequences.iter().enumerate() {
            for token in 0..tokens {
                let q = batch.q.row(rows.len());
                let Some(position) = (len + token).checked_sub(tokens).filter(|_| len > 0) else {
                    rows.push(vec![0.0; q.len()]);
                    continue;
                };
                let heads = q.chunks(self.head_dim as usize).enumerate();
                let head = |(head, q): (usize, &[f64])| {
                    let kv_head = head / self.group as usize;
                    self.attend(q, kv_head, position, &batch.keys[index], &batch.values[index])
                };
                rows.push(heads.flat_map(head).collect());
            }
        }
        rows.resize(self.num_tokens() as usize, vec![0.0; batch.q.cols]);
        Values::new(batch.q.cols, rows.concat())
    }

    fn attend(
        &self,
        q: &[f64],
        kv_head: usize,
        position: u32,
        keys: &Values,
        values: &Values,
    ) -> Vec<f64> {
        let first = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let dim = self.head_dim as usize;
        let head = |row: usize, of: &Values| of.row(row)[kv_head * dim..][..dim].to_vec();
        let visible = first as usize..=position as usize;
        let score = |row: usize| {
            let dot: f64 = head(row, keys).iter().zip(q).map(|(k, q)| k * q).sum();
            (dot * f64::from(0.3f32)).exp()
        };
        let sum: f64 = visible.clone().map(score).sum();
        let mut out = vec![0.0; dim];
        for row in visible {
            let weight = score(row) / sum;
            for (out, v) in out.iter_mut().zip(head(row, values)) {
                *out += weight * v;
            }
        }
        out
    }

    fn check(&self) {
        let mut batch = self.build(Device::new());
        batch.device.run(batch.op);
        let expected = self.expected(&batch);
        batch.device.assert_close(batch.out, &expected, 4.0);
    }
}

#[test]
fn prefill_and_decode_in_one_batch_agree_with_f64() {
    PLAIN.check();
}

#[test]
fn every_ratio_of_heads_and_odd_head_sizes() {
    for group in 1..=9 {
        for head_dim in [1, 2, 7, 16, 24, 33, 80] {
            Case { group, head_dim, num_kv_heads: 1, ..PLAIN }.check();
        }
    }
}

#[test]
fn large_heads_and_many_kv_heads() {
    for (head_dim, num_kv_heads) in [(64, 8), (128, 3), (256, 1)] {
        Case { head_dim, num_kv_heads, group: 4, sequences: &[(33, 90)], ..PLAIN }.check();
    }
}

#[test]
fn block_sizes_that_do_not_divide_a_chunk() {
    for block_size in [1, 3, 16, 100] {
        Case { block_size, sequences: &[(70, 70), (2, 140), (1, 64), (1, 65)], ..PLAIN }.check();
    }
}

#[test]
fn windows_hide_old_keys_and_their_blocks() {
    for window in [1, 2, 5, 64, 65, 1000] {
        let sequences = &[(3, 3), (1, 150), (9, 77), (80, 200)];
        Case { window: Some(window), sequences, ..PLAIN }.check();
    }
}

#[test]
fn every_float_type_in_activations_and_cache() {
    for dtype in crate::tests::FLOATS {
        for cache_dtype in crate::tests::FLOATS {
            for head_dim in [5, 32] {
                Case { dtype, cache_dtype, head_dim, ..PLAIN }.check();
            }
        }
    }
}

#[test]
fn padding_gives_zeros() {
    Case { sequences: &[(2, 5), (3, 0), (0, 4), (0, 0), (1, 1)], padding: 4, ..PLAIN }.check();
    Case { sequences: &[(1, 5), (1, 0), (1, 9), (1, 0)], decode: true, ..PLAIN }.check();
}

#[test]
fn decode_batches_do_not_read_cu_seqlens() {
    let case = Case { sequences: &[(1, 5), (1, 70), (1, 1)], decode: true, ..PLAIN };
    let mut batch = case.build(Device::new());
    let Op::Attention { ref mut meta, .. } = batch.op else { unreachable!() };
    meta.cu_seqlens = batch.device.tensor(4, 1, DType::I32);
    batch.device.run(batch.op);
    let expected = case.expected(&batch);
    batch.device.assert_close(batch.out, &expected, 4.0);
}

/// The same sequence, its last tokens computed in batches of different make.
#[test]
fn a_row_has_the_same_bits_in_prefill_and_in_decode() {
    for window in [None, Some(67)] {
        let whole = Case { window, sequences: &[(150, 150)], ..PLAIN };
        let mut batch = whole.build(Device::new());
        batch.device.run(batch.op);
        let all = batch.device.bytes(batch.out);
        let Op::Attention { q, out, .. } = batch.op else { unreachable!() };
        let row_bytes = all.len() / 150;
        for tokens in [1, 2, 40] {
            let offset = |tensor: Tensor| {
                let skipped = u64::from(150 - tokens) * u64::from(tensor.stride);
                Tensor { offset: tensor.offset + skipped, rows: tokens, ..tensor }
            };
            let mut op = batch.op;
            let Op::Attention { q: ref mut tail_q, out: ref mut tail_out, ref mut meta, .. } = op
            else {
                unreachable!()
            };
            (*tail_q, *tail_out) = (offset(q), offset(out));
            meta.cu_seqlens = batch.device.ints(1, &[0, tokens as i32]);
            meta.decode = tokens == 1;
            batch.device.run(op);
            let tail = batch.device.bytes(offset(out));
            assert_eq!(tail, all[all.len() - tokens as usize * row_bytes..], "{tokens} tokens");
        }
    }
}
