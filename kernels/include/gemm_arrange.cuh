// Arranges rows for the products of many rows, see gemm_wgmma.cuh; normalises them first where
// there is a norm. Clears the flags of the product behind.
#pragma once

#include "packed.cuh"
#include "params/gemm_wgmma.cuh"
#include "pdl.cuh"
#include "reduce.cuh"

// Eight elements of a row, as they are stored: those that become a piece of 16 bytes.
struct Piece {
    uint2 pairs[4];

    // Piece `i` of the row. 16-bit rows start at a multiple of 4 bytes.
    __device__ __forceinline__ void load(const Row& row, uint32_t i) {
        const uint32_t first = i / 8 * PACKED_GROUP_COLS + i % 8 * 2;
        const uint32_t* words = reinterpret_cast<const uint32_t*>(row.data);
#pragma unroll
        for (uint32_t t = 0; t < 4; ++t) {
            const uint32_t col = first + t * 16;
            pairs[t] = row.dtype == DTYPE_F32 ? make_uint2(words[col], words[col + 1])
                                              : make_uint2(words[col / 2], 0);
        }
    }

    __device__ __forceinline__ float2 operator()(uint32_t t, uint32_t dtype) const {
        if (dtype == DTYPE_BF16) return unpack_bf16(pairs[t].x);
        if (dtype == DTYPE_F16) return unpack_f16(pairs[t].x);
        return make_float2(__uint_as_float(pairs[t].x), __uint_as_float(pairs[t].y));
    }

    __device__ __forceinline__ float square_sum(uint32_t dtype) const {
        float sum = 0.0f;
#pragma unroll
        for (uint32_t t = 0; t < 4; ++t) {
            const float2 pair = (*this)(t, dtype);
            sum += pair.x * pair.x + pair.y * pair.y;
        }
        return sum;
    }
};

// A row of blocks a token, a thread a piece of 16 bytes, or several. `pack` rounds to the type of
// the weight. Of a row that is normalised, a block has all, and keeps each thread's first piece
// between its two looks at them.
template <uint32_t (&pack)(float, float)>
struct Arrange {
    const ArrangeParams& p;
    Row x, norm;
    uint32_t first, step, end;  // this thread's pieces

    __device__ __forceinline__ explicit Arrange(const ArrangeParams& p)
        : p(p), x(row_of(p.x, blockIdx.x)), norm(row_of(p.norm, 0)) {
        first = blockIdx.y * blockDim.x + threadIdx.x;
        step = gridDim.y * blockDim.x;
        end = p.cols / 8;
    }

    __device__ __forceinline__ void store(uint32_t i, const float2 (&pairs)[4]) const {
        const uint32_t token = blockIdx.x;
        const uint64_t place = (uint64_t(i / 8) * p.room + token) * 8 + (i % 8 ^ token % 8);
        global_pointer<uint4>(p.out)[place] =
            make_uint4(pack(pairs[0].x, pairs[0].y), pack(pairs[1].x, pairs[1].y),
                       pack(pairs[2].x, pairs[2].y), pack(pairs[3].x, pairs[3].y));
    }

    __device__ __forceinline__ void store_normed(uint32_t i, const Piece& piece, const Piece& by,
                                                 float scale) const {
        float2 pairs[4];
#pragma unroll
        for (uint32_t t = 0; t < 4; ++t) {
            const float2 value = piece(t, x.dtype), weight = by(t, norm.dtype);
            pairs[t] = make_float2(value.x * scale * weight.x, value.y * scale * weight.y);
        }
        store(i, pairs);
    }

    __device__ __forceinline__ void plain() const {
        pdl_wait();
        for (uint32_t i = first; i < end; i += step) {
            Piece piece;
            piece.load(x, i);
            const float2 pairs[4] = {piece(0, x.dtype), piece(1, x.dtype), piece(2, x.dtype),
                                     piece(3, x.dtype)};
            store(i, pairs);
        }
    }

    __device__ __forceinline__ void normalized() const {
        const bool any = first < end;
        Piece kept = {}, by = {};
        if (any) by.load(norm, first);
        pdl_wait();
        if (any) kept.load(x, first);
        float sum = kept.square_sum(x.dtype);
        for (uint32_t i = first + step; i < end; i += step) {
            Piece piece;
            piece.load(x, i);
            sum += piece.square_sum(x.dtype);
        }
        const float scale = 1.0f / sqrtf(block_sum(sum) / p.cols + p.eps);
        if (any) store_normed(first, kept, by, scale);
        for (uint32_t i = first + step; i < end; i += step) {
            Piece piece, weight;
            piece.load(x, i), weight.load(norm, i);
            store_normed(i, piece, weight, scale);
        }
    }
};

// The product behind may take up its room, and fetch its weight, at once: it waits for this kernel,
// which waits for those in front.
template <uint32_t (&pack)(float, float)>
__device__ __forceinline__ void gemm_arrange(const ArrangeParams& p) {
    pdl_launch_dependents();
    const Arrange<pack> arrange(p);
    if (p.norm.address != 0) {
        arrange.normalized();
    } else {
        arrange.plain();
    }
    if (blockIdx.x != 0 || blockIdx.y != 0) return;
    uint32_t* flags = global_pointer<uint32_t>(p.flags);
    for (uint32_t i = threadIdx.x; i < p.num_flags; i += blockDim.x) flags[i] = 0;
}

// An entry point.
#define GEMM_ARRANGE(NAME, PACK)                        \
    extern "C" __global__ void __launch_bounds__(1024)  \
        NAME(const __grid_constant__ ArrangeParams p) { \
        gemm_arrange<PACK>(p);                          \
    }
