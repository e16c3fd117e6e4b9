// cp.async with groups: a block sums what its threads copied; and with the wait missing.
#include "hopper.cuh"

struct Params {
    float* out;
    const float* in;
    int valid;
};

__device__ __forceinline__ void copy16(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(bytes)
                 : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Two groups of 64 float4 each; floats from `valid` on are zero-filled. Thread t adds the floats
// that thread 63 - t copied. kPending: groups that the wait leaves in flight.
template <int kPending, bool kBarrier>
__device__ void sum(const Params& p) {
    __shared__ float4 tile[2][64];
    const int t = threadIdx.x;
    float total = 0;
    for (int i = 0; i < 2; i++) {
        const int left = (p.valid - (i * 64 + t) * 4) * 4;
        // Nothing is read where nothing is left: the address may be outside of any allocation.
        const float4* from = left > 0 ? (const float4*)p.in + i * 64 + t : nullptr;
        copy16(&tile[i][t], from, left < 0 ? 0 : left > 16 ? 16 : left);
    }
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
    if (kBarrier) __syncthreads();
    for (int i = 0; i < 2; i++) {
        const float4 v = tile[i][63 - t];
        total += v.x + v.y + v.z + v.w;
    }
    p.out[t] = total;
}

KERNEL(64, copy_sum) { sum<0, true>(p); }

KERNEL(64, copy_sum_no_wait) { sum<1, true>(p); }

KERNEL(64, copy_sum_no_barrier) { sum<0, false>(p); }

// The same order by an mbarrier: each thread's copies arrive on it when they land.
KERNEL(64, copy_sum_mbarrier) {
    __shared__ float4 tile[64];
    __shared__ uint64_t barrier;
    const int t = threadIdx.x;
    const unsigned address = (unsigned)__cvta_generic_to_shared(&barrier);
    if (t == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 64;" ::"r"(address) : "memory");
    __syncthreads();
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(&tile[t])),
                 "l"((const float4*)p.in + t)
                 : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(address) : "memory");
    unsigned done;
    do {
        asm volatile(
            "{ .reg .pred p;\n"
            "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], 0;\n"
            "selp.u32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(address)
            : "memory");
    } while (!done);
    const float4 v = tile[63 - t];
    p.out[t] = v.x + v.y + v.z + v.w;
}
