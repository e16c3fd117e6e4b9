// Attention of every query row by itself, for heads that no tensor-core kernel takes.
// Grid: rows x KV heads x blocks of heads x splits, see attention_merge.cuh.

#include "attention_any.cuh"
#include "pdl.cuh"

// Shared memory: the queries of the heads, then what merging takes.
extern "C" __global__ void __launch_bounds__(128, 1)
    attention_any(const __grid_constant__ AttentionParams p) {
    extern __shared__ float4 shared_memory[];
    float* q = reinterpret_cast<float*>(shared_memory);
    pdl_launch_dependents();
    const Split split(p);
    const Query query = find_query(p, split.item);
    pdl_wait();
    const Row out = row_of(p.out, query.row);
    if (query.end == 0) return store_zeros(p, split, out);
    const uint32_t first = query.first / ANY_TILE, end = ceil_div(query.end, ANY_TILE);
    if (split.used_blocks(end - first) == 0) return store_no_keys(p, split);
    if (cluster_size() > 1) cluster_arrive();
    const uint32_t padded = padded_head(p);
    const Row q_row = row_of(p.q, query.row);
    for (uint32_t i = threadIdx.x; i < split.num_heads * padded; i += blockDim.x) {
        const uint32_t head = i / padded, col = i - head * padded;
        const uint32_t from = (split.query_head(p) + head) * p.cache.head_dim + col;
        q[i] = col < p.cache.head_dim ? q_row.load(from) * p.scale_log2 : 0.0f;
    }
    __syncthreads();
    AnyWarp warp(p, split, query, q);
    const uint32_t place = first + split.index + split.count * (threadIdx.x / 32);
    const MergeShared shared(p, split, q + split.num_heads * padded);
    if (place < end) {
        const uint32_t step = split.count * (blockDim.x / 32);
        if (p.cache.dtype == DTYPE_F32) {
            warp.attend<true>(place, end, step);
        } else {
            warp.attend<false>(place, end, step);
        }
        warp.finish(shared.warps);
    }
    merge(p, split, out, shared, end - first);
}
