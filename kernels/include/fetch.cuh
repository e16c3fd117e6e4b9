// Loading elements now and converting them later. A conversion depends on the type, and the switch
// over it would wait for each load before the next one is issued; fetched first, several are on
// their way at once.
#pragma once

#include "view.cuh"

// `N` elements of a row, 1 or 8, as they are stored.
template <int N>
struct Fetched;

template <>
struct Fetched<1> {
    uint32_t bits;
    uint32_t dtype;

    __device__ __forceinline__ Fetched(Row row, uint32_t col) : dtype(row.dtype) {
        bits = dtype == DTYPE_F32 ? reinterpret_cast<const uint32_t*>(row.data)[col]
                                  : reinterpret_cast<const uint16_t*>(row.data)[col];
    }

    __device__ __forceinline__ void convert(float (&out)[1]) const {
        out[0] = dtype == DTYPE_F32    ? __uint_as_float(bits)
                 : dtype == DTYPE_BF16 ? unpack_bf16(bits).x
                                       : unpack_f16(bits).x;
    }
};

// The column is a multiple of 8, and the row starts at a multiple of 16 bytes.
template <>
struct Fetched<8> {
    uint4 low, high;
    uint32_t dtype;

    __device__ __forceinline__ Fetched(Row row, uint32_t col) : dtype(row.dtype) {
        const uint4* from = reinterpret_cast<const uint4*>(row.from(col).data);
        low = from[0];
        high = dtype == DTYPE_F32 ? from[1] : make_uint4(0, 0, 0, 0);
    }

    __device__ __forceinline__ void convert(float (&out)[8]) const {
        if (dtype == DTYPE_BF16) {
            unpack8<unpack_bf16>(low, out);
        } else if (dtype == DTYPE_F16) {
            unpack8<unpack_f16>(low, out);
        } else {
            const uint32_t bits[8] = {low.x,  low.y,  low.z,  low.w,
                                      high.x, high.y, high.z, high.w};
#pragma unroll
            for (int i = 0; i < 8; ++i) out[i] = __uint_as_float(bits[i]);
        }
    }
};
