// Matrix times up to 8 tokens on tensor cores, the way fast decode kernels do it: weights packed in
// fragment order, a private ring of slots for each warp filled by bulk copies, k split over the
// warps of a block and the blocks of a cluster, sums in a fixed order, programmatic launch.
#include <cuda_bf16.h>

#include "hopper.cuh"

typedef __nv_bfloat16 bf16;

static constexpr int kK = 512, kWarps = 4, kSlots = 3, kTiles = 2, kMaxUnits = 4;

struct Params {
    bf16* out;             // [tokens, rows]
    const uint4* weights;  // unit u (16 rows), then k-tile, then lane: the A fragment
    const bf16* x;         // [tokens, kK]
    const bf16* residual;  // [tokens, rows]
    int rows;
    int tokens;
};

__device__ __forceinline__ void multiply(float* c, const uint4& a, unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

template <int kCluster, bool kRefillEarly>
__device__ void matmul(const Params& p) {
    constexpr int kAllTiles = kK / 16, kWarpTiles = kAllTiles / (kWarps * kCluster);
    constexpr int kChunks = kWarpTiles / kTiles;
    extern __shared__ __align__(128) unsigned char shared[];
    uint4* ring = (uint4*)shared;
    float4* sums = (float4*)(ring + kWarps * kSlots * kTiles * 32);
    float* part = (float*)(sums + 2 * kWarps * 32);
    uint64_t* barriers = (uint64_t*)(part + kMaxUnits * 128);

    launch_dependents();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int rank = kCluster > 1 ? cluster_rank() : 0;
    const int team = blockIdx.x / kCluster, teams = gridDim.x / kCluster;
    const int units = (p.rows / 16 - team + teams - 1) / teams, total = units * kChunks;
    const int first_tile = (rank * kWarps + warp) * kWarpTiles;
    ring += warp * kSlots * kTiles * 32;
    barriers += warp * kSlots;
    auto fetch = [&](int chunk) {
        const int slot = chunk % kSlots, unit = team + chunk / kChunks * teams;
        const int tile = unit * kAllTiles + first_tile + chunk % kChunks * kTiles;
        mbarrier_expect(&barriers[slot], kTiles * 512);
        bulk_load(ring + slot * kTiles * 32, p.weights + tile * 32, kTiles * 512, &barriers[slot]);
    };
    if (lane == 0) {
        for (int slot = 0; slot < kSlots; slot++) mbarrier_init(&barriers[slot], 1);
        fence_mbarrier_init();
        for (int chunk = 0; chunk < kSlots && chunk < total; chunk++) fetch(chunk);
    }
    __syncwarp();
    wait_for_previous_grid();

    unsigned x[kWarpTiles * 2];
#pragma unroll
    for (int b = 0; b < kWarpTiles / 4; b++) {
        uint4 v[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
        const bf16* at = p.x + g * kK + (first_tile / 4 + b) * 64 + t * 16;
        if (g < p.tokens) v[0] = __ldcg((const uint4*)at), v[1] = __ldcg((const uint4*)at + 1);
#pragma unroll
        for (int i = 0; i < 8; i++) x[b * 8 + i] = ((unsigned*)v)[i];
    }
    int chunk = 0;
    for (int i = 0; i < units; i++) {
        float c[4] = {};
#pragma unroll
        for (int j = 0; j < kChunks; j++, chunk++) {
            const int slot = chunk % kSlots;
            mbarrier_wait(&barriers[slot], chunk / kSlots & 1);
            uint4 a[kTiles];
#pragma unroll
            for (int u = 0; u < kTiles; u++) a[u] = ring[(slot * kTiles + u) * 32 + lane];
            if (kRefillEarly) {
                __syncwarp();
                if (lane == 0 && chunk + kSlots < total) fetch(chunk + kSlots);
            }
#pragma unroll
            for (int u = 0; u < kTiles; u++)
                multiply(c, a[u], x[(j * kTiles + u) * 2], x[(j * kTiles + u) * 2 + 1]);
            if (!kRefillEarly) {
                __syncwarp();
                if (lane == 0 && chunk + kSlots < total) {
                    fence_proxy_async();
                    fetch(chunk + kSlots);
                }
            }
        }
        float4* mine = sums + i % 2 * kWarps * 32;
        mine[warp * 32 + lane] = make_float4(c[0], c[1], c[2], c[3]);
        __syncthreads();
        if (threadIdx.x < 128) {
            float sum = 0;
            for (int w = 0; w < kWarps; w++) sum += ((float*)(mine + w * 32))[threadIdx.x];
            part[i * 128 + threadIdx.x] = sum;
        }
    }
    if (kCluster > 1) cluster_sync();
    // Element e of a unit is c[e % 4] of lane e / 4; each block finishes its share of the units.
    for (int e = threadIdx.x; e < units * 128; e += kWarps * 32) {
        if (e / 128 % kCluster != rank) continue;
        float sum = 0;
        for (int r = 0; r < kCluster; r++)
            sum += kCluster > 1 ? cluster_load(&part[e], r) : part[e];
        const int from = e % 128 / 4, token = from % 4 * 2 + e % 2;
        const int row = (team + e / 128 * teams) * 16 + from / 4 + e % 4 / 2 * 8;
        if (token >= p.tokens) continue;
        sum += __bfloat162float(p.residual[token * p.rows + row]);
        p.out[token * p.rows + row] = __float2bfloat16(sum);
    }
    if (kCluster > 1) cluster_sync();
}

KERNEL(128, ring_matmul) { matmul<1, false>(p); }

KERNEL(128, ring_matmul_cluster) { matmul<2, false>(p); }

KERNEL(128, ring_matmul_early_refill) { matmul<2, true>(p); }
