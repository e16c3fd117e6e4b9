// Parameters of attention; twins in src/params/attention.rs.
#pragma once

#include <cstdint>

#include "../view.cuh"
#include "rows.cuh"

// Keys and values in blocks, `[num_blocks, num_kv_heads, block_size, head_dim]` each.
struct PagedCache {
    uint64_t k;  // address
    uint64_t v;  // address
    uint32_t num_blocks;
    uint32_t block_size;
    uint32_t num_kv_heads;
    uint32_t head_dim;
    uint32_t dtype;  // a DType
    uint32_t group;  // query heads of one KV head
};
static_assert(sizeof(PagedCache) == 40, "twin of PagedCache in src/params/attention.rs");

// One op, for all kernels of the family.
struct AttentionParams {
    View out;  // float [num_rows, num_kv_heads * group * head_dim]
    View q;    // the same shape
    PagedCache cache;
    View cu_seqlens;        // i32 [num_seqs + 1, 1]
    View context_lens;      // i32 [num_seqs, 1]
    View block_tables;      // i32 [num_seqs, max_blocks]
    uint64_t partials;      // f32 workspace, see attention_merge.cuh
    float scale_log2;       // multiplies q·k; the softmax is taken to base 2
    uint32_t window;        // keys that a query sees, itself included; UINT32_MAX is all
    uint32_t num_rows;      // of q
    uint32_t num_seqs;
    uint32_t max_blocks;
    uint32_t decode;        // 1: row i is the one query of sequence i, and cu_seqlens is not read
    uint32_t partitions;    // clusters that share the keys of one query; above 1 they hand their
                            // results to attention_combine through `partials`
    uint32_t heads;         // query heads that a block computes, at most MAX_HEADS
};
static_assert(sizeof(AttentionParams) == 160, "twin of AttentionParams in src/params/attention.rs");

// Attention of a decode batch on q, k and v as a projection leaves them. `attention.q` is
// `rope.qkv`: its first columns are q.
struct RopeAttentionParams {
    AttentionParams attention;
    RopeKvParams rope;
};
static_assert(sizeof(RopeAttentionParams) == 312,
              "twin of RopeAttentionParams in src/params/attention.rs");
