// Reductions over all threads of a cluster, in an order that is always the same.
#pragma once

#include "cluster.cuh"
#include "reduce.cuh"

constexpr uint32_t MAX_CLUSTER = 8;
// Most values that are reduced at a time.
constexpr uint32_t MAX_REDUCED = 8;

struct Sum {
    // A double as its bits, so that sums and maxima share the exchange.
    __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const {
        const double sum = __longlong_as_double(a) + __longlong_as_double(b);
        return __double_as_longlong(sum);
    }
};

struct Max {
    __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const {
        return a > b ? a : b;
    }
};

// The shared memory of reductions. Every thread of the cluster makes all of them, in the same
// order. A reduction may still be read by slow threads while the next one is written, which is why
// there are two sets of totals.
class ClusterReduce {
    struct Shared {
        uint64_t warps[MAX_WARPS][MAX_REDUCED];
        uint64_t blocks[2][MAX_CLUSTER][MAX_REDUCED];
    };
    Shared& shared;
    uint32_t parity = 0;

    __device__ __forceinline__ static Shared& memory() {
        __shared__ Shared shared;
        return shared;
    }

   public:
    // Waits until all blocks of the cluster run: nothing may be stored in a block that does not.
    __device__ __forceinline__ ClusterReduce() : shared(memory()) { cluster_sync(); }

    // Replaces each of `values` by its reduction with `op` over the cluster, in all threads.
    template <int N, typename Op>
    __device__ __forceinline__ void operator()(uint64_t (&values)[N], Op op) {
        static_assert(N <= MAX_REDUCED, "too many values at a time");
        const uint32_t warp = threadIdx.x / WARP_SIZE;
#pragma unroll
        for (int i = 0; i < N; ++i) {
#pragma unroll
            for (uint32_t offset = WARP_SIZE / 2; offset > 0; offset /= 2) {
                values[i] = op(values[i], __shfl_xor_sync(ALL_LANES, values[i], offset));
            }
            if (threadIdx.x % WARP_SIZE == 0) shared.warps[warp][i] = values[i];
        }
        __syncthreads();
        if (threadIdx.x < N) publish(op);
        cluster_sync();
        const uint32_t num_blocks = cluster_size();
#pragma unroll
        for (int i = 0; i < N; ++i) {
            values[i] = shared.blocks[parity][0][i];
            for (uint32_t rank = 1; rank < num_blocks; ++rank) {
                values[i] = op(values[i], shared.blocks[parity][rank][i]);
            }
        }
        parity ^= 1;
    }

   private:
    // Reduces value `threadIdx.x` over the warps, and hands it to all blocks.
    template <typename Op>
    __device__ __forceinline__ void publish(Op op) {
        const uint32_t num_warps = blockDim.x / WARP_SIZE, num_blocks = cluster_size();
        uint64_t value = shared.warps[0][threadIdx.x];
        for (uint32_t warp = 1; warp < num_warps; ++warp) {
            value = op(value, shared.warps[warp][threadIdx.x]);
        }
        uint64_t* place = &shared.blocks[parity][cluster_rank()][threadIdx.x];
        for (uint32_t rank = 0; rank < num_blocks; ++rank) cluster_store(place, rank, value);
    }
};
