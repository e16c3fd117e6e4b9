// All that lies between a projection and attention, in one launch: norms of the heads of q and k,
// the rotary position embedding, and the write to the paged KV cache. A warp keeps its head in
// registers from the only load to the store.

#include "params/rows.cuh"
#include "pdl.cuh"
#include "reduce.cuh"
#include "rotate.cuh"

// Pairs of elements that a lane of `rope_kv` holds: of 256 elements of a head, at most.
constexpr int LANE_PAIRS = 4;

// A head, spread over the lanes of a warp in pairs of elements that are rotated together. What is
// not rotated comes last, in pairs of neighbours.
struct Head {
    float first[LANE_PAIRS], second[LANE_PAIRS];

    // Calls `body(i, first column, second column)` for each pair of this lane.
    template <typename Body>
    __device__ __forceinline__ static void for_each_pair(const RopeKvParams& p, Body body) {
        const uint32_t half = p.rotary / 2, lane = threadIdx.x % WARP_SIZE;
#pragma unroll
        for (int i = 0; i < LANE_PAIRS; ++i) {
            const uint32_t pair = i * WARP_SIZE + lane;
            const uint32_t rest = p.rotary + 2 * (pair - half);
            body(i, pair < half ? pair : rest, pair < half ? half + pair : rest + 1);
        }
    }

    // With zeros beyond the end. The type is known in the loop, so that all loads are on their way
    // before the first is converted.
    template <uint32_t DTYPE>
    __device__ __forceinline__ void load_as(Row row, const RopeKvParams& p) {
        const Row typed{row.data, DTYPE};
        for_each_pair(p, [&](int i, uint32_t a, uint32_t b) {
            first[i] = a < p.head_dim ? typed.load(a) : 0.0f;
            second[i] = b < p.head_dim ? typed.load(b) : 0.0f;
        });
    }

    __device__ __forceinline__ void load(Row row, const RopeKvParams& p) {
        if (row.dtype == DTYPE_BF16) {
            load_as<DTYPE_BF16>(row, p);
        } else if (row.dtype == DTYPE_F16) {
            load_as<DTYPE_F16>(row, p);
        } else {
            load_as<DTYPE_F32>(row, p);
        }
    }

    __device__ __forceinline__ void store(Row row, const RopeKvParams& p) const {
        for_each_pair(p, [&](int i, uint32_t a, uint32_t b) {
            if (a < p.head_dim) row.store(a, first[i]);
            if (b < p.head_dim) row.store(b, second[i]);
        });
    }

    __device__ __forceinline__ void normalize(const View& weight, float eps,
                                              const RopeKvParams& p) {
        Head weights;
        weights.load(row_of(weight, 0), p);
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < LANE_PAIRS; ++i) sum += first[i] * first[i] + second[i] * second[i];
        const float scale = 1.0f / sqrtf(warp_sum(sum) / p.head_dim + eps);
#pragma unroll
        for (int i = 0; i < LANE_PAIRS; ++i) {
            first[i] *= scale * weights.first[i];
            second[i] *= scale * weights.second[i];
        }
    }

    __device__ __forceinline__ void rotate(const float* angles, const RopeKvParams& p) {
        const uint32_t half = p.rotary / 2;
        float cosine[LANE_PAIRS], sine[LANE_PAIRS];
        for_each_pair(p, [&](int i, uint32_t a, uint32_t) {
            cosine[i] = a < half ? angles[a] : 1.0f;
            sine[i] = a < half ? angles[half + a] : 0.0f;
        });
        ::rotate<LANE_PAIRS>(first, second, cosine, sine);
    }
};

// A block of x a token, a warp a head.
extern "C" __global__ void __launch_bounds__(128)
    rope_kv(const __grid_constant__ RopeKvParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t warps = blockDim.x / WARP_SIZE;
    const uint32_t head = blockIdx.y * warps + threadIdx.x / WARP_SIZE;
    const uint32_t first_v = p.num_heads + p.num_kv_heads;
    if (head >= first_v + p.num_kv_heads) return;
    const uint32_t position = load_i32(p.positions, blockIdx.x, 0);
    const uint32_t slot = load_i32(p.slots, blockIdx.x, 0);
    const Row row = row_of(p.qkv, blockIdx.x).from(head * p.head_dim);
    Head values;
    values.load(row, p);
    if (head < first_v) {
        const View norm = head < p.num_heads ? p.q_norm : p.k_norm;
        const float eps = head < p.num_heads ? p.q_eps : p.k_eps;
        if (norm.address != 0) values.normalize(norm, eps, p);
        if (position < p.max_positions) {
            values.rotate(reinterpret_cast<const float*>(row_of(p.table, position).data), p);
        }
        values.store(row, p);
    }
    if (head >= p.num_heads && slot < p.num_slots) {
        const bool is_k = head < first_v;
        const View cache{is_k ? p.k_cache : p.v_cache, p.head_dim, p.cache_dtype};
        const uint64_t kv_head = uint64_t(slot / p.block_size) * p.num_kv_heads +
                                 (head - (is_k ? p.num_heads : first_v));
        values.store(row_of(cache, kv_head * p.block_size + slot % p.block_size), p);
    }
}
