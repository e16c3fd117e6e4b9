// What all attention kernels share: which keys a query sees, and where they lie.
//
// Lengths, block tables and cu_seqlens come from device memory. They are clamped to what the launch
// was planned for, so that no value in them leads outside the operands. Kernels read them before
// `pdl_wait`: they are inputs of a step, which no kernel writes. The host brings them with copies;
// a kernel behind a copy starts after it, so do the kernels behind that one, however early.
#pragma once

#include <cuda/std/limits>
#include <cuda/std/type_traits>

#include "params/attention.cuh"

// Query heads of one KV head that a block of a split kernel computes at most.
constexpr uint32_t MAX_HEADS = 8;

constexpr uint32_t FULL_WARP = 0xffffffffu;
constexpr float NEG_INFINITY = -cuda::std::numeric_limits<float>::infinity();

__device__ __forceinline__ uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// 2 to the power of `x`; 0 for negative infinity.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two values rounded to T in one register, the first in the lower half.
template <typename T>
__device__ __forceinline__ uint32_t pack2(float first, float second) {
    if constexpr (cuda::std::is_same_v<T, __half>) return pack_f16(first, second);
    return pack_bf16(first, second);
}

// Tokens in the cache of a sequence.
__device__ __forceinline__ uint32_t context_len(const AttentionParams& p, uint32_t sequence) {
    const uint64_t capacity = static_cast<uint64_t>(p.max_blocks) * p.cache.block_size;
    const uint64_t len = max(load_i32(p.context_lens, sequence, 0), 0);
    return static_cast<uint32_t>(min(len, capacity));
}

// First row of `q` that a sequence owns; of `num_seqs`, the first row that nobody owns.
__device__ __forceinline__ uint32_t first_row(const AttentionParams& p, uint32_t sequence) {
    const int32_t row = load_i32(p.cu_seqlens, sequence, 0);
    return min(static_cast<uint32_t>(max(row, 0)), p.num_rows);
}

// One query token and the keys that it sees, `first..end` of its sequence; none of padding.
struct Query {
    uint32_t row;
    uint32_t sequence;
    uint32_t first;
    uint32_t end;

    __device__ __forceinline__ Query(const AttentionParams& p, uint32_t row, uint32_t sequence,
                                     uint32_t end)
        : row(row), sequence(sequence), first(end > p.window ? end - p.window : 0), end(end) {}
};

// The query of a sequence that has exactly one. Returns false for the others.
__device__ __forceinline__ bool single_query(const AttentionParams& p, uint32_t sequence,
                                             uint32_t& row) {
    row = sequence;
    if (p.decode) return true;
    row = first_row(p, sequence);
    return first_row(p, sequence + 1) == row + 1;
}

// The row of a KV head's keys, and of its values, that holds `token`; a row has head_dim elements.
__device__ __forceinline__ uint32_t cache_row(const AttentionParams& p, uint32_t sequence,
                                              uint32_t kv_head, uint32_t token) {
    const uint32_t logical = token / p.cache.block_size;
    const int32_t entry = load_i32(p.block_tables, sequence, logical);
    const uint32_t block = min(static_cast<uint32_t>(entry), p.cache.num_blocks - 1);
    const uint32_t in_block = token - logical * p.cache.block_size;
    return (block * p.cache.num_kv_heads + kv_head) * p.cache.block_size + in_block;
}
