// Products of up to 16 rows with packed weights on sm_90: bound by reading the weights.
//
// Each warp streams its share of unit after unit of 16 weight rows through a ring in shared memory
// and multiplies it on tensor cores with its share of x, which stays in registers. Partial sums
// meet in shared memory, once per unit, and are added in the order of the warps and blocks.
//
// Weights never change, so the rings are filled before the wait for the kernel in front. The grid
// is one wave, and blocks are so large that one fits on a multiprocessor: the next kernel's blocks
// then take their places one for one.
#include <type_traits>

#include "cluster.cuh"
#include "matvec_ring.cuh"
#include "pdl.cuh"

#if HAS_BULK_COPIES

// Named, since names in an unnamed one depend on where the file lies.
namespace matvec_packed_cu {

constexpr uint32_t THREADS = RING_WARPS * 32;

// Units whose sums a block of a cluster keeps before the cluster meets to add them: two blocks then
// have a thread for each pair of sums of 16 tokens.
constexpr uint32_t MAX_KEPT = 8;

// Shared memory of a block for up to 8 * TILES tokens.
template <int TILES>
struct __align__(128) Shared {
    char ring[RING_WARPS][RING_STAGES][PACKED_GROUP_BYTES];
    float partial[2][RING_WARPS][TILES][32][4];  // as the accumulators lie in the lanes
    float squares[RING_WARPS][8 * TILES];        // of x, in each warp's columns
    float block_squares[8 * TILES];
    float2 kept[MAX_KEPT][64 * TILES];
    uint64_t barriers[RING_WARPS][RING_STAGES];
};
static_assert(sizeof(Shared<1>) == 152704, "SHARED_BYTES in launch/matvec/packed.rs");
static_assert(sizeof(Shared<2>) == 173696, "SHARED_BYTES in launch/matvec/packed.rs");

// What a lane owns of one row in each of the warp's groups: 16 columns of a 16-bit view whose rows
// start at multiples of 16 bytes.
struct Slice {
    const uint4* data;

    __device__ __forceinline__ Slice(const View& view, uint32_t row, const Work& work) {
        const uint32_t col = work.first_group * PACKED_GROUP_COLS + work.lane % 4 * 16;
        const uint64_t element = static_cast<uint64_t>(row) * view.stride + col;
        data = global_pointer<const uint4>(view.address + element * 2);
    }

    // Those of group `j`, or zeros.
    __device__ __forceinline__ void load(uint32_t j, bool there, uint4& low, uint4& high) const {
        const uint4* from = data + j * (RING_WARPS * PACKED_GROUP_COLS / 8);
        low = high = make_uint4(0, 0, 0, 0);
        if (there) low = __ldcg(from), high = __ldcg(from + 1);
    }
};

// A warp's share of x as B operands: of each group, the 16 columns from 16t of tokens g + 8 * tile.
// With a norm each is multiplied with the norm's weight; the row's scale comes after the product.
template <typename T, int TILES, int GROUPS>
struct Columns {
    uint4 low[GROUPS][TILES], high[GROUPS][TILES];

    __device__ __forceinline__ void load(const MatvecParams& p, const Work& work) {
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            const uint32_t token = tile * 8 + work.lane / 4;
            const Slice row(p.x, token, work);
#pragma unroll
            for (uint32_t j = 0; j < GROUPS; ++j) {
                const bool there = j < work.num_groups && token < p.num_tokens;
                row.load(j, there, low[j][tile], high[j][tile]);
            }
        }
    }

    static __device__ __forceinline__ void normalise(uint4& raw, uint4 raw_weight,
                                                     float& squares) {
        float x[8], weight[8];
        unpack8<unpack_bf16>(raw, x);
        unpack8<unpack_bf16>(raw_weight, weight);
#pragma unroll
        for (uint32_t i = 0; i < 8; ++i) squares = fmaf(x[i], x[i], squares), x[i] *= weight[i];
        raw = pack8<pack_bf16>(x);
    }

    // Normalises `BATCH` groups, whose weights of the norm are under way together.
    template <int BATCH>
    __device__ __forceinline__ void normalise_batch(const Slice& norm, uint32_t first,
                                                    uint32_t num_groups,
                                                    float (&squares)[TILES]) {
        uint4 weight_low[BATCH], weight_high[BATCH];
#pragma unroll
        for (uint32_t j = 0; j < BATCH; ++j) {
            norm.load(first + j, first + j < num_groups, weight_low[j], weight_high[j]);
        }
#pragma unroll
        for (uint32_t j = 0; j < BATCH; ++j) {
            if (first + j >= num_groups) break;
#pragma unroll
            for (uint32_t tile = 0; tile < TILES; ++tile) {
                normalise(low[first + j][tile], weight_low[j], squares[tile]);
                normalise(high[first + j][tile], weight_high[j], squares[tile]);
            }
        }
    }

    // Multiplies with the norm's weight; leaves the sums of squares in `out`.
    __device__ __forceinline__ void normalise(const MatvecParams& p, const Work& work,
                                              float (&out)[8 * TILES]) {
        constexpr int BATCH = 4 / TILES;
        const Slice norm(p.norm, 0, work);
        float squares[TILES] = {};
#pragma unroll
        for (uint32_t j = 0; j < GROUPS; j += BATCH) {
            normalise_batch<BATCH>(norm, j, work.num_groups, squares);
        }
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            float sum = squares[tile];
            sum += __shfl_xor_sync(0xffffffff, sum, 1);
            sum += __shfl_xor_sync(0xffffffff, sum, 2);
            if (work.lane % 4 == 0) out[tile * 8 + work.lane / 4] = sum;
        }
    }
};

// One warp's share of one unit: partial sums of 16 rows and 8 * TILES tokens.
template <typename T, int TILES, int GROUPS>
__device__ __forceinline__ void multiply(Ring& ring, const Work& work,
                                         const Columns<T, TILES, GROUPS>& x,
                                         float (&acc)[TILES][4]) {
#pragma unroll
    for (uint32_t j = 0; j < GROUPS; ++j) {
        if (j >= work.num_groups) break;
        ring.wait();
        uint32_t a[4][4];
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) ring.fragment(i, work.lane, a[i]);
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            const uint4 low = x.low[j][tile], high = x.high[j][tile];
            mma<T>(acc[tile], a[0], low.x, low.y);
            mma<T>(acc[tile], a[1], low.z, low.w);
            mma<T>(acc[tile], a[2], high.x, high.y);
            mma<T>(acc[tile], a[3], high.z, high.w);
            // Holds the products in front of the release.
            asm volatile("" ::"f"(acc[tile][0]), "f"(acc[tile][1]), "f"(acc[tile][2]),
                         "f"(acc[tile][3])
                         : "memory");
        }
        ring.release(work.lane);
    }
}

// Adds partial sums and finishes them. An item is a token and a g: the products of rows g and g + 8
// of a unit.
template <int TILES>
struct Reducer {
    const MatvecPackedParams& p;
    const Work& work;
    Shared<TILES>& shared;

    __device__ __forceinline__ uint32_t num_items() const { return 8 * p.product.num_tokens; }

    __device__ __forceinline__ Pair pair(uint32_t unit, uint32_t item) const {
        const uint32_t g = item % 8, gate_rows = p.product.gate_rows;
        return Pair{item / 8,
                    {packed_matrix_row(unit, g, gate_rows),
                     packed_matrix_row(unit, g + 8, gate_rows)}};
    }

    __device__ __forceinline__ float2 block_sum(uint32_t buffer, uint32_t item) const {
        const uint32_t token = item / 8, lane = item % 8 * 4 + token % 8 / 2;
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll 8
        for (uint32_t warp = 0; warp < RING_WARPS; ++warp) {
            const float* from = shared.partial[buffer][warp][token / 8][lane] + token % 2;
            sum.x += from[0], sum.y += from[2];
        }
        return sum;
    }

    __device__ __forceinline__ float block_squares(uint32_t token) const {
        float sum = 0.0f;
#pragma unroll 8
        for (uint32_t warp = 0; warp < RING_WARPS; ++warp) sum += shared.squares[warp][token];
        return sum;
    }

    __device__ __forceinline__ float2 scaled(float2 y, float squares) const {
        const float scale = norm_scale(p.product, squares);
        return make_float2(y.x * scale, y.y * scale);
    }

    // Finishes an item of the block's own.
    __device__ __forceinline__ void finish_block(uint32_t i, uint32_t item,
                                                 float2 residual) const {
        const Pair where = pair(work.unit(i), item);
        float2 y = block_sum(i % 2, item);
        if (present(p.product.norm)) y = scaled(y, block_squares(where.token));
        finish(p.product, where, y, residual);
    }

    // Keeps the block's part of an item until the cluster meets.
    __device__ __forceinline__ void keep(uint32_t i, uint32_t item) const {
        shared.kept[i % MAX_KEPT][item] = block_sum(i % 2, item);
        if (i == 0 && item % 8 == 0 && present(p.product.norm)) {
            shared.block_squares[item / 8] = block_squares(item / 8);
        }
    }

    __device__ __forceinline__ float2 cluster_sum(const float2& kept, uint32_t token) const {
        float2 sum = make_float2(0.0f, 0.0f);
        float squares = 0.0f;
        for (uint32_t rank = 0; rank < p.cluster; ++rank) {
            sum.x += cluster_load(&kept.x, rank), sum.y += cluster_load(&kept.y, rank);
            if (present(p.product.norm)) {
                squares += cluster_load(&shared.block_squares[token], rank);
            }
        }
        return present(p.product.norm) ? scaled(sum, squares) : sum;
    }

    // Finishes the units kept since `first`, `count` of them, an item a thread. The other blocks
    // may go on, or end, once this one has read what they kept.
    __device__ __forceinline__ void finish_cluster(uint32_t first, uint32_t count) const {
        const uint32_t at = work.rank * THREADS + threadIdx.x;
        const uint32_t i = at / num_items(), item = at % num_items();
        const bool takes_part = i < count;
        const Pair where = pair(work.unit(first + i), item);
        float2 residual = make_float2(0.0f, 0.0f), y = residual;
        if (takes_part) residual = load_residual(p.product, where);
        cluster_sync();
        if (takes_part) y = cluster_sum(shared.kept[i][item], where.token);
        cluster_arrive();
        if (takes_part) finish(p.product, where, y, residual);
        cluster_wait();
    }
};

// All units of a warp. Two buffers of partial sums need one barrier a unit: who still adds up one
// is not overtaken by more than the other.
template <typename T, int TILES, int GROUPS>
__device__ __forceinline__ void run_units(const MatvecPackedParams& p, const Work& work,
                                          Shared<TILES>& shared, Ring& ring,
                                          const Columns<T, TILES, GROUPS>& x) {
    const Reducer<TILES> reducer{p, work, shared};
    for (uint32_t i = 0; i < work.num_units; ++i) {
        // Another warp adds up each time, so that none falls behind.
        const uint32_t item = (threadIdx.x + i * 32) % THREADS;
        const bool adds = item < reducer.num_items();
        float2 residual = make_float2(0.0f, 0.0f);
        if (adds && p.cluster == 1) {
            residual = load_residual(p.product, reducer.pair(work.unit(i), item));
        }
        float acc[TILES][4] = {};
        multiply(ring, work, x, acc);
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            *reinterpret_cast<float4*>(shared.partial[i % 2][work.warp][tile][work.lane]) =
                make_float4(acc[tile][0], acc[tile][1], acc[tile][2], acc[tile][3]);
        }
        __syncthreads();
        if (adds && p.cluster == 1) reducer.finish_block(i, item, residual);
        if (adds && p.cluster > 1) reducer.keep(i, item);
        const uint32_t kept = i % MAX_KEPT + 1;
        if (p.cluster > 1 && (kept == MAX_KEPT || i + 1 == work.num_units)) {
            reducer.finish_cluster(i + 1 - kept, kept);
        }
    }
}

template <typename T, int TILES, int GROUPS>
__device__ __forceinline__ void matvec_packed(const MatvecPackedParams& p) {
    extern __shared__ __align__(128) char base[];
    Shared<TILES>& shared = *reinterpret_cast<Shared<TILES>*>(base);
    pdl_launch_dependents();
    const Work work(p);
    Ring ring(p, work, shared.ring[work.warp], shared.barriers[work.warp]);
    ring.fill(work.lane);
    pdl_wait();
    Columns<T, TILES, GROUPS> x;
    x.load(p.product, work);
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        if (present(p.product.norm)) x.normalise(p.product, work, shared.squares[work.warp]);
    }
    run_units(p, work, shared, ring, x);
}

}  // namespace matvec_packed_cu

using namespace matvec_packed_cu;

// `matvec_packed_<dtype of weight and x>_n<most tokens>_g<most groups of 64 columns per warp>`.
// Those of f16 take no norm: x times the norm's weight could overflow before it is scaled.
#define MATVEC_PACKED(name, T, TILES, GROUPS)                       \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)        \
        name(const __grid_constant__ MatvecPackedParams p) {        \
        matvec_packed<T, TILES, GROUPS>(p);                         \
    }

MATVEC_PACKED(matvec_packed_bf16_n8_g4, __nv_bfloat16, 1, 4)
MATVEC_PACKED(matvec_packed_bf16_n8_g8, __nv_bfloat16, 1, 8)
MATVEC_PACKED(matvec_packed_bf16_n16_g4, __nv_bfloat16, 2, 4)
MATVEC_PACKED(matvec_packed_f16_n8_g4, __half, 1, 4)
MATVEC_PACKED(matvec_packed_f16_n8_g8, __half, 1, 8)
MATVEC_PACKED(matvec_packed_f16_n16_g4, __half, 2, 4)

#endif  // HAS_BULK_COPIES
