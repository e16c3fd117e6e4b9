// Attention of one query to many keys in plain f32 arithmetic, for every head size and every mix of
// element types.
//
// A warp takes 32 keys at a time, for up to 4 heads: a lane computes the scores of its own key,
// then all lanes share the dims of the values, lane + 32i being a lane's.
#pragma once

#include "attention_merge.cuh"

constexpr uint32_t ANY_TILE = 32;
constexpr uint32_t ANY_HEADS = 4;
constexpr uint32_t MAX_HEAD_DIM = 256;

// The keys of a query: searches the sequence that owns row `row`. All threads of a warp take part.
__device__ __forceinline__ Query find_query(const AttentionParams& p, uint32_t row) {
    if (p.decode) return Query(p, row, row, context_len(p, row));
    uint32_t starts = 0;  // sequences that start at or before the row, and the end of the last
    for (uint32_t base = 0; base <= p.num_seqs; base += 32) {
        const uint32_t i = base + threadIdx.x % 32;
        const bool before = i <= p.num_seqs && first_row(p, i) <= row;
        starts += __popc(__ballot_sync(FULL_WARP, before));
        if (starts < base + 32) break;
    }
    if (starts == 0 || starts > p.num_seqs) return Query(p, row, 0, 0);
    const uint32_t len = context_len(p, starts - 1), rows_after = first_row(p, starts) - 1 - row;
    return Query(p, row, starts - 1, len > rows_after ? len - rows_after : 0);
}

// Elements of a head in the cache; `F32` or one of the 16-bit types.
template <bool F32>
struct CacheHead {
    const char* data;
    bool bf16;

    // The head of a cache row in `side`.
    __device__ __forceinline__ CacheHead(const AttentionParams& p, uint64_t side, uint32_t row)
        : bf16(p.cache.dtype == DTYPE_BF16) {
        const uint64_t element = static_cast<uint64_t>(row) * p.cache.head_dim;
        data = global_pointer<const char>(side + element * (F32 ? 4 : 2));
    }

    __device__ __forceinline__ float load(uint32_t col) const {
        if constexpr (F32) return reinterpret_cast<const float*>(data)[col];
        const uint32_t bits = reinterpret_cast<const uint16_t*>(data)[col];
        const float half = unpack_f16(bits).x;
        return bf16 ? __uint_as_float(bits << 16) : half;
    }

    // Eight elements from a multiple of 8 on, in a head that starts at a multiple of 16 bytes.
    __device__ __forceinline__ void load8(uint32_t col, float (&out)[8]) const {
        if constexpr (F32) {
            const float4* from = reinterpret_cast<const float4*>(data) + col / 4;
            const float4 low = from[0], high = from[1];
            out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
            out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
        } else {
            const uint4 raw = reinterpret_cast<const uint4*>(data)[col / 8];
            bf16 ? unpack8<unpack_bf16>(raw, out) : unpack8<unpack_f16>(raw, out);
        }
    }
};

struct AnyWarp {
    const AttentionParams& p;
    const Split& split;
    const Query& query;
    const float* q;  // shared, [num_heads, padded_head], times the scale
    bool by_8;       // whether keys may be read 8 elements at a time
    float out[ANY_HEADS][MAX_HEAD_DIM / 32];
    float max[ANY_HEADS];
    float sum[ANY_HEADS];  // of this lane's keys alone

    __device__ __forceinline__ AnyWarp(const AttentionParams& p, const Split& split,
                                       const Query& query, const float* q)
        : p(p), split(split), query(query), q(q),
          by_8(p.cache.head_dim % 8 == 0 && p.cache.k % 16 == 0) {
#pragma unroll
        for (uint32_t head = 0; head < ANY_HEADS; ++head) {
            max[head] = NEG_INFINITY;
            sum[head] = 0.0f;
#pragma unroll
            for (uint32_t i = 0; i < MAX_HEAD_DIM / 32; ++i) out[head][i] = 0.0f;
        }
    }

    // Eight elements of a key, zeros past its end.
    template <bool F32>
    __device__ __forceinline__ void load_key(float (&k)[8], const CacheHead<F32>& key,
                                             uint32_t col) const {
        if (by_8) return key.load8(col, k);
#pragma unroll
        for (uint32_t i = 0; i < 8; ++i) {
            k[i] = col + i < p.cache.head_dim ? key.load(col + i) : 0.0f;
        }
    }

    // Scores of the lane's key.
    template <bool F32>
    __device__ __forceinline__ void score(float (&scores)[ANY_HEADS],
                                          const CacheHead<F32>& key) const {
        const uint32_t padded = padded_head(p);
#pragma unroll
        for (uint32_t head = 0; head < ANY_HEADS; ++head) scores[head] = 0.0f;
#pragma unroll 2
        for (uint32_t col = 0; col < p.cache.head_dim; col += 8) {
            float k[8];
            load_key(k, key, col);
#pragma unroll
            for (uint32_t head = 0; head < ANY_HEADS; ++head) {
                if (head >= split.num_heads) break;
                const float4* from = reinterpret_cast<const float4*>(q + head * padded + col);
                const float4 low = from[0], high = from[1];
                float& s = scores[head];
                s = fmaf(k[0], low.x, s), s = fmaf(k[1], low.y, s);
                s = fmaf(k[2], low.z, s), s = fmaf(k[3], low.w, s);
                s = fmaf(k[4], high.x, s), s = fmaf(k[5], high.y, s);
                s = fmaf(k[6], high.z, s), s = fmaf(k[7], high.w, s);
            }
        }
    }

    // Turns scores into weights, and scales what came before to the new largest score.
    __device__ __forceinline__ void softmax(float (&scores)[ANY_HEADS], bool seen) {
#pragma unroll
        for (uint32_t head = 0; head < ANY_HEADS; ++head) {
            if (head >= split.num_heads) break;
            const float own = seen ? scores[head] : NEG_INFINITY;
            float largest = fmaxf(max[head], own);
#pragma unroll
            for (uint32_t lanes = 1; lanes < 32; lanes *= 2) {
                largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, lanes));
            }
            const float rescale = exp2_approx(max[head] - largest);
            scores[head] = exp2_approx(own - largest);
            sum[head] = sum[head] * rescale + scores[head];
            max[head] = largest;
#pragma unroll
            for (uint32_t i = 0; i < MAX_HEAD_DIM / 32; ++i) out[head][i] *= rescale;
        }
    }

    // Adds the weighted values of keys `first..end` of a tile.
    template <bool F32>
    __device__ __forceinline__ void add_values(const float (&weights)[ANY_HEADS], uint32_t row,
                                               uint32_t first, uint32_t end) {
        const uint32_t lane = threadIdx.x % 32;
#pragma unroll 2
        for (uint32_t key = first; key < end; ++key) {
            const CacheHead<F32> value(p, p.cache.v, __shfl_sync(FULL_WARP, row, key));
            float v[MAX_HEAD_DIM / 32];
#pragma unroll
            for (uint32_t i = 0; i < MAX_HEAD_DIM / 32; ++i) {
                v[i] = lane + 32 * i < p.cache.head_dim ? value.load(lane + 32 * i) : 0.0f;
            }
#pragma unroll
            for (uint32_t head = 0; head < ANY_HEADS; ++head) {
                if (head >= split.num_heads) break;
                const float weight = __shfl_sync(FULL_WARP, weights[head], key);
#pragma unroll
                for (uint32_t i = 0; i < MAX_HEAD_DIM / 32; ++i) {
                    if (32 * i >= p.cache.head_dim) break;
                    out[head][i] = fmaf(weight, v[i], out[head][i]);
                }
            }
        }
    }

    // Attends to tiles `tile`, `tile + step`, ... before `end`.
    template <bool F32>
    __device__ __forceinline__ void attend(uint32_t tile, uint32_t end, uint32_t step) {
#pragma unroll 1
        for (; tile < end; tile += step) {
            const uint32_t start = tile * ANY_TILE, key = start + threadIdx.x % 32;
            const bool seen = key >= query.first && key < query.end;
            const uint32_t in_range = min(::max(key, query.first), query.end - 1);
            const uint32_t row = cache_row(p, query.sequence, split.kv_head, in_range);
            float scores[ANY_HEADS];
            score(scores, CacheHead<F32>(p, p.cache.k, row));
            softmax(scores, seen);
            const uint32_t first = ::max(query.first, start) - start;
            add_values<F32>(scores, row, first, min(query.end - start, ANY_TILE));
        }
    }

    // Writes this warp's part.
    __device__ __forceinline__ void finish(const Parts& parts) {
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
        for (uint32_t head = 0; head < ANY_HEADS; ++head) {
            if (head >= split.num_heads) break;
#pragma unroll
            for (uint32_t lanes = 1; lanes < 32; lanes *= 2) {
                sum[head] += __shfl_xor_sync(FULL_WARP, sum[head], lanes);
            }
            if (lane == 0) parts.maxes[warp * MAX_HEADS + head] = max[head];
            if (lane == 0) parts.sums[warp * MAX_HEADS + head] = sum[head];
            float* values = parts.values + (warp * split.num_heads + head) * padded_head(p);
#pragma unroll
            for (uint32_t i = 0; i < MAX_HEAD_DIM / 32; ++i) {
                if (lane + 32 * i < padded_head(p)) values[lane + 32 * i] = out[head][i];
            }
        }
    }
};
