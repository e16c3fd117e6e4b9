// Attention of sequences with several query tokens, 16-bit heads.
// Grid: tiles of packed rows x KV heads; sequences are found in cu_seqlens.

#include "attention_prefill.cuh"
#include "pdl.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace attention_prefill_cu {

// The work of a block.
template <typename T, typename Shape>
struct PrefillBlock {
    static constexpr uint32_t KEYS_OF_WARP = Shape::KEYS / Shape::WARPS;

    const AttentionParams& p;
    const QueryTile& tile;
    uint32_t kv_head;
    uint32_t shared;          // address of the queries, then of the stages
    uint32_t num_rows;        // packed, of the sequence
    uint32_t first_position;  // of the sequence's first token
    uint32_t first, end;      // keys that any of the block's queries sees

    __device__ __forceinline__ PrefillBlock(const AttentionParams& p, const QueryTile& tile,
                                            uint32_t kv_head, uint32_t shared, uint32_t len)
        : p(p), tile(tile), kv_head(kv_head), shared(shared) {
        num_rows = tile.num_tokens * p.cache.group;
        first_position = len - tile.num_tokens;
        first = first_key(tile.index * Shape::ROWS);
        end = end_key(tile.index * Shape::ROWS + Shape::ROWS - 1);
    }

    // Where a packed row starts in a matrix like `q`; rows past the last count as the last.
    __device__ __forceinline__ uint64_t row_address(const View& view, uint32_t row) const {
        const uint32_t token = row / p.cache.group, head = row - token * p.cache.group;
        const uint32_t col = (kv_head * p.cache.group + head) * p.cache.head_dim;
        const uint64_t q_row = tile.start + token;
        return view.address + (q_row * view.stride + col) * sizeof(T);
    }

    __device__ __forceinline__ uint32_t end_key(uint32_t row) const {
        return first_position + min(row, num_rows - 1) / p.cache.group + 1;
    }

    __device__ __forceinline__ uint32_t first_key(uint32_t row) const {
        const uint32_t row_end = end_key(row);
        return row_end > p.window ? row_end - p.window : 0;
    }

    __device__ __forceinline__ uint32_t stage(uint32_t index) const {
        return shared + Shape::Q_BYTES + index % Shape::STAGES * 2 * Shape::TILE_BYTES;
    }

    // Starts the copies of the queries; zeros past the last row and past the head.
    __device__ __forceinline__ void load_queries(uint32_t to) const {
        for (uint32_t i = threadIdx.x; i < Shape::ROWS * Shape::PIECES; i += blockDim.x) {
            const uint32_t local = i / Shape::PIECES, piece = i % Shape::PIECES;
            const uint32_t row = tile.index * Shape::ROWS + local;
            const bool exists = row < num_rows && 8 * piece < p.cache.head_dim;
            const uint64_t from = exists ? row_address(p.q, row) + piece * 16 : p.q.address;
            copy_async16(to + place<Shape>(local, piece), global_pointer<char>(from), exists);
        }
    }

    // The cache row of the key that this lane looks up for its warp. A key that no query sees is
    // replaced by one that is seen: such memory has been written, and a weight of 0 hides it.
    __device__ __forceinline__ uint32_t find_row(uint32_t start) const {
        const uint32_t key = start + threadIdx.x / 32 * KEYS_OF_WARP + threadIdx.x % KEYS_OF_WARP;
        return cache_row(p, tile.sequence, kv_head, min(max(key, first), end - 1));
    }

    // Starts the copies of the warp's keys of a tile, and of their values.
    __device__ __forceinline__ void load_keys(uint32_t rows, uint32_t to) const {
#pragma unroll
        for (uint32_t i = 0; i < KEYS_OF_WARP * Shape::PIECES / 32; ++i) {
            const uint32_t index = i * 32 + threadIdx.x % 32;
            const uint32_t key = index / Shape::PIECES, piece = index % Shape::PIECES;
            const bool exists = 8 * piece < p.cache.head_dim;
            const uint64_t row = __shfl_sync(FULL_WARP, rows, key);
            const uint64_t element = row * p.cache.head_dim + (exists ? 8 * piece : 0);
            const uint32_t place_to =
                to + place<Shape>(threadIdx.x / 32 * KEYS_OF_WARP + key, piece);
            const char* k = global_pointer<char>(p.cache.k + element * sizeof(T));
            const char* v = global_pointer<char>(p.cache.v + element * sizeof(T));
            copy_async16(place_to, k, exists);
            copy_async16(place_to + Shape::TILE_BYTES, v, exists);
        }
    }

    // Lets the warp attend to the tile of keys from `start` on.
    __device__ __forceinline__ void attend(PrefillWarp<T, Shape>& warp, uint32_t start,
                                           uint32_t keys) const {
        const uint32_t row = tile.index * Shape::ROWS + threadIdx.x / 32 * 16;
        const uint32_t tile_end = start + Shape::KEYS;
        if (start >= end_key(row + 15) || tile_end <= first_key(row)) return;
        float scores[Shape::KEYS / 8][4];
        warp.score(scores, keys);
        const bool all_seen = tile_end <= end_key(row) && start >= first_key(row + 15);
        if (!all_seen) {
            const uint32_t mine = row + threadIdx.x % 32 / 4;
            const uint32_t first_keys[2] = {first_key(mine), first_key(mine + 8)};
            const uint32_t end_keys[2] = {end_key(mine), end_key(mine + 8)};
            warp.mask(scores, start, first_keys, end_keys);
        }
        warp.softmax(scores, p.scale_log2);
        warp.add_values(scores, keys + Shape::TILE_BYTES);
    }

    __device__ __forceinline__ void run(PrefillWarp<T, Shape>& warp) const {
        constexpr uint32_t AHEAD = Shape::STAGES - 1;
        // In registers, queries need room only until the last stage is filled.
        const uint32_t queries = Shape::Q_IN_REGISTERS ? stage(AHEAD) : shared;
        load_queries(queries);
        copy_async_commit();
        uint32_t start = first / Shape::KEYS * Shape::KEYS, next = start;
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; ++i, next += Shape::KEYS) {
            if (next < end) load_keys(find_row(next), stage(i));
            copy_async_commit();
        }
        copy_async_wait<AHEAD>();
        __syncthreads();
        warp.take_queries(queries);
        uint32_t rows = find_row(next);
#pragma unroll 1
        for (uint32_t i = 0; start < end; ++i, start += Shape::KEYS, next += Shape::KEYS) {
            copy_async_wait<AHEAD - 1>();
            __syncthreads();
            if (next < end) load_keys(rows, stage(i + AHEAD));
            copy_async_commit();
            rows = find_row(next + Shape::KEYS);
            attend(warp, start, stage(i));
        }
    }

    // Zeros for rows that see no key.
    __device__ __forceinline__ void store_zeros() const {
        const uint32_t first_row = tile.index * Shape::ROWS, pieces = p.cache.head_dim / 8;
        const uint32_t rows = min(num_rows - first_row, Shape::ROWS);
        for (uint32_t i = threadIdx.x; i < rows * pieces; i += blockDim.x) {
            const uint32_t row = i / pieces, piece = i - row * pieces;
            uint4* to = global_pointer<uint4>(row_address(p.out, first_row + row));
            to[piece] = make_uint4(0, 0, 0, 0);
        }
    }

    __device__ __forceinline__ void store(const PrefillWarp<T, Shape>& warp) const {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t first_row = tile.index * Shape::ROWS + threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            const uint32_t row = first_row + 8 * half;
            if (row >= num_rows) continue;
            uint32_t* to = global_pointer<uint32_t>(row_address(p.out, row)) + lane % 4;
#pragma unroll
            for (uint32_t i = 0; i < Shape::PIECES; ++i) {
                if (8 * i >= p.cache.head_dim) break;
                const float low = warp.out[i][2 * half], high = warp.out[i][2 * half + 1];
                to[4 * i] = pack2<T>(low * warp.sum[half], high * warp.sum[half]);
            }
        }
    }
};

template <typename T, typename Shape>
__device__ __forceinline__ void attention_prefill(const AttentionParams& p) {
    extern __shared__ __align__(512) unsigned char shared_memory[];
    pdl_launch_dependents();
    const uint32_t target = blockIdx.x / p.cache.num_kv_heads;
    QueryTile tile = {};
    const bool found = tile.template find<Shape>(p, target);
    const uint32_t len = tile.sequence < p.num_seqs ? context_len(p, tile.sequence) : 0;
    pdl_wait();
    if (!found) return;
    const PrefillBlock<T, Shape> block(p, tile, blockIdx.x - target * p.cache.num_kv_heads,
                                       shared_address(shared_memory), len);
    if (len < tile.num_tokens) return block.store_zeros();
    PrefillWarp<T, Shape> warp;
    block.run(warp);
    warp.finish();
    block.store(warp);
}

}  // namespace attention_prefill_cu

using namespace attention_prefill_cu;

// Keys of a tile and stages; `launch/attention.rs` knows the shared memory that they take.
// Hopper has room for more than the smallest chips that the other build runs on.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
using Shape128 = PrefillShape<128, 128, 2, true>;
using Shape256 = PrefillShape<256, 64, 2, false>;
#else
using Shape128 = PrefillShape<128, 64, 3, true>;
using Shape256 = PrefillShape<256, 16, 2, false>;
#endif
using Shape64 = PrefillShape<64, 64, 3, false>;

#define ATTENTION_PREFILL(name, type, shape, blocks)                \
    extern "C" __global__ void __launch_bounds__(256, blocks)       \
        name(const __grid_constant__ AttentionParams p) {           \
        attention_prefill<type, shape>(p);                          \
    }

ATTENTION_PREFILL(attention_prefill_64_bf16, __nv_bfloat16, Shape64, 2)
ATTENTION_PREFILL(attention_prefill_128_bf16, __nv_bfloat16, Shape128, 1)
ATTENTION_PREFILL(attention_prefill_256_bf16, __nv_bfloat16, Shape256, 1)
ATTENTION_PREFILL(attention_prefill_64_f16, __half, Shape64, 2)
ATTENTION_PREFILL(attention_prefill_128_f16, __half, Shape128, 1)
ATTENTION_PREFILL(attention_prefill_256_f16, __half, Shape256, 1)
