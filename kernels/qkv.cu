// All that lies between a projection and attention, in one launch: norms of the heads of q and k,
// the rotary position embedding, and the write to the paged KV cache.

#include "columns.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"
#include "reduce.cuh"

// Elements of one head: scaled and weighted by the norm, if there is one.
struct NormedHead {
    Row data;
    Row weight;
    float scale;
    bool normed;

    template <int N>
    __device__ __forceinline__ void load(uint32_t col, float (&out)[N]) const {
        data.load(col, out);
        if (!normed) return;
        float weights[N];
        weight.load(col, weights);
#pragma unroll
        for (int i = 0; i < N; ++i) out[i] = out[i] * scale * weights[i];
    }
};

// The head with the scale that its sum of squares asks for. All lanes of a warp call it together,
// and all have read the head when it returns.
__device__ __forceinline__ NormedHead normed_head(Row data, const View& weight, float eps,
                                                  uint32_t dim, bool by_8) {
    if (weight.address == 0) return NormedHead{data, data, 1.0f, false};
    float sum = 0.0f;
    for_each_column(dim, by_8, threadIdx.x % WARP_SIZE, WARP_SIZE, [&](auto width, uint32_t col) {
        float values[width.value];
        data.load(col, values);
#pragma unroll
        for (int i = 0; i < width.value; ++i) sum += values[i] * values[i];
    });
    const float scale = 1.0f / sqrtf(warp_sum(sum) / dim + eps);
    return NormedHead{data, row_of(weight, 0), scale, true};
}

// Where a token's keys or values of one head go; nowhere for a query, and for padding.
struct CacheRow {
    Row row;
    bool exists;

    template <int N>
    __device__ __forceinline__ void store(uint32_t col, const float (&values)[N]) const {
        if (exists) row.store(col, values);
    }
};

// A head of q or k: normalised, rotated, stored in place and, for a key, in the cache. Each pair is
// one lane's, from its loads to its stores.
__device__ __forceinline__ void rotate_head(const NormedHead& head, Row angles, bool has_angles,
                                            const CacheRow& cache, const RopeKvParams& p,
                                            bool by_8) {
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t half = has_angles ? p.rotary / 2 : 0;
    for_each_column(half, by_8, lane, WARP_SIZE, [&](auto width, uint32_t col) {
        float first[width.value], second[width.value], cosine[width.value], sine[width.value];
        head.load(col, first);
        head.load(half + col, second);
        angles.load(col, cosine);
        angles.load(half + col, sine);
#pragma unroll
        for (int i = 0; i < width.value; ++i) {
            const float a = first[i], b = second[i];
            first[i] = a * cosine[i] - b * sine[i];
            second[i] = b * cosine[i] + a * sine[i];
        }
        head.data.store(col, first);
        head.data.store(half + col, second);
        cache.store(col, first);
        cache.store(half + col, second);
    });
    for_each_column(p.head_dim - 2 * half, by_8, lane, WARP_SIZE, [&](auto width, uint32_t i) {
        const uint32_t col = 2 * half + i;
        float values[width.value];
        head.load(col, values);
        if (head.normed) head.data.store(col, values);
        cache.store(col, values);
    });
}

// A block of x a token; a warp a head of q, k or v, in this order.
extern "C" __global__ void rope_kv(const __grid_constant__ RopeKvParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t head = blockIdx.y * (blockDim.x / WARP_SIZE) + threadIdx.x / WARP_SIZE;
    if (head >= p.num_heads + 2 * p.num_kv_heads) return;
    const bool is_query = head < p.num_heads, is_value = head >= p.num_heads + p.num_kv_heads;

    const View side{is_value ? p.v_cache : p.k_cache, p.head_dim, p.cache_dtype};
    const uint32_t slot = load_i32(p.slots, blockIdx.x, 0);
    const bool has_slot = !is_query && slot < p.num_slots;
    const uint32_t kv_head = head - p.num_heads - (is_value ? p.num_kv_heads : 0);
    const uint64_t block_head = uint64_t(slot / p.block_size) * p.num_kv_heads + kv_head;
    const uint64_t cache_row = block_head * p.block_size + slot % p.block_size;
    const CacheRow cache{row_of(side, has_slot ? cache_row : 0), has_slot};

    const Row data = row_of(p.qkv, blockIdx.x).from(head * p.head_dim);
    const View& norm = is_query ? p.q_norm : p.k_norm;
    const bool by_8 = p.rotary % 16 == 0 && p.head_dim % 8 == 0 && takes_8(p.qkv) &&
                      takes_8(side) && takes_8(p.table) && takes_8(norm);
    if (is_value) {
        const uint32_t lane = threadIdx.x % WARP_SIZE;
        for_each_column(p.head_dim, by_8, lane, WARP_SIZE, [&](auto width, uint32_t col) {
            float values[width.value];
            data.load(col, values);
            cache.store(col, values);
        });
        return;
    }
    const uint32_t position = load_i32(p.positions, blockIdx.x, 0);
    const bool has_angles = position < p.max_positions;
    const Row angles = row_of(p.table, has_angles ? position : 0);
    const float eps = is_query ? p.q_eps : p.k_eps;
    rotate_head(normed_head(data, norm, eps, p.head_dim, by_8), angles, has_angles, cache, p, by_8);
}
