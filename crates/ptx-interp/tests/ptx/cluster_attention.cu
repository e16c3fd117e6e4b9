// Decode attention: a cluster of four blocks for each KV head, the context split over them, partial
// results merged through distributed shared memory. head_dim 64, two query heads to a KV head.
#include <cuda_bf16.h>

#include "hopper.cuh"

typedef __nv_bfloat16 bf16;

static constexpr int kDim = 64, kGroup = 2, kCluster = 4, kWarps = 2;

struct Params {
    bf16* out;      // [kv_heads * kGroup, kDim]
    const bf16* q;  // [kv_heads * kGroup, kDim]
    const bf16* k;  // [kv_heads, max_len, kDim]
    const bf16* v;  // [kv_heads, max_len, kDim]
    const int* len;
    int max_len;
};

struct Partial {
    float max, sum;
};

__device__ __forceinline__ float warp_sum(float v) {
    for (int o = 16; o; o /= 2) v += __shfl_xor_sync(~0u, v, o);
    return v;
}

template <bool kSync>
__device__ void attention(const Params& p) {
    __shared__ float outputs[kGroup][kWarps][kDim], merged[kGroup][kDim];
    __shared__ Partial partials[kGroup][kWarps], total[kGroup];
    launch_dependents();
    wait_for_previous_grid();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, rank = cluster_rank();
    const int head = blockIdx.x / kCluster, len = *p.len;
    const int share = (len + kCluster - 1) / kCluster, end = min(len, (rank + 1) * share);
    float q[kGroup][2], o[kGroup][2] = {}, max[kGroup], sum[kGroup] = {};
    for (int g = 0; g < kGroup; g++) {
        max[g] = -1e30f;
        for (int i = 0; i < 2; i++)
            q[g][i] = __bfloat162float(p.q[(head * kGroup + g) * kDim + lane * 2 + i]);
    }
    for (int at = rank * share + warp; at < end; at += kWarps) {
        const size_t row = ((size_t)head * p.max_len + at) * kDim + lane * 2;
        const float2 k = __bfloat1622float2(*(const __nv_bfloat162*)(p.k + row));
        const float2 v = __bfloat1622float2(*(const __nv_bfloat162*)(p.v + row));
        for (int g = 0; g < kGroup; g++) {
            const float s = warp_sum(q[g][0] * k.x + q[g][1] * k.y) * 0.125f;
            const float m = fmaxf(max[g], s), scale = __expf(max[g] - m), e = __expf(s - m);
            max[g] = m;
            sum[g] = sum[g] * scale + e;
            o[g][0] = o[g][0] * scale + e * v.x;
            o[g][1] = o[g][1] * scale + e * v.y;
        }
    }
    for (int g = 0; g < kGroup; g++) {
        outputs[g][warp][lane * 2] = o[g][0];
        outputs[g][warp][lane * 2 + 1] = o[g][1];
        if (lane == 0) partials[g][warp] = {max[g], sum[g]};
    }
    __syncthreads();
    for (int g = 0; g < kGroup; g++) {
        float m = -1e30f, s = 0, value = 0;
        for (int w = 0; w < kWarps; w++) m = fmaxf(m, partials[g][w].max);
        for (int w = 0; w < kWarps; w++) {
            const float scale = __expf(partials[g][w].max - m);
            s += partials[g][w].sum * scale;
            value += outputs[g][w][threadIdx.x] * scale;
        }
        merged[g][threadIdx.x] = value;
        if (threadIdx.x == 0) total[g] = {m, s};
    }
    if (kSync) cluster_sync();
    // Block `rank` finishes kDim / kCluster columns of each query head.
    const int g = threadIdx.x / (kDim / kCluster), d = rank * (kDim / kCluster) + threadIdx.x % 16;
    if (g < kGroup) {
        float m = -1e30f, s = 0, value = 0;
        for (int r = 0; r < kCluster; r++) m = fmaxf(m, cluster_load(&total[g].max, r));
        for (int r = 0; r < kCluster; r++) {
            const float scale = __expf(cluster_load(&total[g].max, r) - m);
            s += cluster_load(&total[g].sum, r) * scale;
            value += cluster_load(&merged[g][d], r) * scale;
        }
        p.out[(head * kGroup + g) * kDim + d] = __float2bfloat16(value / s);
    }
    cluster_sync();
}

KERNEL(64, cluster_attention) { attention<true>(p); }

KERNEL(64, cluster_attention_no_sync) { attention<false>(p); }
