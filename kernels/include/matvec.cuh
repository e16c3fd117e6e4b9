// What the products of up to 16 rows have in common: reading rows eight elements at a time, and
// what follows the product.
#pragma once

#include "params/matvec.cuh"
#include "view.cuh"

// Whether a view that may be left out is there.
__device__ __forceinline__ bool present(const View& view) { return view.address != 0; }

// Columns col..col + 8 of a row of `cols`, zeros past the end; `col` is a multiple of 8. `aligned`
// rows are read 16 bytes at a time. Others one element at a time, each shifted in from the end: a
// rolled loop keeps the code small.
__device__ __forceinline__ void load8(const Row& row, uint32_t col, uint32_t cols, bool aligned,
                                      float (&out)[8]) {
    if (aligned && col + 8 <= cols) return row.load(col, out);
#pragma unroll
    for (uint32_t k = 0; k < 8; ++k) out[k] = 0.0f;
#pragma unroll 1
    for (uint32_t i = 0; i < 8; ++i) {
        const float last = col + i < cols ? row.load(col + i) : 0.0f;
#pragma unroll
        for (uint32_t k = 0; k < 7; ++k) out[k] = out[k + 1];
        out[7] = last;
    }
}

// The lanes' sum, in every lane.
__device__ __forceinline__ float warp_sum(float sum) {
#pragma unroll
    for (uint32_t offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffff, sum, offset);
    }
    return sum;
}

// What a row of squares that sum to `squares` is multiplied with.
__device__ __forceinline__ float norm_scale(const MatvecParams& p, float squares) {
    return rsqrtf(squares / static_cast<float>(p.cols) + p.eps);
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

// Two products of one token that are finished together: with EPILOGUE_SILU_MUL a gate and its up.
struct Pair {
    uint32_t token;
    uint32_t rows[2];  // of the weight; the second may be past the end
};

// What the residual stream holds, where the epilogue adds to it. Apart, so that it can be asked for
// early.
__device__ __forceinline__ float2 load_residual(const MatvecParams& p, const Pair& pair) {
    float2 residual = make_float2(0.0f, 0.0f);
    if (p.epilogue != EPILOGUE_ADD) return residual;
    const Row out = row_of(p.out, pair.token);
    residual.x = out.load(pair.rows[0]);
    if (pair.rows[1] < p.rows) residual.y = out.load(pair.rows[1]);
    return residual;
}

// Adds the bias, applies the epilogue and stores; `y` is the product of the normalised x.
__device__ __forceinline__ void finish(const MatvecParams& p, const Pair& pair, float2 y,
                                       float2 residual) {
    const bool both = pair.rows[1] < p.rows;
    if (present(p.bias)) {
        const Row bias = row_of(p.bias, 0);
        y.x += bias.load(pair.rows[0]);
        if (both) y.y += bias.load(pair.rows[1]);
    }
    const Row out = row_of(p.out, pair.token);
    if (p.epilogue == EPILOGUE_SILU_MUL) return out.store(pair.rows[0], silu(y.x) * y.y);
    if (p.epilogue == EPILOGUE_ADD) y.x += residual.x, y.y += residual.y;
    out.store(pair.rows[0], y.x);
    if (both) out.store(pair.rows[1], y.y);
}
