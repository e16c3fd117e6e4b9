// Attention of decode batches on q, k and v as a projection leaves them: rotation, the cache's
// update and attention in one launch. Grid: as attention_decode.cu.

#include "attention_rope.cuh"
#include "pdl.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace attention_rope_cu {

template <typename T, uint32_t DIM>
__device__ __forceinline__ void attention_rope(const RopeAttentionParams& params) {
    extern __shared__ float4 shared_memory[];
    const AttentionParams& p = params.attention;
    Split split(p);
    const uint32_t row = split.item;
    const Query query(p, row, split.item, context_len(p, split.item));
    const uint32_t first = query.first / DECODE_TILE, end = ceil_div(query.end, DECODE_TILE);
    if (split.gather(end - first)) return;
    const bool idle = split.used_blocks(end - first) == 0;
    if (!idle && split.cluster > 1) cluster_arrive();
    const Tiles tiles(split, first, end);
    RopeWarp<T, DIM> warp(params, split, query, tiles, shared_memory);
    if (tiles.any()) warp.ring.start();
    const MergeShared shared(p, split, behind_rings<DIM>(shared_memory));
    pdl_wait();
    if (query.end == 0) return store_zeros(p, split, row_of(p.out, row));
    if (idle) return store_no_keys(p, split);
    if (tiles.any()) {
        // Of the part that the warp writes at the end.
        warp.insert(shared.warps.values + threadIdx.x / 32 * shared.size);
        warp.attend();
    }
    // Late: the kernel behind is a projection, whose blocks fill their multiprocessors.
    pdl_launch_dependents();
    if (tiles.any()) warp.finish(shared.warps);
    merge(p, split, row_of(p.out, row), shared, end - first);
}

}  // namespace attention_rope_cu

using namespace attention_rope_cu;

#define ATTENTION_ROPE(name, type, dim, warps)                      \
    extern "C" __global__ void __launch_bounds__(warps * 32, 1)     \
        name(const __grid_constant__ RopeAttentionParams p) {       \
        attention_rope<type, dim>(p);                               \
    }

ATTENTION_ROPE(attention_rope_64_bf16, __nv_bfloat16, 64, 16)
ATTENTION_ROPE(attention_rope_128_bf16, __nv_bfloat16, 128, 12)
ATTENTION_ROPE(attention_rope_64_f16, __half, 64, 16)
ATTENTION_ROPE(attention_rope_128_f16, __half, 128, 12)
