// Arranges rows for the products of very many rows, see gemm_wgmma.cuh; normalises them first where
// there is a norm.
#pragma once

#include "packed.cuh"
#include "params/gemm_wgmma.cuh"
#include "pdl.cuh"
#include "reduce.cuh"

// Two neighbouring elements of a row, the first in an even column.
__device__ __forceinline__ float2 load_pair(const Row& row, uint32_t col) {
    if (row.dtype == DTYPE_F32) return make_float2(row.load(col), row.load(col + 1));
    const uint32_t pair = reinterpret_cast<const uint32_t*>(row.data)[col / 2];
    return row.dtype == DTYPE_BF16 ? unpack_bf16(pair) : unpack_f16(pair);
}

// What the norm multiplies a row by, its weight apart. All threads of the block call it.
__device__ __forceinline__ float norm_scale(const Row& x, const ArrangeParams& p) {
    float sum = 0.0f;
    for (uint32_t col = 2 * threadIdx.x; col < p.cols; col += 2 * blockDim.x) {
        const float2 pair = load_pair(x, col);
        sum += pair.x * pair.x + pair.y * pair.y;
    }
    return 1.0f / sqrtf(block_sum(sum) / p.cols + p.eps);
}

// A block a token, a thread a piece of 16 bytes. `pack` rounds to the type of the weight.
template <uint32_t (&pack)(float, float)>
__device__ __forceinline__ void gemm_arrange(const ArrangeParams& p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t token = blockIdx.x;
    const Row x = row_of(p.x, token), weight = row_of(p.norm, 0);
    const bool normed = p.norm.address != 0;
    const float scale = normed ? norm_scale(x, p) : 1.0f;
    for (uint32_t i = threadIdx.x; i < p.cols / 8; i += blockDim.x) {
        const uint32_t group = i / 8, piece = i % 8;
        uint32_t words[4];
#pragma unroll
        for (uint32_t t = 0; t < 4; ++t) {
            const uint32_t col = group * PACKED_GROUP_COLS + t * 16 + piece * 2;
            float2 pair = load_pair(x, col);
            if (normed) {
                pair.x = pair.x * scale * weight.load(col);
                pair.y = pair.y * scale * weight.load(col + 1);
            }
            words[t] = pack(pair.x, pair.y);
        }
        const uint64_t place = (uint64_t(group) * p.room + token) * 8 + (piece ^ token % 8);
        global_pointer<uint4>(p.out)[place] = make_uint4(words[0], words[1], words[2], words[3]);
    }
}

// An entry point.
#define GEMM_ARRANGE(NAME, PACK)                       \
    extern "C" __global__ void __launch_bounds__(1024) \
        NAME(const __grid_constant__ ArrangeParams p) { \
        gemm_arrange<PACK>(p);                         \
    }
