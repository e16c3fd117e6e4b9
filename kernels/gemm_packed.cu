// Products of many rows with a packed weight; see include/gemm_packed.cuh. Hopper only.
//
// An entry point for each width of the tile of tokens, and each type of x and weight.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

#include "gemm_packed.cuh"

#define GEMM_PACKED(NAME, T, TILES, WARPS_N, MAX_UNITS)                     \
    extern "C" __global__ void __launch_bounds__(GEMM_PACKED_THREADS, 1)    \
        gemm_packed_##NAME(const __grid_constant__ GemmPackedParams p) {    \
        gemm_packed<T, TILES, WARPS_N, MAX_UNITS>(p);                       \
    }

GEMM_PACKED(n32_bf16, __nv_bfloat16, 4, 1, 2)
GEMM_PACKED(n64_bf16, __nv_bfloat16, 4, 2, 4)
GEMM_PACKED(n96_bf16, __nv_bfloat16, 6, 2, 4)
GEMM_PACKED(n128_bf16, __nv_bfloat16, 8, 2, 4)
GEMM_PACKED(n192_bf16, __nv_bfloat16, 6, 4, 4)
GEMM_PACKED(n256_bf16, __nv_bfloat16, 8, 4, 4)
GEMM_PACKED(n32_f16, __half, 4, 1, 2)
GEMM_PACKED(n64_f16, __half, 4, 2, 4)
GEMM_PACKED(n96_f16, __half, 6, 2, 4)
GEMM_PACKED(n128_f16, __half, 8, 2, 4)
GEMM_PACKED(n192_f16, __half, 6, 4, 4)
GEMM_PACKED(n256_f16, __half, 8, 4, 4)

#endif
