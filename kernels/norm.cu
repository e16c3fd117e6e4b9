// RMS normalisation, of whole rows and of single heads.

#include "columns.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"
#include "reduce.cuh"

// The sum of squares of the columns that fall on `thread` of `num_threads`.
__device__ __forceinline__ float square_sum(Row x, const NormParams& p, bool by_8, uint32_t thread,
                                            uint32_t num_threads) {
    float sum = 0.0f;
    for_each_column(p.dim, by_8, thread, num_threads, [&](auto width, uint32_t col) {
        float values[width.value];
        x.load(col, values);
#pragma unroll
        for (int i = 0; i < width.value; ++i) sum += values[i] * values[i];
    });
    return sum;
}

// `out = x * scale * weight`, scale following from the row's sum of squares.
__device__ __forceinline__ void normalize(Row out, Row x, const NormParams& p, float square_sum,
                                          bool by_8, uint32_t thread, uint32_t num_threads) {
    const float scale = 1.0f / sqrtf(square_sum / p.dim + p.eps);
    const Row weights = row_of(p.weight, 0);
    for_each_column(p.dim, by_8, thread, num_threads, [&](auto width, uint32_t col) {
        float values[width.value], weight[width.value];
        x.load(col, values);
        weights.load(col, weight);
#pragma unroll
        for (int i = 0; i < width.value; ++i) values[i] = values[i] * scale * weight[i];
        out.store(col, values);
    });
}

__device__ __forceinline__ bool takes_8(const NormParams& p) {
    return p.dim % 8 == 0 && takes_8(p.out) && takes_8(p.x) && takes_8(p.weight);
}

// A block a row.
extern "C" __global__ void __launch_bounds__(1024) rms_norm(const __grid_constant__ NormParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const bool by_8 = takes_8(p);
    const Row x = row_of(p.x, blockIdx.x), out = row_of(p.out, blockIdx.x);
    const float sum = block_sum(square_sum(x, p, by_8, threadIdx.x, blockDim.x));
    normalize(out, x, p, sum, by_8, threadIdx.x, blockDim.x);
}

// A warp a head.
extern "C" __global__ void head_norm(const __grid_constant__ NormParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    const uint64_t i = uint64_t(blockIdx.x) * (blockDim.x / WARP_SIZE) + warp;
    if (i >= uint64_t(p.num_rows) * p.heads) return;
    const Row head = row_of(p.x, i / p.heads).from(i % p.heads * p.dim);
    const bool by_8 = takes_8(p);
    const float sum = warp_sum(square_sum(head, p, by_8, lane, WARP_SIZE));
    normalize(head, head, p, sum, by_8, lane, WARP_SIZE);
}
