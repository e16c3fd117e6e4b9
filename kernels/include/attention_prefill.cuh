// Attention of many queries of a sequence on tensor cores, with a running softmax.
//
// The queries of a KV head are packed: row r of a sequence is head r % group of token r / group. A
// block computes `ROWS` packed rows, 16 by each warp, and walks over tiles of `KEYS` keys that
// start at fixed positions, so that the bits of a row depend on its own keys alone. Keys and values
// come from the cache's blocks by asynchronous copies, ahead of their use.
#pragma once

#include "attention.cuh"
#include "mma.cuh"

// Sizes of a prefill kernel. `DIM` is the head size, rounded up to 64, 128 or 256.
template <uint32_t DIM_, uint32_t KEYS_, uint32_t STAGES_, bool Q_IN_REGISTERS_>
struct PrefillShape {
    static constexpr uint32_t DIM = DIM_;
    static constexpr uint32_t KEYS = KEYS_;
    static constexpr uint32_t STAGES = STAGES_;
    static constexpr bool Q_IN_REGISTERS = Q_IN_REGISTERS_;
    static constexpr uint32_t WARPS = 8;
    static constexpr uint32_t ROWS = 16 * WARPS;
    static constexpr uint32_t PIECES = DIM / 8;  // of 16 bytes, in a head
    static constexpr uint32_t ROW_BYTES = DIM * 2;
    static constexpr uint32_t TILE_BYTES = KEYS * ROW_BYTES;
    static constexpr uint32_t Q_BYTES = Q_IN_REGISTERS ? 0 : ROWS * ROW_BYTES;
    static constexpr uint32_t SHARED_BYTES = Q_BYTES + STAGES * 2 * TILE_BYTES;
};

// Shared memory holds rows of 16-byte pieces. Exchanging them within groups of 8 lets 8 rows at the
// same column be read without bank conflicts.
template <typename Shape>
__device__ __forceinline__ uint32_t place(uint32_t row, uint32_t piece) {
    return row * Shape::ROW_BYTES + (piece ^ (row % 8)) * 16;
}

// A block's packed rows: some of those of a sequence, or of the rows that nobody owns.
struct QueryTile {
    uint32_t sequence;
    uint32_t start;       // the sequence's first row of `q`
    uint32_t num_tokens;  // of the sequence
    uint32_t index;       // of the tile in the sequence; the longest context comes first

    // Finds tile `target` of the batch. Sequences of one token have no tiles: attention_decode
    // takes them. Returns false past the last tile. All threads of a warp take part.
    template <typename Shape>
    __device__ __forceinline__ bool find(const AttentionParams& p, uint32_t target) {
        const uint32_t lane = threadIdx.x % 32;
        for (uint32_t base = 0; base <= p.num_seqs; base += 32) {
            sequence = base + lane;
            uint32_t tiles = 0;
            if (sequence <= p.num_seqs) {
                start = first_row(p, sequence);
                const bool owned = sequence < p.num_seqs;
                const uint32_t end = owned ? first_row(p, sequence + 1) : p.num_rows;
                num_tokens = end > start ? end - start : 0;
                const uint32_t rows = owned && num_tokens == 1 ? 0 : num_tokens * p.cache.group;
                tiles = ceil_div(rows, Shape::ROWS);
            }
            uint32_t after = tiles;
#pragma unroll
            for (uint32_t lanes = 1; lanes < 32; lanes *= 2) {
                const uint32_t others = __shfl_up_sync(FULL_WARP, after, lanes);
                if (lane >= lanes) after += others;
            }
            const uint32_t found = __ballot_sync(FULL_WARP, target < after);
            if (found != 0) {
                const uint32_t from = __ffs(found) - 1;
                index = __shfl_sync(FULL_WARP, after - 1 - target, from);
                sequence = __shfl_sync(FULL_WARP, sequence, from);
                start = __shfl_sync(FULL_WARP, start, from);
                num_tokens = __shfl_sync(FULL_WARP, num_tokens, from);
                return true;
            }
            target -= __shfl_sync(FULL_WARP, after, 31);
        }
        return false;
    }
};

// A warp's 16 rows.
template <typename T, typename Shape>
struct PrefillWarp {
    static constexpr uint32_t DIM = Shape::DIM;
    static constexpr uint32_t KEYS = Shape::KEYS;
    static constexpr uint32_t Q_FRAGMENTS = Shape::Q_IN_REGISTERS ? DIM / 16 : 1;

    uint32_t q[Q_FRAGMENTS][4];
    uint32_t q_address;     // shared, of what this lane reads of the warp's queries
    float out[DIM / 8][4];  // columns: dims
    float max[2], sum[2];   // of rows g, g + 8; scores unscaled; `sum` of this lane's keys alone

    __device__ __forceinline__ PrefillWarp() {
        max[0] = max[1] = NEG_INFINITY;
        sum[0] = sum[1] = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 8; ++i) {
            out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;
        }
    }

    // Takes the block's queries, at shared address `queries`.
    __device__ __forceinline__ void take_queries(uint32_t queries) {
        const uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16;
        q_address = queries + place<Shape>(row, lane / 16);
        if constexpr (Shape::Q_IN_REGISTERS) {
#pragma unroll
            for (uint32_t i = 0; i < DIM / 16; ++i) ldmatrix4(q[i], q_address ^ (i * 32));
        }
    }

    // scores = Q·Kᵀ, of the tile at shared address `keys`.
    __device__ __forceinline__ void score(float (&scores)[KEYS / 8][4], uint32_t keys) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t row = lane % 8 + lane / 16 * 8;
        const uint32_t address = keys + place<Shape>(row, lane / 8 % 2);
#pragma unroll
        for (uint32_t i = 0; i < KEYS / 8; ++i) {
            scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
        }
#pragma unroll
        for (uint32_t i = 0; i < DIM / 16; ++i) {
            uint32_t(&a)[4] = q[Shape::Q_IN_REGISTERS ? i : 0];
            if constexpr (!Shape::Q_IN_REGISTERS) ldmatrix4(a, q_address ^ (i * 32));
#pragma unroll
            for (uint32_t j = 0; j < KEYS / 16; ++j) {
                uint32_t b[4];
                ldmatrix4(b, (address ^ (i * 32)) + j * 16 * Shape::ROW_BYTES);
                mma<T>(scores[2 * j], a, b[0], b[1]);
                mma<T>(scores[2 * j + 1], a, b[2], b[3]);
            }
        }
    }

    // Hides the keys outside `first..end` of rows g and g + 8; `start` is the tile's first key.
    __device__ __forceinline__ void mask(float (&scores)[KEYS / 8][4], uint32_t start,
                                         const uint32_t (&first)[2],
                                         const uint32_t (&end)[2]) const {
#pragma unroll
        for (uint32_t i = 0; i < KEYS / 8; ++i) {
#pragma unroll
            for (uint32_t j = 0; j < 4; ++j) {
                const uint32_t key = start + 8 * i + 2 * (threadIdx.x % 4) + j % 2;
                if (key < first[j / 2] || key >= end[j / 2]) scores[i][j] = NEG_INFINITY;
            }
        }
    }

    // Turns scores into weights, and scales what came before to the new largest score.
    __device__ __forceinline__ void softmax(float (&scores)[KEYS / 8][4], float scale_log2) {
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            const uint32_t j = 2 * half;
            float largest = max[half];
#pragma unroll
            for (uint32_t i = 0; i < KEYS / 8; ++i) {
                largest = fmaxf(largest, fmaxf(scores[i][j], scores[i][j + 1]));
            }
            largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, 2));
            // A row that has seen no key yet keeps weights of 0.
            const float base = largest == NEG_INFINITY ? 0.0f : largest * scale_log2;
            const float rescale = exp2_approx(fmaf(max[half], scale_log2, -base));
            max[half] = largest;
            float total = 0.0f;
#pragma unroll
            for (uint32_t i = 0; i < KEYS / 8; ++i) {
                scores[i][j] = exp2_approx(fmaf(scores[i][j], scale_log2, -base));
                scores[i][j + 1] = exp2_approx(fmaf(scores[i][j + 1], scale_log2, -base));
                total += scores[i][j] + scores[i][j + 1];
            }
            sum[half] = fmaf(sum[half], rescale, total);
#pragma unroll
            for (uint32_t i = 0; i < DIM / 8; ++i) {
                out[i][j] *= rescale;
                out[i][j + 1] *= rescale;
            }
        }
    }

    // out += weights·V, of the tile at shared address `values`.
    __device__ __forceinline__ void add_values(const float (&weights)[KEYS / 8][4],
                                               uint32_t values) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t address = values + place<Shape>(lane % 16, lane / 16);
#pragma unroll
        for (uint32_t j = 0; j < KEYS / 16; ++j) {
            const float(&low)[4] = weights[2 * j];
            const float(&high)[4] = weights[2 * j + 1];
            const uint32_t a[4] = {pack2<T>(low[0], low[1]), pack2<T>(low[2], low[3]),
                                   pack2<T>(high[0], high[1]), pack2<T>(high[2], high[3])};
#pragma unroll
            for (uint32_t i = 0; i < DIM / 16; ++i) {
                uint32_t b[4];
                ldmatrix4_transposed(b, (address ^ (i * 32)) + j * 16 * Shape::ROW_BYTES);
                mma<T>(out[2 * i], a, b[0], b[1]);
                mma<T>(out[2 * i + 1], a, b[2], b[3]);
            }
        }
    }

    // The sums over all keys, inverted; 0 for rows that see none.
    __device__ __forceinline__ void finish() {
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            sum[half] += __shfl_xor_sync(FULL_WARP, sum[half], 1);
            sum[half] += __shfl_xor_sync(FULL_WARP, sum[half], 2);
            sum[half] = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
        }
    }
};
