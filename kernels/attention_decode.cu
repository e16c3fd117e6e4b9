// Attention of sequences with one query token, 16-bit heads, and the merge of its partial results.
// Grid: sequences x KV heads x blocks of heads x splits, see attention_merge.cuh.

#include "attention_decode.cuh"
#include "pdl.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace attention_decode_cu {

template <typename T, uint32_t DIM>
__device__ __forceinline__ void attention_decode(const AttentionParams& p) {
    extern __shared__ float4 shared_memory[];
    pdl_launch_dependents();
    const Split split(p);
    uint32_t row;
    const bool single = single_query(p, split.item, row);
    const Query query(p, row, split.item, context_len(p, split.item));
    pdl_wait();
    if (!single) return;
    if (query.end == 0) return store_zeros(p, split, row_of(p.out, row));
    const uint32_t first = query.first / DECODE_TILE, end = ceil_div(query.end, DECODE_TILE);
    if (split.used_blocks(end - first) == 0) return store_no_keys(p, split);
    if (split.cluster > 1) cluster_arrive();
    const Tiles tiles(split, first, end);
    DecodeWarp<T, DIM> warp(p, split, query, tiles, shared_memory, query.end);
    if (tiles.any()) {
        warp.ring.start();
        warp.load_query();
        warp.attend();
    }
    const MergeShared shared(p, split, behind_rings<DIM>(shared_memory));
    if (tiles.any()) warp.finish(shared.warps);
    merge(p, split, row_of(p.out, row), shared, end - first);
}

}  // namespace attention_decode_cu

using namespace attention_decode_cu;

#define ATTENTION_DECODE(name, type, dim, warps)                    \
    extern "C" __global__ void __launch_bounds__(warps * 32, 1)     \
        name(const __grid_constant__ AttentionParams p) {           \
        attention_decode<type, dim>(p);                             \
    }

ATTENTION_DECODE(attention_decode_64_bf16, __nv_bfloat16, 64, 16)
ATTENTION_DECODE(attention_decode_128_bf16, __nv_bfloat16, 128, 12)
ATTENTION_DECODE(attention_decode_256_bf16, __nv_bfloat16, 256, 8)
ATTENTION_DECODE(attention_decode_64_f16, __half, 64, 16)
ATTENTION_DECODE(attention_decode_128_f16, __half, 128, 12)
ATTENTION_DECODE(attention_decode_256_f16, __half, 256, 8)

// Merges the parts that the clusters of a query left. Grid: as without splits.
extern "C" __global__ void attention_combine(const __grid_constant__ AttentionParams params) {
    pdl_launch_dependents();
    AttentionParams p = params;
    p.partitions = 1;
    const Split split(p, blockIdx.x);
    uint32_t row;
    const bool keys = single_query(p, split.item, row) && context_len(p, split.item) > 0;
    pdl_wait();
    if (!keys) return;
    const Row out = row_of(p.out, row);
    const uint32_t padded = padded_head(p), stride = p.heads * padded;
    const uint32_t first = split.heads_index * params.partitions;
    Parts parts = partial_results(params, gridDim.x);
    parts.maxes += first * MAX_HEADS;
    parts.sums += first * MAX_HEADS;
    parts.values += static_cast<uint64_t>(first) * stride;
    for (uint32_t i = 4 * threadIdx.x; i < split.num_heads * padded; i += 4 * blockDim.x) {
        const uint32_t head = i / padded;
        store_merged(p, split, out, i, head,
                     parts.merge(params.partitions, head, parts.values + i, stride));
    }
}
