// The ring of slots that feeds a product by warpgroups, and how its blocks share out the work; see
// gemm_wgmma.cuh.
#pragma once

#include "cluster.cuh"
#include "mma.cuh"
#include "packed.cuh"
#include "params/gemm_wgmma.cuh"

#if HAS_BULK_COPIES

constexpr uint32_t FETCHERS = 2;  // threads that fetch the weight
constexpr uint32_t FETCH_WARPS = 4;  // of which three have such a thread, or one that fetches x
constexpr uint32_t TOGETHER = 8;  // token tiles, or pairs, that find a weight in the cache
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
    // Whether blocks may share, or hand over their sums: of few tokens there is little to share,
    // and not to ask for it makes them faster.
    static constexpr bool MAY_SHARE = TILES >= 16;
};

// Warps that multiply.
__device__ __forceinline__ uint32_t wgmma_warps() { return blockDim.x / 32 - FETCH_WARPS; }

// `address` of shared memory as block `rank` of the cluster has it.
__device__ __forceinline__ uint32_t map_shared(uint32_t address, uint32_t rank) {
    uint32_t remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

// Arrives at the cluster's barrier. What this thread wrote need not be visible to those that wait.
__device__ __forceinline__ void cluster_arrive_relaxed() {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

// Arrives at a barrier in the shared memory of another block. Not `release.cluster`: every arrival
// would wait for all writes to global memory, and what this orders are reads.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// `copy_bulk` to the same place of both blocks of a cluster, and to the barriers of both.
__device__ __forceinline__ void copy_bulk_to_both(uint32_t to, uint64_t from, uint32_t bytes,
                                                  uint32_t barrier, uint64_t policy) {
    const uint16_t both = 3;
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster.L2::cache_hint [%0], [%1], %2, [%3], %4, %5;" ::"r"(to),
        "l"(from), "r"(bytes), "r"(barrier), "h"(both), "l"(policy)
        : "memory");
}

// `x`, of which the compiler does not see where it comes from. It keeps it, rather than work it out
// again for every slot; and what follows from it is worked out where it is used, for each chunk.
__device__ __forceinline__ uint32_t opaque(uint32_t x) {
    asm volatile("" : "+r"(x));
    return x;
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
    uint32_t slots, slot_bytes;
    uint32_t barriers;                 // for each slot that it is full, then that it is empty
    uint32_t first_group, num_groups;  // groups of 64 columns

    __device__ __forceinline__ WgmmaRing(const GemmWgmmaParams& p, unsigned char* shared) : p(p) {
        slots = opaque(shared_address(shared));
        slot_bytes = opaque(S::X_BYTES + p.height * PACKED_GROUP_BYTES);
        barriers = opaque(slots + p.num_stages * slot_bytes);
        const uint32_t groups = p.product.cols / PACKED_GROUP_COLS;
        first_group = 0, num_groups = groups;
        if (cuts()) {
            const uint32_t size = cluster_size(), rank = cluster_rank();
            first_group = groups * rank / size;
            num_groups = groups * (rank + 1) / size - first_group;
        } else if (hands_over()) {
            num_groups = p.first_groups;
        } else if (is_halved()) {
            first_group = p.first_groups, num_groups = groups - first_group;
        }
    }

    // Clusters that have the same columns, and this block's number among them.
    __device__ __forceinline__ uint32_t num_workers() const {
        return gridDim.x / cluster_size() / (is_halved() ? 2 : 1);
    }
    __device__ __forceinline__ uint32_t worker() const {
        const uint32_t worker = blockIdx.x / cluster_size();
        return !is_halved() || hands_over() ? worker : worker - num_workers();
    }

    __device__ __forceinline__ bool shares(uint32_t what) const {
        return S::MAY_SHARE ? p.shares == what : what == SHARES_NOTHING;
    }
    // Whether the cluster cuts the columns.
    __device__ __forceinline__ bool cuts() const {
        return shares(SHARES_NOTHING) && cluster_size() > 1;
    }
    // Whether half of the blocks have the first of the columns, and the others the rest.
    __device__ __forceinline__ bool is_halved() const { return S::MAY_SHARE && p.handover != 0; }
    // Whether this block has the first.
    __device__ __forceinline__ bool hands_over() const {
        return is_halved() && blockIdx.x < gridDim.x / 2;
    }

    __device__ __forceinline__ void init() const {
        const bool alone = shares(SHARES_NOTHING);
        if (threadIdx.x == 0) {
            for (uint32_t i = 0; i < p.num_stages; ++i) {
                mbarrier_init(full(i), FETCHERS + 1);
                mbarrier_init(empty(i), wgmma_warps() * (alone ? 1 : 2));
            }
            mbarrier_init_fence();
        }
        __syncthreads();
        if (!alone) cluster_sync();
    }

    __device__ __forceinline__ uint32_t slot(uint32_t slot) const {
        return slots + slot * slot_bytes;
    }
    // A slot's barriers: for those who wait until it is full or empty.
    __device__ __forceinline__ uint32_t full(uint32_t slot) const {
        return barriers + slot * 8;
    }
    __device__ __forceinline__ uint32_t empty(uint32_t slot) const {
        return full(p.num_stages + slot);
    }
    __device__ __forceinline__ void wait_full(Cursor at) const {
        mbarrier_wait(full(at.slot), at.parity);
    }
    __device__ __forceinline__ void wait_empty(Cursor at) const {
        mbarrier_wait(empty(at.slot), at.parity ^ 1);
    }

    // A warp is done with a slot, and says so to whoever fills it.
    __device__ __forceinline__ void release(uint32_t slot) const {
        __syncwarp();
        const uint32_t lane = threadIdx.x % 32, barrier = empty(slot);
        if (lane == 0) mbarrier_arrive(barrier);
        if (lane == 1 && !shares(SHARES_NOTHING)) {
            mbarrier_arrive_remote(map_shared(barrier, cluster_rank() ^ 1));
        }
    }

    // Chunks, or pairs of them for clusters that share: of rows, and tiles of tokens.
    __device__ __forceinline__ uint32_t high() const {
        return S::MAY_SHARE && opaque(p.shares) == SHARES_X ? 2 : 1;
    }
    __device__ __forceinline__ uint32_t wide() const {
        return S::MAY_SHARE && opaque(p.shares) == SHARES_WEIGHT ? 2 : 1;
    }
    __device__ __forceinline__ uint32_t num_rows() const {
        return (opaque(p.num_row_chunks) + high() - 1) / high();
    }
    __device__ __forceinline__ uint32_t num_tiles() const {
        return (opaque(p.num_token_tiles) + wide() - 1) / wide();
    }

    // This block's i-th chunk; without units where there are no such rows. Token tiles run fastest,
    // as many as find the weight in the cache.
    __device__ __forceinline__ WgmmaChunk chunk(uint32_t i) const {
        const uint32_t first = i / (num_rows() * TOGETHER) * TOGETHER;
        const uint32_t together = min(TOGETHER, num_tiles() - first);
        const uint32_t inside = i - first * num_rows(), rank = cluster_rank();
        const uint32_t row = inside / together * high() + rank % high();
        const uint32_t tile = (first + inside % together) * wide() + rank % wide();

        const uint32_t all = p.product.rows / PACKED_UNIT_ROWS;
        const uint32_t num_short = row > p.num_tall ? row - p.num_tall : 0;
        const uint32_t unit = min(row * p.height - num_short * p.step, all);
        const uint32_t units = p.height - (row < p.num_tall ? 0 : p.step);
        return WgmmaChunk{tile * S::TOKENS, unit, min(units, all - unit)};
    }

    // The numbers of this block's chunks.
    template <typename F>
    __device__ __forceinline__ void for_each_chunk(F f) const {
        for (uint32_t i = worker(); i < num_rows() * num_tiles(); i += num_workers()) f(i);
    }

    // One thread for each of `FETCHERS` shares: copies the weight, or its half of one that the
    // cluster shares: `BOTH`. No proxy fence comes before a slot is filled again: what was read of
    // it has been multiplied, so it has arrived.
    template <bool BOTH>
    __device__ __forceinline__ void fetch_weight(uint32_t share) const {
        const uint64_t policy = cache_policy(num_tiles() == 1);
        const uint32_t unit_bytes = p.product.cols / PACKED_GROUP_COLS * PACKED_GROUP_BYTES;
        Cursor at;
        for_each_chunk([&](uint32_t i) {
            const WgmmaChunk chunk = this->chunk(i);
            uint32_t begin = chunk.units * share / FETCHERS;
            uint32_t units = chunk.units * (share + 1) / FETCHERS - begin;
            const uint32_t bytes = units * PACKED_GROUP_BYTES;
            if (BOTH) {
                const uint32_t lower = units / 2, rank = cluster_rank();
                begin += rank * lower, units = rank == 0 ? lower : units - lower;
            }
            uint64_t group = p.product.weight + uint64_t(chunk.unit + begin) * unit_bytes +
                             first_group * PACKED_GROUP_BYTES;
            for (uint32_t left = num_groups; left > 0; --left, group += PACKED_GROUP_BYTES) {
                wait_empty(at);
                const uint32_t barrier = full(at.slot);
                uint32_t to = slot(at.slot) + S::X_BYTES + begin * PACKED_GROUP_BYTES;
                mbarrier_arrive_expect(barrier, bytes);
                uint64_t from = group;
#pragma unroll 4
                for (uint32_t i = 0; i < units; ++i) {
                    copy<BOTH>(to, from, PACKED_GROUP_BYTES, barrier, policy);
                    to += PACKED_GROUP_BYTES, from += unit_bytes;
                }
                at.advance(p.num_stages);
            }
        });
    }

    template <bool BOTH>
    __device__ __forceinline__ static void copy(uint32_t to, uint64_t from, uint32_t bytes,
                                                uint32_t barrier, uint64_t policy) {
        if constexpr (BOTH) {
            copy_bulk_to_both(to, from, bytes, barrier, policy);
        } else {
            copy_bulk(to, from, bytes, barrier, policy);
        }
    }

    // One thread: copies x, or its half of one that the cluster shares: `BOTH`.
    template <bool BOTH>
    __device__ __forceinline__ void fetch_x() const {
        constexpr uint32_t BYTES = S::X_BYTES / (BOTH ? 2 : 1);
        const uint64_t policy = cache_policy(false);
        const uint64_t group_bytes = uint64_t(p.product.x.stride) * TOKEN_BYTES;
        const uint32_t begin = BOTH ? cluster_rank() * BYTES : 0;
        Cursor at;
        for_each_chunk([&](uint32_t i) {
            uint64_t from = p.product.x.address + first_group * group_bytes + begin;
            from += uint64_t(chunk(i).token) * TOKEN_BYTES;
            for (uint32_t left = num_groups; left > 0; --left, from += group_bytes) {
                wait_empty(at);
                const uint32_t barrier = full(at.slot);
                mbarrier_arrive_expect(barrier, S::X_BYTES);
                copy<BOTH>(slot(at.slot) + begin, from, BYTES, barrier, policy);
                at.advance(p.num_stages);
            }
        });
    }
};

#endif  // HAS_BULK_COPIES
