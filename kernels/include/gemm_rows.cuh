// Products of many rows with a row-major 16-bit weight, on any chip with `ldmatrix` and `cp.async`.
//
// The weight is the A operand and its rows are M; the tokens are N. All threads fill a ring of
// slots in shared memory, 64 columns each, and multiply. The 16-byte pieces of a slot's rows are
// swapped so that 8 rows' pieces of the same columns lie in different banks.
#pragma once

#include "gemm.cuh"
#include "mma.cuh"
#include "packed.cuh"
#include "pdl.cuh"

constexpr uint32_t GEMM_ROWS_THREADS = 256;
constexpr uint32_t ROWS_TILE = 128;  // rows of the weight that a block multiplies
constexpr uint32_t ROWS_STAGES = 3;
constexpr uint32_t ROWS_COLS = 64;   // of a slot
constexpr uint32_t ROWS_PIECES = 8;  // of 16 bytes in a slot's row
constexpr uint32_t ROWS_PITCH = 16 * ROWS_PIECES;

// A block multiplies ROWS_TILE rows by TOKENS tokens: 4 x 2 warps of 32 rows by TOKENS / 2 tokens.
template <typename T, uint32_t TOKENS>
struct RowsTile {
    static constexpr uint32_t WARPS_M = 4;
    static constexpr int UNITS = 2, TILES = TOKENS / 16;
    static constexpr uint32_t SLOT_BYTES = (ROWS_TILE + TOKENS) * ROWS_PITCH;
    static constexpr uint32_t COPIES = SLOT_BYTES / 16 / GEMM_ROWS_THREADS;  // of a thread
    static constexpr uint32_t WEIGHT_COPIES = ROWS_TILE * ROWS_PIECES / GEMM_ROWS_THREADS;
    static constexpr uint32_t COPY_ROWS = GEMM_ROWS_THREADS / ROWS_PIECES;  // copied at a time

    const GemmParams& p;
    uint32_t slots, unit, token;  // shared memory; first unit of rows and first token of the tile
    uint32_t piece;               // of each row that this thread copies
    uint64_t from[COPIES];        // where the pieces start; 0: there is no such row
    uint32_t to;
    float sums[TILES][UNITS][4];

    __device__ __forceinline__ RowsTile(const GemmParams& p, const unsigned char* shared) : p(p) {
        slots = shared_address(shared);
        unit = blockIdx.x * (ROWS_TILE / PACKED_UNIT_ROWS), token = blockIdx.y * TOKENS;
        piece = threadIdx.x % ROWS_PIECES;
        const uint32_t row = threadIdx.x / ROWS_PIECES;
        to = row * ROWS_PITCH + (piece ^ row % 8) * 16;
#pragma unroll
        for (uint32_t i = 0; i < COPIES; ++i) {
            from[i] = i < WEIGHT_COPIES ? weight_row(row + i * COPY_ROWS)
                                        : x_row(row + (i - WEIGHT_COPIES) * COPY_ROWS);
            if (from[i] != 0) from[i] += piece * 16;
        }
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
            for (int i = 0; i < UNITS * 4; ++i) sums[j][i / 4][i % 4] = 0.0f;
        }
    }

    // Address of the weight's row that is row `i` of this tile; 0 past the end.
    __device__ __forceinline__ uint64_t weight_row(uint32_t i) const {
        const uint32_t gate_rows = p.epilogue == EPILOGUE_SILU_MUL ? p.rows / 2 : 0;
        const uint32_t row = packed_matrix_row(unit + i / 16, i % 16, gate_rows);
        const uint32_t end = gate_rows != 0 && i % 16 < 8 ? gate_rows : p.rows;
        return row < end ? p.weight + static_cast<uint64_t>(row) * p.cols * 2 : 0;
    }

    // Address of x of token `i` of this tile; 0 past the end.
    __device__ __forceinline__ uint64_t x_row(uint32_t i) const {
        const uint64_t row = token + i;
        return row < p.num_tokens ? p.x.address + row * p.x.stride * 2 : 0;
    }

    // Starts copying columns from `col` on to a slot; zeros stand for what is not there.
    __device__ __forceinline__ void fetch(uint32_t slot, uint32_t col) const {
        const bool inside = col + piece * 8 < p.cols;
#pragma unroll
        for (uint32_t i = 0; i < COPIES; ++i) {
            const bool valid = inside && from[i] != 0;
            const uint64_t address = valid ? from[i] + col * 2 : p.weight;
            copy_async16(slots + slot * SLOT_BYTES + to + i * COPY_ROWS * ROWS_PITCH,
                         global_pointer<char>(address), valid);
        }
    }

    // Address of 16 bytes of a slot: of row `row`, columns 8 * `octet` on.
    __device__ __forceinline__ uint32_t place(uint32_t slot, uint32_t row, uint32_t octet) const {
        return slots + slot * SLOT_BYTES + row * ROWS_PITCH + (octet ^ row % 8) * 16;
    }

    __device__ __forceinline__ void multiply_slot(uint32_t slot) {
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, matrix = lane / 8;
        const uint32_t row = warp % WARPS_M * UNITS * 16 + lane % 16;
        const uint32_t x = ROWS_TILE + warp / WARPS_M * TILES * 8 + matrix / 2 * 8 + lane % 8;
#pragma unroll
        for (uint32_t step = 0; step < ROWS_COLS / 16; ++step) {
            uint32_t a[UNITS][4], b[TILES / 2][4];
#pragma unroll
            for (int i = 0; i < UNITS; ++i) {
                ldmatrix4(a[i], place(slot, row + i * 16, 2 * step + matrix / 2));
            }
#pragma unroll
            for (int j = 0; j < TILES / 2; ++j) {
                ldmatrix4(b[j], place(slot, x + j * 16, 2 * step + matrix % 2));
            }
#pragma unroll
            for (int j = 0; j < TILES; ++j) {
#pragma unroll
                for (int i = 0; i < UNITS; ++i) {
                    mma<T>(sums[j][i], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
                }
            }
        }
    }

    // Adds the product of all columns; at the end the ring is free.
    __device__ __forceinline__ void multiply() {
        const uint32_t steps = (p.cols + ROWS_COLS - 1) / ROWS_COLS;
#pragma unroll
        for (uint32_t i = 0; i + 1 < ROWS_STAGES; ++i) {
            if (i < steps) fetch(i, i * ROWS_COLS);
            copy_async_commit();
        }
        for (uint32_t step = 0; step < steps; ++step) {
            copy_async_wait<ROWS_STAGES - 2>();
            __syncthreads();
            const uint32_t ahead = step + ROWS_STAGES - 1;
            if (ahead < steps) fetch(ahead % ROWS_STAGES, ahead * ROWS_COLS);
            copy_async_commit();
            multiply_slot(step % ROWS_STAGES);
        }
        copy_async_wait<0>();
        __syncthreads();
    }

    __device__ __forceinline__ void finish(float* scratch) const {
        const uint32_t warp = threadIdx.x / 32;
        const Finish<UNITS> finish(p, scratch + warp * Finish<UNITS>::SCRATCH_FLOATS,
                                   unit + warp % WARPS_M * UNITS);
#pragma unroll 1
        for (int j = 0; j < TILES; ++j) {
            float c[UNITS][4];
            select(sums, j, c);
            finish.store(c, token + (warp / WARPS_M * TILES + j) * 8);
        }
    }
};

// `out = epilogue(x * weight^T + bias)`, of 16-bit x and row-major weight, both with rows at
// multiples of 16 bytes. Blocks are (rows, tokens).
template <typename T, uint32_t TOKENS>
__device__ __forceinline__ void gemm_rows(const GemmParams& p) {
    extern __shared__ __align__(128) unsigned char shared[];
    pdl_wait();
    RowsTile<T, TOKENS> tile(p, shared);
    tile.multiply();
    pdl_launch_dependents();
    tile.finish(reinterpret_cast<float*>(shared));
}
