// Products of many rows of every mix of types, sizes, strides and layouts: f32 arithmetic on tiles
// in shared memory.
//
// A block multiplies 64 rows of the weight, four units of 16 (see packed.cuh; row-major weights are
// cut in the same way), by 64 tokens. A thread has rows 2q, 2q + 1, 2q + 8 and 2q + 9 of one unit,
// gate and up of the same outputs where there are such, and 4 tokens.
#include "packed.cuh"
#include "params/gemm.cuh"
#include "pdl.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace gemm_any_cu {

constexpr uint32_t THREADS = 256;
constexpr uint32_t SIDE = 64;  // rows, and tokens, of a tile
constexpr uint32_t DEPTH = 16;  // columns at a time
constexpr uint32_t PITCH = SIDE + 4;

// The tile's columns, as [column][row] and [column][token].
struct Slices {
    float weight[DEPTH][PITCH];
    float x[DEPTH][PITCH];
};

struct Tile {
    const GemmAnyParams& all;
    const GemmParams& p;
    uint32_t unit = blockIdx.x * (SIDE / 16), token = blockIdx.y * SIDE;
    bool paired;

    __device__ __forceinline__ explicit Tile(const GemmAnyParams& all)
        : all(all), p(all.product), paired(p.epilogue == EPILOGUE_SILU_MUL) {}

    // The weight's row that is row `i` of the tile; past the end of the weight if there is none.
    __device__ __forceinline__ uint32_t matrix_row(uint32_t i) const {
        const uint32_t of = unit + i / 16, gate_rows = paired ? p.rows / 2 : 0;
        const bool inside = !paired || of * 8 + i % 8 < gate_rows;
        return inside ? packed_matrix_row(of, i % 16, gate_rows) : p.rows;
    }

    __device__ __forceinline__ float weight_at(uint32_t row, uint32_t col) const {
        if (row >= p.rows || col >= p.cols) return 0.0f;
        if (all.packing == PACKING_NONE) {
            return row_of(View{p.weight, p.cols, all.weight_dtype}, row).load(col);
        }
        const uint32_t gate_rows = all.packing == PACKING_GATE_UP ? p.rows / 2 : 0;
        const PackedRow place = packed_place(row, gate_rows);
        const uint64_t offset = packed_offset(p.cols, place, col / 4 * 4) + col % 4 / 2 * 8;
        return Row{global_pointer<char>(p.weight + offset), all.weight_dtype}.load(col % 2);
    }

    __device__ __forceinline__ void load(Slices& slices, uint32_t col) const {
        for (uint32_t i = threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
            const uint32_t side = i / DEPTH, at = i % DEPTH;
            const bool there = token + side < p.num_tokens && col + at < p.cols;
            slices.weight[at][side] = weight_at(matrix_row(side), col + at);
            slices.x[at][side] = there ? row_of(p.x, token + side).load(col + at) : 0.0f;
        }
    }

    // Adds what the slices give to this thread's 4 rows by 4 tokens.
    __device__ __forceinline__ static void multiply(const Slices& slices, float (&sums)[4][4]) {
        const uint32_t first = threadIdx.x / 16 / 4 * 16 + threadIdx.x / 16 % 4 * 2;
#pragma unroll
        for (uint32_t at = 0; at < DEPTH; ++at) {
            const float2 low = *reinterpret_cast<const float2*>(&slices.weight[at][first]);
            const float2 high = *reinterpret_cast<const float2*>(&slices.weight[at][first + 8]);
            const float4 x =
                *reinterpret_cast<const float4*>(&slices.x[at][threadIdx.x % 16 * 4]);
            const float w[4] = {low.x, low.y, high.x, high.y}, v[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int i = 0; i < 16; ++i) {
                sums[i / 4][i % 4] = fmaf(w[i / 4], v[i % 4], sums[i / 4][i % 4]);
            }
        }
    }

    __device__ __forceinline__ float biased(float y, uint32_t row) const {
        return p.bias.address == 0 ? y : y + row_of(p.bias, 0).load(row);
    }

    // Stores this thread's results of token `i`.
    __device__ __forceinline__ void finish(const float (&sums)[4][4], int i) const {
        const uint32_t first = threadIdx.x / 16 / 4 * 16 + threadIdx.x / 16 % 4 * 2;
        const uint32_t at = token + threadIdx.x % 16 * 4 + i;
        if (at >= p.num_tokens) return;
        const Row out = row_of(p.out, at);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const uint32_t row = matrix_row(first + k % 2 + k / 2 * 8);
            if (row >= p.rows || (paired && k >= 2)) continue;
            float y = biased(sums[k][i], row);
            if (paired) {
                y = y / (1.0f + expf(-y)) * biased(sums[(k + 2) % 4][i], row + p.rows / 2);
            } else if (p.epilogue == EPILOGUE_ADD) {
                y += out.load(row);
            }
            out.store(row, y);
        }
    }
};

}  // namespace gemm_any_cu

using namespace gemm_any_cu;

extern "C" __global__ void __launch_bounds__(THREADS)
    gemm_any(const __grid_constant__ GemmAnyParams p) {
    __shared__ Slices slices;
    pdl_wait();
    pdl_launch_dependents();
    const Tile tile(p);
    float sums[4][4] = {};
    for (uint32_t col = 0; col < p.product.cols; col += DEPTH) {
        tile.load(slices, col);
        __syncthreads();
        Tile::multiply(slices, sums);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) tile.finish(sums, i);
}
