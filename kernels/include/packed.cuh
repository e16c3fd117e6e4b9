// Packed weights: 16-bit matrices in the order in which tensor cores take them.
//
// A matrix of `rows` x `cols` (rows % 16 == 0, cols % 64 == 0) is cut into units of 16 rows, which
// lie one after the other. A unit is cut into tiles of 16 columns, 512 contiguous bytes each: the A
// operand of `mma.m16n8k16`, in which lane `4g + t` (g < 8, t < 4) of a warp owns 16 bytes
// {a0, a1, a2, a3}, each two elements. The columns are permuted inside each group of 64: with
//     k0 = tile / 4 * 64 + t * 16 + tile % 4 * 4
// a0 and a2 hold columns k0..k0+2 and k0+2..k0+4 of the unit's row g, a1 and a3 those of row g + 8.
// The B operand of token n for the same tile is then x[n][k0..k0+2], x[n][k0+2..k0+4], and what a
// lane needs of x for the four tiles of a group are 16 contiguous elements, from 16t.
//
// Row j of unit u is the matrix's row 16u + j. With `gate_rows` (half the matrix's rows, a multiple
// of 8; 0 means off) the upper half of the matrix is a gate and the lower half the matching up
// projection: rows 0..8 of unit u are the gate's rows 8u.., and rows 8..16 the same rows of up. The
// accumulators of rows g and g + 8 are then gate and up of one output.
#pragma once

#include <cstdint>

#include "view.cuh"

constexpr uint32_t PACKED_UNIT_ROWS = 16;
constexpr uint32_t PACKED_TILE_COLS = 16;
constexpr uint32_t PACKED_TILE_BYTES = 512;
// Columns within which the order is permuted: four tiles.
constexpr uint32_t PACKED_GROUP_COLS = 64;
constexpr uint32_t PACKED_GROUP_BYTES = 4 * PACKED_TILE_BYTES;

// A row's place: row `j` of unit `unit`.
struct PackedRow {
    uint32_t unit;
    uint32_t j;
};

// Where the matrix's row `row` lies.
__device__ __forceinline__ PackedRow packed_place(uint32_t row, uint32_t gate_rows) {
    if (gate_rows == 0) return PackedRow{row / 16, row % 16};
    const bool up = row >= gate_rows;
    const uint32_t i = up ? row - gate_rows : row;
    return PackedRow{i / 8, i % 8 + (up ? 8 : 0)};
}

// The matrix's row that is row `j` of `unit`: the inverse of `packed_place`.
__device__ __forceinline__ uint32_t packed_matrix_row(uint32_t unit, uint32_t j,
                                                      uint32_t gate_rows) {
    if (gate_rows == 0) return unit * 16 + j;
    return (j < 8 ? 0 : gate_rows) + unit * 8 + j % 8;
}

// Bytes from the start of the matrix to tile `tile` of `unit`.
__device__ __forceinline__ uint64_t packed_tile_offset(uint32_t cols, uint32_t unit,
                                                       uint32_t tile) {
    return (static_cast<uint64_t>(unit) * (cols / PACKED_TILE_COLS) + tile) * PACKED_TILE_BYTES;
}

// Bytes from the start of the matrix to column `col` (a multiple of 4) of a row. The elements of
// columns col and col + 1 are there, those of col + 2 and col + 3 are 8 bytes further on.
__device__ __forceinline__ uint64_t packed_offset(uint32_t cols, PackedRow row, uint32_t col) {
    const uint32_t tile = col / PACKED_GROUP_COLS * 4 + col % 16 / 4;
    const uint32_t lane = row.j % 8 * 4 + col % PACKED_GROUP_COLS / 16;
    return packed_tile_offset(cols, row.unit, tile) + lane * 16 + row.j / 8 * 4;
}

// Columns col..col + 4 of a row, `col` a multiple of 4: four 16-bit elements in order.
__device__ __forceinline__ uint2 packed_load4(uint64_t weight, uint32_t cols, PackedRow row,
                                              uint32_t col) {
    const uint64_t address = weight + packed_offset(cols, row, col);
    const uint32_t* from = global_pointer<const uint32_t>(address);
    return make_uint2(__ldg(from), __ldg(from + 2));
}

// Columns col..col + 8 of a row, `col` a multiple of 8: eight 16-bit elements in order.
__device__ __forceinline__ uint4 packed_load8(uint64_t weight, uint32_t cols, PackedRow row,
                                              uint32_t col) {
    const uint2 low = packed_load4(weight, cols, row, col);
    const uint2 high = packed_load4(weight, cols, row, col + 4);
    return make_uint4(low.x, low.y, high.x, high.y);
}
