// Splitting the keys of one query over warps, over the blocks of a cluster and over several
// clusters, and merging what they found, in a fixed order.
//
// A part is a running softmax: for each head the largest score, the sum of 2^(score - largest), and
// the sum of the values weighted alike. Its largest score is negative infinity, and its values are
// not written, when no key fell to it.
#pragma once

#include "attention.cuh"
#include "attention_cluster.cuh"

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

    __device__ __forceinline__ explicit Split(const AttentionParams& p) {
        count = cluster_size() * p.partitions;
        heads_index = blockIdx.x / count;
        index = blockIdx.x - heads_index * count;
        set_heads(p);
    }

    __device__ __forceinline__ Split(const AttentionParams& p, uint32_t heads_index)
        : index(0), count(1), heads_index(heads_index) {
        set_heads(p);
    }

    __device__ __forceinline__ uint32_t partition() const { return index / cluster_size(); }

    // First of the heads, among all query heads.
    __device__ __forceinline__ uint32_t query_head(const AttentionParams& p) const {
        return kv_head * p.cache.group + first_head;
    }

    // Elements of a part's values.
    __device__ __forceinline__ uint32_t size(const AttentionParams& p) const {
        return num_heads * p.cache.head_dim;
    }

    // The blocks' heads in the output row of a query, as one run of `size` elements.
    __device__ __forceinline__ void store(const AttentionParams& p, const Row& out,
                                          uint32_t element, float value) const {
        out.store(query_head(p) * p.cache.head_dim + element, value);
    }

   private:
    __device__ __forceinline__ void set_heads(const AttentionParams& p) {
        const uint32_t blocks_of_heads = ceil_div(p.cache.group, p.heads);
        const uint32_t head = heads_index / blocks_of_heads;
        first_head = (heads_index - head * blocks_of_heads) * p.heads;
        num_heads = min(p.heads, p.cache.group - first_head);
        item = head / p.cache.num_kv_heads;
        kv_head = head - item * p.cache.num_kv_heads;
    }
};

// Parts side by side. All arrays are contiguous, so a part's place is its index.
struct Parts {
    float* maxes;   // [count, MAX_HEADS]
    float* sums;    // [count, MAX_HEADS]
    float* values;  // [count, size]

    __device__ __forceinline__ Parts(float* data, uint32_t count)
        : maxes(data), sums(data + count * MAX_HEADS), values(sums + count * MAX_HEADS) {}

    __device__ __forceinline__ float max(uint32_t count, uint32_t head) const {
        float result = NEG_INFINITY;
#pragma unroll 1
        for (uint32_t i = 0; i < count; ++i) result = fmaxf(result, maxes[i * MAX_HEADS + head]);
        return result;
    }

    // The sum of numbers of `count` parts (`from[i * stride]` is that of part i) for one head whose
    // largest score is `max`. The numbers of empty parts are not read.
    __device__ __forceinline__ float merge(uint32_t count, uint32_t head, float max,
                                           const float* from, uint32_t stride) const {
        float total = 0.0f;
#pragma unroll 1
        for (uint32_t i = 0; i < count; ++i) {
            const float part = maxes[i * MAX_HEADS + head];
            if (part != NEG_INFINITY) total += exp2_approx(part - max) * from[i * stride];
        }
        return total;
    }

    __device__ __forceinline__ float merge_sums(uint32_t count, uint32_t head, float max) const {
        return merge(count, head, max, sums + head, MAX_HEADS);
    }
};

// The shared memory of a split kernel: a part of each warp, then of each block of the cluster, of
// which a block merges a slice of the values.
struct MergeShared {
    Parts warps;
    Parts blocks;
    uint32_t slice;

    __device__ __forceinline__ MergeShared(float* data, uint32_t num_warps, uint32_t size)
        : warps(data, num_warps),
          blocks(warps.values + num_warps * size, cluster_size()),
          slice(ceil_div(size, cluster_size())) {}
};

// Where the clusters of a query leave their parts: `[heads_index, partition]`.
__device__ __forceinline__ Parts partial_results(const AttentionParams& p, uint32_t num_items) {
    return Parts(global_pointer<float>(p.partials), num_items * p.partitions);
}

// Merges the parts of the block's warps and hands each block of the cluster its slice.
__device__ __forceinline__ void merge_warps(const AttentionParams& p, const Split& split,
                                            const MergeShared& shared) {
    const uint32_t num_warps = blockDim.x / 32, size = split.size(p), rank = cluster_rank();
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
        const uint32_t head = i / p.cache.head_dim, owner = i / shared.slice;
        const float max = shared.warps.max(num_warps, head);
        const float value =
            shared.warps.merge(num_warps, head, max, shared.warps.values + i, size);
        const uint32_t to = rank * shared.slice + i - owner * shared.slice;
        cluster_store(shared.blocks.values + to, owner, value);
    }
    for (uint32_t i = threadIdx.x; i < cluster_size() * MAX_HEADS; i += blockDim.x) {
        const uint32_t owner = i / MAX_HEADS, head = i % MAX_HEADS;
        if (head >= split.num_heads) continue;
        const float max = shared.warps.max(num_warps, head);
        const uint32_t to = rank * MAX_HEADS + head;
        cluster_store(shared.blocks.maxes + to, owner, max);
        cluster_store(shared.blocks.sums + to, owner,
                      shared.warps.merge_sums(num_warps, head, max));
    }
}

// Merges this block's slice of the cluster's parts, into the output or the partial results.
__device__ __forceinline__ void merge_blocks(const AttentionParams& p, const Split& split,
                                             const Row& out, const MergeShared& shared) {
    const uint32_t ranks = cluster_size(), size = split.size(p);
    const uint32_t start = cluster_rank() * shared.slice, end = min(start + shared.slice, size);
    const Parts partials = partial_results(p, gridDim.x / split.count);
    const uint32_t part = split.heads_index * p.partitions + split.partition();
    for (uint32_t i = start + threadIdx.x; i < end; i += blockDim.x) {
        const uint32_t head = i / p.cache.head_dim;
        const float max = shared.blocks.max(ranks, head);
        const float value = shared.blocks.merge(ranks, head, max,
                                                shared.blocks.values + i - start, shared.slice);
        if (p.partitions == 1) {
            split.store(p, out, i, value / shared.blocks.merge_sums(ranks, head, max));
        } else if (max != NEG_INFINITY) {
            partials.values[static_cast<uint64_t>(part) * size + i] = value;
        }
    }
    if (p.partitions == 1 || cluster_rank() > 0 || threadIdx.x >= split.num_heads) return;
    const float max = shared.blocks.max(ranks, threadIdx.x);
    const uint32_t to = part * MAX_HEADS + threadIdx.x;
    partials.maxes[to] = max;
    partials.sums[to] = shared.blocks.merge_sums(ranks, threadIdx.x, max);
}

// Merges everything. Each warp has written its part; every thread has called `cluster_arrive`.
__device__ __forceinline__ void merge(const AttentionParams& p, const Split& split, const Row& out,
                                      const MergeShared& shared) {
    __syncthreads();
    cluster_wait();
    merge_warps(p, split, shared);
    cluster_arrive();
    cluster_wait();
    merge_blocks(p, split, out, shared);
}

// Zeros for a query that sees no key.
__device__ __forceinline__ void store_zeros(const AttentionParams& p, const Split& split,
                                            const Row& out) {
    if (split.index > 0) return;
    for (uint32_t i = threadIdx.x; i < split.size(p); i += blockDim.x) split.store(p, out, i, 0);
}
