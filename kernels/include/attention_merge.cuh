// Splitting the keys of one query over warps, over the blocks of a cluster and over several
// clusters, and merging what they found, in a fixed order.
//
// A part is a running softmax: for each head the largest score, the sum of 2^(score - largest), and
// the sum of the values weighted alike. Keys are dealt out in tiles, to all splits in turn and then
// to their warps, so that few keys spread over many blocks; whoever gets none writes no part.
#pragma once

#include "attention.cuh"
#include "cluster.cuh"

// A division is long, and most launches divide by 1.
__device__ __forceinline__ uint32_t quotient(uint32_t a, uint32_t b) { return b == 1 ? a : a / b; }

// What a block computes: some heads of one KV head, for one query, over one split of its keys.
// `blockIdx.x` counts splits fastest, then blocks of heads, KV heads and queries.
struct Split {
    uint32_t item;  // the query's row or sequence
    uint32_t kv_head;
    uint32_t first_head;  // of the KV head's group
    uint32_t num_heads;
    uint32_t index;  // of all blocks with the same heads and query
    uint32_t count;
    uint32_t heads_index;  // of item, KV head and block of heads together
    uint32_t cluster;      // blocks that merge what they find in shared memory

    __device__ __forceinline__ explicit Split(const AttentionParams& p)
        : cluster(cluster_size()) {
        count = cluster * p.partitions;
        heads_index = quotient(blockIdx.x, count);
        index = blockIdx.x - heads_index * count;
        set_heads(p);
    }

    __device__ __forceinline__ Split(const AttentionParams& p, uint32_t heads_index)
        : index(0), count(1), heads_index(heads_index), cluster(1) {
        set_heads(p);
    }

    // Leaves few tiles to the first block of a cluster, where merging them takes no time: its
    // warps get one each at most. Returns whether this block has nothing to do then.
    __device__ __forceinline__ bool gather(uint32_t tiles) {
        if (count > cluster || tiles > blockDim.x / 32) return false;
        count = cluster = 1;
        return index > 0;
    }

    __device__ __forceinline__ uint32_t partition() const { return index / cluster; }

    // First of the heads, among all query heads.
    __device__ __forceinline__ uint32_t query_head(const AttentionParams& p) const {
        return kv_head * p.cache.group + first_head;
    }

    // How many of a block's warps, or of a cluster's blocks, get a share of `tiles` tiles. They are
    // the first ones.
    __device__ __forceinline__ uint32_t used_warps(uint32_t tiles) const {
        return index < tiles ? min(blockDim.x / 32, quotient(tiles - index - 1, count) + 1) : 0;
    }

    __device__ __forceinline__ uint32_t used_blocks(uint32_t tiles) const {
        const uint32_t first = partition() * cluster;
        return first < tiles ? min(cluster, tiles - first) : 0;
    }

   private:
    __device__ __forceinline__ void set_heads(const AttentionParams& p) {
        const bool whole_groups = p.heads >= p.cache.group;
        const uint32_t blocks_of_heads = whole_groups ? 1 : ceil_div(p.cache.group, p.heads);
        const uint32_t head = quotient(heads_index, blocks_of_heads);
        first_head = (heads_index - head * blocks_of_heads) * p.heads;
        num_heads = min(p.heads, p.cache.group - first_head);
        item = head / p.cache.num_kv_heads;
        kv_head = head - item * p.cache.num_kv_heads;
    }
};

// The tiles of a warp, of tiles `first..end`: from the last one on they are dealt out to the
// splits, and then to their warps, in turn.
struct Tiles {
    uint32_t last;  // the warp's
    uint32_t step;
    int32_t span;  // tiles before `last`, of this warp or another; negative if it has none at all

    __device__ __forceinline__ Tiles(const Split& split, uint32_t first, uint32_t end)
        : step(split.count * (blockDim.x / 32)) {
        last = end - 1 - split.index - split.count * (threadIdx.x / 32);
        span = static_cast<int32_t>(last - first);
    }

    __device__ __forceinline__ bool any() const { return span >= 0; }

    // The tile that the warp takes after `place` others, and whether it exists.
    __device__ __forceinline__ uint32_t at(uint32_t place) const { return last - place * step; }

    __device__ __forceinline__ bool has(uint32_t place) const {
        return static_cast<int32_t>(place * step) <= span;
    }
};

// Elements of a head in shared memory and in partial results, zeros at its end included.
__device__ __forceinline__ uint32_t padded_head(const AttentionParams& p) {
    return ceil_div(p.cache.head_dim, 8) * 8;
}

// Four dims of one head, of a part or of several together.
struct Merged {
    float max, sum;
    float4 values;
};

// Parts side by side. All arrays are contiguous, so a part's place is its index.
struct Parts {
    float* maxes;   // [count, MAX_HEADS]
    float* sums;    // [count, MAX_HEADS]
    float* values;  // [count, heads, padded_head]

    __device__ __forceinline__ Parts(float* data, uint32_t count)
        : maxes(data), sums(data + count * MAX_HEADS), values(sums + count * MAX_HEADS) {}

    // Merges dims of `count` parts; those of part i lie at `from[i * stride]`.
    __device__ __forceinline__ Merged merge(uint32_t count, uint32_t head, const float* from,
                                            uint64_t stride) const {
        Merged all = {NEG_INFINITY, 0.0f, make_float4(0.0f, 0.0f, 0.0f, 0.0f)};
#pragma unroll 4
        for (uint32_t i = 0; i < count; ++i) {
            all.max = fmaxf(all.max, maxes[i * MAX_HEADS + head]);
        }
#pragma unroll 4
        for (uint32_t i = 0; i < count; ++i) {
            const float max = maxes[i * MAX_HEADS + head], sum = sums[i * MAX_HEADS + head];
            const float4 part = *reinterpret_cast<const float4*>(from + i * stride);
            if (max == NEG_INFINITY) continue;  // a partition without keys
            const float scale = exp2_approx(max - all.max);
            all.sum = fmaf(scale, sum, all.sum);
            all.values.x = fmaf(scale, part.x, all.values.x);
            all.values.y = fmaf(scale, part.y, all.values.y);
            all.values.z = fmaf(scale, part.z, all.values.z);
            all.values.w = fmaf(scale, part.w, all.values.w);
        }
        return all;
    }
};

// The shared memory of a split kernel: a part of each warp, then of each block of the cluster, if
// there are several, of which a block merges a slice of the values.
struct MergeShared {
    uint32_t size;   // elements of a part's values
    uint32_t slice;  // a multiple of 4
    Parts warps;
    Parts blocks;

    __device__ __forceinline__ MergeShared(const AttentionParams& p, const Split& split,
                                           float* data)
        : size(split.num_heads * padded_head(p)),
          slice(4 * ceil_div(size / 4, split.cluster)),
          warps(data, blockDim.x / 32),
          blocks(warps.values + blockDim.x / 32 * size, split.cluster) {}
};

// Where the clusters of a query leave their parts: `[heads_index, partition]`.
__device__ __forceinline__ Parts partial_results(const AttentionParams& p, uint32_t num_items) {
    return Parts(global_pointer<float>(p.partials), num_items * p.partitions);
}

// Stores the first `count` of four elements.
__device__ __forceinline__ void store_some(const Row& row, uint32_t count, const float (&x)[4]) {
    const bool together = count >= 4 && reinterpret_cast<uintptr_t>(row.data) % 8 == 0;
    uint2* pairs = reinterpret_cast<uint2*>(row.data);
    if (together && row.dtype == DTYPE_BF16) {
        *pairs = make_uint2(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]));
    } else if (together && row.dtype == DTYPE_F16) {
        *pairs = make_uint2(pack_f16(x[0], x[1]), pack_f16(x[2], x[3]));
    } else {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            if (i < count) row.store(i, x[i]);
        }
    }
}

// Stores what the keys of a query, or of a partition, give for elements `i..i + 4` of the block's
// heads, all of head `head`.
__device__ __forceinline__ void store_merged(const AttentionParams& p, const Split& split,
                                             const Row& out, uint32_t i, uint32_t head,
                                             const Merged& all) {
    const uint32_t padded = padded_head(p), dim = i - head * padded;
    if (p.partitions > 1) {
        const Parts partials = partial_results(p, gridDim.x / split.count);
        const uint32_t part = split.heads_index * p.partitions + split.partition();
        float* values = partials.values + static_cast<uint64_t>(part) * p.heads * padded;
        *reinterpret_cast<float4*>(values + i) = all.values;
        if (dim == 0) partials.maxes[part * MAX_HEADS + head] = all.max;
        if (dim == 0) partials.sums[part * MAX_HEADS + head] = all.sum;
        return;
    }
    if (dim >= p.cache.head_dim) return;
    const float scale = 1.0f / all.sum;
    const float values[4] = {all.values.x * scale, all.values.y * scale, all.values.z * scale,
                             all.values.w * scale};
    const uint32_t col = (split.query_head(p) + head) * p.cache.head_dim + dim;
    store_some(out.from(col), p.cache.head_dim - dim, values);
}

// Hands dims `i..i + 4` of this block's part to the block of the cluster that merges them.
__device__ __forceinline__ void push(const MergeShared& shared, uint32_t i, uint32_t head,
                                     bool first_of_head, const Merged& part) {
    const uint32_t rank = cluster_rank(), owner = i / shared.slice;
    cluster_store(shared.blocks.values + rank * shared.slice + i - owner * shared.slice, owner,
                  part.values);
    if (!first_of_head) return;
    for (uint32_t to = 0; to < cluster_size(); ++to) {
        cluster_store(shared.blocks.maxes + rank * MAX_HEADS + head, to, part.max);
        cluster_store(shared.blocks.sums + rank * MAX_HEADS + head, to, part.sum);
    }
}

// Marks a partition without keys.
__device__ __forceinline__ void store_no_keys(const AttentionParams& p, const Split& split) {
    if (cluster_rank() > 0 || threadIdx.x >= split.num_heads) return;
    const Parts partials = partial_results(p, gridDim.x / split.count);
    const uint32_t part = split.heads_index * p.partitions + split.partition();
    partials.maxes[part * MAX_HEADS + threadIdx.x] = NEG_INFINITY;
}

// Merges the parts of a query with `tiles` tiles of keys. Each warp that got some has written its
// part; in a cluster, every thread has called `cluster_arrive`.
__device__ __forceinline__ void merge(const AttentionParams& p, const Split& split, const Row& out,
                                      const MergeShared& shared, uint32_t tiles) {
    const uint32_t used_blocks = split.used_blocks(tiles), used_warps = split.used_warps(tiles);
    const uint32_t padded = padded_head(p), step = 4 * blockDim.x;
    __syncthreads();
    const bool alone = split.cluster == 1;
    if (!alone) cluster_wait();
    for (uint32_t i = 4 * threadIdx.x; i < shared.size && used_warps > 0; i += step) {
        const uint32_t head = i / padded;
        const Merged part =
            shared.warps.merge(used_warps, head, shared.warps.values + i, shared.size);
        if (alone) {
            store_merged(p, split, out, i, head, part);
        } else {
            push(shared, i, head, i == head * padded, part);
        }
    }
    if (alone) return;
    cluster_arrive();
    cluster_wait();
    const uint32_t start = cluster_rank() * shared.slice;
    const uint32_t end = min(start + shared.slice, shared.size);
    for (uint32_t i = start + 4 * threadIdx.x; i < end; i += step) {
        const uint32_t head = i / padded;
        const Merged all = shared.blocks.merge(used_blocks, head, shared.blocks.values + i - start,
                                               shared.slice);
        store_merged(p, split, out, i, head, all);
    }
}

// Zeros for a query that sees no key.
__device__ __forceinline__ void store_zeros(const AttentionParams& p, const Split& split,
                                            const Row& out) {
    if (split.index > 0) return;
    const uint32_t first = split.query_head(p) * p.cache.head_dim;
    const uint32_t size = split.num_heads * p.cache.head_dim;
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) out.store(first + i, 0.0f);
}
