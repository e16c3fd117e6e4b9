// What follows a product by warpgroups: bias, epilogue, rounding, and stores from registers.
//
// A warp's sums are 16 rows of the weight, a unit, by tiles of 8 tokens, as `mma.m16n8k16` leaves
// them: a lane has two tokens of rows g and g + 8. Rounded to 16 bits they are two matrices of 8 x
// 8 elements, which the warp transposes, so that a lane has two columns of a token of the output.
// With EPILOGUE_SILU_MUL rows g and g + 8 are gate and up of the same column.
#pragma once

#include "mma.cuh"
#include "params/gemm_wgmma.cuh"

#if HAS_BULK_COPIES

// The transposed of an 8 x 8 matrix of 16-bit elements, of which lane 4g + t holds columns 2t and
// 2t + 1 of row g. All lanes of the warp call it.
__device__ __forceinline__ uint32_t transposed(uint32_t pair) {
    uint32_t out;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
    return out;
}

// 16-bit types, as views tell them apart and in pairs.
template <typename T>
struct Sixteen;

template <>
struct Sixteen<__nv_bfloat16> {
    static constexpr uint32_t DTYPE = DTYPE_BF16;
    __device__ __forceinline__ static uint32_t pack(float2 pair) {
        return pack_bf16(pair.x, pair.y);
    }
    __device__ __forceinline__ static float2 unpack(uint32_t pair) { return unpack_bf16(pair); }
};

template <>
struct Sixteen<__half> {
    static constexpr uint32_t DTYPE = DTYPE_F16;
    __device__ __forceinline__ static uint32_t pack(float2 pair) {
        return pack_f16(pair.x, pair.y);
    }
    __device__ __forceinline__ static float2 unpack(uint32_t pair) { return unpack_f16(pair); }
};

// Where the sums of unit `unit` go.
struct FinishUnit {
    const GemmParams& p;
    uint32_t unit, g, t;
    bool paired, adds;
    bool in_pairs;  // whether columns are loaded and stored two at a time
    float bias[2];  // of rows g and g + 8

    __device__ __forceinline__ FinishUnit(const GemmParams& p, uint32_t unit) : p(p), unit(unit) {
        g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        paired = p.epilogue == EPILOGUE_SILU_MUL, adds = p.epilogue == EPILOGUE_ADD;
        const bool aligned = p.out.address % 4 == 0 && p.out.stride % 2 == 0;
        in_pairs = aligned && p.out.dtype != DTYPE_F32;
        bias[0] = bias[1] = 0.0f;
        if (p.bias.address == 0 || unit >= p.rows / 16) return;
        const Row row = row_of(p.bias, 0);
        const uint32_t col = unit * (paired ? 8 : 16) + g;
        bias[0] = row.load(col), bias[1] = row.load(col + (paired ? p.rows / 2 : 8));
    }

    // Columns 2t and 2t + 1 of the unit's first 8 of a token of the output.
    __device__ __forceinline__ uint32_t* pair_of(uint32_t token) const {
        const uint64_t col = uint64_t(unit) * (paired ? 8 : 16) + 2 * t;
        return global_pointer<uint32_t>(p.out.address + (token * uint64_t(p.out.stride) + col) * 2);
    }

    // What a tile of tokens, from token `token`, is added to.
    __device__ __forceinline__ uint2 load_old(uint32_t token) const {
        if (!adds || !in_pairs || token + g >= p.num_tokens) return make_uint2(0, 0);
        const uint32_t* pair = pair_of(token + g);
        return make_uint2(pair[0], pair[4]);
    }

    __device__ __forceinline__ uint32_t pack(float low, float high) const {
        return p.out.dtype == DTYPE_BF16 ? pack_bf16(low, high) : pack_f16(low, high);
    }
    __device__ __forceinline__ float2 unpack(uint32_t pair) const {
        return p.out.dtype == DTYPE_BF16 ? unpack_bf16(pair) : unpack_f16(pair);
    }

    __device__ __forceinline__ static float silu_mul(float gate, float up) {
        return __fdividef(gate, 1.0f + expf(-gate)) * up;
    }

    // Two tokens of rows g and g + 8, or of the column that these are gate and up of.
    struct Values {
        float y[4];
    };
    __device__ __forceinline__ Values finished(const float (&c)[4]) const {
        Values v = {{c[0] + bias[0], c[1] + bias[0], c[2] + bias[1], c[3] + bias[1]}};
        if (paired) v.y[0] = silu_mul(v.y[0], v.y[2]), v.y[1] = silu_mul(v.y[1], v.y[3]);
        return v;
    }

    // Stores a tile of tokens, from token `token`. All lanes of the warp call it.
    __device__ __forceinline__ void store(const float (&c)[4], uint32_t token, uint2 old) const {
        Values v = finished(c);
        float(&y)[4] = v.y;
        if (p.out.dtype == DTYPE_F32) return store_floats(v, token);
        if (!in_pairs) return store_each(v, token);
        if (adds) {
            const float2 low = unpack(transposed(old.x)), high = unpack(transposed(old.y));
            y[0] += low.x, y[1] += low.y, y[2] += high.x, y[3] += high.y;
        }
        const uint32_t low = transposed(pack(y[0], y[1]));
        const uint32_t high = paired ? 0 : transposed(pack(y[2], y[3]));
        if (token + g >= p.num_tokens) return;
        uint32_t* pair = pair_of(token + g);
        pair[0] = low;
        if (!paired) pair[4] = high;
    }

    // Stores tiles of tokens, from token `token`. All lanes of the warp call it. What a step stores
    // mostly is of the weight's type `T`: that is unrolled, with all decisions taken before.
    template <typename T, int TILES>
    __device__ __forceinline__ void store_all(const float (&sums)[TILES][4],
                                              uint32_t token) const {
        if (in_pairs && p.out.dtype == Sixteen<T>::DTYPE) {
            if (paired) return store_pairs<T, EPILOGUE_SILU_MUL>(sums, token);
            if (adds) return store_pairs<T, EPILOGUE_ADD>(sums, token);
            return store_pairs<T, EPILOGUE_STORE>(sums, token);
        }
        if (p.out.dtype == DTYPE_F32 && !paired && !adds) return store_floats_of(sums, token);
#pragma unroll 1
        for (uint32_t j = 0; j < TILES; ++j) {
            float c[4] = {};
#pragma unroll
            for (uint32_t k = 0; k < TILES * 4; ++k) {
                if (k / 4 == j) c[k % 4] = sums[k / 4][k % 4];
            }
            store_each(finished(c), token + 8 * j);
        }
    }

    template <int TILES>
    __device__ __forceinline__ void store_floats_of(const float (&sums)[TILES][4],
                                                    uint32_t token) const {
        const uint32_t first = token + 2 * t, left = p.num_tokens - min(first, p.num_tokens);
        const uint64_t stride = p.out.stride;
        float* to = global_pointer<float>(p.out.address) + first * stride + unit * 16 + g;
#pragma unroll
        for (int j = 0; j < TILES; ++j, to += 8 * stride) {
            const float(&c)[4] = sums[j];
            if (8 * j < left) to[0] = c[0] + bias[0], to[8] = c[2] + bias[1];
            if (8 * j + 1 < left) to[stride] = c[1] + bias[0], to[stride + 8] = c[3] + bias[1];
        }
    }

    template <typename T, uint32_t EPILOGUE, int TILES>
    __device__ __forceinline__ void store_pairs(const float (&sums)[TILES][4],
                                                uint32_t token) const {
        constexpr int PART = 4;  // tiles whose old values are loaded together
        const uint32_t first = token + g, left = p.num_tokens - min(first, p.num_tokens);
        const uint64_t step = uint64_t(p.out.stride) * 4;  // words of eight tokens
        uint32_t* pair = pair_of(first);
#pragma unroll
        for (int j = 0; j < TILES; j += PART) {
            uint2 old[PART] = {};
#pragma unroll
            for (int k = 0; EPILOGUE == EPILOGUE_ADD && k < PART; ++k) {
                const uint32_t* from = pair + k * step;
                if (8 * (j + k) < left) old[k] = make_uint2(from[0], from[4]);
            }
#pragma unroll
            for (int k = 0; k < PART; ++k, pair += step) {
                store_pair<T, EPILOGUE>(sums[j + k], pair, 8 * (j + k) < left, old[k]);
            }
        }
    }

    // Stores a tile of tokens, of which `pair` is this lane's, if it is there.
    template <typename T, uint32_t EPILOGUE>
    __device__ __forceinline__ void store_pair(const float (&c)[4], uint32_t* pair, bool there,
                                               uint2 old) const {
        float y[4] = {c[0] + bias[0], c[1] + bias[0], c[2] + bias[1], c[3] + bias[1]};
        if constexpr (EPILOGUE == EPILOGUE_SILU_MUL) {
            const float2 both = make_float2(silu_mul(y[0], y[2]), silu_mul(y[1], y[3]));
            const uint32_t turned = transposed(Sixteen<T>::pack(both));
            if (there) pair[0] = turned;
            return;
        }
        if constexpr (EPILOGUE == EPILOGUE_ADD) {
            const float2 low = Sixteen<T>::unpack(transposed(old.x));
            const float2 high = Sixteen<T>::unpack(transposed(old.y));
            y[0] += low.x, y[1] += low.y, y[2] += high.x, y[3] += high.y;
        }
        const uint32_t low = transposed(Sixteen<T>::pack(make_float2(y[0], y[1])));
        const uint32_t high = transposed(Sixteen<T>::pack(make_float2(y[2], y[3])));
        if (there) pair[0] = low, pair[4] = high;
    }

    // Without transposing: a lane's neighbours have the columns beside its own.
    __device__ __forceinline__ void store_floats(const Values& v, uint32_t token) const {
        const uint32_t at = token + 2 * t;
        const uint64_t col = uint64_t(unit) * (paired ? 8 : 16) + g;
        float* to = global_pointer<float>(p.out.address) + at * uint64_t(p.out.stride) + col;
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i, to += p.out.stride) {
            if (at + i >= p.num_tokens) continue;
            to[0] = adds ? v.y[i] + to[0] : v.y[i];
            if (!paired) to[8] = adds ? v.y[i + 2] + to[8] : v.y[i + 2];
        }
    }

    __device__ __forceinline__ void store_each(const Values& v, uint32_t token) const {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t at = token + 2 * t + i % 2;
            if (at >= p.num_tokens || (paired && i >= 2)) continue;
            const Row row = row_of(p.out, at);
            const uint32_t col = unit * (paired ? 8 : 16) + g + i / 2 * 8;
            row.store(col, adds ? v.y[i] + row.load(col) : v.y[i]);
        }
    }
};

#endif  // HAS_BULK_COPIES
