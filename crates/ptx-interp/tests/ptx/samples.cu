// Kernels of the kinds that language models run, and of language features that compilers use.
// The PTX beside it: nvcc -arch=compute_80 -O3 -std=c++17 --ptx -o samples.ptx samples.cu
#include <cuda_bf16.h>
#include <cstdint>

#define KERNEL(threads, name)                                  \
    extern "C" __global__ void __launch_bounds__(threads) name( \
        const __grid_constant__ Params p)

typedef __nv_bfloat16 bf16;

struct Params {
    void* out;
    const void* a;
    const void* b;
    int n;
    int m;
};

__device__ __forceinline__ float warp_sum(float v) {
    for (int o = 16; o; o /= 2) v += __shfl_xor_sync(~0u, v, o);
    return v;
}

__device__ float block_sum(float v) {
    __shared__ float part[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    v = warp_sum(v);
    if (lane == 0) part[warp] = v;
    __syncthreads();
    return warp_sum(lane < blockDim.x / 32 ? part[lane] : 0.f);
}

// A block for each row: out = a / rms(a) * b.
KERNEL(256, rms_norm) {
    const bf16* x = (const bf16*)p.a + (size_t)blockIdx.x * p.n;
    bf16* out = (bf16*)p.out + (size_t)blockIdx.x * p.n;
    float squares = 0;
    for (int i = threadIdx.x; i < p.n; i += blockDim.x) {
        const float v = __bfloat162float(x[i]);
        squares += v * v;
    }
    const float scale = rsqrtf(block_sum(squares) / p.n + 1e-5f);
    for (int i = threadIdx.x; i < p.n; i += blockDim.x)
        out[i] = __float2bfloat16(__bfloat162float(x[i]) * scale *
                                  __bfloat162float(((const bf16*)p.b)[i]));
}

// A warp for each of n rows of a matrix [n, m]; vectors of eight bf16.
KERNEL(128, matvec) {
    const int row = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= p.n) return;
    const uint4* w = (const uint4*)((const bf16*)p.a + (size_t)row * p.m);
    const uint4* x = (const uint4*)p.b;
    float sum = 0;
    for (int i = lane; i < p.m / 8; i += 32) {
        const uint4 wi = __ldg(w + i), xi = __ldg(x + i);
        const __nv_bfloat162 *w2 = (const __nv_bfloat162*)&wi, *x2 = (const __nv_bfloat162*)&xi;
        for (int k = 0; k < 4; k++) {
            const float2 wf = __bfloat1622float2(w2[k]), xf = __bfloat1622float2(x2[k]);
            sum += wf.x * xf.x + wf.y * xf.y;
        }
    }
    sum = warp_sum(sum);
    if (lane == 0) ((float*)p.out)[row] = sum;
}

__device__ unsigned arrivals = 0;

// Every block adds up a part of a; the last one to finish adds up the parts.
KERNEL(256, grid_sum) {
    extern __shared__ float tile[];
    __shared__ bool is_last;
    float* parts = (float*)p.out + 1;
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += gridDim.x * blockDim.x)
        sum += ((const float*)p.a)[i];
    tile[threadIdx.x] = sum;
    __syncthreads();
    for (int o = blockDim.x / 2; o; o /= 2) {
        if (threadIdx.x < o) tile[threadIdx.x] += tile[threadIdx.x + o];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = tile[0];
        __threadfence();
        is_last = atomicAdd(&arrivals, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float total = 0;
        for (int i = 0; i < gridDim.x; i++) total += ((volatile float*)parts)[i];
        *(float*)p.out = total;
        arrivals = 0;
    }
}

// Sines and cosines of large angles: their slow path has a table on the stack.
KERNEL(64, sine_cosine) {
    const int i = threadIdx.x;
    float s, c;
    sincosf(((const float*)p.a)[i], &s, &c);
    ((float2*)p.out)[i] = make_float2(s, c);
}

KERNEL(64, power) {
    const int i = threadIdx.x;
    ((float*)p.out)[i] = powf(((const float*)p.a)[i], ((const float*)p.b)[i]);
}

KERNEL(64, sigmoid) {
    const int i = threadIdx.x;
    const float x = ((const float*)p.a)[i];
    ((float*)p.out)[i] = 1.f / (1.f + expf(-x)) + log1pf(fabsf(x)) + tanhf(x);
}

// The largest number and the first place of it, by 64-bit keys.
KERNEL(128, arg_max) {
    unsigned long long best = 0;
    for (int i = threadIdx.x; i < p.n; i += blockDim.x) {
        const unsigned bits = __float_as_uint(((const float*)p.a)[i]);
        const unsigned key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
        const unsigned long long candidate = (unsigned long long)key << 32 | ~(unsigned)i;
        best = candidate > best ? candidate : best;
    }
    atomicMax((unsigned long long*)p.out, best);
}

// Counts of the values of bytes.
KERNEL(256, histogram) {
    __shared__ unsigned counts[256];
    counts[threadIdx.x] = 0;
    __syncthreads();
    const uint8_t* values = (const uint8_t*)p.a;
    for (int i = blockIdx.x * 256 + threadIdx.x; i < p.n; i += gridDim.x * 256)
        atomicAdd(&counts[values[i]], 1u);
    __syncthreads();
    atomicAdd((unsigned*)p.out + threadIdx.x, counts[threadIdx.x]);
}

// [n, m] to [m, n] through tiles of shared memory.
KERNEL(256, transpose) {
    __shared__ float tile[32][33];
    const int x = threadIdx.x % 32, y = threadIdx.x / 32;
    for (int i = y; i < 32; i += 8) {
        const int row = blockIdx.y * 32 + i, column = blockIdx.x * 32 + x;
        if (row < p.n && column < p.m)
            tile[i][x] = ((const float*)p.a)[(size_t)row * p.m + column];
    }
    __syncthreads();
    for (int i = y; i < 32; i += 8) {
        const int row = blockIdx.x * 32 + i, column = blockIdx.y * 32 + x;
        if (row < p.m && column < p.n) ((float*)p.out)[(size_t)row * p.n + column] = tile[x][i];
    }
}

__constant__ float weights[4] = {0.5f, -1.f, 2.f, 4.f};
__device__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ const int* tail = table + 4;

// Variables of the module, and a switch.
KERNEL(32, variables) {
    float v = 0;
    switch (((const int*)p.a)[threadIdx.x]) {
        case 0: v = weights[0]; break;
        case 1: v = weights[threadIdx.x % 4] * 3; break;
        case 2: v = sqrtf(threadIdx.x); break;
        case 3: v = -1; break;
        case 4: v = table[threadIdx.x % 8]; break;
        case 5: v = tail[threadIdx.x % 4]; break;
        default: v = 100;
    }
    ((float*)p.out)[threadIdx.x] = v;
}

// What lanes tell each other: out[6 * lane].. of unsigned.
KERNEL(32, warp_talk) {
    const unsigned value = ((const unsigned*)p.a)[threadIdx.x];
    unsigned* out = (unsigned*)p.out + 6 * threadIdx.x;
    out[0] = __ballot_sync(~0u, value & 1);
    out[1] = __reduce_add_sync(~0u, value);
    out[2] = __match_any_sync(~0u, value);
    out[3] = __all_sync(~0u, value < 100) | __any_sync(~0u, value == 7) << 1;
    out[4] = __shfl_up_sync(~0u, value, 3) ^ __shfl_down_sync(~0u, value, 5, 16) << 8 ^
             __shfl_sync(~0u, value, 9, 8) << 16;
    out[5] = threadIdx.x % 3 == 0 ? __activemask() : 0;
}

// Two groups of warps with barriers of their own, and a barrier that counts.
KERNEL(128, groups) {
    __shared__ int tile[128];
    const int group = threadIdx.x / 64, i = threadIdx.x % 64;
    tile[threadIdx.x] = threadIdx.x;
    asm volatile("bar.sync %0, 64;" ::"r"(group + 1) : "memory");
    const int other = tile[group * 64 + 63 - i];
    const int odd = __syncthreads_count(other % 2), some = __syncthreads_or(other == 127);
    ((int*)p.out)[threadIdx.x] = other + 1000 * odd + 100000 * some;
}
