// Thread-block clusters. Below sm_90, and in launches without a cluster, a block is a cluster of
// its own.
#pragma once

#include <cstdint>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HAS_CLUSTERS 1
#else
#define HAS_CLUSTERS 0
#endif

// Blocks of the cluster.
__device__ __forceinline__ uint32_t cluster_size() {
#if HAS_CLUSTERS
    uint32_t size;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
#else
    return 1;
#endif
}

// This block's number in it.
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

// A barrier of all threads of the cluster.
__device__ __forceinline__ void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

#if HAS_CLUSTERS
// Where shared memory at `address` lies in block `rank`, which must have started and not ended.
__device__ __forceinline__ uint32_t cluster_address(const void* address, uint32_t rank) {
    const uint32_t own = static_cast<uint32_t>(__cvta_generic_to_shared(address));
    uint32_t remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(own), "r"(rank));
    return remote;
}
#endif

// Reads what lies at the place of `address` in the shared memory of block `rank`.
__device__ __forceinline__ float cluster_load(const float* address, uint32_t rank) {
#if HAS_CLUSTERS
    const uint32_t remote = cluster_address(address, rank);
    float value;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(remote) : "memory");
    return value;
#else
    return *address;
#endif
}

// Stores to the place of `address` in the shared memory of block `rank`.
__device__ __forceinline__ void cluster_store(float* address, uint32_t rank, float value) {
#if HAS_CLUSTERS
    const uint32_t remote = cluster_address(address, rank);
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(remote), "f"(value) : "memory");
#else
    *address = value;
#endif
}

__device__ __forceinline__ void cluster_store(uint64_t* address, uint32_t rank, uint64_t value) {
#if HAS_CLUSTERS
    const uint32_t remote = cluster_address(address, rank);
    asm volatile("st.shared::cluster.u64 [%0], %1;" ::"r"(remote), "l"(value) : "memory");
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
