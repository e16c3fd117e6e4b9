// Sums over the threads of a warp or a block, in an order that is always the same.
#pragma once

#include <cstdint>

constexpr uint32_t WARP_SIZE = 32;
constexpr uint32_t MAX_WARPS = 32;
constexpr uint32_t ALL_LANES = 0xffffffffu;

// The sum over all lanes, in all lanes.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (uint32_t offset = WARP_SIZE / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, offset);
    }
    return value;
}

// The sum over all threads of a block of whole warps, in all threads. Called once in a kernel.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float sums[MAX_WARPS];
    const uint32_t lane = threadIdx.x % WARP_SIZE, num_warps = blockDim.x / WARP_SIZE;
    value = warp_sum(value);
    if (lane == 0) sums[threadIdx.x / WARP_SIZE] = value;
    __syncthreads();
    return warp_sum(lane < num_warps ? sums[lane] : 0.0f);
}
