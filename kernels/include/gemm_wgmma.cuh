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
// other's shared memory. Or, of two blocks, it shares the weight or x: what all blocks read out of
// the cache is what takes longest with many tokens. Such clusters can halve the columns too: the
// first half of the grid hands its sums over through global memory, and the second adds them.
#pragma once

#include "cluster.cuh"
#include "gemm_wgmma_finish.cuh"
#include "gemm_wgmma_ring.cuh"
#include "pdl.cuh"
#include "wgmma.cuh"

#if HAS_BULK_COPIES

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

__device__ __forceinline__ void load_cluster16(float (&out)[4], uint32_t from) {
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(out[0]), "=f"(out[1]), "=f"(out[2]), "=f"(out[3])
                 : "r"(from)
                 : "memory");
}

// Sets a flag, after what this warp wrote.
__device__ __forceinline__ void raise_flag(uint32_t* flag) {
    __syncwarp();
    if (threadIdx.x % 32 != 0) return;
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(__cvta_generic_to_global(flag))
                 : "memory");
}

// Waits for a flag, and what was written before it.
__device__ __forceinline__ void await_flag(const uint32_t* flag) {
    uint32_t raised = threadIdx.x % 32;
    while (raised == 0) {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                     : "=r"(raised)
                     : "l"(__cvta_generic_to_global(flag))
                     : "memory");
    }
    __syncwarp();
}

// One warp's part of a chunk: 16 rows by 8 * TILES tokens.
template <typename T, int TILES>
struct WgmmaTile {
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
            load_shared16(a[i], ring.slot(at.slot) + a_offset + i * PACKED_TILE_BYTES);
        }
    }

    // Multiplies a slot, and loads the next one's weight meanwhile.
    __device__ __forceinline__ void step(const uint32_t (&a)[4][4], uint32_t (&next)[4][4],
                                         Cursor& at, bool more) {
        const uint32_t slot = at.slot;
        const uint64_t b = wgmma_swizzled(ring.slot(at.slot));
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < 4; ++i) wgmma<T, TILES>(sums, a[i], b + 2 * i);
        wgmma_commit();
        at.advance(ring.p.num_stages);
        if (more) load_a(next, at);
        wgmma_wait();
        ring.release(slot);
    }

    // Lets all of this block's columns pass.
    __device__ __forceinline__ void skip(Cursor& at) const {
        for (uint32_t left = ring.num_groups; left > 0; --left) {
            const uint32_t slot = at.slot;
            ring.wait_full(at);
            at.advance(ring.p.num_stages);
            ring.release(slot);
        }
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

    // This warp's number among those that multiply in its half of the grid.
    __device__ __forceinline__ uint32_t handover_number() const {
        const uint32_t block = ring.worker() * cluster_size() + cluster_rank();
        return block * wgmma_warps() + threadIdx.x / 32;
    }
    __device__ __forceinline__ uint32_t* flag() const {
        return global_pointer<uint32_t>(ring.p.handover) + handover_number();
    }
    // Behind a flag for each warp: where this lane's sums are handed over.
    __device__ __forceinline__ float4* handed_over() const {
        const uint32_t warps = ring.num_workers() * cluster_size() * wgmma_warps();
        float4* all = global_pointer<float4>(ring.p.handover + warps * sizeof(uint32_t));
        return all + handover_number() * TILES * 32 + threadIdx.x % 32;
    }

    __device__ __forceinline__ void hand_over() const {
        float4* to = handed_over();
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
            __stcg(to + 32 * j, make_float4(sums[j][0], sums[j][1], sums[j][2], sums[j][3]));
        }
        raise_flag(flag());
    }

    // Adds the sums of the columns in front.
    __device__ __forceinline__ void take_over() {
        constexpr int PART = 4;
        const float4* from = handed_over();
        await_flag(flag());
#pragma unroll
        for (int first = 0; first < TILES; first += PART) {
            float4 parts[PART];
#pragma unroll
            for (int k = 0; k < PART; ++k) parts[k] = __ldcg(from + 32 * (first + k));
#pragma unroll
            for (int k = 0; k < PART; ++k) {
                float(&sum)[4] = sums[first + k];
                sum[0] += parts[k].x, sum[1] += parts[k].y;
                sum[2] += parts[k].z, sum[3] += parts[k].w;
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

// What a warp that multiplies does with each chunk.
template <typename T, int TILES>
__device__ __forceinline__ void wgmma_chunks(const WgmmaRing<TILES>& ring) {
    Cursor at;
    ring.for_each_chunk([&](uint32_t i) {
        const uint32_t units = opaque(ring.chunk(i).units);
        WgmmaTile<T, TILES> tile(ring, units);
        if (threadIdx.x / 128 * 4 >= units) return tile.skip(at);
        tile.multiply(at);
        if (!tile.there) return;
        const WgmmaChunk chunk = ring.chunk(opaque(i));
        if (ring.hands_over()) return tile.hand_over();
        if (ring.is_halved()) tile.take_over();
        const FinishUnit rows(ring.p.product, chunk.unit + threadIdx.x / 32);
        rows.template store_all<T>(tile.sums, chunk.token);
    });
}

// What it does where the cluster cuts the columns.
template <typename T, int TILES>
__device__ __forceinline__ void wgmma_cut(const WgmmaRing<TILES>& ring) {
    Cursor at;
    ring.for_each_chunk([&](uint32_t i) {
        const WgmmaChunk chunk = ring.chunk(i);
        WgmmaTile<T, TILES> tile(ring, opaque(chunk.units));
        tile.multiply(at);
        __syncthreads();
        if (tile.there) tile.publish();
        cluster_sync();
        const FinishUnit rows(ring.p.product, chunk.unit + threadIdx.x / 32);
        if (tile.there) tile.finish_share(rows, chunk.token);
    });
}

// What a warp that fetches does.
template <int TILES>
__device__ __forceinline__ void wgmma_fetch(const WgmmaRing<TILES>& ring, uint32_t fetcher) {
    const bool first_lane = threadIdx.x % 32 == 0;
    if (fetcher < FETCHERS && first_lane) {
        if (ring.shares(SHARES_WEIGHT)) {
            ring.template fetch_weight<true>(fetcher);
        } else {
            ring.template fetch_weight<false>(fetcher);
        }
    }
    if (fetcher != FETCHERS) return;
    pdl_wait();
    if (first_lane && ring.shares(SHARES_X)) {
        ring.template fetch_x<true>();
    } else if (first_lane) {
        ring.template fetch_x<false>();
    }
    pdl_launch_dependents();
}

// `out = epilogue(x * weight^T + bias)`, of arranged 16-bit x and packed weight. A cluster that
// cuts the columns has one chunk, and so has one of a grid of which half hands over its sums.
template <typename T, int TILES>
__device__ __forceinline__ void gemm_wgmma(const GemmWgmmaParams& p) {
    extern __shared__ __align__(1024) unsigned char shared[];
    const WgmmaRing<TILES> ring(p, shared);
    ring.init();
    const uint32_t warp = threadIdx.x / 32, multipliers = wgmma_warps();
    if (warp < multipliers) {
        take_registers<WgmmaShape<TILES>::MANY>();
        pdl_wait();
        if (ring.cuts()) {
            wgmma_cut<T, TILES>(ring);
        } else {
            wgmma_chunks<T, TILES>(ring);
        }
    } else {
        leave_registers<WgmmaShape<TILES>::FEW>();
        wgmma_fetch(ring, warp - multipliers);
        __syncwarp();
        if (ring.cuts()) {
            __syncthreads();
            cluster_sync();
        }
    }
    // Shared memory, and its barriers, stay until the cluster is done with them.
    if (cluster_size() > 1) {
        cluster_arrive_relaxed();
        cluster_wait();
    }
}

// An entry point.
#define GEMM_WGMMA(NAME, T, TILES)                                              \
    extern "C" __global__ void __launch_bounds__(WgmmaShape<TILES>::MAX_THREADS, 1) \
        NAME(const __grid_constant__ GemmWgmmaParams p) {                       \
        gemm_wgmma<T, TILES>(p);                                                \
    }

#endif  // HAS_BULK_COPIES
