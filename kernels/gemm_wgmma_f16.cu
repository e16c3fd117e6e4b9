// Products of many rows with a packed f16 weight; see include/gemm_wgmma.cuh. Hopper only.
//
// An entry point for each width of the tile of tokens, and the arrangement of x for them.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

#include "gemm_arrange.cuh"
#include "gemm_wgmma.cuh"

GEMM_WGMMA(gemm_wgmma_n32_f16, __half, 4)
GEMM_WGMMA(gemm_wgmma_n64_f16, __half, 8)
GEMM_WGMMA(gemm_wgmma_n96_f16, __half, 12)
GEMM_WGMMA(gemm_wgmma_n128_f16, __half, 16)
GEMM_WGMMA(gemm_wgmma_n192_f16, __half, 24)
GEMM_WGMMA(gemm_wgmma_n256_f16, __half, 32)
GEMM_ARRANGE(gemm_arrange_f16, pack_f16)

#endif
