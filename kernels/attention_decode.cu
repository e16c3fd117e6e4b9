// Attention of sequences with one query token, 16-bit heads, and the merge of its partial results.
// Grid: sequences x KV heads x blocks of heads x splits, see attention_merge.cuh.

#include "attention_decode.cuh"
#include "pdl.cuh"

namespace {

// Tiles are dealt to the blocks of all splits in turn, then to their warps, so that few keys spread
// over many blocks.
template <typename T, uint32_t DIM>
__device__ __forceinline__ void attention_decode(const AttentionParams& p) {
    extern __shared__ float4 shared_memory[];
    pdl_launch_dependents();
    const Split split(p);
    pdl_wait();
    uint32_t row;
    if (!single_query(p, split.item, row)) return;
    const Query query(p, row, split.item, context_len(p, split.item));
    const Row out = row_of(p.out, row);
    if (query.end == 0) return store_zeros(p, split, out);
    cluster_arrive();
    DecodeWarp<T, DIM> warp(p, split, query);
    warp.load_query();
    const uint32_t num_warps = blockDim.x / 32;
    const uint32_t place = split.index + split.count * (threadIdx.x / 32);
    warp.attend(query.first / DECODE_TILE + place, split.count * num_warps);
    const MergeShared shared(reinterpret_cast<float*>(shared_memory), num_warps, split.size(p));
    warp.finish(shared.warps);
    merge(p, split, out, shared);
}

}  // namespace

#define ATTENTION_DECODE(name, type, dim, warps)                                          \
    extern "C" __global__ void __launch_bounds__(warps * 32, 1)                             \
        name(const __grid_constant__ AttentionParams p) {                                 \
        attention_decode<type, dim>(p);                                                   \
    }

ATTENTION_DECODE(attention_decode_64_bf16, __nv_bfloat16, 64, 16)
ATTENTION_DECODE(attention_decode_128_bf16, __nv_bfloat16, 128, 12)
ATTENTION_DECODE(attention_decode_256_bf16, __nv_bfloat16, 256, 8)
ATTENTION_DECODE(attention_decode_64_f16, __half, 64, 16)
ATTENTION_DECODE(attention_decode_128_f16, __half, 128, 12)
ATTENTION_DECODE(attention_decode_256_f16, __half, 256, 8)

// Merges the parts that the clusters of a query left. Grid: as without splits.
extern "C" __global__ void attention_combine(const __grid_constant__ AttentionParams p) {
    pdl_launch_dependents();
    const Split split(p, blockIdx.x);
    pdl_wait();
    uint32_t row;
    if (!single_query(p, split.item, row) || context_len(p, split.item) == 0) return;
    const Row out = row_of(p.out, row);
    const uint32_t first = split.heads_index * p.partitions, size = split.size(p);
    Parts parts = partial_results(p, gridDim.x);
    parts.maxes += first * MAX_HEADS;
    parts.sums += first * MAX_HEADS;
    parts.values += static_cast<uint64_t>(first) * size;
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
        const uint32_t head = i / p.cache.head_dim;
        const float max = parts.max(p.partitions, head);
        const float value = parts.merge(p.partitions, head, max, parts.values + i, size);
        split.store(p, out, i, value / parts.merge_sums(p.partitions, head, max));
    }
}
