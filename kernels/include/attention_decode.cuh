// Attention of one query to many keys on tensor cores.
//
// A warp takes 16 keys at a time, for up to 8 heads. Scores are K·Qᵀ (16 keys x 8 heads) and the
// result is Vᵀ·Pᵀ (dims x 8 heads), so keys and values are the left operands, which come from
// shared memory. With g = lane / 4 and t = lane % 4,
// - a lane reads pieces 4c + t, of 16 bytes, of keys g and g + 8: its left operand of the products
//   over dims 32c..32c + 32, for which it holds the same pieces of the query of head g. The order
//   of the dims inside a product is free as long as both operands agree;
// - rows of product i over the values are dims 16i..16i + 16.
// `DIM` is the head size, rounded up to 64, 128 or 256. Pieces past the head are zeros.
#pragma once

#include "attention_merge.cuh"
#include "attention_ring.cuh"

// Piece `index` of a head. It bypasses L1: what is loaded so is read once.
__device__ __forceinline__ void load_piece(uint32_t (&piece)[4], uint64_t head, uint32_t index) {
    const uint4 raw = __ldcg(global_pointer<const uint4>(head) + index);
    piece[0] = raw.x, piece[1] = raw.y, piece[2] = raw.z, piece[3] = raw.w;
}

template <typename T, uint32_t DIM>
struct DecodeWarp {
    using Ring = TileRing<DIM>;
    static constexpr uint32_t QK_PIECES = DIM / 32;

    const AttentionParams& p;
    const Split& split;
    const Query& query;
    Ring ring;
    uint32_t g, t;
    uint32_t keys, values;  // where the lane reads those of a tile first
    uint32_t q[QK_PIECES][4];
    float out[DIM / 16][4];  // rows: dims; columns: heads 2t, 2t + 1
    float max[2], sum[2];    // of heads 2t, 2t + 1; `sum` of this lane's keys alone

    // For the parameters see `TileRing`.
    __device__ __forceinline__ DecodeWarp(const AttentionParams& p, const Split& split,
                                          const Query& query, const Tiles& tiles,
                                          const void* rings, uint32_t cached)
        : p(p), split(split), query(query), ring(p, split, query, tiles, rings, cached),
          g(threadIdx.x % 32 / 4), t(threadIdx.x % 4) {
        // Of four matrices of values, those of keys 8..16 come last, and odd ones have higher dims.
        const uint32_t lane = threadIdx.x % 32, key = lane % 8 + lane / 16 * 8;
        keys = keep(Ring::place(0, g, t));
        values = keep(Ring::place(0, key, lane / 8 % 2));
    }

    __device__ __forceinline__ void load_query() {
        const uint32_t head = (split.query_head(p) + g) * p.cache.head_dim;
        const uint64_t address =
            p.q.address + (static_cast<uint64_t>(query.row) * p.q.stride + head) * sizeof(T);
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) {
            const uint32_t piece = 4 * c + t;
            q[c][0] = q[c][1] = q[c][2] = q[c][3] = 0;
            const bool exists = g < split.num_heads && 8 * piece < p.cache.head_dim;
            if (exists) load_piece(q[c], address, piece);
        }
    }

    // Scores of keys g and g + 8 of a tile, two heads each, in the order of an accumulator. The
    // keys of a later tile take the place of these as soon as they are in registers.
    __device__ __forceinline__ void score(float (&scores)[4], uint32_t tile) {
        uint32_t k[2][QK_PIECES][4];
        ring.wait();
        const uint32_t even = ring.keys() + keys, odd = even ^ 64;
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) {
            const uint32_t at = (c % 2 == 0 ? even : odd) + c / 2 * 128;
            load_shared16(k[0][c], at);
            load_shared16(k[1][c], at + 8 * Ring::ROW_BYTES);
        }
        ring.refill_keys();
        float sums[4] = {0, 0, 0, 0}, others[4] = {0, 0, 0, 0};
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) {
            const uint32_t a[4] = {k[0][c][0], k[1][c][0], k[0][c][1], k[1][c][1]};
            const uint32_t b[4] = {k[0][c][2], k[1][c][2], k[0][c][3], k[1][c][3]};
            mma<T>(sums, a, q[c][0], q[c][1]);
            mma<T>(others, b, q[c][2], q[c][3]);
        }
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t key = tile * DECODE_TILE + g + i / 2 * 8;
            const bool seen = key >= query.first && key < query.end;
            scores[i] = seen ? (sums[i] + others[i]) * p.scale_log2 : NEG_INFINITY;
        }
    }

    // Turns scores into weights, and scales what came before to the new largest score.
    __device__ __forceinline__ void softmax(float (&scores)[4]) {
#pragma unroll
        for (uint32_t head = 0; head < 2; ++head) {
            float largest = fmaxf(max[head], fmaxf(scores[head], scores[head + 2]));
#pragma unroll
            for (uint32_t lanes = 4; lanes < 32; lanes *= 2) {
                largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, lanes));
            }
            const float rescale = exp2_approx(max[head] - largest);
            scores[head] = exp2_approx(scores[head] - largest);
            scores[head + 2] = exp2_approx(scores[head + 2] - largest);
            sum[head] = sum[head] * rescale + scores[head] + scores[head + 2];
            max[head] = largest;
#pragma unroll
            for (uint32_t i = 0; i < DIM / 16; ++i) {
                out[i][head] *= rescale;
                out[i][head + 2] *= rescale;
            }
        }
    }

    // From the weights of one key and heads 2t, 2t + 1 to those of keys 2t, 2t + 1 and head g.
    __device__ __forceinline__ uint32_t transpose(uint32_t weights) const {
        const uint32_t even = __shfl_sync(FULL_WARP, weights, 8 * t + g / 2);
        const uint32_t odd = __shfl_sync(FULL_WARP, weights, 8 * t + 4 + g / 2);
        return __byte_perm(even, odd, g % 2 == 0 ? 0x5410 : 0x7632);
    }

    // Adds the values of a tile, and lets those of a later one take their place.
    __device__ __forceinline__ void add_values(const float (&weights)[4]) {
        uint32_t v[DIM / 16][4];
        ring.wait();
        const uint32_t address = ring.values() + values;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) {
            ldmatrix4_transposed(v[i], (address ^ i % 4 * 32) + i / 4 * 128);
        }
        ring.refill_values();
        const uint32_t low = transpose(pack2<T>(weights[0], weights[1]));
        const uint32_t high = transpose(pack2<T>(weights[2], weights[3]));
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) mma<T>(out[i], v[i], low, high);
    }

    // Attends to the warp's tiles, for which the ring has started.
    __device__ __forceinline__ void attend() {
        max[0] = max[1] = NEG_INFINITY;
        sum[0] = sum[1] = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) {
            out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;
        }
#pragma unroll 1
        for (uint32_t i = 0; ring.tiles.has(i); ++i) {
            float scores[4];
            score(scores, ring.tiles.at(i));
            softmax(scores);
            add_values(scores);
        }
    }

    // Writes this warp's part.
    __device__ __forceinline__ void finish(const Parts& parts) {
        const uint32_t warp = threadIdx.x / 32;
#pragma unroll
        for (uint32_t lanes = 4; lanes < 32; lanes *= 2) {
            sum[0] += __shfl_xor_sync(FULL_WARP, sum[0], lanes);
            sum[1] += __shfl_xor_sync(FULL_WARP, sum[1], lanes);
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i) {
            const uint32_t head = 2 * t + i;
            if (head >= split.num_heads) continue;
            if (g == 0) parts.maxes[warp * MAX_HEADS + head] = max[i];
            if (g == 0) parts.sums[warp * MAX_HEADS + head] = sum[i];
            float* values = parts.values + (warp * split.num_heads + head) * p.cache.head_dim;
#pragma unroll
            for (uint32_t j = 0; j < DIM / 16; ++j) {
                if (16 * j < p.cache.head_dim) values[16 * j + g] = out[j][i];
                if (16 * j + 8 < p.cache.head_dim) values[16 * j + 8 + g] = out[j][i + 2];
            }
        }
    }
};

// Behind the rings of a block's warps.
template <uint32_t DIM>
__device__ __forceinline__ float* behind_rings(float4* memory) {
    return reinterpret_cast<float*>(memory + blockDim.x / 32 * (TileRing<DIM>::BYTES / 16));
}
