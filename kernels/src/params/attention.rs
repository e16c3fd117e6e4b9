//! Parameters of attention.

use bytemuck::{Pod, Zeroable};

use super::{RopeKvParams, View};

/// Keys and values in blocks: `[num_blocks, num_kv_heads, block_size, head_dim]` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PagedCache {
    /// Address of the keys.
    pub k: u64,
    /// Address of the values.
    pub v: u64,
    /// Blocks.
    pub num_blocks: u32,
    /// Tokens in a block.
    pub block_size: u32,
    /// KV heads.
    pub num_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Element type: [`super::F32`], [`super::F16`] or [`super::BF16`].
    pub dtype: u32,
    /// Query heads of one KV head.
    pub group: u32,
}

/// All kernels of attention.
///
/// - `attention_decode_{64,128,256}_{bf16,f16}`: sequences with one query row, 16-bit elements of
///   the same type everywhere, heads of a multiple of 8 elements in rows that start at a multiple
///   of 16 bytes. A block of x is a split of some heads of a sequence; clusters of 1 to 8 along x.
/// - `attention_prefill_{64,128,256}_{bf16,f16}`: all other rows of the same tensors. A block of x
///   is a KV head of a tile of rows; 256 threads.
/// - `attention_any`: every row of any tensors. As decode, but for rows in place of sequences.
/// - `attention_combine`: merges what several clusters found for the same query.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct AttentionParams {
    /// Float `[num_rows, num_kv_heads * group * head_dim]`.
    pub out: View,
    /// In the shape of `out`.
    pub q: View,
    /// Read only.
    pub cache: PagedCache,
    /// i32 `[num_seqs + 1, 1]`.
    pub cu_seqlens: View,
    /// i32 `[num_seqs, 1]`.
    pub context_lens: View,
    /// i32 `[num_seqs, max_blocks]`.
    pub block_tables: View,
    /// Address of `[partition]` partial results for each query and block of heads, where
    /// `partitions` is above 1: f32 maxima and sums (8 each), then the values of the heads.
    pub partials: u64,
    /// Multiplies `q · k`; the softmax is taken to base 2.
    pub scale_log2: f32,
    /// Keys that a query sees, itself included; `u32::MAX` is all.
    pub window: u32,
    /// Rows of `q`.
    pub num_rows: u32,
    /// Sequences.
    pub num_seqs: u32,
    /// Columns of `block_tables`.
    pub max_blocks: u32,
    /// 1: row i is the one query of sequence i, and `cu_seqlens` is not read.
    pub decode: u32,
    /// Clusters that share the keys of a query; above 1, `attention_combine` runs behind.
    pub partitions: u32,
    /// Query heads that a block computes: at most 8, in `attention_any` 4.
    pub heads: u32,
}

/// `attention_rope_{64,128}_{bf16,f16}`: attention of a decode batch on q, k and v as a projection
/// leaves them. Launched as `attention_decode_*`.
///
/// All tensors are of one type, norms included, with rows that start at a multiple of 16 bytes. The
/// heads have exactly the size in the name, and all of it is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RopeAttentionParams {
    /// Its `q` is `rope.qkv`, of which the first columns are q.
    pub attention: AttentionParams,
    /// Over the same cache.
    pub rope: RopeKvParams,
}

const _: () = assert!(size_of::<PagedCache>() == 40);
const _: () = assert!(size_of::<AttentionParams>() == 160);
const _: () = assert!(size_of::<RopeAttentionParams>() == 312);
