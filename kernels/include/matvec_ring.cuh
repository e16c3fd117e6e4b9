// How the kernel for packed weights cuts its work, and the ring of shared memory that each warp
// streams its weights through; sm_90.
#pragma once

#include "matvec.cuh"
#include "mma.cuh"
#include "packed.cuh"

#if HAS_BULK_COPIES

// Warps of a block, and slots of each one's ring. Half the shared memory of a multiprocessor or
// less would let two blocks of a later kernel share one and leave another without; much more makes
// x wait behind the weights in flight.
constexpr uint32_t RING_WARPS = 16;
constexpr uint32_t RING_STAGES = 4;

// Which part of the product a warp computes. A team of `cluster` blocks takes units of 16 rows
// round robin. Each block of a team takes a slice of the columns, in groups of 64, and its warps
// take these in turn, so that together they read long stretches of memory.
struct Work {
    uint32_t warp, lane;
    uint32_t rank;              // of the block in its team
    uint32_t team, num_teams;   // units team, team + num_teams, ...
    uint32_t num_units;         // how many those are
    uint32_t first_group;       // the warp's groups: first_group, first_group + RING_WARPS, ...
    uint32_t num_groups;        // how many those are

    __device__ __forceinline__ explicit Work(const MatvecPackedParams& p) {
        warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        rank = blockIdx.x % p.cluster;
        team = blockIdx.x / p.cluster, num_teams = gridDim.x / p.cluster;
        num_units = (p.product.rows / PACKED_UNIT_ROWS - team + num_teams - 1) / num_teams;
        const uint32_t groups = p.product.cols / PACKED_GROUP_COLS;
        first_group = groups * rank / p.cluster + warp;
        const uint32_t end = groups * (rank + 1) / p.cluster;
        num_groups = first_group < end ? (end - first_group + RING_WARPS - 1) / RING_WARPS : 0;
    }

    __device__ __forceinline__ uint32_t unit(uint32_t i) const { return team + i * num_teams; }

    // First column of the warp's group `j`.
    __device__ __forceinline__ uint32_t col(uint32_t j) const {
        return (first_group + j * RING_WARPS) * PACKED_GROUP_COLS;
    }
};

// A warp's ring: chunks of one group, in the order in which the warp needs them. Filling it touches
// nothing but the weight.
struct Ring {
    uint32_t slots, barriers;  // shared addresses
    uint32_t slot = 0, parity = 0;
    // What is fetched next, and how many chunks are left to fetch. Lane 0's alone count.
    uint64_t next;
    uint32_t next_unit_step;  // from a unit's last chunk to the next unit's first
    uint32_t next_group = 0, num_groups, left;
    uint64_t policy;

    __device__ __forceinline__ Ring(const MatvecPackedParams& p, const Work& work,
                                    const void* slots, const uint64_t* barriers)
        : slots(shared_address(slots)), barriers(shared_address(barriers)) {
        num_groups = work.num_groups, left = num_groups * work.num_units;
        // So few columns fit into the registers that one round of all teams stays below 4 GiB.
        const uint32_t unit_bytes = p.product.cols * PACKED_UNIT_ROWS * 2;
        next = p.product.weight + static_cast<uint64_t>(work.team) * unit_bytes +
               work.first_group * PACKED_GROUP_BYTES;
        next_unit_step =
            work.num_teams * unit_bytes - (num_groups - 1) * RING_WARPS * PACKED_GROUP_BYTES;
        policy = cache_policy(true);
    }

    __device__ __forceinline__ void fetch(uint32_t into) {
        const uint32_t barrier = barriers + into * 8;
        mbarrier_arrive_expect(barrier, PACKED_GROUP_BYTES);
        copy_bulk(slots + into * PACKED_GROUP_BYTES, next, PACKED_GROUP_BYTES, barrier, policy);
        const bool ends_unit = ++next_group == num_groups;
        next += ends_unit ? next_unit_step : RING_WARPS * PACKED_GROUP_BYTES;
        if (ends_unit) next_group = 0;
        --left;
    }

    __device__ __forceinline__ void fill(uint32_t lane) {
        if (lane == 0) {
#pragma unroll
            for (uint32_t s = 0; s < RING_STAGES; ++s) mbarrier_init(barriers + s * 8, 1);
            mbarrier_init_fence();
#pragma unroll 1
            for (uint32_t s = 0; s < RING_STAGES && left > 0; ++s) fetch(s);
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

    // Gives the chunk's slot to the next copy. Every lane has used what it read from it: a copy may
    // overtake loads whose values nobody has waited for.
    __device__ __forceinline__ void release(uint32_t lane) {
        __syncwarp();
        if (lane == 0 && left > 0) {
            bulk_copy_fence();
            fetch(slot);
        }
        slot = (slot + 1) % RING_STAGES;
        if (slot == 0) parity ^= 1;
    }
};

#endif  // HAS_BULK_COPIES
