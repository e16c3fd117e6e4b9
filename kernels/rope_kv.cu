// What happens to q, k and v before attention: the rotary position embedding, and the write to the
// paged KV cache. Models use the kernel in qkv.cu, which does both at once.

#include "columns.cuh"
#include "fetch.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"
#include "rotate.cuh"

// A block of x a row; the threads along y share its pairs. A position outside the table is looked
// at last, so that x is on its way before the position has arrived.
extern "C" __global__ void rope(const __grid_constant__ RopeParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t position = load_i32(p.positions, blockIdx.x, 0);
    const bool exists = position < p.max_positions;
    const Row x = row_of(p.x, blockIdx.x), angles = row_of(p.table, exists ? position : 0);
    const uint32_t half = p.rotary / 2;
    const bool by_8 =
        half % 8 == 0 && p.head_dim % 8 == 0 && takes_8(p.x) && takes_8(p.table);
    for_each_column(p.heads * half, by_8, [&](auto width, uint32_t pair) {
        const Row head = x.from(pair / half * p.head_dim);
        const uint32_t col = pair % half;
        constexpr int N = width.value;
        const Fetched<N> fetched_first(head, col), fetched_second(head, half + col);
        const Fetched<N> fetched_cosine(angles, col), fetched_sine(angles, half + col);
        float first[N], second[N], cosine[N], sine[N];
        fetched_first.convert(first);
        fetched_second.convert(second);
        fetched_cosine.convert(cosine);
        fetched_sine.convert(sine);
        rotate<N>(first, second, cosine, sine);
        if (!exists) return;
        head.store(col, first);
        head.store(half + col, second);
    });
}

// A block of x a token; the threads along y share its elements.
extern "C" __global__ void write_kv(const __grid_constant__ WriteKvParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t slot = load_i32(p.slots, blockIdx.x, 0);
    if (slot >= p.num_slots) return;
    const Row k = row_of(p.k, blockIdx.x), v = row_of(p.v, blockIdx.x);
    // The cache as a matrix with a row for each head of each token.
    const View k_cache{p.k_cache, p.head_dim, p.cache_dtype};
    const View v_cache{p.v_cache, p.head_dim, p.cache_dtype};
    const uint64_t first_head = uint64_t(slot / p.block_size) * p.num_kv_heads;
    const bool by_8 = takes_8(p.k) && takes_8(p.v) && takes_8(k_cache) && takes_8(v_cache);
    for_each_column(p.num_kv_heads * p.head_dim, by_8, [&](auto width, uint32_t col) {
        constexpr int N = width.value;
        const Fetched<N> fetched_k(k, col), fetched_v(v, col);
        float of_k[N], of_v[N];
        fetched_k.convert(of_k);
        fetched_v.convert(of_v);
        const uint64_t head = first_head + col / p.head_dim;
        const uint64_t row = head * p.block_size + slot % p.block_size;
        row_of(k_cache, row).store(col % p.head_dim, of_k);
        row_of(v_cache, row).store(col % p.head_dim, of_v);
    });
}
