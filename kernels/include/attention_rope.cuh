// Decode attention on q, k and v as a projection leaves them: a warp normalises and rotates its
// query heads in registers, and the warp with the newest key does the same to that key and stores
// it, with its value, in the cache.
//
// A lane of `DecodeWarp` holds pieces `4c + t` of a head. Half a head is a multiple of 4 pieces, so
// what is rotated together lies in one lane: pieces c and c + half of its own.
//
// Everything in the cache but the newest token was there before the step, so it is read before
// `pdl_wait`. What may still run by then are kernels of the same step, all of them: a step begins
// with copies, be it eager, replayed whole or in pieces, and however many are queued; a kernel
// behind a copy starts after all that was queued in front of the copy. Of these kernels none
// writes to this cache. In a decode batch its one writer is this launch, whose blocks take the
// newest tokens from q, k and v. So no sequence of the batch may read from the cache what the batch
// writes for another one, even where they share blocks of an older prompt: the op
// (`Op::Attention`) rules it out.
#pragma once

#include "attention_decode.cuh"
#include "fetch.cuh"
#include "rotate.cuh"

// The cosines and sines of a position, as a row of the table: four elements in each lane until they
// are wanted, then all of them in shared memory of the warp.
template <uint32_t DIM>
struct Angles {
    float4 own;
    const float* shared;

    // A position outside the table rotates by nothing.
    __device__ __forceinline__ Angles(const RopeKvParams& p, uint32_t row) : shared(nullptr) {
        const uint32_t position = load_i32(p.positions, row, 0), col = 4 * lane();
        const float cosine = col < DIM / 2 ? 1.0f : 0.0f;
        own = make_float4(cosine, cosine, cosine, cosine);
        if (col >= DIM || position >= p.max_positions) return;
        const char* angles = row_of(p.table, position).data;
        own = *reinterpret_cast<const float4*>(angles + col * sizeof(float));
    }

    __device__ __forceinline__ static uint32_t lane() { return threadIdx.x % 32; }

    __device__ __forceinline__ void share(float* memory) {
        if (4 * lane() < DIM) reinterpret_cast<float4*>(memory)[lane()] = own;
        shared = memory;
        __syncwarp();
    }

    __device__ __forceinline__ static void load_8(float (&out)[8], const float* from) {
        const float4 low = *reinterpret_cast<const float4*>(from);
        const float4 high = *reinterpret_cast<const float4*>(from + 4);
        out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
        out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
    }

    // Those of elements 8 * piece and on.
    __device__ __forceinline__ void load(uint32_t piece, float (&cosine)[8],
                                         float (&sine)[8]) const {
        load_8(cosine, shared + 8 * piece);
        load_8(sine, shared + DIM / 2 + 8 * piece);
    }
};

__device__ __forceinline__ void store_piece(const uint32_t (&piece)[4], uint64_t head,
                                            uint32_t index) {
    const uint4 raw = make_uint4(piece[0], piece[1], piece[2], piece[3]);
    global_pointer<uint4>(head)[index] = raw;
}

__device__ __forceinline__ void store_shared16(uint32_t address, const uint32_t (&piece)[4]) {
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(piece[0]),
                 "r"(piece[1]), "r"(piece[2]), "r"(piece[3])
                 : "memory");
}

template <typename T>
__device__ __forceinline__ void unpack_piece(const uint32_t (&piece)[4], float (&out)[8]) {
    const uint4 raw = make_uint4(piece[0], piece[1], piece[2], piece[3]);
    if constexpr (cuda::std::is_same_v<T, __half>) {
        unpack8<unpack_f16>(raw, out);
    } else {
        unpack8<unpack_bf16>(raw, out);
    }
}

template <typename T>
__device__ __forceinline__ void pack_piece(const float (&x)[8], uint32_t (&piece)[4]) {
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) piece[i] = pack2<T>(x[2 * i], x[2 * i + 1]);
}

template <typename T, uint32_t DIM>
struct RopeWarp : DecodeWarp<T, DIM> {
    using Base = DecodeWarp<T, DIM>;
    static constexpr uint32_t QK_PIECES = Base::QK_PIECES, HALF = QK_PIECES / 2;
    using Pieces = uint32_t[QK_PIECES][4];
    using typename Base::Ring;

    const RopeKvParams& rope;
    Angles<DIM> angles;

    __device__ __forceinline__ RopeWarp(const RopeAttentionParams& p, const Split& split,
                                        const Query& query, const Tiles& tiles,
                                        const void* rings)
        : Base(p.attention, split, query, tiles, rings, ::max(query.end, 1u) - 1), rope(p.rope),
          angles(p.rope, query.row) {}

    // Head `head` of q, k and v together.
    __device__ __forceinline__ uint64_t head_of_qkv(uint32_t head) const {
        const uint64_t first = static_cast<uint64_t>(Base::query.row) * rope.qkv.stride;
        return rope.qkv.address + (first + head * DIM) * sizeof(T);
    }

    __device__ __forceinline__ void load_head(Pieces& pieces, uint64_t address) const {
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) load_piece(pieces[c], address, 4 * c + Base::t);
    }

    // Normalises and rotates a head. Rounds once.
    __device__ __forceinline__ void prepare(Pieces& head, const View& norm, float eps) const {
        const bool normed = norm.address != 0;
        Pieces weights;
        if (normed) load_head(weights, norm.address);
        const float scale = normed ? rms(head, eps) : 1.0f;
#pragma unroll
        for (uint32_t c = 0; c < HALF; ++c) {
            float first[8], second[8], cosine[8], sine[8];
            unpack_piece<T>(head[c], first);
            unpack_piece<T>(head[c + HALF], second);
            if (normed) {
                multiply(first, scale, weights[c]);
                multiply(second, scale, weights[c + HALF]);
            }
            angles.load(4 * c + Base::t, cosine, sine);
            rotate<8>(first, second, cosine, sine);
            pack_piece<T>(first, head[c]);
            pack_piece<T>(second, head[c + HALF]);
        }
    }

    __device__ __forceinline__ static void multiply(float (&x)[8], float scale,
                                                    const uint32_t (&piece)[4]) {
        float weights[8];
        unpack_piece<T>(piece, weights);
#pragma unroll
        for (uint32_t i = 0; i < 8; ++i) x[i] *= scale * weights[i];
    }

    // What normalises a head that lies in the four lanes of a group.
    __device__ __forceinline__ float rms(const Pieces& head, float eps) const {
        float sum = 0.0f;
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES; ++c) {
            float x[8];
            unpack_piece<T>(head[c], x);
#pragma unroll
            for (uint32_t i = 0; i < 8; ++i) sum += x[i] * x[i];
        }
        sum += __shfl_xor_sync(FULL_WARP, sum, 1);
        sum += __shfl_xor_sync(FULL_WARP, sum, 2);
        return 1.0f / sqrtf(sum / DIM + eps);
    }

    // Loads the query, and puts the newest token in its place in the last tile, if that has it,
    // and in the cache. `memory` has room for a head.
    __device__ __forceinline__ void insert(float* memory) {
        const uint32_t newest = Base::query.end - 1;
        const bool has_newest = newest / DECODE_TILE == Base::ring.tiles.last;
        Base::load_query();
        if (has_newest) insert_newest(newest % DECODE_TILE, memory);
        if (!has_newest) angles.share(memory);
        prepare(Base::q, rope.q_norm, rope.q_eps);
        __syncwarp();  // `memory` has been read
    }

    // All lanes of a piece's column prepare the key; a lane for each piece moves the value.
    __device__ __forceinline__ void insert_newest(uint32_t key, float* memory) {
        const uint32_t of_k = rope.num_heads + Base::split.kv_head, lane = threadIdx.x % 32;
        const bool has_value = lane < DIM / 8;
        Pieces k;
        uint32_t v[4];
        load_head(k, head_of_qkv(of_k));
        if (has_value) load_piece(v, head_of_qkv(of_k + rope.num_kv_heads), lane);
        const Place place(rope, Base::split, Base::query.row, Base::ring.block_size);
        angles.share(memory);
        prepare(k, rope.k_norm, rope.k_eps);
        Base::ring.wait_for_tile();
        const uint32_t keys = Base::ring.keys(), values = Base::ring.values();
#pragma unroll
        for (uint32_t c = 0; c < QK_PIECES && Base::g == 0; ++c) {
            store_shared16(Ring::place(keys, key, 4 * c + Base::t), k[c]);
            if (place.exists) store_piece(k[c], rope.k_cache + place.offset, 4 * c + Base::t);
        }
        if (!has_value) return;
        store_shared16(Ring::place(values, key, lane), v);
        if (place.exists) store_piece(v, rope.v_cache + place.offset, lane);
    }

    // The newest token's place in a side of the cache, if it has one and no other block writes it.
    struct Place {
        bool exists;
        uint64_t offset;

        __device__ __forceinline__ Place(const RopeKvParams& p, const Split& split, uint32_t row,
                                         const Divider& block_size) {
            const uint32_t slot = load_i32(p.slots, row, 0);
            exists = split.first_head == 0 && slot < p.num_slots;
            uint32_t in_block;
            const uint64_t block = block_size(slot, in_block);
            const uint64_t first = (block * p.num_kv_heads + split.kv_head) * p.block_size;
            offset = (first + in_block) * DIM * sizeof(T);
        }
    };
};
