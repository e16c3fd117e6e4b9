// A producer warp fills slots for a consumer warp, with a full and an empty mbarrier for each: the
// mbarriers alone order the two. And a result staged in shared memory for a bulk store.
#include "hopper.cuh"

static constexpr int kSlots = 2;

struct Params {
    float* out;
    const float* in;
    int chunks;
};

// Without kWaitEmpty the producer refills a slot that the consumer may still read.
template <bool kWaitEmpty>
__device__ void pipeline(const Params& p) {
    __shared__ __align__(128) float ring[kSlots][32];
    __shared__ uint64_t full[kSlots], empty[kSlots];
    const int lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int slot = 0; slot < kSlots; slot++) {
            mbarrier_init(&full[slot], 1);
            mbarrier_init(&empty[slot], 32);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
#pragma unroll 1
        for (int chunk = 0; chunk < p.chunks; chunk++) {
            const int slot = chunk % kSlots;
            if (kWaitEmpty) mbarrier_wait(&empty[slot], (chunk / kSlots & 1) ^ 1);
            mbarrier_expect(&full[slot], 128);
            bulk_load(ring[slot], p.in + chunk * 32, 128, &full[slot]);
        }
    } else if (threadIdx.x >= 32) {
        float sum = 0;
#pragma unroll 1
        for (int chunk = 0; chunk < p.chunks; chunk++) {
            const int slot = chunk % kSlots;
            mbarrier_wait(&full[slot], chunk / kSlots & 1);
            sum += ring[slot][lane];
            if (kWaitEmpty) mbarrier_arrive(&empty[slot]);
        }
        p.out[lane] = sum;
    }
}

KERNEL(64, pipeline_full_empty) { pipeline<true>(p); }

KERNEL(64, pipeline_no_empty) { pipeline<false>(p); }

// Doubles 64 floats and stores them with one bulk copy.
template <bool kFence, bool kWait>
__device__ void staged(const Params& p) {
    __shared__ __align__(128) float stage[64];
    stage[threadIdx.x] = 2 * p.in[threadIdx.x];
    if (kFence) fence_proxy_async();
    __syncthreads();
    if (threadIdx.x == 0) {
        bulk_store(p.out, stage, sizeof stage);
        if (kWait) bulk_wait_read();
    }
    __syncthreads();
    stage[threadIdx.x] = 0;
}

KERNEL(64, bulk_store_staged) { staged<true, true>(p); }

KERNEL(64, bulk_store_no_fence) { staged<false, true>(p); }

KERNEL(64, bulk_store_no_wait) { staged<true, false>(p); }
