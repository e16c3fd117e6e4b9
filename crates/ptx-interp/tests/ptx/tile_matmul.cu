// A warp multiplies 16x32 by 32x8 with ldmatrix and mma.sync, in every shape and element type, and
// writes the product out of shared memory; the fragments come through cp.async.
#include <cuda_fp16.h>

#include "hopper.cuh"

struct Params {
    float* out;     // [16, 8]
    const void* a;  // [16, 32], bf16 or f16, or [16, 8] tf32
    const void* b;  // [32, 8], or [8, 8] tf32
};

__device__ __forceinline__ void ldmatrix4(unsigned (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ldmatrix2_trans(unsigned (&d)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void copy16(void* shared, const void* global) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)),
                 "l"(global)
                 : "memory");
}

#define MMA(SHAPE, TYPES, A, B)                                                               \
    asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPES ".f32 {%0, %1, %2, %3}, " A  \
                 ", " B ", {%0, %1, %2, %3};"                                                 \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                             \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

__device__ __forceinline__ void store(float* out, const float (&c)[4]) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = c[i];
}

// kShape: 0 for bf16 m16n8k16, 1 for f16 m16n8k16, 2 for bf16 m16n8k8.
template <int kShape>
__device__ void product(const Params& p) {
    __shared__ __align__(16) unsigned short a_tile[16][32], b_tile[32][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 64; i += 32)
        copy16(&a_tile[i / 4][i % 4 * 8], (const uint4*)p.a + i);
    copy16(b_tile[lane], (const uint4*)p.b + lane);
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncwarp();
    float c[4] = {};
    for (int k = 0; k < 32; k += 16) {
        unsigned a[4], b[2];
        ldmatrix4(a, &a_tile[lane % 16][k + lane / 16 * 8]);
        ldmatrix2_trans(b, b_tile[k + lane % 16]);
        if (kShape == 0) MMA("m16n8k16", "bf16.bf16", "{%4, %5, %6, %7}", "{%8, %9}");
        if (kShape == 1) MMA("m16n8k16", "f16.f16", "{%4, %5, %6, %7}", "{%8, %9}");
        if (kShape == 2) {
            MMA("m16n8k8", "bf16.bf16", "{%4, %5}", "{%8}");
            MMA("m16n8k8", "bf16.bf16", "{%6, %7}", "{%9}");
        }
    }
    store(p.out, c);
}

KERNEL(32, product_bf16_k16) { product<0>(p); }

KERNEL(32, product_f16_k16) { product<1>(p); }

KERNEL(32, product_bf16_k8) { product<2>(p); }

KERNEL(32, product_tf32) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const float *from_a = (const float*)p.a, *from_b = (const float*)p.b;
    float c[4] = {};
    unsigned a[4], b[2];
    for (int i = 0; i < 4; i++)
        asm("cvt.rna.tf32.f32 %0, %1;"
            : "=r"(a[i])
            : "f"(from_a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]));
    for (int i = 0; i < 2; i++)
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(b[i]) : "f"(from_b[(t + i * 4) * 8 + g]));
    MMA("m16n8k8", "tf32.tf32", "{%4, %5, %6, %7}", "{%8, %9}");
    store(p.out, c);
}

// Transposes an 8x8 matrix: stmatrix writes what ldmatrix.trans would read.
KERNEL(32, transpose) {
    __shared__ __align__(16) unsigned short from[8][8], to[8][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 64; i += 32) from[i / 8][i % 8] = ((const unsigned short*)p.a)[i];
    __syncwarp();
    unsigned fragment;
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(fragment)
                 : "r"(shared_address(from[lane % 8]))
                 : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(
                     shared_address(to[lane % 8])),
                 "r"(fragment)
                 : "memory");
    __syncwarp();
    for (int i = lane; i < 64; i += 32) p.out[i] = to[i / 8][i % 8];
}
