//! Collecting keys and values from the blocks of the cache.

use std::ops::Range;

use super::plan::Task;
use super::{Attention, PADDING};
use crate::scratch::Reusable;
use crate::simd::Simd;

/// Some consecutive keys of a sequence and their values, for one KV head, in f32. Each is padded
/// with zeros to a whole number of vectors.
#[derive(Default)]
pub(super) struct Chunk {
    k: Reusable,
    v: Reusable,
    keys: Range<usize>,
    padded: usize,
}

impl Chunk {
    /// Reads `keys`, positions in the task's sequence.
    pub(super) fn gather(
        &mut self,
        simd: Simd,
        op: &Attention<'_>,
        task: &Task<'_>,
        keys: Range<usize>,
    ) {
        let (head_dim, block_size) = (op.head_dim(), op.cache.block_size as usize);
        self.padded = head_dim.next_multiple_of(PADDING);
        self.keys = keys.clone();
        let mut key = keys.start;
        while key < keys.end {
            let in_block = key % block_size;
            let count = (block_size - in_block).min(keys.end - key);
            let block = task.block_table[key / block_size] as usize;
            let head = block * op.num_kv_heads() + task.kv_head;
            let start = (head * block_size + in_block) * head_dim;
            let rows = (key - keys.start) * self.padded..(key - keys.start + count) * self.padded;
            for (side, to) in [(op.k, &mut self.k), (op.v, &mut self.v)] {
                let to = &mut to.get(keys.len() * self.padded)[rows.clone()];
                if head_dim == self.padded {
                    side.read(simd, start, to);
                    continue;
                }
                for (i, to) in to.chunks_exact_mut(self.padded).enumerate() {
                    let (values, padding) = to.split_at_mut(head_dim);
                    side.read(simd, start + i * head_dim, values);
                    padding.fill(0.0);
                }
            }
            key += count;
        }
    }

    /// The keys at the positions `keys`, all of which were gathered, and their values.
    pub(super) fn keys_and_values(&self, keys: Range<usize>) -> (&[f32], &[f32]) {
        let start = (keys.start - self.keys.start) * self.padded;
        let range = start..start + keys.len() * self.padded;
        (&self.k.as_slice()[range.clone()], &self.v.as_slice()[range])
    }
}
