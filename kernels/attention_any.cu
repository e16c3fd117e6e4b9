// Attention of every query row by itself, for heads that no tensor-core kernel takes.
// Grid: rows x KV heads x blocks of heads x splits, see attention_merge.cuh.

#include "attention_any.cuh"
#include "pdl.cuh"

// Shared memory: the queries of the heads, then what merging takes.
extern "C" __global__ void __launch_bounds__(128)
    attention_any(const __grid_constant__ AttentionParams p) {
    extern __shared__ float4 shared_memory[];
    float* q = reinterpret_cast<float*>(shared_memory);
    pdl_launch_dependents();
    const Split split(p);
    pdl_wait();
    const Query query = find_query(p, split.item);
    const Row out = row_of(p.out, query.row);
    if (query.end == 0) return store_zeros(p, split, out);
    cluster_arrive();
    const uint32_t padded = padded_head(p), num_warps = blockDim.x / 32;
    const Row q_row = row_of(p.q, query.row);
    for (uint32_t i = threadIdx.x; i < split.num_heads * padded; i += blockDim.x) {
        const uint32_t head = i / padded, col = i - head * padded;
        const uint32_t from = (split.query_head(p) + head) * p.cache.head_dim + col;
        q[i] = col < p.cache.head_dim ? q_row.load(from) * p.scale_log2 : 0.0f;
    }
    __syncthreads();
    AnyWarp warp(p, split, query, q);
    const uint32_t place = split.index + split.count * (threadIdx.x / 32);
    warp.attend(query.first / ANY_TILE + place, split.count * num_warps);
    const MergeShared shared(q + split.num_heads * padded, num_warps, split.size(p));
    warp.finish(shared.warps);
    merge(p, split, out, shared);
}
