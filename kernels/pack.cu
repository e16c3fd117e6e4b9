// Repacks row-major 16-bit weights into the order of packed.cuh, once, while a model loads.
#include "packed.cuh"
#include "params/matvec.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace pack_cu {

// Whether a row of the matrix is in the piece.
__device__ __forceinline__ bool in_piece(const PackParams& p, uint32_t row) {
    return row - p.first_row < p.num_rows;
}

// 16 columns from `col` of a row that is in the piece.
struct Columns {
    uint32_t pairs[8];

    __device__ __forceinline__ Columns(const PackParams& p, uint32_t row, uint32_t col) {
        const uint64_t element = static_cast<uint64_t>(row - p.first_row) * p.cols + col;
        const uint4* from = global_pointer<const uint4>(p.piece + element * 2);
        const uint4 low = __ldcs(from), high = __ldcs(from + 1);
        pairs[0] = low.x, pairs[1] = low.y, pairs[2] = low.z, pairs[3] = low.w;
        pairs[4] = high.x, pairs[5] = high.y, pairs[6] = high.z, pairs[7] = high.w;
    }
};

// Writes a row's elements where the other row of the fragment is not in the piece.
__device__ __forceinline__ void store_half(uint32_t* to, const Columns& from) {
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
        to[i * (PACKED_TILE_BYTES / 4)] = from.pairs[2 * i];
        to[i * (PACKED_TILE_BYTES / 4) + 2] = from.pairs[2 * i + 1];
    }
}

// One lane's part of one group of 64 columns: the 16 columns that it owns of both its rows.
__device__ __forceinline__ void pack_group(const PackParams& p, uint32_t unit, uint32_t group,
                                           uint32_t lane) {
    const uint32_t g = lane / 4, col = group * PACKED_GROUP_COLS + lane % 4 * 16;
    const uint32_t top = packed_matrix_row(unit, g, p.gate_rows);
    const uint32_t bottom = packed_matrix_row(unit, g + 8, p.gate_rows);
    const uint64_t offset = packed_tile_offset(p.cols, unit, group * 4) + lane * 16;
    if (in_piece(p, top) && in_piece(p, bottom)) {
        const Columns a(p, top, col), b(p, bottom, col);
        uint4* to = global_pointer<uint4>(p.packed + offset);
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            to[i * (PACKED_TILE_BYTES / 16)] =
                make_uint4(a.pairs[2 * i], b.pairs[2 * i], a.pairs[2 * i + 1], b.pairs[2 * i + 1]);
        }
        return;
    }
    uint32_t* to = global_pointer<uint32_t>(p.packed + offset);
    if (in_piece(p, top)) store_half(to, Columns(p, top, col));
    if (in_piece(p, bottom)) store_half(to + 1, Columns(p, bottom, col));
}

}  // namespace pack_cu

using namespace pack_cu;

// A warp takes a group of 64 columns of a unit at a time. Blocks of 256 threads, any grid.
extern "C" __global__ void __launch_bounds__(256) pack(const __grid_constant__ PackParams p) {
    const uint32_t groups = p.cols / PACKED_GROUP_COLS, lane = threadIdx.x % 32;
    const uint64_t count = static_cast<uint64_t>(p.num_units) * groups;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * 8;
    for (uint64_t i = blockIdx.x * 8ull + threadIdx.x / 32; i < count; i += stride) {
        const uint32_t unit = p.first_unit + static_cast<uint32_t>(i / groups);
        pack_group(p, unit, static_cast<uint32_t>(i % groups), lane);
    }
}
