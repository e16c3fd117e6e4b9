// The ring of shared memory through which a warp streams its keys and values.
//
// Copies of two tiles are under way while the warp works on a third, in registers; keys and values
// are waited for, and replaced, each on their own. Neighbouring lanes copy a row, so that whole
// cache lines come at a time, and other lanes read it. The pieces of 16 bytes in a row are
// exchanged so that neither meets bank conflicts.
#pragma once

#include "attention_merge.cuh"
#include "mma.cuh"

constexpr uint32_t DECODE_TILE = 16;

template <uint32_t DIM>
struct TileRing {
    static constexpr uint32_t STAGES = 2;
    static constexpr uint32_t PIECES = DIM / 8;  // in a row
    static constexpr uint32_t ROW_BYTES = DIM * 2;
    static constexpr uint32_t SIDE_BYTES = DECODE_TILE * ROW_BYTES;  // keys, or values, of a tile
    static constexpr uint32_t STAGE_BYTES = 2 * SIDE_BYTES;
    static constexpr uint32_t BYTES = STAGES * STAGE_BYTES;  // of a warp

    const AttentionParams& p;
    const Query& query;
    const Tiles& tiles;
    uint32_t cached;     // keys from there on are not in the cache
    uint32_t kv_head;
    uint32_t slots;      // shared address
    uint32_t stage = 0;  // in use; in bytes
    uint32_t next = 0;   // place, among the warp's tiles, of the tile that is fetched next
    uint32_t rows = 0;   // where its keys lie

    // `rings` is the shared memory for the rings of all warps.
    __device__ __forceinline__ TileRing(const AttentionParams& p, const Split& split,
                                        const Query& query, const Tiles& tiles, const void* rings,
                                        uint32_t cached)
        : p(p), query(query), tiles(tiles), cached(cached), kv_head(split.kv_head),
          slots(shared_address(rings) + threadIdx.x / 32 * BYTES) {}

    __device__ __forceinline__ uint32_t keys() const { return slots + stage; }

    __device__ __forceinline__ uint32_t values() const { return slots + stage + SIDE_BYTES; }

    // Shared address of a piece of a row. Lanes that access pieces at the same time differ in the
    // lowest bits of the piece, in bit 0 of the row, or in its bits 1 and 2: any two of the three
    // lead to different banks.
    __device__ __forceinline__ static uint32_t place(uint32_t side, uint32_t row, uint32_t piece) {
        const uint32_t exchange = ((row ^ row >> 2) & 1) << 2 | (row & 2);
        return side + row * ROW_BYTES + (piece ^ exchange) * 16;
    }

    // Starts to fetch the warp's tiles.
    __device__ __forceinline__ void start() {
        uint32_t first[STAGES];
#pragma unroll
        for (uint32_t i = 0; i < STAGES; ++i) first[i] = find_rows(i);
#pragma unroll
        for (uint32_t i = 0; i < STAGES; ++i) {
            rows = first[i];
            copy(slots + i * STAGE_BYTES, p.cache.k);
            copy(slots + i * STAGE_BYTES + SIDE_BYTES, p.cache.v);
            ++next;
        }
        rows = find_rows(next);
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
    __device__ __forceinline__ void refill_keys() const {
        __syncwarp();
        copy(keys(), p.cache.k);
    }

    // The same for the values. Goes on to the next tile.
    __device__ __forceinline__ void refill_values() {
        __syncwarp();
        copy(values(), p.cache.v);
        stage = stage + STAGE_BYTES == BYTES ? 0 : stage + STAGE_BYTES;
        rows = find_rows(++next);
    }

   private:
    // Where key `lane % 16` of a tile lies; the tile need not exist. A key that the query does not
    // see, or that is not in the cache, is replaced by one that it sees there: such memory has been
    // written, and the key's weight of 0 hides it.
    __device__ __forceinline__ uint32_t find_rows(uint32_t place) const {
        const uint32_t key = tiles.at(place) * DECODE_TILE + threadIdx.x % DECODE_TILE;
        const uint32_t seen = min(::max(key, query.first), ::max(cached, 1u) - 1);
        return cache_row(p, query.sequence, kv_head, seen);
    }

    // Copies a side of the next tile, if there is one; zeros if the query sees no cached key.
    __device__ __forceinline__ void copy(uint32_t to, uint64_t side) const {
        const uint32_t lane = threadIdx.x % 32, piece = lane % PIECES;
        const bool exists = 8 * piece < p.cache.head_dim && query.first < cached;
        if (next < tiles.count) {
#pragma unroll
            for (uint32_t i = 0; i < DECODE_TILE * PIECES / 32; ++i) {
                const uint32_t key = i * (32 / PIECES) + lane / PIECES;
                const uint64_t row = __shfl_sync(FULL_WARP, rows, key);
                const uint64_t address = side + row * p.cache.head_dim * 2;
                copy_async16(place(to, key, piece), global_pointer<const uint4>(address) + piece,
                             exists);
            }
        }
        copy_async_commit();
    }
};
