//! Random batches on which graphs are verified against eager runs.

use tintype_graph::{BatchDescriptor, RandomBatch};
use tintype_ops::{DType, KvCache, Result, Stream, Tensor};

use crate::batch::{BatchRow, BatchShape, HostBatch};
use crate::io_buffers::IoBuffers;
use crate::random::SplitMix64;
use crate::sequence::Sequence;
use crate::{Request, RequestId};

/// About how many blocks of KV cache a batch uses: enough for sequences of several blocks,
/// little enough to fill quickly.
const NUM_BLOCKS: usize = 256;
/// Most blocks of one sequence.
const MAX_BLOCKS_PER_SEQ: usize = 4;

/// Makes batches that a scheduler might have made, for any descriptor.
pub(crate) struct RandomBatches<'a> {
    pub(crate) io: &'a IoBuffers,
    pub(crate) caches: &'a [KvCache],
    pub(crate) vocab_size: usize,
    pub(crate) max_model_len: usize,
}

/// Sequences, how many tokens of each the step computes, and the blocks that they hold.
struct Batch {
    rows: Vec<(Sequence, usize)>,
    first_block: usize,
    num_blocks: usize,
}

impl RandomBatches<'_> {
    fn draw(&self, descriptor: BatchDescriptor, random: &mut SplitMix64) -> Batch {
        let (total_blocks, block_size) = match self.caches.first() {
            Some(cache) => (cache.num_blocks as usize, cache.block_size as usize),
            None => (1, 1),
        };
        let num_seqs = (descriptor.num_seqs as usize).min(total_blocks);
        // Some of the batch is padding.
        let num_seqs = num_seqs - random.below(num_seqs.div_ceil(4));
        let most = (NUM_BLOCKS / num_seqs).clamp(1, MAX_BLOCKS_PER_SEQ);
        let most = most.min(self.io.max_blocks_per_seq() as usize);
        let blocks_per_seq = most.min(total_blocks / num_seqs).max(1);
        let max_len = (blocks_per_seq * block_size).min(self.max_model_len);
        let first_block = random.below(total_blocks - num_seqs * blocks_per_seq + 1);
        let mut spare = descriptor.num_tokens as usize - num_seqs;
        let mut row = |index: usize| {
            let extra =
                if descriptor.uniform { 0 } else { random.below(spare.min(max_len - 1) + 1) };
            spare -= extra;
            let num_tokens = 1 + extra;
            let len = num_tokens + random.below(max_len - num_tokens + 1);
            let prompt_ids = random.token_ids(len, self.vocab_size);
            let request = Request { prompt_ids, ..Request::default() };
            let mut sequence = Sequence::new(RequestId(index as u64), request, 0);
            sequence.num_computed = len - num_tokens;
            let blocks = first_block + index * blocks_per_seq..;
            sequence.block_table = blocks.take(blocks_per_seq).map(|block| block as u32).collect();
            (sequence, num_tokens)
        };
        let rows = (0..num_seqs).map(&mut row).collect();
        Batch { rows, first_block, num_blocks: num_seqs * blocks_per_seq }
    }
}

impl<S: Stream> RandomBatch<S> for RandomBatches<'_> {
    fn fill(&mut self, stream: &mut S, descriptor: BatchDescriptor, seed: u64) -> Result<()> {
        let mut random = SplitMix64::new(seed);
        let batch = self.draw(descriptor, &mut random);
        for cache in self.caches {
            for buffer in [cache.k, cache.v] {
                let block = cache.block_size * cache.num_kv_heads * cache.head_dim;
                let whole = Tensor::new(buffer, cache.num_blocks, block, cache.dtype);
                let offset = batch.first_block as u64 * u64::from(block);
                let used = Tensor { offset, rows: batch.num_blocks as u32, ..whole };
                stream.upload(used, &random_floats(used, &mut random))?;
            }
        }
        let rows = batch.rows.iter();
        let rows: Vec<_> = rows
            .map(|(sequence, num_tokens)| BatchRow { sequence, num_tokens: *num_tokens })
            .collect();
        let block_size = self.caches.first().map_or(1, |cache| cache.block_size as usize);
        let mut host = HostBatch::default();
        host.fill(&rows, 0, BatchShape::from(descriptor), block_size);
        self.io.upload(stream, &mut host)
    }

    fn outputs(&self, descriptor: BatchDescriptor) -> Vec<Tensor> {
        vec![self.io.view(BatchShape::from(descriptor), self.caches).logits]
    }
}

/// Little-endian floats of magnitude 0.5 to 1, either sign: the exponent of 0.5, other bits random.
fn random_floats(tensor: Tensor, random: &mut SplitMix64) -> Vec<u8> {
    let (exponent, kept) = match tensor.dtype {
        DType::F16 => (0x3800_3800, 0x83FF_83FF),
        DType::Bf16 => (0x3F00_3F00, 0x807F_807F),
        DType::F32 | DType::I32 | DType::U32 => (0x3F00_0000, 0x807F_FFFF),
    };
    let num_bytes = tensor.size_bytes() as usize;
    let words = (0..num_bytes.div_ceil(4)).map(|_| (random.next() as u32 & kept) | exponent);
    let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    bytes.truncate(num_bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_floats_are_finite_and_vary() {
        let tensor = Tensor::new(tintype_ops::Buffer::from_index(0), 1, 101, DType::F32);
        let bytes = random_floats(tensor, &mut SplitMix64::new(1));
        let float = |bytes: &[u8]| bytemuck::pod_read_unaligned::<f32>(bytes);
        let floats: Vec<f32> = bytes.chunks_exact(4).map(float).collect();
        assert_eq!(floats.len(), 101);
        assert!(floats.iter().all(|value| (0.5..1.0).contains(&value.abs())));
        assert!(floats.iter().any(|&value| value < 0.0) && floats.iter().any(|&value| value > 0.0));
        let half = random_floats(Tensor { dtype: DType::F16, ..tensor }, &mut SplitMix64::new(1));
        assert_eq!(half.len(), 202);
        let bits = half.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        assert!(bits.into_iter().all(|bits| (0x3800..0x3C00).contains(&(bits & 0x7FFF))));
    }
}
