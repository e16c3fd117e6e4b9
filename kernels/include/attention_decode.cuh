// Attention of one query to many keys on tensor cores, without shared memory.
//
// A warp takes 16 keys at a time, for up to 8 heads. Scores are K·Qᵀ (16 keys x 8 heads) and the
// result is Vᵀ·Pᵀ (dims x 8 heads), so keys and values are the left operands, and come straight
// from global memory in 16-byte pieces: the order of the dims inside a product is free as long as
// both operands agree. With g = lane / 4 and t = lane % 4, a lane reads
// - of keys g and g + 8, the pieces 4c + t: its left operand of the products over dims
//   32c..32c + 32, for which it holds the same pieces of the query of head g;
// - of the values of keys 2t, 2t + 1, 2t + 8 and 2t + 9, the pieces 8c + g: rows g and g + 8 of
//   product 4c + i are dims 2i and 2i + 1 of the piece.
// `DIM` is the head size, rounded up to 64, 128 or 256. Pieces past the head are zeros in queries,
// so it does not matter that keys and values have the head's last piece there.
#pragma once

#include "attention_merge.cuh"
#include "mma.cuh"

constexpr uint32_t DECODE_TILE = 16;

// Piece `index` of a head. It bypasses L1: keys and values are read once.
__device__ __forceinline__ void load_piece(uint32_t (&piece)[4], uint64_t head, uint32_t index) {
    const uint4 raw = __ldcg(global_pointer<const uint4>(head) + index);
    piece[0] = raw.x, piece[1] = raw.y, piece[2] = raw.z, piece[3] = raw.w;
}

template <typename T, uint32_t DIM>
struct DecodeWarp {
    static constexpr uint32_t QK_PIECES = DIM / 32;
    static constexpr uint32_t V_PIECES = DIM / 64;

    const AttentionParams& p;
    const Split& split;
    const Query& query;
    uint32_t g, t;
    uint32_t q[QK_PIECES][4];
    uint32_t k[2][QK_PIECES][4];
    uint32_t v[4][V_PIECES][4];
    float out[DIM / 16][4];  // rows: dims; columns: heads 2t, 2t + 1
    float max[2], sum[2];    // of heads 2t, 2t + 1; `sum` of this lane's keys alone

    __device__ __forceinline__ DecodeWarp(const AttentionParams& p, const Split& split,
                                          const Query& query)
        : p(p), split(split), query(query), g(threadIdx.x % 32 / 4), t(threadIdx.x % 4) {
        max[0] = max[1] = NEG_INFINITY;
        sum[0] = sum[1] = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) {
            out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;
        }
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

    // The cache row of key `lane % 16` of a tile. A key that the query does not see, or at `end`
    // and beyond, is replaced by one that it sees: such memory has been written, and its weight of
    // 0 hides it. The tile need not exist.
    __device__ __forceinline__ uint32_t find_row(uint32_t tile, uint32_t end) const {
        const uint32_t key = tile * DECODE_TILE + threadIdx.x % DECODE_TILE;
        const uint32_t seen = min(::max(key, query.first), end - 1);
        return cache_row(p, query.sequence, split.kv_head, seen);
    }

    // Piece `N * c + i`, i < N, or the head's last one if it has fewer. Heads have more than half
    // of `DIM`, or they would be of another kernel.
    template <uint32_t N>
    __device__ __forceinline__ uint32_t in_head(uint32_t c, uint32_t i) const {
        if (DIM > 64 && N * (c + 1) <= DIM / 16) return N * c + i;
        uint32_t last = p.cache.head_dim / 8 - 1;
        asm volatile("" : "+r"(last));  // not worth a register from tile to tile
        return min(N * c + i, last);
    }

    __device__ __forceinline__ uint64_t head_address(uint64_t side, uint32_t rows,
                                                     uint32_t key) const {
        const uint64_t row = __shfl_sync(FULL_WARP, rows, key);
        return side + row * p.cache.head_dim * sizeof(T);
    }

    __device__ __forceinline__ void load_keys(uint32_t rows) {
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i) {
            const uint64_t address = head_address(p.cache.k, rows, g + 8 * i);
#pragma unroll
            for (uint32_t c = 0; c < QK_PIECES; ++c) {
                load_piece(k[i][c], address, in_head<4>(c, t));
            }
        }
    }

    __device__ __forceinline__ void load_values(uint32_t rows) {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t key = 2 * t + i % 2 + i / 2 * 8;
            const uint64_t address = head_address(p.cache.v, rows, key);
#pragma unroll
            for (uint32_t c = 0; c < V_PIECES; ++c) {
                load_piece(v[i][c], address, in_head<8>(c, g));
            }
        }
    }

    // Scores of keys g and g + 8 of a tile, two heads each, in the order of an accumulator.
    __device__ __forceinline__ void score(float (&scores)[4], uint32_t tile) const {
        float sums[4] = {0, 0, 0, 0};
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) {
            const uint32_t a[4] = {k[0][c][0], k[1][c][0], k[0][c][1], k[1][c][1]};
            const uint32_t b[4] = {k[0][c][2], k[1][c][2], k[0][c][3], k[1][c][3]};
            mma<T>(sums, a, q[c][0], q[c][1]);
            mma<T>(sums, b, q[c][2], q[c][3]);
        }
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t key = tile * DECODE_TILE + g + i / 2 * 8;
            const bool seen = key >= query.first && key < query.end;
            scores[i] = seen ? sums[i] * p.scale_log2 : NEG_INFINITY;
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

    __device__ __forceinline__ void add_values(const float (&weights)[4]) {
        const uint32_t low = transpose(pack2<T>(weights[0], weights[1]));
        const uint32_t high = transpose(pack2<T>(weights[2], weights[3]));
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) {
            const uint32_t c = i / 4, e = i % 4;
            const uint32_t a[4] = {__byte_perm(v[0][c][e], v[1][c][e], 0x5410),
                                   __byte_perm(v[0][c][e], v[1][c][e], 0x7632),
                                   __byte_perm(v[2][c][e], v[3][c][e], 0x5410),
                                   __byte_perm(v[2][c][e], v[3][c][e], 0x7632)};
            mma<T>(out[i], a, low, high);
        }
    }

    // Attends to tiles `last`, `last - step` and so on.
    __device__ __forceinline__ void attend(uint32_t last, uint32_t step) {
        if constexpr (DIM <= 128) {
            const uint32_t rows = find_row(last, query.end);
            load_keys(rows);
            load_values(rows);
            load_query();
            attend_ahead(last, step);
        } else {
            attend_in_turn(last, step);
        }
    }

    // Whether there is a tile `step` before `tile`.
    __device__ __forceinline__ bool more(uint32_t tile, uint32_t step) const {
        return tile >= query.first / DECODE_TILE + step;
    }

    // The same once the query, and the keys and values of the last tile, are on their way. Fetches
    // the keys of a tile while the values of the one before are used, and the other way round.
    // Where they lie is looked up one tile further ahead.
    __device__ __forceinline__ void attend_ahead(uint32_t last, uint32_t step) {
        uint32_t rows = find_row(last - step, query.end);
        bool done = false;
#pragma unroll 1
        for (uint32_t tile = last; !done; tile -= step) {
            done = !more(tile, step);
            float scores[4];
            score(scores, tile);
            if (!done) load_keys(rows);
            softmax(scores);
            add_values(scores);
            if (!done) load_values(rows);
            rows = find_row(tile - 2 * step, query.end);
        }
    }

    // For large heads, which leave no registers for that.
    __device__ __forceinline__ void attend_in_turn(uint32_t last, uint32_t step) {
        load_query();
        bool done = false;
#pragma unroll 1
        for (uint32_t tile = last; !done; tile -= step) {
            done = !more(tile, step);
            const uint32_t rows = find_row(tile, query.end);
            load_keys(rows);
            float scores[4];
            score(scores, tile);
            __syncwarp();  // keeps the compiler from fetching the values any earlier
            load_values(rows);
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
            for (uint32_t c = 0; c < V_PIECES; ++c) {
                if (8 * (8 * c + g) >= p.cache.head_dim) continue;
                float4* to = reinterpret_cast<float4*>(values + 8 * (8 * c + g));
                to[0] = make_float4(out[4 * c][i], out[4 * c][i + 2],
                                    out[4 * c + 1][i], out[4 * c + 1][i + 2]);
                to[1] = make_float4(out[4 * c + 2][i], out[4 * c + 2][i + 2],
                                    out[4 * c + 3][i], out[4 * c + 3][i + 2]);
            }
        }
    }
};
