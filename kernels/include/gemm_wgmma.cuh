// Products of many rows with a packed weight, on Hopper.
//
// The weight is the A operand, from registers, and its rows are M; the tokens are N. A ring of
// slots in shared memory, 64 columns each, is filled by three threads with bulk copies, two of the
// weight and one of x, and emptied by up to four warpgroups that multiply 64 rows each. The threads
// that fetch the weight start before the kernel in front has ended. A block's rows need not fill
// its warpgroups: where reading the weight takes longest, each block gets the same share of it.
//
// x lies arranged: a group of 64 columns after the other, in it the tokens, 128 bytes each. Tensor
// cores take the columns in the order that the packed weight has them (see packed.cuh): columns
// 16t + 2i and 16t + 2i + 1 of the group, t < 4, are the 16-byte piece i of the token. And they
// expect piece i of token n in the place of piece i ^ n % 8.
//
// A cluster cuts the columns, and adds up its blocks' sums in the order of their ranks through each
// other's shared memory.
#pragma once

#include "cluster.cuh"
#include "gemm_wgmma_finish.cuh"
#include "packed.cuh"
#include "params/gemm_wgmma.cuh"
#include "pdl.cuh"
#include "wgmma.cuh"

constexpr uint32_t FETCHERS = 2;  // threads that fetch the weight
constexpr uint32_t FETCH_WARPS = 4;  // of which three have such a thread, or one that fetches x
constexpr uint32_t TOGETHER = 8;  // token tiles that share a weight from the cache
constexpr uint32_t TOKEN_BYTES = 2 * PACKED_GROUP_COLS;  // of a token in a slot

// Tiles of 8 * TILES tokens, by up to 16 rows for each warp that multiplies.
template <int TILES>
struct WgmmaShape {
    static constexpr uint32_t TOKENS = 8 * TILES;
    static constexpr uint32_t X_BYTES = TOKENS * TOKEN_BYTES;
    static constexpr uint32_t MAX_GROUPS = TILES <= 16 ? 4 : 2;  // warpgroups that multiply
    static constexpr uint32_t MAX_THREADS = 128 * MAX_GROUPS + 32 * FETCH_WARPS;
    // Registers of a thread that multiplies and of one that fetches.
    static constexpr int MANY = TILES <= 16 ? 112 : 232, FEW = TILES <= 16 ? 32 : 40;
    // Whether they hold the next slot's weight too; if not, other warpgroups multiply meanwhile.
    static constexpr bool AHEAD = TILES != 12 && TILES != 16;
};

// Warps that multiply.
__device__ __forceinline__ uint32_t wgmma_warps() { return blockDim.x / 32 - FETCH_WARPS; }

// Moves registers from the warps that fetch to those that multiply, four warps at a time.
template <int COUNT>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
__device__ __forceinline__ void leave_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// `address` of shared memory as block `rank` of the cluster has it.
__device__ __forceinline__ uint32_t map_shared(uint32_t address, uint32_t rank) {
    uint32_t remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

// Arrives at the cluster's barrier after reading the shared memory of others. What this thread
// wrote elsewhere need not be visible to those that wait.
__device__ __forceinline__ void leave_cluster() {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

__device__ __forceinline__ void store_shared16(uint32_t to, const float (&c)[4]) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(c[0]), "f"(c[1]),
                 "f"(c[2]), "f"(c[3])
                 : "memory");
}

__device__ __forceinline__ void load_cluster16(float (&out)[4], uint32_t from) {
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(out[0]), "=f"(out[1]), "=f"(out[2]), "=f"(out[3])
                 : "r"(from)
                 : "memory");
}

// The place of a next slot in the ring.
struct Cursor {
    uint32_t slot = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance(uint32_t num_stages) {
        if (++slot < num_stages) return;
        slot = 0, parity ^= 1;
    }
};

// One tile of the output.
struct WgmmaChunk {
    uint32_t token;  // first token
    uint32_t unit;   // first unit of 16 rows
    uint32_t units;
};

// The ring, as addresses of shared memory, and this block's part of the work.
template <int TILES>
struct WgmmaRing {
    using S = WgmmaShape<TILES>;
    const GemmWgmmaParams& p;
    uint32_t slot_bytes;
    uint32_t slots, full, empty;       // slots, and barriers: one of each per slot
    uint32_t first_group, num_groups;  // groups of 64 columns

    __device__ __forceinline__ WgmmaRing(const GemmWgmmaParams& p, unsigned char* shared) : p(p) {
        slot_bytes = S::X_BYTES + p.height * PACKED_GROUP_BYTES;
        slots = shared_address(shared);
        full = slots + p.num_stages * slot_bytes;
        empty = full + p.num_stages * 8;
        const uint32_t groups = p.product.cols / PACKED_GROUP_COLS;
        const uint32_t size = cluster_size(), rank = cluster_rank();
        first_group = groups * rank / size;
        num_groups = groups * (rank + 1) / size - first_group;
    }

    __device__ __forceinline__ void init() const {
        if (threadIdx.x == 0) {
            for (uint32_t i = 0; i < p.num_stages; ++i) {
                mbarrier_init(full + i * 8, FETCHERS + 1);
                mbarrier_init(empty + i * 8, wgmma_warps());
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

    // A warp is done with a slot, and says so to whoever fills it.
    __device__ __forceinline__ void release(uint32_t slot) const {
        __syncwarp();
        if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + slot * 8);
    }

    // This block's chunks: token tiles run fastest, as many as find the weight in the cache.
    template <typename F>
    __device__ __forceinline__ void for_each_chunk(F f) const {
        const uint32_t rows = p.num_row_chunks, num_chunks = rows * p.num_token_tiles;
        const uint32_t step = gridDim.x / cluster_size();
        for (uint32_t i = blockIdx.x / cluster_size(); i < num_chunks; i += step) {
            const uint32_t first = i / (rows * TOGETHER) * TOGETHER;
            const uint32_t together = min(TOGETHER, p.num_token_tiles - first);
            const uint32_t inside = i - first * rows, row = inside / together;
            const uint32_t token = (first + inside % together) * S::TOKENS;
            const uint32_t num_short = row > p.num_tall ? row - p.num_tall : 0;
            const uint32_t units = p.height - (row < p.num_tall ? 0 : 1);
            f(WgmmaChunk{token, row * p.height - num_short, units});
        }
    }

    // One thread for each of `FETCHERS` shares: copies the weight. No proxy fence comes before a
    // slot is filled again: what was read of it has been multiplied, so it has arrived.
    __device__ __forceinline__ void fetch_weight(uint32_t share) const {
        const uint64_t policy = cache_policy(p.num_token_tiles == 1);
        const uint64_t unit_bytes =
            uint64_t(p.product.cols / PACKED_GROUP_COLS) * PACKED_GROUP_BYTES;
        Cursor at;
        for_each_chunk([&](WgmmaChunk chunk) {
            const uint32_t begin = chunk.units * share / FETCHERS;
            const uint32_t units = chunk.units * (share + 1) / FETCHERS - begin;
            uint64_t group = p.product.weight + (chunk.unit + begin) * unit_bytes +
                             first_group * PACKED_GROUP_BYTES;
            for (uint32_t left = num_groups; left > 0; --left, group += PACKED_GROUP_BYTES) {
                wait_empty(at);
                const uint32_t barrier = full + at.slot * 8;
                uint32_t to = slot(at) + S::X_BYTES + begin * PACKED_GROUP_BYTES;
                mbarrier_arrive_expect(barrier, units * PACKED_GROUP_BYTES);
                uint64_t from = group;
#pragma unroll 4
                for (uint32_t i = 0; i < units; ++i) {
                    copy_bulk(to, from, PACKED_GROUP_BYTES, barrier, policy);
                    to += PACKED_GROUP_BYTES, from += unit_bytes;
                }
                at.advance(p.num_stages);
            }
        });
    }

    // One thread: copies x.
    __device__ __forceinline__ void fetch_x() const {
        const uint64_t policy = cache_policy(false);
        const uint64_t group_bytes = uint64_t(p.product.x.stride) * TOKEN_BYTES;
        Cursor at;
        for_each_chunk([&](WgmmaChunk chunk) {
            uint64_t from = p.product.x.address + first_group * group_bytes;
            from += uint64_t(chunk.token) * TOKEN_BYTES;
            for (uint32_t i = 0; i < num_groups; ++i, from += group_bytes) {
                wait_empty(at);
                const uint32_t barrier = full + at.slot * 8;
                mbarrier_arrive_expect(barrier, S::X_BYTES);
                copy_bulk(slot(at), from, S::X_BYTES, barrier, policy);
                at.advance(p.num_stages);
            }
        });
    }
};

// One warp's part of a chunk: 16 rows by 8 * TILES tokens.
template <typename T, int TILES>
struct WgmmaTile {
    static constexpr uint32_t PART = 4;  // tiles of 8 tokens that are finished together
    // The code of more than four parts would not stay in the cache of instructions.
    static constexpr uint32_t PARTS_UNROLLED = TILES <= 4 * PART ? TILES / PART : 1;

    const WgmmaRing<TILES>& ring;
    float sums[TILES][4];
    uint32_t a_offset;  // in a slot
    bool there;         // whether there are such rows

    __device__ __forceinline__ WgmmaTile(const WgmmaRing<TILES>& ring, uint32_t units)
        : ring(ring), there(threadIdx.x / 32 < units) {
        a_offset = WgmmaShape<TILES>::X_BYTES + threadIdx.x / 32 * PACKED_GROUP_BYTES +
                   threadIdx.x % 32 * 16;
    }

    // The weight of a slot, for which it waits.
    __device__ __forceinline__ void load_a(uint32_t (&a)[4][4], Cursor at) const {
        ring.wait_full(at);
        if (!there) return;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            load_shared16(a[i], ring.slot(at) + a_offset + i * PACKED_TILE_BYTES);
        }
    }

    // Multiplies a slot, and loads the next one's weight meanwhile.
    __device__ __forceinline__ void step(const uint32_t (&a)[4][4], uint32_t (&next)[4][4],
                                         Cursor& at, bool more) {
        const uint32_t slot = at.slot;
        const uint64_t b = wgmma_swizzled(ring.slot(at));
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < 4; ++i) wgmma<T, TILES>(sums, a[i], b + 2 * i);
        wgmma_commit();
        at.advance(ring.p.num_stages);
        if (more) load_a(next, at);
        wgmma_wait();
        ring.release(slot);
    }

    // The product of all of this block's columns.
    __device__ __forceinline__ void multiply(Cursor& at) {
        uint32_t even[4][4] = {}, odd[4][4] = {};
#pragma unroll
        for (int i = 0; i < TILES * 4; ++i) sums[i / 4][i % 4] = 0.0f;
        if constexpr (!WgmmaShape<TILES>::AHEAD) {
            for (uint32_t left = ring.num_groups; left > 0; --left) {
                load_a(even, at);
                step(even, even, at, false);
            }
        } else {
            load_a(even, at);
            for (uint32_t left = ring.num_groups;; left -= 2) {
                step(even, odd, at, left > 1);
                if (left <= 1) break;
                step(odd, even, at, left > 2);
                if (left <= 2) break;
            }
        }
        hold_sums(sums);
    }

    // Where this warp's sums of 8 tokens lie when the ring holds sums.
    __device__ __forceinline__ uint32_t place(uint32_t j) const {
        return ring.slots + ((threadIdx.x / 32 * TILES + j) * 32 + threadIdx.x % 32) * 16;
    }

    // Shows the sums to the cluster.
    __device__ __forceinline__ void publish() const {
#pragma unroll
        for (int j = 0; j < TILES; ++j) store_shared16(place(j), sums[j]);
    }

    // The cluster's sums of 8 tokens, added up in the order of the ranks.
    __device__ __forceinline__ void collect(uint32_t j, float (&out)[4]) const {
        out[0] = out[1] = out[2] = out[3] = 0.0f;
        for (uint32_t rank = 0; rank < cluster_size(); rank += 2) {
            float parts[2][4];
            load_cluster16(parts[0], map_shared(place(j), rank));
            load_cluster16(parts[1], map_shared(place(j), rank + 1));
#pragma unroll
            for (int i = 0; i < 8; ++i) out[i % 4] += parts[i / 4][i % 4];
        }
    }

    // Finishes its own sums.
    __device__ __forceinline__ void finish(const FinishUnit& rows, uint32_t token) const {
#pragma unroll PARTS_UNROLLED
        for (uint32_t first = 0; first < TILES; first += PART) {
            uint2 old[PART];
            float c[PART][4];
#pragma unroll
            for (uint32_t k = 0; k < PART; ++k) old[k] = rows.load_old(token + 8 * (first + k));
#pragma unroll
            for (uint32_t j = 0; j < TILES * 4; ++j) {
                const uint32_t tile = j / 4, k = tile % PART;
                if (tile - k == first) c[k][j % 4] = sums[tile][j % 4];
            }
#pragma unroll
            for (uint32_t k = 0; k < PART; ++k) {
                rows.store(c[k], token + 8 * (first + k), old[k]);
            }
        }
    }

    // Finishes this block's share of the cluster's sums.
    __device__ __forceinline__ void finish_share(const FinishUnit& rows, uint32_t token) const {
        const uint32_t begin = TILES * cluster_rank() / cluster_size();
        const uint32_t end = TILES * (cluster_rank() + 1) / cluster_size();
        uint2 old = rows.load_old(token + 8 * begin);
#pragma unroll 1
        for (uint32_t j = begin; j < end; ++j) {
            const uint2 mine = old;
            if (j + 1 < end) old = rows.load_old(token + 8 * (j + 1));
            float c[4];
            collect(j, c);
            rows.store(c, token + 8 * j, mine);
        }
    }
};

template <typename T, int TILES>
__device__ __forceinline__ void wgmma_chunks(const WgmmaRing<TILES>& ring) {
    Cursor at;
    ring.for_each_chunk([&](WgmmaChunk chunk) {
        WgmmaTile<T, TILES> tile(ring, chunk.units);
        tile.multiply(at);
        const FinishUnit rows(ring.p.product, chunk.unit + threadIdx.x / 32);
        if (cluster_size() > 1) {
            __syncthreads();
            if (tile.there) tile.publish();
            cluster_sync();
            if (tile.there) tile.finish_share(rows, chunk.token);
        } else if (tile.there) {
            tile.finish(rows, chunk.token);
        }
    });
}

// `out = epilogue(x * weight^T + bias)`, of arranged 16-bit x and packed weight. A cluster that
// cuts the columns has one chunk.
template <typename T, int TILES>
__device__ __forceinline__ void gemm_wgmma(const GemmWgmmaParams& p) {
    extern __shared__ __align__(1024) unsigned char shared[];
    const WgmmaRing<TILES> ring(p, shared);
    ring.init();
    const uint32_t warp = threadIdx.x / 32, multipliers = wgmma_warps();
    if (warp < multipliers) {
        take_registers<WgmmaShape<TILES>::MANY>();
        pdl_wait();
        wgmma_chunks<T, TILES>(ring);
    } else {
        leave_registers<WgmmaShape<TILES>::FEW>();
        const uint32_t fetcher = warp - multipliers;
        if (fetcher < FETCHERS && threadIdx.x % 32 == 0) ring.fetch_weight(fetcher);
        if (fetcher == FETCHERS) {
            pdl_wait();
            if (threadIdx.x % 32 == 0) ring.fetch_x();
            pdl_launch_dependents();
        }
        __syncwarp();
        if (cluster_size() > 1) {
            __syncthreads();
            cluster_sync();
        }
    }
    // Shared memory stays until the cluster is done with it.
    if (cluster_size() > 1) {
        leave_cluster();
        cluster_wait();
    }
}

// An entry point.
#define GEMM_WGMMA(NAME, T, TILES)                                              \
    extern "C" __global__ void __launch_bounds__(WgmmaShape<TILES>::MAX_THREADS, 1) \
        NAME(const __grid_constant__ GemmWgmmaParams p) {                       \
        gemm_wgmma<T, TILES>(p);                                                \
    }
