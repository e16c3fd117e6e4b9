// Ops that treat every element alike: the gated activation and the residual addition.

#include "columns.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"

extern "C" __global__ void add(const __grid_constant__ AddParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const Row out = row_of(p.out, blockIdx.x), x = row_of(p.x, blockIdx.x);
    const bool by_8 = p.cols % 8 == 0 && takes_8(p.out) && takes_8(p.x);
    for_each_column(p.cols, by_8, [&](auto width, uint32_t col) {
        float sum[width.value], values[width.value];
        out.load(col, sum);
        x.load(col, values);
#pragma unroll
        for (int i = 0; i < width.value; ++i) sum[i] += values[i];
        out.store(col, sum);
    });
}

extern "C" __global__ void silu_mul(const __grid_constant__ SiluMulParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const Row out = row_of(p.out, blockIdx.x), gate_up = row_of(p.gate_up, blockIdx.x);
    const bool by_8 = p.cols % 8 == 0 && takes_8(p.out) && takes_8(p.gate_up);
    for_each_column(p.cols, by_8, [&](auto width, uint32_t col) {
        float gate[width.value], up[width.value];
        gate_up.load(col, gate);
        gate_up.load(p.cols + col, up);
#pragma unroll
        for (int i = 0; i < width.value; ++i) up[i] *= gate[i] / (1.0f + expf(-gate[i]));
        out.store(col, up);
    });
}
