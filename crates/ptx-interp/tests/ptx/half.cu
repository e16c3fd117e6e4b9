// Arithmetic of bf16 and f16, in pairs and alone: one result for each operation.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "hopper.cuh"

struct Params {
    void* out;
    const void* a;
    const void* b;
};

static constexpr int kOperations = 10;

template <typename Pair>
__device__ void operations(const Params& p) {
    const int i = threadIdx.x;
    const Pair a = ((const Pair*)p.a)[i], b = ((const Pair*)p.b)[i];
    Pair* out = (Pair*)p.out + i * kOperations;
    out[0] = __hadd2(a, b);
    out[1] = __hsub2(a, b);
    out[2] = __hmul2(a, b);
    out[3] = __hfma2(a, b, a);
    out[4] = __hmin2(a, b);
    out[5] = __hmax2(a, b);
    out[6] = __hneg2(__habs2(a));
    out[7] = h2exp2(a);
    out[8].x = __hgt(a.x, b.x) ? a.x : b.x;
    out[8].y = __hle(a.y, b.y) ? a.y : b.y;
    out[9].x = __hfma_sat(a.x, b.x, a.x);
    out[9].y = __hfma_relu(a.y, b.y, a.y);
}

KERNEL(32, bf16_operations) { operations<__nv_bfloat162>(p); }

KERNEL(32, f16_operations) { operations<__half2>(p); }
