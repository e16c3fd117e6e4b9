// Products of many rows with a row-major 16-bit weight; see include/gemm_rows.cuh.
#include "gemm_rows.cuh"

#define GEMM_ROWS(NAME, T, TOKENS)                                         \
    extern "C" __global__ void __launch_bounds__(GEMM_ROWS_THREADS, 1)     \
        gemm_rows_##NAME(const __grid_constant__ GemmParams p) {           \
        gemm_rows<T, TOKENS>(p);                                           \
    }

GEMM_ROWS(n64_bf16, __nv_bfloat16, 64)
GEMM_ROWS(n128_bf16, __nv_bfloat16, 128)
GEMM_ROWS(n64_f16, __half, 64)
GEMM_ROWS(n128_f16, __half, 128)
