// Parameters of the ops that work row by row; twins in src/params/rows.rs.
#pragma once

#include "../view.cuh"

// `out[i] = table[ids[i]]`, zeros where the table has no such row. A block of x a row; blocks of y
// share its columns.
struct EmbedParams {
    View out;        // float [num_rows, cols]
    View ids;        // i32 [num_rows, 1]
    View table;      // float [table_rows, cols], row-major unless `packed`
    uint32_t cols;
    uint32_t table_rows;
    uint32_t packed;  // 1: the table is packed as packed.cuh says
    uint32_t reserved;
};
static_assert(sizeof(EmbedParams) == 64, "twin of EmbedParams in src/params/rows.rs");

// `out[i] = x[indices[i]]`, zeros where x has no such row. A block of x a row; blocks of y share
// its columns.
struct GatherParams {
    View out;      // float [num_rows, cols]
    View x;        // float [x_rows, cols]
    View indices;  // i32 [num_rows, 1]
    uint32_t cols;
    uint32_t x_rows;
};
static_assert(sizeof(GatherParams) == 56, "twin of GatherParams in src/params/rows.rs");

// `out += x`. A block of x a row; blocks of y share its columns.
struct AddParams {
    View out;  // float [num_rows, cols]
    View x;    // float [num_rows, cols]
    uint32_t cols;
    uint32_t reserved;
};
static_assert(sizeof(AddParams) == 40, "twin of AddParams in src/params/rows.rs");

// `out = silu(gate) * up`. A block of x a row; blocks of y share its columns.
struct SiluMulParams {
    View out;      // float [num_rows, cols]
    View gate_up;  // float [num_rows, 2 * cols]: gate, then up
    uint32_t cols;
    uint32_t reserved;
};
static_assert(sizeof(SiluMulParams) == 40, "twin of SiluMulParams in src/params/rows.rs");

// `out[i] = x[i] / sqrt(mean(x[i]^2) + eps) * weight`, of rows or of the heads in them.
struct NormParams {
    View out;     // float [num_rows, heads * dim]; head_norm: x itself
    View x;       // float [num_rows, heads * dim]
    View weight;  // float [1, dim]
    uint32_t dim;
    uint32_t heads;  // of a row; 1 for rms_norm
    uint32_t num_rows;
    float eps;
};
static_assert(sizeof(NormParams) == 64, "twin of NormParams in src/params/rows.rs");

// Rotates pairs (j, j + rotary / 2) of each head's first `rotary` elements.
struct RopeParams {
    View x;          // float [num_rows, heads * head_dim], in place
    View positions;  // i32 [num_rows, 1]
    View table;      // f32 [max_positions, rotary]: cosines, then sines
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rotary;
    uint32_t max_positions;
};
static_assert(sizeof(RopeParams) == 64, "twin of RopeParams in src/params/rows.rs");

// Stores each token's K and V in its slot of `[num_blocks, num_kv_heads, block_size, head_dim]`.
struct WriteKvParams {
    uint64_t k_cache;  // address
    uint64_t v_cache;  // address
    View k;            // float [num_rows, num_kv_heads * head_dim]
    View v;            // the same shape
    View slots;        // i32 [num_rows, 1]; -1 stores nothing
    uint32_t cache_dtype;  // a DType
    uint32_t num_kv_heads;
    uint32_t head_dim;
    uint32_t block_size;
    uint32_t num_slots;
    uint32_t reserved;
};
static_assert(sizeof(WriteKvParams) == 88, "twin of WriteKvParams in src/params/rows.rs");

// Before attention: norms of the heads of q and k, rotation of both, K and V to their slots.
struct RopeKvParams {
    uint64_t k_cache;  // address
    uint64_t v_cache;  // address
    View qkv;          // float [num_rows, (num_heads + 2 * num_kv_heads) * head_dim], in place
    View positions;    // i32 [num_rows, 1]
    View slots;        // i32 [num_rows, 1]; -1 stores nothing
    View table;        // f32 [max_positions, rotary]: cosines, then sines
    View q_norm;       // float [1, head_dim], or address 0 for none
    View k_norm;       // the same
    float q_eps;
    float k_eps;
    uint32_t num_heads;
    uint32_t num_kv_heads;
    uint32_t head_dim;
    uint32_t rotary;
    uint32_t max_positions;
    uint32_t cache_dtype;  // a DType
    uint32_t block_size;
    uint32_t num_slots;
};
static_assert(sizeof(RopeKvParams) == 152, "twin of RopeKvParams in src/params/rows.rs");

// The `k` experts of each token, and their weights. One warp a row.
struct MoeRouteParams {
    View ids;      // i32 [num_rows, k]
    View weights;  // f32 [num_rows, k]
    View logits;   // float [num_rows, num_experts]
    uint32_t num_rows;
    uint32_t num_experts;
    uint32_t k;
    uint32_t renormalize;  // 1: the k weights are scaled to sum to 1
};
static_assert(sizeof(MoeRouteParams) == 64, "twin of MoeRouteParams in src/params/rows.rs");

// A stack of `num_experts` matrices over the rows of x that chose each. Choice `i * k + j` is the
// `j`-th of token `i`.
struct ExpertsParams {
    View out;  // moe_gate_up: float [num_tokens * k, rows]; moe_parts: f32 [num_tokens * k, rows];
               // moe_down: float [num_tokens, rows]
    View x;    // moe_gate_up: float [num_tokens, cols]; else [num_tokens * k, cols]
    View ids;      // i32 [num_tokens, k]
    View weights;  // f32 [num_tokens, k]; moe_down only
    uint64_t weight;  // [num_experts * rows, cols]; moe_gate_up: twice as many rows
    uint32_t num_tokens;
    uint32_t k;
    uint32_t num_experts;
    uint32_t rows;
    uint32_t cols;
    uint32_t row_blocks;  // blocks that share the rows of an expert
};
static_assert(sizeof(ExpertsParams) == 96, "twin of ExpertsParams in src/params/rows.rs");

// `out[i] += sum over j of weights[i, j] * parts[i * k + j]`.
struct MoeCombineParams {
    View out;      // float [num_tokens, cols]
    View parts;    // f32 [num_tokens * k, cols]
    View weights;  // f32 [num_tokens, k]
    uint32_t cols;
    uint32_t k;
};
static_assert(sizeof(MoeCombineParams) == 56, "twin of MoeCombineParams in src/params/rows.rs");

// Draws one token of each row. A cluster a row.
struct SampleParams {
    View out;     // i32 [num_rows, 1]
    View logits;  // f32 [num_rows, cols]
    View params;  // u32 [num_rows, 8], a Draw each
    uint32_t cols;
    uint32_t reserved;
};
static_assert(sizeof(SampleParams) == 56, "twin of SampleParams in src/params/rows.rs");
