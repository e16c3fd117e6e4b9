// Walking over the columns of a row, eight at a time where that is allowed.
#pragma once

#include "view.cuh"

// How many columns a step takes.
template <int N>
struct Width {
    static constexpr int value = N;
};

// Calls `body(Width<8>(), col)` for every eighth column, or `body(Width<1>(), col)` for every one,
// of `cols`, a multiple of 8 if `by_8`. `num_threads` threads share them.
template <typename Body>
__device__ __forceinline__ void for_each_column(uint32_t cols, bool by_8, uint32_t thread,
                                                uint32_t num_threads, Body body) {
    if (by_8) {
#pragma unroll 1
        for (uint32_t i = thread; i < cols / 8; i += num_threads) body(Width<8>(), i * 8);
    } else {
#pragma unroll 1
        for (uint32_t col = thread; col < cols; col += num_threads) body(Width<1>(), col);
    }
}

// The same, shared by the threads of all blocks along y.
template <typename Body>
__device__ __forceinline__ void for_each_column(uint32_t cols, bool by_8, Body body) {
    const uint32_t thread = blockIdx.y * blockDim.x + threadIdx.x;
    for_each_column(cols, by_8, thread, gridDim.y * blockDim.x, body);
}
