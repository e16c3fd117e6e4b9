// Kernels with one mistake each, and beside some the same without it.
// The PTX beside it: nvcc -arch=compute_80 -O3 -std=c++17 --ptx -o bugs.ptx bugs.cu
#include <cstdint>

#define KERNEL(name) extern "C" __global__ void name(const __grid_constant__ Params p)

struct Params {
    float* out;
    const float* in;
    int n;
    int pad;
};

template <bool kSync>
__device__ void reverse(const Params& p) {
    __shared__ float tile[64];
    tile[threadIdx.x] = p.in[threadIdx.x];
    if (kSync) __syncthreads();
    p.out[threadIdx.x] = tile[63 - threadIdx.x];
}

KERNEL(reversed) { reverse<true>(p); }

KERNEL(race_read_after_write) { reverse<false>(p); }

// The second round overwrites what slower warps still read.
template <bool kSync>
__device__ void two_rounds(const Params& p) {
    __shared__ float tile[64];
    float sum = 0;
#pragma unroll 1
    for (int round = 0; round < 2; round++) {
        tile[threadIdx.x] = p.in[threadIdx.x] + round;
        __syncthreads();
        sum += tile[63 - threadIdx.x];
        if (kSync) __syncthreads();
    }
    p.out[threadIdx.x] = sum;
}

KERNEL(rounds) { two_rounds<true>(p); }

KERNEL(race_write_after_read) { two_rounds<false>(p); }

KERNEL(race_write_after_write) {
    __shared__ float last;
    if (threadIdx.x % 32 == 0) last = p.in[threadIdx.x];
    __syncthreads();
    p.out[threadIdx.x] = last;
}

// Bytes of one word that belong to different warps are no race.
KERNEL(bytes_of_a_word) {
    __shared__ uint8_t tile[65];
    tile[threadIdx.x + 1] = (uint8_t)p.in[threadIdx.x];
    __syncthreads();
    p.out[threadIdx.x] = tile[64 - threadIdx.x];
}

// Lanes of one warp pass values on through shared memory.
template <bool kSync>
__device__ void neighbours(const Params& p) {
    __shared__ volatile float tile[32];
    tile[threadIdx.x] = p.in[threadIdx.x];
    if (kSync) __syncwarp();
    p.out[threadIdx.x] = tile[31 - threadIdx.x];
}

KERNEL(warp_reversed) { neighbours<true>(p); }

KERNEL(race_in_warp) { neighbours<false>(p); }

// In a loop the values must have been read before the next ones are written.
template <bool kSync>
__device__ void rotate(const Params& p) {
    __shared__ volatile float tile[32];
    float value = p.in[threadIdx.x];
    tile[threadIdx.x] = value;
    __syncwarp();
    value = tile[(threadIdx.x + 1) % 32];
    if (kSync) __syncwarp();
    tile[threadIdx.x] = value;
    p.out[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(rotated) { rotate<true>(p); }

KERNEL(race_in_loop_of_warp) { rotate<false>(p); }

// Lanes that change half a word each, in place.
KERNEL(halves_of_a_word) {
    __shared__ volatile uint16_t tile[32];
    tile[threadIdx.x] = threadIdx.x;
    tile[threadIdx.x] = tile[threadIdx.x] + 1;
    p.out[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(past_the_end) {
    if (threadIdx.x <= p.n) p.out[threadIdx.x] = 1;
}

KERNEL(past_shared) {
    __shared__ float tile[64];
    tile[threadIdx.x + p.n] = 1;
    __syncthreads();
    p.out[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(misaligned) { *(float4*)(p.out + p.n) = make_float4(1, 2, 3, 4); }

KERNEL(read_one) { p.out[threadIdx.x] = p.in[threadIdx.x]; }

// Half of the warp is at a shuffle that names all of it.
KERNEL(divergent_shuffle) {
    float v = p.in[threadIdx.x];
    if (threadIdx.x < 16)
        v = __shfl_xor_sync(~0u, v, 8);
    else
        __syncwarp();
    p.out[threadIdx.x] = v;
}

// The two halves name themselves only.
KERNEL(halves_shuffle) {
    float v = p.in[threadIdx.x];
    if (threadIdx.x < 16)
        v += __shfl_xor_sync(0xffffu, v, 8);
    else
        v -= __shfl_xor_sync(0xffff0000u, v, 4);
    p.out[threadIdx.x] = v;
}

// Warp 0 waits for two warps at barrier 1, warp 1 for two at barrier 2.
KERNEL(deadlock) {
    if (threadIdx.x < 32)
        asm volatile("bar.sync 1, 64;" ::: "memory");
    else
        asm volatile("bar.sync 2, 64;" ::: "memory");
    p.out[threadIdx.x] = 1;
}

// Half a warp waits for the block.
KERNEL(divergent_barrier) {
    if (threadIdx.x % 32 < 16)
        __syncthreads();
    else
        asm volatile("bar.sync 1;" ::: "memory");
    p.out[threadIdx.x] = 1;
}

KERNEL(unwritten_shared) {
    __shared__ float tile[64];
    if (threadIdx.x < 63) tile[threadIdx.x] = 1;
    __syncthreads();
    p.out[threadIdx.x] = tile[63 - threadIdx.x];
}

// A load that the compiler may move in front of the condition: its value is not used.
KERNEL(unwritten_but_unused) {
    __shared__ float tile[64];
    if (threadIdx.x < 32) tile[threadIdx.x] = 1;
    __syncthreads();
    p.out[threadIdx.x] = threadIdx.x < 32 ? tile[threadIdx.x] : 0;
}

KERNEL(endless) {
    volatile float* flag = p.out;
    while (*flag != 1) {
    }
}

KERNEL(trapped) {
    if (threadIdx.x == 5) __trap();
    p.out[threadIdx.x] = 1;
}
