// Tensor cores of Hopper that a warpgroup, four warps, drives together: `wgmma`.
//
// A product of 64 x 16 by 16 x N elements, N = 8 * TILES. Warp w of the warpgroup holds rows 16w..
// of A in registers, as `mma.m16n8k16` does (see mma.cuh), and of the sums, TILES times as there. B
// lies in shared memory, where the tensor cores read it on their own: after `wgmma` the registers
// and B are theirs until `wgmma_wait`.
#pragma once

#include "mma.cuh"

#if HAS_BULK_COPIES

// Orders writes of registers before the products that follow.
__device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes a group of products.
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until all groups of products have ended.
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}

// Keeps uses of the sums that follow behind the wait in front.
template <int TILES>
__device__ __forceinline__ void hold_sums(float (&sums)[TILES][4]) {
#pragma unroll
    for (int i = 0; i < TILES * 4; ++i) asm volatile("" : "+f"(sums[i / 4][i % 4])::"memory");
}

// Describes B at `address`, a multiple of 1024: rows of 64 elements, 128 bytes, one after the
// other, in which the 16-byte piece i of row n lies at piece i ^ n % 8. Eight rows are 1024 bytes
// apart from the next eight. Each 16 columns further are 2 more.
__device__ __forceinline__ uint64_t wgmma_swizzled(uint32_t address) {
    constexpr uint64_t SWIZZLE_128 = uint64_t(1) << 62, STEP = uint64_t(1024 / 16) << 32;
    return SWIZZLE_128 | STEP | uint64_t(1) << 16 | address / 16;
}

// sums += a · b, of bf16 or f16 elements.
template <typename T, int TILES>
__device__ __forceinline__ void wgmma(float (&sums)[TILES][4], const uint32_t (&a)[4], uint64_t b);

#define WGMMA_RQ "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_RH \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_R0 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
    "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_R1 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_R2 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_R3 \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, " \
    "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, " \
    "%123, %124, %125, %126, %127"

#define WGMMA_F1(J) "+f"(s[J][0]), "+f"(s[J][1]), "+f"(s[J][2]), "+f"(s[J][3])
#define WGMMA_F4(J) WGMMA_F1(J), WGMMA_F1(J + 1), WGMMA_F1(J + 2), WGMMA_F1(J + 3)
#define WGMMA_F8(J) WGMMA_F4(J), WGMMA_F4(J + 4)
#define WGMMA_S4 WGMMA_F4(0)
#define WGMMA_S8 WGMMA_F8(0)
#define WGMMA_S12 WGMMA_F8(0), WGMMA_F4(8)
#define WGMMA_S16 WGMMA_F8(0), WGMMA_F8(8)
#define WGMMA_S24 WGMMA_S16, WGMMA_F8(16)
#define WGMMA_S32 WGMMA_S24, WGMMA_F8(24)

// `REGS` names the registers of the sums, `A` those of a and `B` that of b.
#define WGMMA(T, TYPE, TILES, N, REGS, A, B)                                                      \
    template <>                                                                                   \
    __device__ __forceinline__ void wgmma<T, TILES>(float (&s)[TILES][4], const uint32_t (&a)[4], \
                                                    uint64_t b) {                                 \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; "                                      \
                     "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE " {" REGS     \
                     "}, {" A "}, " B ", p, 1, 1, 0; }"                                           \
                     : WGMMA_S##TILES                                                             \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)                         \
                     : "memory");                                                                 \
    }
#define WGMMA_32(T, TYPE) WGMMA(T, TYPE, 4, "32", WGMMA_RQ, "%16, %17, %18, %19", "%20")
#define WGMMA_64(T, TYPE) WGMMA(T, TYPE, 8, "64", WGMMA_R0, "%32, %33, %34, %35", "%36")
#define WGMMA_96(T, TYPE) \
    WGMMA(T, TYPE, 12, "96", WGMMA_R0 ", " WGMMA_RH, "%48, %49, %50, %51", "%52")
#define WGMMA_128(T, TYPE) \
    WGMMA(T, TYPE, 16, "128", WGMMA_R0 ", " WGMMA_R1, "%64, %65, %66, %67", "%68")
#define WGMMA_192(T, TYPE)                                                                    \
    WGMMA(T, TYPE, 24, "192", WGMMA_R0 ", " WGMMA_R1 ", " WGMMA_R2, "%96, %97, %98, %99", \
          "%100")
#define WGMMA_256(T, TYPE)                                                                \
    WGMMA(T, TYPE, 32, "256", WGMMA_R0 ", " WGMMA_R1 ", " WGMMA_R2 ", " WGMMA_R3, \
          "%128, %129, %130, %131", "%132")

WGMMA_32(__nv_bfloat16, "bf16")
WGMMA_64(__nv_bfloat16, "bf16")
WGMMA_96(__nv_bfloat16, "bf16")
WGMMA_128(__nv_bfloat16, "bf16")
WGMMA_192(__nv_bfloat16, "bf16")
WGMMA_256(__nv_bfloat16, "bf16")
WGMMA_32(__half, "f16")
WGMMA_64(__half, "f16")
WGMMA_96(__half, "f16")
WGMMA_128(__half, "f16")
WGMMA_192(__half, "f16")
WGMMA_256(__half, "f16")

#endif  // HAS_BULK_COPIES
