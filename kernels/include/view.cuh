// How a tensor reaches a kernel, and reading and writing its elements as f32.
//
// The element type is a value, not a template parameter: every load and store switches on it. The
// switch is the same for all threads, so it costs a predicted branch, and one kernel is right for
// every mix of types. Stores round to nearest, ties to even.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

enum DType : uint32_t { DTYPE_F32 = 0, DTYPE_F16 = 1, DTYPE_BF16 = 2, DTYPE_I32 = 3 };

// A row-major matrix in device memory; `View` in src/params/view.rs.
struct View {
    uint64_t address;
    uint32_t stride;  // elements from the start of one row to the start of the next
    uint32_t dtype;   // a DType
};
static_assert(sizeof(View) == 16, "twin of View in src/params/view.rs");

// Bytes of one element.
__device__ __forceinline__ uint32_t dtype_bytes(uint32_t dtype) {
    return dtype == DTYPE_F16 || dtype == DTYPE_BF16 ? 2 : 4;
}

// What lies at an address of global memory. Going through the global window lets the compiler emit
// `ld.global` and `st.global` in place of the slower generic forms. The empty statement hides where
// the address comes from: where it can see that, nvcc 13.0 may not terminate.
template <typename T>
__device__ __forceinline__ T* global_pointer(uint64_t address) {
    asm("" : "+l"(address));
    return static_cast<T*>(__cvta_global_to_generic(address));
}

// Two 16-bit floats in a register, the first in the lower half, as f32.
__device__ __forceinline__ float2 unpack_f16(uint32_t pair) {
    return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

__device__ __forceinline__ float2 unpack_bf16(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

__device__ __forceinline__ uint32_t pack_f16(float first, float second) {
    const __half2 pair = __floats2half2_rn(first, second);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ __forceinline__ uint32_t pack_bf16(float first, float second) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

// Eight 16-bit floats, converted by one of the functions above.
template <float2 (&unpack)(uint32_t)>
__device__ __forceinline__ void unpack8(uint4 raw, float (&out)[8]) {
    const uint32_t pairs[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 pair = unpack(pairs[i]);
        out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
}

template <uint32_t (&pack)(float, float)>
__device__ __forceinline__ uint4 pack8(const float (&x)[8]) {
    return make_uint4(pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7]));
}

// Elements of one float type in a row. The overloads for arrays take 1 element, or 8 from a column
// that is a multiple of 8 in a row that starts at a multiple of 16 bytes.
struct Row {
    char* data;
    uint32_t dtype;

    // The elements from column `col` on.
    __device__ __forceinline__ Row from(uint32_t col) const {
        return Row{data + uint64_t(col) * dtype_bytes(dtype), dtype};
    }

    __device__ __forceinline__ float load(uint32_t col) const {
        if (dtype == DTYPE_BF16) {
            return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(data)[col]);
        }
        if (dtype == DTYPE_F16) return __half2float(reinterpret_cast<const __half*>(data)[col]);
        return reinterpret_cast<const float*>(data)[col];
    }

    __device__ __forceinline__ void store(uint32_t col, float value) const {
        if (dtype == DTYPE_BF16) {
            reinterpret_cast<__nv_bfloat16*>(data)[col] = __float2bfloat16_rn(value);
        } else if (dtype == DTYPE_F16) {
            reinterpret_cast<__half*>(data)[col] = __float2half_rn(value);
        } else {
            reinterpret_cast<float*>(data)[col] = value;
        }
    }

    __device__ __forceinline__ void load(uint32_t col, float (&out)[1]) const {
        out[0] = load(col);
    }

    __device__ __forceinline__ void store(uint32_t col, const float (&values)[1]) const {
        store(col, values[0]);
    }

    __device__ __forceinline__ void load(uint32_t col, float (&out)[8]) const {
        if (dtype == DTYPE_F32) {
            const float4* from = reinterpret_cast<const float4*>(data) + col / 4;
            const float4 low = from[0], high = from[1];
            out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
            out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
            return;
        }
        const uint4 raw = reinterpret_cast<const uint4*>(data)[col / 8];
        if (dtype == DTYPE_BF16) {
            unpack8<unpack_bf16>(raw, out);
        } else {
            unpack8<unpack_f16>(raw, out);
        }
    }

    __device__ __forceinline__ void store(uint32_t col, const float (&values)[8]) const {
        if (dtype == DTYPE_F32) {
            float4* to = reinterpret_cast<float4*>(data) + col / 4;
            to[0] = make_float4(values[0], values[1], values[2], values[3]);
            to[1] = make_float4(values[4], values[5], values[6], values[7]);
            return;
        }
        uint4* to = reinterpret_cast<uint4*>(data) + col / 8;
        *to = dtype == DTYPE_BF16 ? pack8<pack_bf16>(values) : pack8<pack_f16>(values);
    }
};

// Row `row` of a float view.
__device__ __forceinline__ Row row_of(const View& view, uint64_t row) {
    const uint64_t offset = row * view.stride * dtype_bytes(view.dtype);
    return Row{global_pointer<char>(view.address + offset), view.dtype};
}

// Whether every row of `view` starts at a multiple of 16 bytes, so that 8 elements may be loaded
// and stored at a time.
__device__ __forceinline__ bool takes_8(const View& view) {
    return view.address % 16 == 0 && view.stride % 8 == 0;
}

// Element of an i32 view.
__device__ __forceinline__ int32_t load_i32(const View& view, uint64_t row, uint32_t col) {
    return global_pointer<const int32_t>(view.address)[row * view.stride + col];
}
