// Parameters of the products of up to 16 rows, and of packing; twins in src/params/matvec.rs.
#pragma once

#include <cstdint>

#include "../view.cuh"

// What a product does with its result before it stores it.
enum Epilogue : uint32_t { EPILOGUE_STORE = 0, EPILOGUE_ADD = 1, EPILOGUE_SILU_MUL = 2 };

// `out = epilogue(norm(x) * weight^T + bias)`.
struct MatvecParams {
    View out;             // [num_tokens, rows]; half as many columns with EPILOGUE_SILU_MUL
    View x;               // [num_tokens, cols]
    View norm;            // [1, cols]; address 0: x is taken as it is
    View bias;            // [1, rows]; address 0: none
    uint64_t weight;      // [rows, cols], row-major or packed as the kernel says
    uint32_t num_tokens;  // 1..=16
    uint32_t rows;
    uint32_t cols;
    uint32_t epilogue;    // an Epilogue
    uint32_t gate_rows;   // how a packed weight is packed, see packed.cuh
    float eps;            // the norm's
};
static_assert(sizeof(MatvecParams) == 96, "twin of MatvecParams in src/params/matvec.rs");

// The same by the kernel that streams packed weights through shared memory.
struct MatvecPackedParams {
    MatvecParams product;
    uint32_t cluster;   // blocks that share each unit of 16 rows, cut along the columns
    uint32_t reserved;  // 0
};
static_assert(sizeof(MatvecPackedParams) == 104, "twin of MatvecPackedParams in matvec.rs");

// Packs rows `first_row .. first_row + num_rows` of a 16-bit matrix.
struct PackParams {
    uint64_t packed;      // the whole matrix in the packed order
    uint64_t piece;       // those rows, row-major, from a multiple of 16 bytes
    uint32_t first_row;
    uint32_t num_rows;
    uint32_t cols;        // a multiple of 64
    uint32_t gate_rows;   // see packed.cuh
    uint32_t first_unit;  // the units that these rows belong to, and maybe others
    uint32_t num_units;
};
static_assert(sizeof(PackParams) == 40, "twin of PackParams in src/params/matvec.rs");
