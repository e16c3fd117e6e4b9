// Ops that copy rows: `embed` and `gather`.

#include "columns.cuh"
#include "packed.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"

__device__ __forceinline__ void zero(Row out, uint32_t cols, bool by_8) {
    for_each_column(cols, by_8, [&](auto width, uint32_t col) {
        const float zeros[width.value] = {};
        out.store(col, zeros);
    });
}

__device__ __forceinline__ void copy(Row out, Row from, uint32_t cols, bool by_8) {
    for_each_column(cols, by_8, [&](auto width, uint32_t col) {
        float values[width.value];
        from.load(col, values);
        out.store(col, values);
    });
}

// Copies a row of a packed table, whose columns are a multiple of 64.
__device__ __forceinline__ void unpack(Row out, const View& table, uint32_t row, uint32_t cols,
                                       bool by_8) {
    const PackedRow place = packed_place(row, 0);
    for_each_column(cols, true, [&](auto, uint32_t col) {
        const uint4 raw = packed_load8(table.address, cols, place, col);
        float values[8];
        if (table.dtype == DTYPE_BF16) {
            unpack8<unpack_bf16>(raw, values);
        } else {
            unpack8<unpack_f16>(raw, values);
        }
        if (by_8) {
            out.store(col, values);
        } else {
#pragma unroll
            for (int i = 0; i < 8; ++i) out.store(col + i, values[i]);
        }
    });
}

extern "C" __global__ void embed(const __grid_constant__ EmbedParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const Row out = row_of(p.out, blockIdx.x);
    // A negative id is far outside as an unsigned number.
    const uint32_t id = load_i32(p.ids, blockIdx.x, 0);
    const bool by_8 = p.cols % 8 == 0 && takes_8(p.out);
    if (id >= p.table_rows) {
        zero(out, p.cols, by_8);
    } else if (p.packed) {
        unpack(out, p.table, id, p.cols, by_8);
    } else {
        copy(out, row_of(p.table, id), p.cols, by_8 && takes_8(p.table));
    }
}

extern "C" __global__ void gather(const __grid_constant__ GatherParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const Row out = row_of(p.out, blockIdx.x);
    const uint32_t index = load_i32(p.indices, blockIdx.x, 0);
    const bool by_8 = p.cols % 8 == 0 && takes_8(p.out);
    if (index >= p.x_rows) {
        zero(out, p.cols, by_8);
    } else {
        copy(out, row_of(p.x, index), p.cols, by_8 && takes_8(p.x));
    }
}
