// Products of many rows with a packed bf16 weight; see include/gemm_wgmma.cuh. Hopper only.
//
// An entry point for each width of the tile of tokens, and the arrangement of x for them.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

#include "gemm_arrange.cuh"
#include "gemm_wgmma.cuh"

GEMM_WGMMA(gemm_wgmma_n32_bf16, __nv_bfloat16, 4)
GEMM_WGMMA(gemm_wgmma_n64_bf16, __nv_bfloat16, 8)
GEMM_WGMMA(gemm_wgmma_n96_bf16, __nv_bfloat16, 12)
GEMM_WGMMA(gemm_wgmma_n128_bf16, __nv_bfloat16, 16)
GEMM_WGMMA(gemm_wgmma_n192_bf16, __nv_bfloat16, 24)
GEMM_WGMMA(gemm_wgmma_n256_bf16, __nv_bfloat16, 32)
GEMM_ARRANGE(gemm_arrange_bf16, pack_bf16)

#endif
