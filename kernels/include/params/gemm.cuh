// Parameters of the products of many rows; twins in src/params/gemm.rs.
#pragma once

#include <cstdint>

#include "../view.cuh"
#include "matvec.cuh"

// `out = epilogue(x * weight^T + bias)`.
struct GemmParams {
    View out;         // [num_tokens, rows]; half as many columns with EPILOGUE_SILU_MUL
    View x;           // [num_tokens, cols]
    View bias;        // [1, rows]; address 0: none
    uint64_t weight;  // [rows, cols], row-major or packed as the kernel says
    uint32_t num_tokens;
    uint32_t rows;
    uint32_t cols;
    uint32_t epilogue;  // an Epilogue
};
static_assert(sizeof(GemmParams) == 72, "twin of GemmParams in src/params/gemm.rs");

// The same by the kernel that takes every mix of types.
struct GemmAnyParams {
    GemmParams product;
    uint32_t weight_dtype;  // a DType
    uint32_t packing;       // a Packing
};
static_assert(sizeof(GemmAnyParams) == 80, "twin of GemmAnyParams in src/params/gemm.rs");

// How a weight lies in memory; with PACKING_GATE_UP gate and up share units, see packed.cuh.
enum Packing : uint32_t { PACKING_NONE = 0, PACKING_PLAIN = 1, PACKING_GATE_UP = 2 };
