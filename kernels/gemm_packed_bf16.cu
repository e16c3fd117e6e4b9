// Products of many rows with a packed bf16 weight; see include/gemm_packed.cuh. Hopper only.
//
// An entry point for each width of the tile of tokens.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

#include "gemm_packed.cuh"

GEMM_PACKED(gemm_packed_n32_bf16, __nv_bfloat16, 4, 1, 2)
GEMM_PACKED(gemm_packed_n64_bf16, __nv_bfloat16, 4, 2, 4)
GEMM_PACKED(gemm_packed_n96_bf16, __nv_bfloat16, 6, 2, 4)
GEMM_PACKED(gemm_packed_n128_bf16, __nv_bfloat16, 8, 2, 4)
GEMM_PACKED(gemm_packed_n192_bf16, __nv_bfloat16, 6, 4, 4)
GEMM_PACKED(gemm_packed_n256_bf16, __nv_bfloat16, 8, 4, 4)

#endif
