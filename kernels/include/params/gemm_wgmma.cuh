// Parameters of the products of many rows; twins in src/params/gemm_wgmma.rs.
#pragma once

#include "gemm.cuh"

// What the two blocks of a cluster share: they have it copied to both by halves.
constexpr uint32_t SHARES_NOTHING = 0;  // a cluster, of any size, cuts the columns
constexpr uint32_t SHARES_WEIGHT = 1;   // they have neighbouring tiles of tokens
constexpr uint32_t SHARES_X = 2;        // they have neighbouring chunks of rows

// `out = epilogue(x * weight^T + bias)`. x is arranged, see ../gemm_wgmma.cuh, and its stride is
// the tokens of a group of columns. A chunk of rows is `height` units of 16 (the first `num_tall`
// of each tile of tokens) or `step` less, as far as there are rows.
struct GemmWgmmaParams {
    GemmParams product;
    uint64_t handover;         // where half of the blocks hand over sums; 0: none do
    uint32_t num_row_chunks;   // chunks that cover the rows
    uint32_t num_tall;         // how many of them have `height` units
    uint32_t height;           // units of a tall chunk, no more than warps that multiply
    uint32_t step;             // units that the others have less
    uint32_t num_token_tiles;  // tiles that cover the tokens
    uint32_t num_stages;       // slots of the ring
    uint32_t shares;           // SHARES_*
    uint32_t first_groups;     // groups of 64 columns of the blocks that hand over
};
static_assert(sizeof(GemmWgmmaParams) == 112, "twin of GemmWgmmaParams in gemm_wgmma.rs");

// Arranges x for them, normalised where there is a norm.
struct ArrangeParams {
    uint64_t out;         // [cols / 64, room, 64] elements of the type that the kernel says
    View x;               // [num_tokens, cols]
    View norm;            // [1, cols]; address 0: none
    uint64_t flags;       // words that the product behind expects to be 0
    uint32_t num_flags;
    uint32_t num_tokens;
    uint32_t room;        // tokens of a group of columns
    uint32_t cols;        // a multiple of 64
    float eps;            // the norm's
    uint32_t reserved;
};
static_assert(sizeof(ArrangeParams) == 72, "twin of ArrangeParams in gemm_wgmma.rs");
