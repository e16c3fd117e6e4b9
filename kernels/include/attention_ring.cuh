// The ring of shared memory through which a warp streams its keys and values.
//
// Copies of two tiles are under way while the warp works on a third, in registers; keys and values
// are waited for, and replaced, each on their own. Eight lanes copy a line of a row, and a fragment
// is read from eight rows: the pieces of 16 bytes in a line are exchanged so that neither meets
// bank conflicts.
#pragma once

#include "attention_merge.cuh"
#include "mma.cuh"

constexpr uint32_t DECODE_TILE = 16;

// Divides by the same number again and again.
struct Divider {
    uint32_t divisor, inverse;

    __device__ __forceinline__ explicit Divider(uint32_t divisor)
        : divisor(divisor), inverse(UINT32_MAX / divisor) {}

    __device__ __forceinline__ uint32_t operator()(uint32_t x, uint32_t& remainder) const {
        uint32_t quotient = __umulhi(x, inverse);  // or one less than it is
        remainder = x - quotient * divisor;
        if (remainder < divisor) return quotient;
        remainder -= divisor;
        return quotient + 1;
    }
};

// Keeps the compiler from working `x` out again wherever it is used.
__device__ __forceinline__ uint32_t keep(uint32_t x) {
    asm volatile("" : "+r"(x));
    return x;
}

template <uint32_t DIM>
struct TileRing {
    static constexpr uint32_t STAGES = 2;
    static constexpr uint32_t LINES = DIM / 64;  // of 8 pieces, in a row
    static constexpr uint32_t ROW_BYTES = DIM * 2;
    static constexpr uint32_t SIDE_BYTES = DECODE_TILE * ROW_BYTES;  // keys, or values, of a tile
    static constexpr uint32_t STAGE_BYTES = 2 * SIDE_BYTES;
    static constexpr uint32_t BYTES = STAGES * STAGE_BYTES;  // of a warp

    const AttentionParams& p;
    const Query& query;
    const Tiles& tiles;
    Divider block_size;
    uint32_t cached;     // keys from there on are not in the cache
    uint32_t kv_head;
    uint32_t slots;      // shared address, a multiple of 128
    uint32_t to;         // from a side to where the lane copies to first
    uint32_t from;       // the same in the cache, if rows lie one after the other
    uint32_t stage = 0;  // in use; in bytes
    uint32_t next = 0;   // place, among the warp's tiles, of the tile that is fetched next

    // Where key `lane % 16` of a tile lies: block of the cache, which is on its way from the block
    // table until somebody asks for it, and row in the block.
    struct Found {
        int32_t block;
        uint32_t in_block;
    };
    Found found;        // of the next tile
    uint32_t rows = 0;  // the same as a row of the cache, once its keys have been asked for

    // `rings` is the shared memory for the rings of all warps.
    __device__ __forceinline__ TileRing(const AttentionParams& p, const Split& split,
                                        const Query& query, const Tiles& tiles, const void* rings,
                                        uint32_t cached)
        : p(p), query(query), tiles(tiles), block_size(p.cache.block_size), cached(cached),
          kv_head(split.kv_head), slots(shared_address(rings) + threadIdx.x / 32 * BYTES) {
        const uint32_t row = threadIdx.x % 32 / 8, piece = threadIdx.x % 8;
        to = keep(place(0, row, piece));
        from = keep(row * ROW_BYTES + piece * 16);
    }

    __device__ __forceinline__ uint32_t keys() const { return slots + stage; }

    __device__ __forceinline__ uint32_t values() const { return slots + stage + SIDE_BYTES; }

    // What the number of a piece is exchanged with in its line: the lowest bits of the row, in
    // reverse. So rows 2i and 2i + 1 have their halves of a line exchanged, too.
    __device__ __forceinline__ static uint32_t exchange(uint32_t row) {
        return (row & 1) << 2 | (row & 2) | (row >> 2 & 1);
    }

    // Shared address of a piece of a side.
    __device__ __forceinline__ static uint32_t place(uint32_t side, uint32_t row, uint32_t piece) {
        return side + row * ROW_BYTES + (piece ^ exchange(row)) * 16;
    }

    // Starts to fetch the warp's tiles.
    __device__ __forceinline__ void start() {
        Found first[STAGES];
#pragma unroll
        for (uint32_t i = 0; i < STAGES; ++i) first[i] = find(i);
#pragma unroll
        for (uint32_t i = 0; i < STAGES; ++i) {
            rows = rows_of(first[i]);
            copy(slots + i * STAGE_BYTES, p.cache.k);
            copy(slots + i * STAGE_BYTES + SIDE_BYTES, p.cache.v);
            ++next;
        }
        found = find(next);
    }

    // Waits for the keys, or the values, that were asked for first.
    __device__ __forceinline__ void wait() const {
        copy_async_wait<2 * STAGES - 1>();
        __syncwarp();
    }

    // Waits for both.
    __device__ __forceinline__ void wait_for_tile() const {
        copy_async_wait<2 * STAGES - 2>();
        __syncwarp();
    }

    // Fetches the keys of a later tile to where all lanes have read those of this one.
    __device__ __forceinline__ void refill_keys() {
        __syncwarp();
        rows = rows_of(found);
        copy(keys(), p.cache.k);
    }

    // Then the same for the values. Goes on to the next tile.
    __device__ __forceinline__ void refill_values() {
        __syncwarp();
        copy(values(), p.cache.v);
        stage = stage + STAGE_BYTES == BYTES ? 0 : stage + STAGE_BYTES;
        found = find(++next);
    }

   private:
    // Of a tile that need not exist. A key that the query does not see, or that is not in the
    // cache, is replaced by one that it sees there: such memory has been written, and the key's
    // weight of 0 hides it.
    __device__ __forceinline__ Found find(uint32_t index) const {
        const uint32_t key = tiles.at(index) * DECODE_TILE + threadIdx.x % DECODE_TILE;
        const uint32_t seen = min(::max(key, query.first), ::max(cached, 1u) - 1);
        Found found;
        const uint32_t logical = block_size(seen, found.in_block);
        found.block = load_i32(p.block_tables, query.sequence, logical);
        return found;
    }

    __device__ __forceinline__ uint32_t rows_of(const Found& found) const {
        const uint32_t block = min(static_cast<uint32_t>(found.block), p.cache.num_blocks - 1);
        return (block * p.cache.num_kv_heads + kv_head) * p.cache.block_size + found.in_block;
    }

    // Whether the next tile's keys lie one after the other, and the kernel is made for their size.
    __device__ __forceinline__ bool is_plain() const {
        const uint32_t first = tiles.at(next) * DECODE_TILE;
        return p.cache.block_size % DECODE_TILE == 0 && p.cache.head_dim == DIM &&
               first >= query.first && first + DECODE_TILE <= cached;
    }

    // Copies a side of the next tile, if there is one. Lanes 8i and on copy lines of keys i, i + 4,
    // i + 8 and i + 12.
    __device__ __forceinline__ void copy(uint32_t side, uint64_t cache) const {
        if (tiles.has(next)) {
            if (is_plain()) {
                const uint64_t first = __shfl_sync(FULL_WARP, rows, 0);
                copy_plain(side + to, cache + first * ROW_BYTES + from);
            } else {
                copy_rows(side + to, cache);
            }
        }
        copy_async_commit();
    }

    // Rows 4 further on have the lowest bit of `exchange` the other way round.
    __device__ __forceinline__ static uint32_t copied(uint32_t to, uint32_t key, uint32_t line) {
        return (to ^ key % 8 * 4) + key * ROW_BYTES + line * 128;
    }

    __device__ __forceinline__ static void copy_plain(uint32_t to, uint64_t address) {
        const char* from = global_pointer<const char>(address);
#pragma unroll
        for (uint32_t key = 0; key < DECODE_TILE; key += 4) {
#pragma unroll
            for (uint32_t line = 0; line < LINES; ++line) {
                copy_async16(copied(to, key, line), from + key * ROW_BYTES + line * 128);
            }
        }
    }

    // What is past the head is zeros, and so is all if the query sees no cached key.
    __device__ __forceinline__ void copy_rows(uint32_t to, uint64_t cache) const {
        const uint32_t own = threadIdx.x % 32 / 8, piece = threadIdx.x % 8;
#pragma unroll
        for (uint32_t key = 0; key < DECODE_TILE; key += 4) {
            const uint64_t row = __shfl_sync(FULL_WARP, rows, key + own);
            const uint4* from =
                global_pointer<const uint4>(cache + row * p.cache.head_dim * 2) + piece;
#pragma unroll
            for (uint32_t line = 0; line < LINES; ++line) {
                const bool in_head = 8 * (8 * line + piece) < p.cache.head_dim;
                copy_async16(copied(to, key, line), from + 8 * line,
                             in_head && query.first < cached);
            }
        }
    }
};
