// Clusters: each block publishes a value in its shared memory and sums those of all blocks; right,
// and with each of the two cluster barriers missing.
#include "hopper.cuh"

struct Params {
    float* out;
    const float* in;
    int blocks;
};

template <bool kBefore, bool kAfter>
__device__ void sum(const Params& p) {
    __shared__ float value[32];
    value[threadIdx.x] = p.in[blockIdx.x * 32 + threadIdx.x];
    if (kBefore) cluster_sync();
    float total = 0;
#pragma unroll 1
    for (int rank = 0; rank < p.blocks; rank++) total += cluster_load(&value[threadIdx.x], rank);
    if (kAfter) cluster_sync();
    p.out[blockIdx.x * 32 + threadIdx.x] = total;
}

KERNEL(32, cluster_sum) { sum<true, true>(p); }

KERNEL(32, cluster_sum_unordered) { sum<false, true>(p); }

KERNEL(32, cluster_sum_early_exit) { sum<true, false>(p); }

// Each block writes into its neighbour's shared memory; the barriers' arrive and wait are split.
KERNEL(32, cluster_shift) {
    __shared__ float inbox[32];
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
    const float value = p.in[blockIdx.x * 32 + threadIdx.x];
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
    cluster_store(&inbox[threadIdx.x], (cluster_rank() + 1) % p.blocks, value);
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
    p.out[blockIdx.x * 32 + threadIdx.x] = inbox[threadIdx.x];
}

// The relaxed arrival publishes nothing.
KERNEL(32, cluster_relaxed) {
    __shared__ float value[32];
    value[threadIdx.x] = p.in[blockIdx.x * 32 + threadIdx.x];
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
    const float other = cluster_load(&value[threadIdx.x], (cluster_rank() + 1) % p.blocks);
    cluster_sync();
    p.out[blockIdx.x * 32 + threadIdx.x] = other;
}
