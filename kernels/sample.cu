// Drawing tokens: to the meaning, and in the terms, of crates/tintype-ops/src/sampling.rs.
//
// The vocabulary is not sorted. What a filter keeps is what reaches a threshold, and the threshold
// is found digit by digit, as in a radix sort: each pass over the row measures what lies above
// seven candidates, as a count of tokens (top-k) or as their mass (top-p).

#include <cfloat>

#include "cluster_reduce.cuh"
#include "columns.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"

constexpr uint32_t THREADS = 512;
// Bits of a threshold that one pass finds, and the candidates that it takes for that.
constexpr int DIGIT_BITS = 3;
constexpr int NUM_PIVOTS = (1 << DIGIT_BITS) - 1;
// Keys are below 2^31.
constexpr int KEY_BITS = 31;
// Below any sum of masses: what top_p = 0 wants, so that the most likely token is kept.
constexpr double LEAST_MASS = DBL_MIN;

// Parameters of a row; `SampleParams` in sampling.rs.
struct Draw {
    float temperature;
    float top_p;
    float min_p;
    uint32_t top_k;
    uint32_t seed[2];  // low half first
    uint32_t step;
    uint32_t reserved;
};
static_assert(sizeof(Draw) == 32, "twin of SampleParams in sampling.rs");

__device__ __forceinline__ Draw load_draw(const View& params, uint32_t row) {
    const auto word = [&](uint32_t i) -> uint32_t { return load_i32(params, row, i); };
    const auto value = [&](uint32_t i) { return __uint_as_float(word(i)); };
    return Draw{value(0), value(1), value(2), word(3), {word(4), word(5)}, word(6), 0};
}

// SplitMix64's finaliser.
__device__ __forceinline__ uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// Standard Gumbel noise of one token.
__device__ __forceinline__ float gumbel(uint64_t mixed_seed, uint32_t step, uint32_t id) {
    const uint64_t position = uint64_t(step) << 32 | id;
    const uint64_t bits = mix(mixed_seed + (position + 1) * 0x9e3779b97f4a7c15ull) >> 40;
    const float u = (uint32_t(bits) + 0.5f) * (1.0f / (1 << 24));
    return -logf(-logf(u));
}

// Orders values first, then ids: larger values first, and lower ids among equals. NaN is not
// ordered. Adding zero makes the two zeros one.
__device__ __forceinline__ uint64_t rank_of(float value, uint32_t id) {
    const uint32_t bits = __float_as_uint(value + 0.0f);
    const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return uint64_t(ordered) << 32 | ~id;
}

__device__ __forceinline__ uint32_t id_of(uint64_t rank) { return ~uint32_t(rank); }

__device__ __forceinline__ float value_of(uint64_t rank) {
    const uint32_t ordered = rank >> 32;
    return __uint_as_float(ordered & 0x80000000u ? ordered ^ 0x80000000u : ~ordered);
}

// The logits of a row, shared by the threads of a cluster.
struct Logits {
    Row row;
    uint32_t cols;
    bool by_8;

    // Calls `body(id, logit)` for the part of this thread.
    template <typename Body>
    __device__ __forceinline__ void for_each(Body body) const {
        const uint32_t thread = cluster_rank() * blockDim.x + threadIdx.x;
        const uint32_t num_threads = cluster_size() * blockDim.x;
        for_each_column(cols, by_8, thread, num_threads, [&](auto width, uint32_t col) {
            float values[width.value];
            row.load(col, values);
#pragma unroll
            for (int i = 0; i < width.value; ++i) body(col + i, values[i]);
        });
    }
};

// The tokens that the filters applied so far keep.
struct Kept {
    Logits logits;
    float max;          // the largest logit
    float temperature;  // above 0
    float floor;        // smallest scaled logit that is kept
    uint32_t key;       // smallest key that is kept

    // 0 for the most likely token, below 0 for others.
    __device__ __forceinline__ float scaled(float logit) const {
        return (logit - max) / temperature;
    }

    // A key is larger the more likely its token is.
    __device__ __forceinline__ static uint32_t key_of(float scaled) {
        return 0x7fffffffu - (__float_as_uint(scaled) & 0x7fffffffu);
    }

    // Calls `body(id, scaled, key)` for those of this thread. NaN reaches no floor.
    template <typename Body>
    __device__ __forceinline__ void for_each(Body body) const {
        logits.for_each([&](uint32_t id, float logit) {
            const float value = scaled(logit);
            const uint32_t value_key = key_of(value);
            if (value >= floor && value_key >= key) body(id, value, value_key);
        });
    }
};

// Each measures what a kept token counts for.
struct Count {
    __device__ __forceinline__ float operator()(float) const { return 1.0f; }
};

struct Mass {
    __device__ __forceinline__ float operator()(float scaled) const { return expf(scaled); }
};

// What of `kept` has a key of at least each of `pivots`.
template <int N, typename Measure>
__device__ __forceinline__ void measure_above(const Kept& kept, const uint32_t (&pivots)[N],
                                              Measure measure, ClusterReduce& reduce,
                                              double (&totals)[N]) {
    float sums[N] = {};
    kept.for_each([&](uint32_t, float scaled, uint32_t key) {
        const float size = measure(scaled);
#pragma unroll
        for (int i = 0; i < N; ++i) sums[i] += key >= pivots[i] ? size : 0.0f;
    });
    uint64_t bits[N];
#pragma unroll
    for (int i = 0; i < N; ++i) bits[i] = __double_as_longlong(sums[i]);
    reduce(bits, Sum());
#pragma unroll
    for (int i = 0; i < N; ++i) totals[i] = __longlong_as_double(bits[i]);
}

template <typename Measure>
__device__ __forceinline__ double measure_all(const Kept& kept, Measure measure,
                                              ClusterReduce& reduce) {
    double totals[1];
    measure_above(kept, {0}, measure, reduce, totals);
    return totals[0];
}

// The largest key at which `kept` still measures `wanted`, which is no more than all of it.
template <typename Measure>
__device__ __forceinline__ uint32_t find_key(const Kept& kept, double wanted, Measure measure,
                                             ClusterReduce& reduce) {
    uint32_t key = 0;
    for (int shift = KEY_BITS - DIGIT_BITS;; shift = max(shift - DIGIT_BITS, 0)) {
        uint32_t pivots[NUM_PIVOTS];
#pragma unroll
        for (int i = 0; i < NUM_PIVOTS; ++i) pivots[i] = key + ((i + 1) << shift);
        double totals[NUM_PIVOTS];
        measure_above(kept, pivots, measure, reduce, totals);
        uint32_t digit = 0;
#pragma unroll
        for (int i = 0; i < NUM_PIVOTS; ++i) digit += totals[i] >= wanted;
        key += digit << shift;
        if (shift == 0) return key;
    }
}

// Applies min-p, top-k and top-p.
__device__ __forceinline__ void filter(Kept& kept, const Draw& draw, ClusterReduce& reduce) {
    if (draw.min_p > 0.0f) kept.floor = logf(draw.min_p);
    if (draw.top_k > 0 && draw.top_k < measure_all(kept, Count(), reduce)) {
        kept.key = find_key(kept, draw.top_k, Count(), reduce);
    }
    if (draw.top_p < 1.0f) {
        const double wanted = double(draw.top_p) * measure_all(kept, Mass(), reduce);
        kept.key = find_key(kept, wanted > LEAST_MASS ? wanted : LEAST_MASS, Mass(), reduce);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    sample(const __grid_constant__ SampleParams p) {
    pdl_wait();
    pdl_launch_dependents();
    ClusterReduce reduce;
    const uint32_t row = blockIdx.x / cluster_size();
    const Row values{row_of(p.logits, row).data, DTYPE_F32};
    const Logits logits{values, p.cols, p.cols % 8 == 0 && takes_8(p.logits)};
    const Draw draw = load_draw(p.params, row);

    uint64_t best[1] = {rank_of(-INFINITY, 0)};
    const auto offer = [&](uint32_t id, float value) {
        if (value > -INFINITY) best[0] = Max()(best[0], rank_of(value, id));
    };
    logits.for_each(offer);
    reduce(best, Max());
    const float max = value_of(best[0]);
    if (draw.temperature != 0.0f && max > -INFINITY) {
        Kept kept{logits, max, draw.temperature, -FLT_MAX, 0};
        filter(kept, draw, reduce);
        const uint64_t seed = mix(uint64_t(draw.seed[1]) << 32 | draw.seed[0]);
        best[0] = rank_of(-INFINITY, 0);
        kept.for_each([&](uint32_t id, float scaled, uint32_t) {
            offer(id, scaled + gumbel(seed, draw.step, id));
        });
        reduce(best, Max());
    }
    if (cluster_rank() == 0 && threadIdx.x == 0) {
        global_pointer<uint32_t>(p.out.address)[uint64_t(row) * p.out.stride] = id_of(best[0]);
    }
}
