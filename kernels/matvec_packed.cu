// Products of up to 16 rows with packed weights on sm_90: bound by reading the weights.
//
// A team of `cluster` blocks takes units of 16 weight rows round robin; each block of the team
// takes a slice of the columns and each warp a slice of the block's. A warp streams its slice of
// unit after unit through a ring of its own in shared memory, filled by bulk copies, and multiplies
// it on tensor cores with its slice of x. Partial sums meet in shared memory, once per unit, and
// are added in the order of the warps and blocks.
//
// Weights never change, so the rings are filled before the wait for the kernel in front. The grid
// is one wave, and blocks ask for so much shared memory that one fits on a multiprocessor: the
// next kernel's blocks then take their places one for one.
#include <type_traits>

#include "cluster.cuh"
#include "matvec.cuh"
#include "mma.cuh"
#include "packed.cuh"
#include "pdl.cuh"

#if HAS_BULK_COPIES

namespace {

// Units whose sums a block keeps before the cluster meets to add them.
constexpr uint32_t MAX_KEPT_UNITS = 8;
constexpr uint32_t ALL_LANES = 0xffffffff;

// Eight elements of one 16-bit type.
template <uint32_t DTYPE>
struct Pairs {
    using Element = std::conditional_t<DTYPE == DTYPE_BF16, __nv_bfloat16, __half>;

    static __device__ __forceinline__ void unpack8(uint4 raw, float (&out)[8]) {
        if constexpr (DTYPE == DTYPE_BF16) {
            ::unpack8<unpack_bf16>(raw, out);
        } else {
            ::unpack8<unpack_f16>(raw, out);
        }
    }
    static __device__ __forceinline__ uint4 pack8(const float (&x)[8]) {
        return DTYPE == DTYPE_BF16 ? ::pack8<pack_bf16>(x) : ::pack8<pack_f16>(x);
    }
};

// Which part of the product a warp computes.
struct Work {
    uint32_t warp, num_warps, lane;
    uint32_t rank;                       // of the block in its team
    uint32_t team, num_teams;            // units team, team + num_teams, ...
    uint32_t num_units;                  // how many those are
    uint32_t first_group, num_groups;    // the warp's slice of the columns, in groups of 64
    uint32_t groups_before;              // of those, from the start of the block's slice

    __device__ __forceinline__ explicit Work(const MatvecPackedParams& p) {
        warp = threadIdx.x / 32, num_warps = blockDim.x / 32, lane = threadIdx.x % 32;
        rank = blockIdx.x % p.cluster;
        team = blockIdx.x / p.cluster, num_teams = gridDim.x / p.cluster;
        const uint32_t units = p.product.rows / PACKED_UNIT_ROWS;
        num_units = (units - team + num_teams - 1) / num_teams;
        const uint32_t groups = p.product.cols / PACKED_GROUP_COLS;
        const uint32_t slices = num_warps * p.cluster, slice = rank * num_warps + warp;
        first_group = groups * slice / slices;
        num_groups = groups * (slice + 1) / slices - first_group;
        groups_before = first_group - groups * (rank * num_warps) / slices;
    }

    __device__ __forceinline__ uint32_t unit(uint32_t i) const { return team + i * num_teams; }
};

// Tokens for which x is kept: the next power of two, so that a lane's token is a mask away.
__device__ __forceinline__ uint32_t padded_tokens(uint32_t num_tokens) {
    return num_tokens <= 1 ? 1 : 2u << (31 - __clz(num_tokens - 1));
}

// Where things lie in shared memory; `shared_bytes` of launch/matvec/packed.rs adds up the same.
template <int TILES>
struct Shared {
    char* ring;        // [num_warps][stages] groups
    uint4* x;          // of the warp: [num_groups][2][tokens][4], 8 elements each
    float* partial;    // [2][num_warps][TILES][32 lanes][4]
    float* squares;    // [num_warps][8 * TILES]
    float* scales;     // [16] what each token's row of x is multiplied with, or its sum of squares
    float* kept;       // [MAX_KEPT_UNITS][8 * num_tokens][2], in clusters alone
    uint64_t* barriers;  // [num_warps][stages]

    __device__ __forceinline__ Shared(char* base, const MatvecPackedParams& p, const Work& work) {
        const uint32_t groups = p.product.cols / PACKED_GROUP_COLS;
        const uint32_t block_groups = (groups + p.cluster - 1) / p.cluster;
        const uint32_t group_vectors = 8 * padded_tokens(p.product.num_tokens);
        const uint32_t slots = work.num_warps * p.stages;
        ring = base;
        uint4* block_x = reinterpret_cast<uint4*>(ring + slots * PACKED_GROUP_BYTES);
        x = block_x + work.groups_before * group_vectors;
        partial = reinterpret_cast<float*>(block_x + block_groups * group_vectors);
        squares = partial + 2 * work.num_warps * TILES * 128;
        scales = squares + work.num_warps * 8 * TILES;
        barriers = reinterpret_cast<uint64_t*>(scales + 16);
        kept = reinterpret_cast<float*>(barriers + slots);
    }
};

// A warp's ring: chunks of one group, in the order in which the warp needs them.
struct Ring {
    uint32_t slots, barriers;   // shared addresses
    uint32_t stages;
    uint32_t slot = 0, parity = 0;
    // What is fetched next, and how many chunks are left to fetch. Lane 0's alone count.
    uint64_t next;
    uint64_t next_unit_step;
    uint32_t next_group = 0, num_groups, left;
    uint64_t policy;

    __device__ __forceinline__ Ring(const MatvecPackedParams& p, const Work& work, char* ring,
                                    uint64_t* all_barriers) {
        stages = p.stages, num_groups = work.num_groups;
        const uint32_t first = work.warp * stages;
        slots = shared_address(ring) + first * PACKED_GROUP_BYTES;
        barriers = shared_address(all_barriers + first);
        const uint64_t unit_bytes = static_cast<uint64_t>(p.product.cols) * PACKED_UNIT_ROWS * 2;
        next = p.product.weight + work.team * unit_bytes +
               static_cast<uint64_t>(work.first_group) * PACKED_GROUP_BYTES;
        next_unit_step = work.num_teams * unit_bytes - num_groups * PACKED_GROUP_BYTES;
        left = num_groups * work.num_units;
        policy = cache_policy(true);
    }

    __device__ __forceinline__ void fetch(uint32_t into) {
        const uint32_t barrier = barriers + into * 8;
        mbarrier_arrive_expect(barrier, PACKED_GROUP_BYTES);
        copy_bulk(slots + into * PACKED_GROUP_BYTES, next, PACKED_GROUP_BYTES, barrier, policy);
        next += PACKED_GROUP_BYTES;
        if (++next_group == num_groups) next_group = 0, next += next_unit_step;
        --left;
    }

    __device__ __forceinline__ void fill(uint32_t lane) {
        if (lane == 0) {
            for (uint32_t s = 0; s < stages; ++s) mbarrier_init(barriers + s * 8, 1);
            mbarrier_init_fence();
            for (uint32_t s = 0; s < stages && left > 0; ++s) fetch(s);
        }
        __syncwarp();
    }

    // Waits for the next chunk.
    __device__ __forceinline__ void wait() const { mbarrier_wait(barriers + slot * 8, parity); }

    // The lane's fragment of one of the chunk's four tiles.
    __device__ __forceinline__ void fragment(uint32_t tile, uint32_t lane,
                                             uint32_t (&a)[4]) const {
        const uint32_t at = slots + slot * PACKED_GROUP_BYTES + tile * PACKED_TILE_BYTES;
        load_shared16(a, at + lane * 16);
    }

    // Gives the chunk's slot to the next copy. Every lane has used what it read from it: a copy
    // may overtake loads whose values nobody has waited for.
    __device__ __forceinline__ void release(uint32_t lane) {
        __syncwarp();
        if (lane == 0 && left > 0) {
            bulk_copy_fence();
            fetch(slot);
        }
        if (++slot == stages) slot = 0, parity ^= 1;
    }
};

// Sums each token's squares over the whole row, for types in which x times the norm's weight could
// overflow before it is scaled. Ends with a barrier.
__device__ void measure_rows(const MatvecParams& p, const Work& work, float* scales) {
    for (uint32_t token = work.warp; token < p.num_tokens; token += work.num_warps) {
        const Row row = row_of(p.x, token);
        float sum = 0.0f;
        for (uint32_t col = work.lane * 8; col < p.cols; col += 256) {
            float x[8];
            row.load(col, x);
#pragma unroll
            for (uint32_t i = 0; i < 8; ++i) sum = fmaf(x[i], x[i], sum);
        }
#pragma unroll
        for (uint32_t offset = 16; offset > 0; offset /= 2) {
            sum += __shfl_xor_sync(ALL_LANES, sum, offset);
        }
        if (work.lane == 0) scales[token] = norm_scale(p, sum);
    }
    __syncthreads();
}

// Brings a warp's slice of x to shared memory, times the norm's weight.
template <uint32_t DTYPE, int TILES>
struct Stager {
    static constexpr uint32_t BATCH = 8;

    const MatvecParams& p;
    const Work& work;
    const Shared<TILES>& shared;
    uint32_t tokens;       // padded
    uint32_t count;        // vectors of 8 elements in the slice, [num_groups][2][tokens][4]
    float squares[TILES];  // of the lane's token (and that of 8 later), over what it has seen

    __device__ __forceinline__ Stager(const MatvecParams& p, const Work& work,
                                      const Shared<TILES>& shared)
        : p(p), work(work), shared(shared), squares{} {
        tokens = padded_tokens(p.num_tokens);
        count = work.num_groups * 8 * tokens;
    }

    // Padding repeats the last token; no one reads what comes of it.
    __device__ __forceinline__ uint32_t token(uint32_t i) const {
        return min(i / 4 & (tokens - 1), p.num_tokens - 1);
    }

    __device__ __forceinline__ uint32_t col(uint32_t i) const {
        const uint32_t half = i / (4 * tokens);
        return (work.first_group + half / 2) * PACKED_GROUP_COLS + i % 4 * 16 + half % 2 * 8;
    }

    __device__ __forceinline__ uint4 load(const View& from, uint32_t row, uint32_t col) const {
        const uint64_t element = static_cast<uint64_t>(row) * from.stride + col;
        return __ldcg(global_pointer<const uint4>(from.address + element * 2));
    }

    // Multiplies with the norm's weight; what the row is scaled with comes later where it can.
    __device__ __forceinline__ uint4 normalise(uint32_t i, uint4 raw, const float (&weight)[8],
                                               float& sum) const {
        const float scale = DTYPE == DTYPE_F16 ? shared.scales[token(i)] : 1.0f;
        float x[8];
        Pairs<DTYPE>::unpack8(raw, x);
#pragma unroll
        for (uint32_t k = 0; k < 8; ++k) sum = fmaf(x[k], x[k], sum), x[k] *= scale * weight[k];
        return Pairs<DTYPE>::pack8(x);
    }

    // Vectors base + 32 k + lane, for k < BATCH: loads first, so that they are all in flight.
    template <bool NORM>
    __device__ __forceinline__ void batch(uint32_t base) {
        uint4 raw[BATCH], raw_norm[BATCH];
#pragma unroll
        for (uint32_t k = 0; k < BATCH; ++k) {
            const uint32_t i = base + k * 32;
            if (i >= count) break;
            raw[k] = load(p.x, token(i), col(i));
            if (NORM) raw_norm[k] = load(p.norm, 0, col(i));
        }
#pragma unroll
        for (uint32_t k = 0; k < BATCH; ++k) {
            const uint32_t i = base + k * 32;
            if (i >= count) break;
            if (NORM) {
                float weight[8];
                Pairs<DTYPE>::unpack8(raw_norm[k], weight);
                raw[k] = normalise(i, raw[k], weight, squares[k % TILES]);
            }
            shared.x[i] = raw[k];
        }
    }

    template <bool NORM>
    __device__ __forceinline__ void copy() {
        for (uint32_t base = work.lane; base < count; base += 32 * BATCH) batch<NORM>(base);
    }

    // Normalises what the lane has copied, with a weight of any type.
    __device__ __forceinline__ void normalise_copy() {
        const bool aligned = takes_8(p.norm);
#pragma unroll 1
        for (uint32_t base = work.lane; base < count; base += 32 * TILES) {
#pragma unroll
            for (uint32_t tile = 0; tile < TILES; ++tile) {
                const uint32_t i = base + tile * 32;
                if (i >= count) break;
                float weight[8];
                load8(row_of(p.norm, 0), col(i), p.cols, aligned, weight);
                shared.x[i] = normalise(i, shared.x[i], weight, squares[tile]);
            }
        }
    }

    __device__ __forceinline__ void run() {
        if (!present(p.norm)) {
            copy<false>();
        } else if (p.norm.dtype == DTYPE && takes_8(p.norm)) {
            copy<true>();
            publish_squares();
        } else {
            copy<false>();
            normalise_copy();
            publish_squares();
        }
        __syncwarp();
    }

    // Adds up the lanes of each token.
    __device__ __forceinline__ void publish_squares() {
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            float sum = squares[tile];
#pragma unroll
            for (uint32_t offset = 1; offset < 32; offset *= 2) {
                const float other = __shfl_xor_sync(ALL_LANES, sum, offset);
                // Four lanes next to each other hold one token, and so do those 4 * tokens apart.
                if (offset < 4 || offset >= 4 * tokens) sum += other;
            }
            const uint32_t token = tile * 8 + work.lane / 4;
            if (work.lane % 4 == 0 && token < tokens) {
                shared.squares[work.warp * 8 * TILES + token] = sum;
            }
        }
    }
};

// Has sums computed before the volatile statements that follow.
__device__ __forceinline__ void keep_in_front(float (&sums)[4]) {
    asm volatile("" : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])::"memory");
}

// One warp's slice of one unit: partial sums of 16 rows and 8 * TILES tokens.
template <uint32_t DTYPE, int TILES>
__device__ __forceinline__ void multiply(Ring& ring, const Work& work, const uint4* x,
                                         uint32_t tokens, float (&acc)[TILES][4]) {
    using Element = typename Pairs<DTYPE>::Element;
    const uint32_t t = work.lane % 4, g = work.lane / 4 & (tokens - 1);
    for (uint32_t group = 0; group < work.num_groups; ++group) {
        const uint4* halves = x + group * 8 * tokens + g * 4 + t;
        ring.wait();
        uint32_t a[4][4];
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) ring.fragment(i, work.lane, a[i]);
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            const uint4 low = halves[tile * 32], high = halves[4 * tokens + tile * 32];
            mma<Element>(acc[tile], a[0], low.x, low.y);
            mma<Element>(acc[tile], a[1], low.z, low.w);
            mma<Element>(acc[tile], a[2], high.x, high.y);
            mma<Element>(acc[tile], a[3], high.z, high.w);
            keep_in_front(acc[tile]);
        }
        ring.release(work.lane);
    }
}

// Adds partial sums and finishes them. An item is a token and a g: the products of rows g and g + 8
// of a unit.
template <uint32_t DTYPE, int TILES>
struct Reducer {
    const MatvecPackedParams& p;
    const Work& work;
    const Shared<TILES>& shared;

    __device__ __forceinline__ uint32_t num_items() const { return 8 * p.product.num_tokens; }

    __device__ __forceinline__ Pair pair(uint32_t unit, uint32_t item) const {
        const uint32_t g = item % 8, gate_rows = p.product.gate_rows;
        return Pair{item / 8,
                    {packed_matrix_row(unit, g, gate_rows),
                     packed_matrix_row(unit, g + 8, gate_rows)}};
    }

    __device__ __forceinline__ float2 block_sum(const float* partial, uint32_t item) const {
        const uint32_t token = item / 8, lane = item % 8 * 4 + token % 8 / 2;
        const float* from = partial + (token / 8 * 32 + lane) * 4 + token % 2;
        float2 sum = make_float2(0.0f, 0.0f);
        for (uint32_t warp = 0; warp < work.num_warps; ++warp, from += TILES * 128) {
            sum.x += from[0], sum.y += from[2];
        }
        return sum;
    }

    __device__ __forceinline__ float block_squares(uint32_t token) const {
        float sum = 0.0f;
        for (uint32_t warp = 0; warp < work.num_warps; ++warp) {
            sum += shared.squares[warp * 8 * TILES + token];
        }
        return sum;
    }

    // Whether products are still to be scaled.
    __device__ __forceinline__ bool scales_products() const {
        return DTYPE != DTYPE_F16 && present(p.product.norm);
    }

    // Finishes an item of the block's own.
    __device__ __forceinline__ void finish_block(const float* partial, uint32_t unit,
                                                 uint32_t item, float2 residual) const {
        float2 y = block_sum(partial, item);
        const Pair at = pair(unit, item);
        if (scales_products()) {
            const float scale = norm_scale(p.product, block_squares(at.token));
            y.x *= scale, y.y *= scale;
        }
        finish(p.product, at, y, residual);
    }

    // Keeps the block's part of an item until the cluster meets.
    __device__ __forceinline__ void keep(const float* partial, uint32_t i, uint32_t item) const {
        const uint32_t at = i % MAX_KEPT_UNITS * num_items() + item;
        reinterpret_cast<float2*>(shared.kept)[at] = block_sum(partial, item);
        if (i == 0 && scales_products() && item % 8 == 0) {
            shared.scales[item / 8] = block_squares(item / 8);
        }
    }

    __device__ __forceinline__ float2 cluster_sum(uint32_t at, uint32_t token) const {
        float2 sum = make_float2(0.0f, 0.0f);
        float squares = 0.0f;
        for (uint32_t rank = 0; rank < p.cluster; ++rank) {
            sum.x += cluster_load(shared.kept + at * 2, rank);
            sum.y += cluster_load(shared.kept + at * 2 + 1, rank);
            if (scales_products()) squares += cluster_load(shared.scales + token, rank);
        }
        if (scales_products()) {
            const float scale = norm_scale(p.product, squares);
            sum.x *= scale, sum.y *= scale;
        }
        return sum;
    }

    // Finishes the units kept since `first`, `count` of them; the blocks take items in turn.
    __device__ __forceinline__ void finish_cluster(uint32_t first, uint32_t count) const {
        cluster_sync();
        const uint32_t stride = blockDim.x * p.cluster;
        for (uint32_t at = work.rank * blockDim.x + threadIdx.x; at < count * num_items();
             at += stride) {
            const uint32_t item = at % num_items();
            const Pair where = pair(work.unit(first + at / num_items()), item);
            const float2 residual = load_residual(p.product, where);
            finish(p.product, where, cluster_sum(at, where.token), residual);
        }
        cluster_sync();
    }
};

// All units of a warp. Two buffers of partial sums need one barrier a unit: who still adds up one
// is not overtaken by more than the other.
template <uint32_t DTYPE, int TILES>
__device__ __forceinline__ void run_units(const MatvecPackedParams& p, const Work& work,
                                          const Shared<TILES>& shared, Ring& ring) {
    const Reducer<DTYPE, TILES> reducer{p, work, shared};
    const uint32_t tokens = padded_tokens(p.product.num_tokens);
    for (uint32_t i = 0; i < work.num_units; ++i) {
        // Another warp each time, so that none falls behind.
        const uint32_t turned = i % work.num_warps * 32;
        const uint32_t first_item = (threadIdx.x + turned) % blockDim.x;
        float2 residual = make_float2(0.0f, 0.0f);
        if (p.cluster == 1 && first_item < reducer.num_items()) {
            residual = load_residual(p.product, reducer.pair(work.unit(i), first_item));
        }
        float acc[TILES][4] = {};
        multiply<DTYPE, TILES>(ring, work, shared.x, tokens, acc);
        float* partial = shared.partial + i % 2 * work.num_warps * TILES * 128;
        float4* own = reinterpret_cast<float4*>(partial) + work.warp * TILES * 32 + work.lane;
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; ++tile) {
            own[tile * 32] =
                make_float4(acc[tile][0], acc[tile][1], acc[tile][2], acc[tile][3]);
        }
        __syncthreads();
        if (first_item < reducer.num_items()) {
            if (p.cluster == 1) {
                reducer.finish_block(partial, work.unit(i), first_item, residual);
            } else {
                reducer.keep(partial, i, first_item);
            }
        }
        const uint32_t kept = i % MAX_KEPT_UNITS + 1;
        if (p.cluster > 1 && (kept == MAX_KEPT_UNITS || i + 1 == work.num_units)) {
            reducer.finish_cluster(i + 1 - kept, kept);
        }
    }
}

template <uint32_t DTYPE, int TILES>
__device__ __forceinline__ void matvec_packed(const MatvecPackedParams& p) {
    extern __shared__ __align__(128) char base[];
    pdl_launch_dependents();
    const Work work(p);
    const Shared<TILES> shared(base, p, work);
    Ring ring(p, work, shared.ring, shared.barriers);
    ring.fill(work.lane);
    pdl_wait();
    if (DTYPE == DTYPE_F16 && present(p.product.norm)) {
        measure_rows(p.product, work, shared.scales);
    }
    Stager<DTYPE, TILES>(p.product, work, shared).run();
    run_units<DTYPE, TILES>(p, work, shared, ring);
}

}  // namespace

// Up to 8 tokens. At least 8 * num_tokens threads, at most 512.
extern "C" __global__ void __launch_bounds__(512, 1)
    matvec_packed_bf16_n8(const __grid_constant__ MatvecPackedParams p) {
    matvec_packed<DTYPE_BF16, 1>(p);
}

// 9 to 16 tokens.
extern "C" __global__ void __launch_bounds__(512, 1)
    matvec_packed_bf16_n16(const __grid_constant__ MatvecPackedParams p) {
    matvec_packed<DTYPE_BF16, 2>(p);
}

// Up to 8 tokens.
extern "C" __global__ void __launch_bounds__(512, 1)
    matvec_packed_f16_n8(const __grid_constant__ MatvecPackedParams p) {
    matvec_packed<DTYPE_F16, 1>(p);
}

// 9 to 16 tokens.
extern "C" __global__ void __launch_bounds__(512, 1)
    matvec_packed_f16_n16(const __grid_constant__ MatvecPackedParams p) {
    matvec_packed<DTYPE_F16, 2>(p);
}

#endif  // HAS_BULK_COPIES
