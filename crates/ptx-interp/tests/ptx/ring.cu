// A ring of shared-memory slots that one warp fills with bulk copies: right, and with one mistake
// each. out[lane] is the sum of the lane's floats of all chunks (128 bytes each).
#include "hopper.cuh"

static constexpr int kSlots = 4;
static constexpr int kBytes = 128;

struct Params {
    float* out;
    const float* in;
    int chunks;
};

enum Mistake {
    kNone,
    kNoWait,
    kEarlyRefill,
    kNoFence,
    kWrongParity,
    kWrongBytes,
    kTwoArrivals,
    kLeft
};

template <Mistake kMistake>
__device__ void sum_chunks(const Params& p) {
    __shared__ __align__(128) float ring[kSlots][32];
    __shared__ uint64_t barriers[kSlots];
    const int lane = threadIdx.x;
    auto fetch = [&](int chunk) {
        const int slot = chunk % kSlots;
        mbarrier_expect(&barriers[slot], kMistake == kWrongBytes ? kBytes + 16 : kBytes);
        bulk_load(ring[slot], p.in + chunk * 32, kBytes, &barriers[slot]);
        if (kMistake == kTwoArrivals) mbarrier_arrive(&barriers[slot]);
    };
    if (lane == 0) {
        for (int slot = 0; slot < kSlots; slot++) mbarrier_init(&barriers[slot], 1);
        if (kMistake != kNoFence) fence_mbarrier_init();
    }
    __syncwarp();
    if (lane == 0)
        for (int chunk = 0; chunk < kSlots && chunk < p.chunks; chunk++) fetch(chunk);
    float sum = 0;
#pragma unroll 1
    for (int chunk = 0; chunk < p.chunks - (kMistake == kLeft); chunk++) {
        const int slot = chunk % kSlots;
        unsigned parity = chunk / kSlots & 1;
        if (kMistake == kWrongParity) parity ^= 1;
        if (kMistake != kNoWait) mbarrier_wait(&barriers[slot], parity);
        const float value = *(volatile float*)&ring[slot][lane];
        if (kMistake != kEarlyRefill) sum += value;
        __syncwarp();
        if (lane == 0 && chunk + kSlots < p.chunks) {
            if (kMistake != kEarlyRefill) fence_proxy_async();
            fetch(chunk + kSlots);
        }
        if (kMistake == kEarlyRefill) sum += value;
    }
    p.out[lane] = sum;
}

KERNEL(32, ring) { sum_chunks<kNone>(p); }
KERNEL(32, ring_no_wait) { sum_chunks<kNoWait>(p); }
KERNEL(32, ring_early_refill) { sum_chunks<kEarlyRefill>(p); }
KERNEL(32, ring_no_fence) { sum_chunks<kNoFence>(p); }
KERNEL(32, ring_wrong_parity) { sum_chunks<kWrongParity>(p); }
KERNEL(32, ring_wrong_bytes) { sum_chunks<kWrongBytes>(p); }
KERNEL(32, ring_left_in_flight) { sum_chunks<kLeft>(p); }
KERNEL(32, ring_two_arrivals) { sum_chunks<kTwoArrivals>(p); }
