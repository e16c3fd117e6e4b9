// What attention needs of thread-block clusters: handing partial results to other blocks. Below
// sm_90, and in launches without a cluster, a block is a cluster of its own.
#pragma once

#include <cstdint>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HAS_CLUSTERS 1
#else
#define HAS_CLUSTERS 0
#endif

__device__ __forceinline__ uint32_t cluster_size() {
#if HAS_CLUSTERS
    uint32_t size;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
#else
    return 1;
#endif
}

__device__ __forceinline__ uint32_t cluster_rank() {
#if HAS_CLUSTERS
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#else
    return 0;
#endif
}

// Tells the cluster that this block got here. Every thread calls it, then `cluster_wait`.
__device__ __forceinline__ void cluster_arrive() {
#if HAS_CLUSTERS
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

// Waits until all threads of the cluster have arrived; what they wrote before is visible then.
__device__ __forceinline__ void cluster_wait() {
#if HAS_CLUSTERS
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();
#endif
}

#if HAS_CLUSTERS
// The place of `address` in the shared memory of block `rank`, which must have started and must not
// have ended.
__device__ __forceinline__ uint32_t cluster_address(const void* address, uint32_t rank) {
    const uint32_t own = static_cast<uint32_t>(__cvta_generic_to_shared(address));
    uint32_t remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(own), "r"(rank));
    return remote;
}
#endif

// Stores to such a place; it is visible there after the next barrier of the cluster.
__device__ __forceinline__ void cluster_store(float* address, uint32_t rank, float value) {
#if HAS_CLUSTERS
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(cluster_address(address, rank)),
                 "f"(value)
                 : "memory");
#else
    *address = value;
#endif
}

__device__ __forceinline__ void cluster_store(float* address, uint32_t rank, float4 value) {
#if HAS_CLUSTERS
    asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(
                     cluster_address(address, rank)),
                 "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
                 : "memory");
#else
    *reinterpret_cast<float4*>(address) = value;
#endif
}
