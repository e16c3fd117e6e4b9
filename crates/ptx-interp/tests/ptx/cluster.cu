// Clusters: each block publishes a value in its shared memory and sums those of all blocks; right,
// and with each of the two cluster barriers missing.
#include <cooperative_groups.h>

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

// Through generic addresses, as cooperative groups do it; block 0 counts with atomics.
KERNEL(32, cluster_generic) {
    namespace cg = cooperative_groups;
    __shared__ int count;
    __shared__ float value[32];
    auto cluster = cg::this_cluster();
    value[threadIdx.x] = p.in[blockIdx.x * 32 + threadIdx.x];
    if (threadIdx.x == 0) count = 0;
    cluster.sync();
    const float* other = cluster.map_shared_rank(value, (cluster.block_rank() + 1) % p.blocks);
    atomicAdd(cluster.map_shared_rank(&count, 0), 1);
    const float mine = other[threadIdx.x];
    cluster.sync();
    p.out[blockIdx.x * 32 + threadIdx.x] =
        cluster.block_rank() == 0 && threadIdx.x == 0 ? count : mine;
}

// Every block sends its values to block 0: with one bulk copy that the mbarrier there announces,
// or by stores and an arrival. Block 0 adds them up in the order of the ranks.
template <bool kBulk, bool kWait>
__device__ void send(const Params& p) {
    __shared__ __align__(16) float value[32], inbox[8][32];
    __shared__ uint64_t barrier;
    const unsigned rank = cluster_rank();
    if (threadIdx.x == 0) {
        mbarrier_init(&barrier, kBulk ? 1 : p.blocks * 32);
        fence_mbarrier_init();
    }
    value[threadIdx.x] = p.in[blockIdx.x * 32 + threadIdx.x];
    fence_proxy_async();
    cluster_sync();
    unsigned to, remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, 0;"
                 : "=r"(to)
                 : "r"(shared_address(inbox[rank])));
    asm volatile("mapa.shared::cluster.u32 %0, %1, 0;"
                 : "=r"(remote)
                 : "r"(shared_address(&barrier)));
    if (kBulk) {
        if (rank == 0 && threadIdx.x == 0) mbarrier_expect(&barrier, p.blocks * 128);
        if (threadIdx.x == 0)
            asm volatile(
                "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes "
                "[%0], [%1], 128, [%2];" ::"r"(to),
                "r"(shared_address(value)), "r"(remote)
                : "memory");
    } else {
        cluster_store(&inbox[rank][threadIdx.x], 0, value[threadIdx.x]);
        asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(remote)
                     : "memory");
    }
    if (rank == 0) {
        if (kWait) mbarrier_wait(&barrier, 0);
        float sum = 0;
        for (int r = 0; r < p.blocks; r++) sum += inbox[r][threadIdx.x];
        p.out[blockIdx.x * 32 + threadIdx.x] = sum;
    }
    cluster_sync();
}

KERNEL(32, cluster_send_bulk) { send<true, true>(p); }

KERNEL(32, cluster_send_stores) { send<false, true>(p); }

KERNEL(32, cluster_send_no_wait) { send<false, false>(p); }

// The last block never arrives.
KERNEL(32, cluster_missing_arrival) {
    if (cluster_rank() != p.blocks - 1) cluster_sync();
    __syncthreads();
    if (cluster_rank() == p.blocks - 1) asm volatile("barrier.cluster.wait;" ::: "memory");
}
