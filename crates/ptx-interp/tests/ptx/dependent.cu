// Programmatic dependent launch: a chain of kernels, each adding 1 to what the one before wrote;
// right, and with the wait missing or too late.
#include "hopper.cuh"

struct Params {
    float* out;
    const float* in;
};

enum Wait { kFirst, kLate, kNever };

template <Wait kWait, bool kEarlyLaunch>
__device__ void add_one(const Params& p) {
    if (kEarlyLaunch) launch_dependents();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (kWait == kFirst) wait_for_previous_grid();
    const float value = *(volatile const float*)(p.in + i) + 1;
    if (kWait == kLate) wait_for_previous_grid();
    p.out[i] = value;
    if (!kEarlyLaunch) launch_dependents();
}

KERNEL(64, add_one_early) { add_one<kFirst, true>(p); }

KERNEL(64, add_one_at_end) { add_one<kFirst, false>(p); }

KERNEL(64, add_one_late_wait) { add_one<kLate, true>(p); }

KERNEL(64, add_one_no_wait) { add_one<kNever, true>(p); }

// Never triggers: the next kernel starts when this one has finished.
KERNEL(64, add_one_plain) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    p.out[i] = p.in[i] + 1;
}
