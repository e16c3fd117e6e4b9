// What follows a product of many rows: bias, epilogue, rounding, and stores of whole sectors.
//
// Accumulators hold units of 16 rows of the weight by 8 tokens, as `mma.m16n8k16` leaves them. With
// EPILOGUE_SILU_MUL rows g and g + 8 of a unit are gate and up of the same output column.
#pragma once

#include "params/gemm.cuh"
#include "view.cuh"

// The j-th 8 tokens' sums, by selection, so that a loop over j can stay a loop.
template <int TILES, int UNITS>
__device__ __forceinline__ void select(const float (&sums)[TILES][UNITS][4], int j,
                                       float (&out)[UNITS][4]) {
#pragma unroll
    for (int i = 0; i < UNITS * 4; ++i) {
        out[i / 4][i % 4] = sums[0][i / 4][i % 4];
#pragma unroll
        for (int k = 1; k < TILES; ++k) {
            if (j == k) out[i / 4][i % 4] = sums[k][i / 4][i % 4];
        }
    }
}

// Where a warp's accumulators go: units `unit .. unit + UNITS` of the weight's rows, by 8 tokens at
// a time. `scratch` is the warp's own shared memory.
template <int UNITS>
struct Finish {
    static constexpr int PITCH = 16 * UNITS + 4;  // of scratch, in floats: no bank conflicts
    static constexpr int SCRATCH_FLOATS = 8 * PITCH;

    const GemmParams& p;
    float* scratch;
    uint32_t unit;
    bool paired;
    float bias[UNITS][2];

    __device__ __forceinline__ Finish(const GemmParams& p, float* scratch, uint32_t unit)
        : p(p), scratch(scratch), unit(unit), paired(p.epilogue == EPILOGUE_SILU_MUL) {
        const uint32_t g = threadIdx.x % 32 / 4;
#pragma unroll
        for (int i = 0; i < UNITS; ++i) bias[i][0] = bias[i][1] = 0.0f;
        if (p.bias.address == 0) return;
        const Row row = row_of(p.bias, 0);
#pragma unroll
        for (int i = 0; i < UNITS; ++i) {
            const uint32_t col = paired ? (unit + i) * 8 + g : (unit + i) * 16 + g;
            const uint32_t second = col + (paired ? p.rows / 2 : 8);
            if (col < num_cols()) bias[i][0] = row.load(col);
            if (paired ? col < num_cols() : second < p.rows) bias[i][1] = row.load(second);
        }
    }

    // Columns of the output.
    __device__ __forceinline__ uint32_t num_cols() const { return paired ? p.rows / 2 : p.rows; }

    // Stores tokens `token .. token + 8`. All lanes of the warp call it.
    __device__ __forceinline__ void store(const float (&c)[UNITS][4], uint32_t token) const {
        const uint32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        float* first = scratch + 2 * t * PITCH + g;
        float* second = first + PITCH;
#pragma unroll
        for (int i = 0; i < UNITS; ++i) {
            first[16 * i] = c[i][0] + bias[i][0], second[16 * i] = c[i][1] + bias[i][0];
            first[16 * i + 8] = c[i][2] + bias[i][1], second[16 * i + 8] = c[i][3] + bias[i][1];
        }
        __syncwarp();
        const uint32_t octets = paired ? UNITS : 2 * UNITS;
#pragma unroll 1
        for (uint32_t item = lane; item < 8 * octets; item += 32) {
            const uint32_t i = paired ? item / UNITS : item / (2 * UNITS);
            const uint32_t octet = item - i * octets;
            const uint32_t col = (unit * (paired ? 1 : 2) + octet) * 8;
            float* from = scratch + i * PITCH + octet * (paired ? 16 : 8);
            if (token + i < p.num_tokens && col < num_cols()) {
                store_octet(row_of(p.out, token + i), col, from);
            }
        }
        __syncwarp();
    }

    // Columns col..col + 8 of a row of the output, as far as there are any.
    __device__ __forceinline__ void store_octet(const Row& out, uint32_t col, float* from) const {
        const bool add = p.epilogue == EPILOGUE_ADD;
        float y[8], other[8];
        read_octet(from, y);
        if (paired) {
            read_octet(from + 8, other);
#pragma unroll
            for (int i = 0; i < 8; ++i) y[i] = y[i] / (1.0f + expf(-y[i])) * other[i];
        }
        if (takes_8(p.out) && col + 8 <= num_cols()) {
            if (add) {
                out.load(col, other);
#pragma unroll
                for (int i = 0; i < 8; ++i) y[i] += other[i];
            }
            return out.store(col, y);
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) from[i] = y[i];
#pragma unroll 1
        for (uint32_t i = 0; i < 8 && col + i < num_cols(); ++i) {
            out.store(col + i, from[i] + (add ? out.load(col + i) : 0.0f));
        }
    }

    __device__ __forceinline__ static void read_octet(const float* from, float (&out)[8]) {
        const float4 low = reinterpret_cast<const float4*>(from)[0];
        const float4 high = reinterpret_cast<const float4*>(from)[1];
        out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
        out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
    }
};
