// Products of many rows with a packed weight, on Hopper.
//
// The weight is the A operand and its rows are M; the tokens are N. A ring of slots in shared
// memory, 64 columns each, is filled by one warp with the weight (bulk copies of fragments that are
// used as they are) and by three with x, and emptied by eight warps that multiply. The warp
// that fetches the weight starts before the kernel in front has ended. A cluster cuts the columns:
// its blocks add up their sums, in the order of their ranks, through each other's shared memory.
#pragma once

#include "cluster.cuh"
#include "gemm.cuh"
#include "mma.cuh"
#include "packed.cuh"
#include "pdl.cuh"

constexpr uint32_t GEMM_WARPS = 8;  // that multiply
constexpr uint32_t GEMM_PACKED_THREADS = (GEMM_WARPS + 4) * 32;
constexpr uint32_t X_WARPS = 3;  // that fetch x; one more fetches the weight
constexpr uint32_t X_STEP = X_WARPS * 4;  // tokens that they copy at a time
constexpr uint32_t TOKEN_TILES_TOGETHER = 8;  // token tiles that share a weight from the cache
constexpr uint32_t SLOT_COLS = PACKED_GROUP_COLS;
constexpr uint32_t SLOT_ROW_BYTES = 2 * SLOT_COLS;  // of a token

// Moves registers from the warps that fetch to those that multiply, four warps at a time.
template <int COUNT>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
__device__ __forceinline__ void leave_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

__device__ __forceinline__ void store_shared16(uint32_t to, const float (&c)[4]) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(c[0]), "f"(c[1]),
                 "f"(c[2]), "f"(c[3])
                 : "memory");
}

// How the eight warps share a tile: `TILES` times 8 tokens a warp, `WARPS_N` warps along the
// tokens, and up to `MAX_UNITS` units of 16 rows a warp.
template <int TILES, int WARPS_N, int MAX_UNITS>
struct Shape {
    static constexpr uint32_t WARPS_M = GEMM_WARPS / WARPS_N;
    static constexpr uint32_t TOKENS = 8 * TILES * WARPS_N;
    static constexpr uint32_t SCRATCH_FLOATS = Finish<MAX_UNITS>::SCRATCH_FLOATS;
    static constexpr uint32_t SCRATCH_BYTES = GEMM_WARPS * SCRATCH_FLOATS * 4;
};

// One tile of the output.
struct Chunk {
    uint32_t token;  // first token
    uint32_t unit;   // first unit of 16 rows
    uint32_t units;
};

// Chunk `index`: token tiles run fastest, as many as find the weight in the cache.
__device__ __forceinline__ Chunk chunk_at(const GemmPackedParams& p, uint32_t index,
                                          uint32_t tile_tokens) {
    const uint32_t group = index / (p.num_row_chunks * TOKEN_TILES_TOGETHER);
    const uint32_t first = group * TOKEN_TILES_TOGETHER;
    const uint32_t together = min(TOKEN_TILES_TOGETHER, p.num_token_tiles - first);
    const uint32_t inside = index - first * p.num_row_chunks;
    const uint32_t row = inside / together;
    const uint32_t num_short = row > p.num_tall ? row - p.num_tall : 0;
    const uint32_t token = (first + inside % together) * tile_tokens;
    const uint32_t units = row < p.num_tall ? p.height : p.height - p.step;
    return Chunk{token, row * p.height - num_short * p.step, units};
}

// The place of one warp's next slot in the ring.
struct Cursor {
    uint32_t slot = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance(uint32_t num_stages) {
        if (++slot < num_stages) return;
        slot = 0, parity ^= 1;
    }
};

// The ring, as addresses of shared memory, and this block's part of the columns.
template <typename S>
struct Ring {
    const GemmPackedParams& p;
    uint32_t weight_bytes, slot_bytes;  // the weight's part of a slot, which x follows
    uint32_t slots, full, empty;        // slots, and barriers: one of each per slot
    uint32_t first_group, num_groups;   // groups of 64 columns

    __device__ __forceinline__ Ring(const GemmPackedParams& p, unsigned char* shared) : p(p) {
        weight_bytes = p.height * PACKED_GROUP_BYTES;
        slot_bytes = weight_bytes + S::TOKENS * SLOT_ROW_BYTES;
        slots = shared_address(shared) + S::SCRATCH_BYTES;
        full = slots + p.num_stages * slot_bytes;
        empty = full + p.num_stages * 8;
        const uint32_t groups = p.product.cols / SLOT_COLS, size = cluster_size();
        first_group = groups * cluster_rank() / size;
        num_groups = groups * (cluster_rank() + 1) / size - first_group;
    }

    __device__ __forceinline__ void init() const {
        clear_missing();
        if (threadIdx.x == 0) {
            for (uint32_t i = 0; i < p.num_stages; ++i) {
                mbarrier_init(full + i * 8, 1 + X_WARPS * 32);
                mbarrier_init(empty + i * 8, GEMM_WARPS);
            }
            mbarrier_init_fence();
        }
        __syncthreads();
    }

    __device__ __forceinline__ uint32_t slot(Cursor at) const {
        return slots + at.slot * slot_bytes;
    }
    __device__ __forceinline__ void wait_full(Cursor at) const {
        mbarrier_wait(full + at.slot * 8, at.parity);
    }
    __device__ __forceinline__ void wait_empty(Cursor at) const {
        mbarrier_wait(empty + at.slot * 8, at.parity ^ 1);
    }
    __device__ __forceinline__ uint32_t num_chunks() const {
        return p.num_row_chunks * p.num_token_tiles;
    }
    __device__ __forceinline__ uint32_t first_chunk() const {
        return blockIdx.x / cluster_size();
    }
    __device__ __forceinline__ uint32_t chunk_step() const { return gridDim.x / cluster_size(); }

    // One thread: copies the weight. Past the last unit it copies that one again, for sums that
    // nobody stores.
    __device__ __forceinline__ void fetch_weight() const {
        const uint64_t policy = cache_policy(p.read_once != 0);
        const uint32_t groups = p.product.cols / SLOT_COLS;
        const uint32_t last = p.product.rows / PACKED_UNIT_ROWS - 1;
        Cursor at;
        for (uint32_t index = first_chunk(); index < num_chunks(); index += chunk_step()) {
            const Chunk chunk = chunk_at(p, index, S::TOKENS);
            for (uint32_t group = first_group; group < first_group + num_groups; ++group) {
                wait_empty(at);
                bulk_copy_fence();
                const uint32_t barrier = full + at.slot * 8;
                mbarrier_arrive_expect(barrier, chunk.units * PACKED_GROUP_BYTES);
                for (uint32_t i = 0; i < chunk.units; ++i) {
                    const uint64_t tile = static_cast<uint64_t>(min(chunk.unit + i, last)) * groups;
                    const uint64_t from = p.product.weight + (tile + group) * PACKED_GROUP_BYTES;
                    copy_bulk(slot(at) + i * PACKED_GROUP_BYTES, from, PACKED_GROUP_BYTES, barrier,
                              policy);
                }
                at.advance(p.num_stages);
            }
        }
    }

    // `X_WARPS` warps: copy x. The 16-byte pieces of odd tokens are swapped in pairs, so that the
    // multiplying warps read without bank conflicts.
    __device__ __forceinline__ void fetch_x() const {
        const uint32_t lane = threadIdx.x % 32, piece = lane % 8;
        const uint32_t row = (threadIdx.x / 32 - GEMM_WARPS - 1) * 4 + lane / 8;
        const uint64_t row_bytes = static_cast<uint64_t>(p.product.x.stride) * 2;
        const uint32_t to = weight_bytes + row * SLOT_ROW_BYTES + (piece ^ (row & 1)) * 16;
        Cursor at;
        for (uint32_t index = first_chunk(); index < num_chunks(); index += chunk_step()) {
            const uint32_t token = chunk_at(p, index, S::TOKENS).token;
            const uint32_t rows = min(S::TOKENS, p.product.num_tokens - token);
            const uint32_t mine = rows > row ? (rows - row - 1) / X_STEP + 1 : 0;
            const uint64_t column = (first_group * SLOT_COLS + piece * 8) * 2;
            uint64_t from = p.product.x.address + (token + row) * row_bytes + column;
            for (uint32_t i = 0; i < num_groups; ++i, from += SLOT_ROW_BYTES) {
                wait_empty(at);
                copy_tokens(slot(at) + to, from, X_STEP * row_bytes, mine);
                mbarrier_arrive_copies(full + at.slot * 8);
                at.advance(p.num_stages);
            }
        }
    }

    // This lane's 16 bytes of `count` tokens, `step` bytes apart.
    __device__ __forceinline__ static void copy_tokens(uint32_t to, uint64_t from, uint64_t step,
                                                       uint32_t count) {
#pragma unroll 8
        for (uint32_t i = 0; i < count; ++i) {
            copy_async16(to, global_pointer<char>(from));
            to += X_STEP * SLOT_ROW_BYTES, from += step;
        }
    }

    // Zeros for the tokens that the last tile lacks: nothing else writes their places before they
    // are read. All threads call it, and a barrier follows.
    __device__ __forceinline__ void clear_missing() const {
        const uint32_t first = p.product.num_tokens % S::TOKENS;
        if (first == 0) return;
        const uint32_t pieces = (S::TOKENS - first) * (SLOT_ROW_BYTES / 16);
        for (uint32_t i = threadIdx.x; i < pieces * p.num_stages; i += GEMM_PACKED_THREADS) {
            const uint32_t row = slots + i / pieces * slot_bytes + weight_bytes;
            const float zeros[4] = {};
            store_shared16(row + first * SLOT_ROW_BYTES + i % pieces * 16, zeros);
        }
    }
};

// 16 bytes of the shared memory of block `rank` of the cluster, at this block's `address`.
__device__ __forceinline__ float4 cluster_load16(uint32_t address, uint32_t rank) {
    uint32_t remote;
    float4 value;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "r"(remote)
                 : "memory");
    return value;
}

// One warp's part of a tile: `UNITS` times 16 rows by `TILES` times 8 tokens.
template <typename T, typename S, int UNITS, int TILES>
struct WarpTile {
    float sums[TILES][UNITS][4];
    uint32_t a[2][UNITS][4];  // the weight of this 16 columns and of the next
    uint32_t b[TILES][4];     // x of 32 columns
    uint32_t a_offset, b_offset;  // in a slot

    // Of the slot's units from `first` on.
    __device__ __forceinline__ WarpTile(uint32_t first, uint32_t weight_bytes) {
        const uint32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        const uint32_t warp_n = threadIdx.x / 32 / S::WARPS_M;
        a_offset = first * PACKED_GROUP_BYTES + lane * 16;
        const uint32_t row = warp_n * TILES * 8 + g, piece = (2 * t) ^ (g & 1);
        b_offset = weight_bytes + row * SLOT_ROW_BYTES + piece * 16;
    }

    __device__ __forceinline__ void load_a(uint32_t slot, int tile) {
#pragma unroll
        for (int i = 0; i < UNITS; ++i) {
            const uint32_t offset = i * PACKED_GROUP_BYTES + tile * PACKED_TILE_BYTES;
            load_shared16(a[tile % 2][i], slot + a_offset + offset);
        }
    }

    __device__ __forceinline__ void load_b(uint32_t slot, int half, int j) {
        // The second half's piece is the neighbour in the pair of pieces.
        load_shared16(b[j], slot + (b_offset ^ half * 16) + j * 8 * SLOT_ROW_BYTES);
    }

    // Adds the product of all of this block's columns. What a step needs is loaded during the step
    // in front, across slots too.
    __device__ __forceinline__ void multiply(const Ring<S>& ring, Cursor& at) {
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
            for (int i = 0; i < UNITS * 4; ++i) sums[j][i / 4][i % 4] = 0.0f;
        }
        ring.wait_full(at);
        load_a(ring.slot(at), 0);
#pragma unroll
        for (int j = 0; j < TILES; ++j) load_b(ring.slot(at), 0, j);
        for (uint32_t left = ring.num_groups; left > 0; --left) {
            const uint32_t slot = ring.slot(at), release = ring.empty + at.slot * 8;
            load_a(slot, 1);
            step(0, [](int) {});
            load_a(slot, 2);
            step(1, [&](int j) { load_b(slot, 1, j); });
            load_a(slot, 3);
            step(2, [](int) {});
            at.advance(ring.p.num_stages);
            const uint32_t next = ring.slot(at);
            const bool more = left > 1;
            if (more) {
                ring.wait_full(at);
                load_a(next, 0);
            }
            step(3, [&](int j) {
                if (more) load_b(next, 0, j);
            });
            __syncwarp();
            if (threadIdx.x % 32 == 0) mbarrier_arrive(release);
        }
    }

    // Multiplies 16 columns; `refill(j)` follows the last use of b[j].
    template <typename F>
    __device__ __forceinline__ void step(int tile, F refill) {
        const int low = tile % 2 * 2;
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
            for (int i = 0; i < UNITS; ++i) {
                mma<T>(sums[j][i], a[tile % 2][i], b[j][low], b[j][low + 1]);
            }
            refill(j);
        }
    }

    // Where this warp's sums of 8 tokens and a unit lie when the ring holds sums.
    __device__ __forceinline__ static uint32_t place(const Ring<S>& ring, uint32_t j, uint32_t i) {
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const uint32_t most = (ring.p.height + S::WARPS_M - 1) / S::WARPS_M;  // units of a warp
        return ring.slots + (((warp * TILES + j) * most + i) * 32 + lane) * 16;
    }

    // Shows the sums to the cluster.
    __device__ __forceinline__ void publish(const Ring<S>& ring) const {
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
            for (int i = 0; i < UNITS; ++i) store_shared16(place(ring, j, i), sums[j][i]);
        }
    }

    // The cluster's sums of 8 tokens, added up in the order of the ranks.
    __device__ __forceinline__ static void collect(const Ring<S>& ring, uint32_t j,
                                                   float (&out)[UNITS][4]) {
#pragma unroll
        for (int i = 0; i < UNITS * 4; ++i) out[i / 4][i % 4] = 0.0f;
#pragma unroll 1
        for (uint32_t rank = 0; rank < cluster_size(); ++rank) {
            float4 part[UNITS];
#pragma unroll
            for (int i = 0; i < UNITS; ++i) part[i] = cluster_load16(place(ring, j, i), rank);
#pragma unroll
            for (int i = 0; i < UNITS; ++i) {
                out[i][0] += part[i].x, out[i][1] += part[i].y;
                out[i][2] += part[i].z, out[i][3] += part[i].w;
            }
        }
    }
};

// The barriers of `multiply_chunk`, for warps that have nothing to add up.
__device__ __forceinline__ void keep_up() {
    __syncthreads();
    cluster_sync();
    cluster_sync();
}

// What a warp that multiplies `UNITS` units, `first` and on, does with a chunk. In a cluster it
// shows its sums to the others, in the ring, which has been emptied for good, and finishes its
// share of the tokens.
template <typename T, typename S, int UNITS, int TILES>
__device__ __forceinline__ void multiply_chunk(const Ring<S>& ring, Cursor& at, const Chunk& chunk,
                                               uint32_t first, float* scratch) {
    WarpTile<T, S, UNITS, TILES> tile(first, ring.weight_bytes);
    tile.multiply(ring, at);
    const uint32_t token = chunk.token + threadIdx.x / 32 / S::WARPS_M * TILES * 8;
    const Finish<UNITS> finish(ring.p.product, scratch, chunk.unit + first);
    const bool alone = cluster_size() == 1;
    if (!alone) {
        __syncthreads();
        tile.publish(ring);
        cluster_sync();
    }
    const uint32_t share = (TILES + cluster_size() - 1) / cluster_size();
    const uint32_t begin = cluster_rank() * share, end = min(begin + share, TILES);
#pragma unroll 1
    for (uint32_t j = begin; j < end; ++j) {
        float c[UNITS][4];
        if (alone) {
            select(tile.sums, j, c);
        } else {
            tile.collect(ring, j, c);
        }
        finish.store(c, token + j * 8);
    }
    if (!alone) cluster_sync();
}

// What a warp for which a chunk has no unit does with it.
template <typename S>
__device__ __forceinline__ void skip_chunk(const Ring<S>& ring, Cursor& at) {
    for (uint32_t i = 0; i < ring.num_groups; ++i) {
        ring.wait_full(at);
        if (threadIdx.x % 32 == 0) mbarrier_arrive(ring.empty + at.slot * 8);
        at.advance(ring.p.num_stages);
    }
    if (cluster_size() > 1) keep_up();
}

template <typename T, int TILES, int WARPS_N, int MAX_UNITS>
__device__ __forceinline__ void multiply_chunks(const Ring<Shape<TILES, WARPS_N, MAX_UNITS>>& ring,
                                                float* scratch) {
    using S = Shape<TILES, WARPS_N, MAX_UNITS>;
    const uint32_t warp_m = threadIdx.x / 32 % S::WARPS_M;
    Cursor at;
    for (uint32_t i = ring.first_chunk(); i < ring.num_chunks(); i += ring.chunk_step()) {
        const Chunk chunk = chunk_at(ring.p, i, S::TOKENS);
        const uint32_t first = chunk.units * warp_m / S::WARPS_M;
        const uint32_t units = chunk.units * (warp_m + 1) / S::WARPS_M - first;
        if (units == 0) skip_chunk(ring, at);
        if (units == 1) multiply_chunk<T, S, 1, TILES>(ring, at, chunk, first, scratch);
        if (units == 2) multiply_chunk<T, S, 2, TILES>(ring, at, chunk, first, scratch);
        if constexpr (MAX_UNITS == 4) {
            if (units == 3) multiply_chunk<T, S, 3, TILES>(ring, at, chunk, first, scratch);
            if (units == 4) multiply_chunk<T, S, 4, TILES>(ring, at, chunk, first, scratch);
        }
    }
}

// `out = epilogue(x * weight^T + bias)`, of 16-bit x and packed weight. With a cluster there is one
// chunk a cluster.
template <typename T, int TILES, int WARPS_N, int MAX_UNITS>
__device__ __forceinline__ void gemm_packed(const GemmPackedParams& p) {
    using S = Shape<TILES, WARPS_N, MAX_UNITS>;
    extern __shared__ __align__(128) unsigned char shared[];
    const Ring<S> ring(p, shared);
    ring.init();
    const uint32_t warp = threadIdx.x / 32;
    if (warp < GEMM_WARPS) {
        take_registers<232>();
        pdl_wait();
        float* scratch = reinterpret_cast<float*>(shared) + warp * S::SCRATCH_FLOATS;
        multiply_chunks<T, TILES, WARPS_N, MAX_UNITS>(ring, scratch);
    } else {
        leave_registers<40>();
        if (warp == GEMM_WARPS) {
            if (threadIdx.x % 32 == 0) ring.fetch_weight();
            __syncwarp();
        } else {
            pdl_wait();
            ring.fetch_x();
            pdl_launch_dependents();
        }
        if (cluster_size() > 1) keep_up();
    }
}

// An entry point.
#define GEMM_PACKED(NAME, T, TILES, WARPS_N, MAX_UNITS)                  \
    extern "C" __global__ void __launch_bounds__(GEMM_PACKED_THREADS, 1) \
        NAME(const __grid_constant__ GemmPackedParams p) {               \
        gemm_packed<T, TILES, WARPS_N, MAX_UNITS>(p);                    \
    }
