// Mixtures of experts: routing, and the experts' matrices over the tokens that chose them.
//
// Weights are row-major. A warp computes one row of a matrix at a time, for up to GROUP choices of
// the expert, so that many tokens share a read of the weight. A choice's sums run over the columns
// in an order that does not depend on the other choices.

#include "columns.cuh"
#include "params/rows.cuh"
#include "pdl.cuh"
#include "reduce.cuh"

constexpr uint32_t GROUP = 8;
constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP_SIZE;
// Blocks that fit on a multiprocessor at least: keeps the compiler from saving registers.
constexpr uint32_t BLOCKS_PER_SM = 2;

// The place of an expert among those of a token: larger logits first, lower ids among equals. NaN
// counts as the smallest. Zero is no place.
__device__ __forceinline__ uint64_t place_of(float logit, uint32_t id) {
    const uint32_t bits = __float_as_uint(isnan(logit) ? -INFINITY : logit + 0.0f);
    const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return uint64_t(ordered) << 32 | ~id;
}

// The first expert after `before`, in all lanes.
__device__ __forceinline__ uint64_t next_place(Row logits, uint32_t num_experts, uint64_t before) {
    uint64_t first = 0;
    for (uint32_t id = threadIdx.x % WARP_SIZE; id < num_experts; id += WARP_SIZE) {
        const uint64_t place = place_of(logits.load(id), id);
        if (place < before && place > first) first = place;
    }
#pragma unroll
    for (uint32_t offset = WARP_SIZE / 2; offset > 0; offset /= 2) {
        const uint64_t other = __shfl_xor_sync(ALL_LANES, first, offset);
        first = other > first ? other : first;
    }
    return first;
}

// A warp a token.
extern "C" __global__ void __launch_bounds__(THREADS)
    moe_route(const __grid_constant__ MoeRouteParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
    if (row >= p.num_rows) return;
    const Row logits = row_of(p.logits, row), weights = row_of(p.weights, row);
    int32_t* ids = global_pointer<int32_t>(p.ids.address) + uint64_t(row) * p.ids.stride;

    uint64_t place = UINT64_MAX;
    float max = 0.0f, chosen = 0.0f;
    for (uint32_t j = 0; j < p.k; ++j) {
        place = next_place(logits, p.num_experts, place);
        const uint32_t id = ~uint32_t(place);
        const float logit = logits.load(id);
        if (j == 0) max = isnan(logit) ? -INFINITY : logit;
        const float weight = expf(logit - max);
        chosen += weight;
        if (lane == 0) ids[j] = id, weights.store(j, weight);
    }
    float all = 0.0f;
    for (uint32_t id = lane; id < p.num_experts; id += WARP_SIZE) {
        all += expf(logits.load(id) - max);
    }
    const float sum = p.renormalize ? chosen : warp_sum(all);
    __syncwarp();
    for (uint32_t j = lane; j < p.k; j += WARP_SIZE) weights.store(j, weights.load(j) / sum);
}

// The expert of choice `choice`; far outside the experts if its id is.
__device__ __forceinline__ uint32_t expert_of(const ExpertsParams& p, uint32_t choice) {
    return load_i32(p.ids, choice / p.k, choice % p.k);
}

// Some choices of one expert, in order.
struct Choices {
    uint32_t list[GROUP];
    uint32_t count;
    uint32_t next;  // the choice to look at next
};

// Fills `choices` with the next ones that fell on `expert`. One warp does.
__device__ __forceinline__ void find_choices(const ExpertsParams& p, uint32_t expert,
                                             Choices& choices) {
    const uint32_t lane = threadIdx.x % WARP_SIZE, num_choices = p.num_tokens * p.k;
    uint32_t count = 0, next = choices.next;
    while (next < num_choices && count < GROUP) {
        const uint32_t choice = next + lane;
        const bool fits = choice < num_choices && expert_of(p, choice) == expert;
        const uint32_t found = __ballot_sync(ALL_LANES, fits);
        const uint32_t place = count + __popc(found & ((1u << lane) - 1));
        if (fits && place < GROUP) choices.list[place] = choice;
        // The first that found no place is where the next group begins.
        const uint32_t left_out = __ballot_sync(ALL_LANES, fits && place >= GROUP);
        count = min(count + __popc(found), GROUP);
        next = left_out ? next + __ffs(left_out) - 1 : next + WARP_SIZE;
    }
    __syncwarp();
    if (lane == 0) choices.count = count, choices.next = next;
}

// Whether x and a weight of `weight`'s type are read eight elements at a time. They are of one type
// then, which is known when the kernel is compiled.
__device__ __forceinline__ bool takes_8(const ExpertsParams& p, const View& weight) {
    return p.cols % 8 == 0 && takes_8(weight) && takes_8(p.x) && p.x.dtype == weight.dtype;
}

// Loads from a row of x, whose type is that of the weight, DTYPE, where 8 elements are taken.
template <uint32_t DTYPE, int WIDTH>
__device__ __forceinline__ void load_x(Row x, uint32_t col, float (&values)[WIDTH]) {
    Row{x.data, WIDTH == 8 ? DTYPE : x.dtype}.load(col, values);
}

// Products of one row of each of `N` matrices with up to GROUP rows of x.
template <uint32_t DTYPE, int N>
class Products {
    float sums[N][GROUP];

   public:
    // Adds up over the columns that fall on this lane, then over the lanes.
    template <typename RowOfX>
    __device__ __forceinline__ void compute(const Row (&weights)[N], uint32_t cols, bool by_8,
                                            uint32_t count, RowOfX row_of_x) {
#pragma unroll
        for (int m = 0; m < N; ++m)
#pragma unroll
            for (uint32_t g = 0; g < GROUP; ++g) sums[m][g] = 0.0f;
        const uint32_t lane = threadIdx.x % WARP_SIZE;
        for_each_column(cols, by_8, lane, WARP_SIZE, [&](auto width, uint32_t col) {
            float weight[N][width.value];
#pragma unroll
            for (int m = 0; m < N; ++m) weights[m].load(col, weight[m]);
#pragma unroll
            for (uint32_t g = 0; g < GROUP; ++g) {
                if (g < count) add<width.value>(g, weight, row_of_x(g), col);
            }
        });
#pragma unroll
        for (int m = 0; m < N; ++m)
#pragma unroll
            for (uint32_t g = 0; g < GROUP; ++g) sums[m][g] = warp_sum(sums[m][g]);
    }

    // The product of matrix `m` with row `choice` of x.
    __device__ __forceinline__ float of(int m, uint32_t choice) const {
        float product = 0.0f;
#pragma unroll
        for (uint32_t g = 0; g < GROUP; ++g) product = g == choice ? sums[m][g] : product;
        return product;
    }

   private:
    template <int WIDTH>
    __device__ __forceinline__ void add(uint32_t g, const float (&weight)[N][WIDTH], Row x,
                                        uint32_t col) {
        float values[WIDTH];
        load_x<DTYPE>(x, col, values);
#pragma unroll
        for (int m = 0; m < N; ++m)
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) sums[m][g] += weight[m][i] * values[i];
    }
};

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

// The products of one block's rows with all choices of one expert. With `gate_up` an expert is two
// matrices of `rows` rows, x has a row for each token, and the result is silu(gate) * up; else x
// has a row for each choice.
template <uint32_t DTYPE, bool GATE_UP>
__device__ __forceinline__ void multiply(const ExpertsParams& p, uint32_t expert,
                                         const Choices& choices) {
    constexpr int N = GATE_UP ? 2 : 1;
    const View weight{p.weight, p.cols, DTYPE};
    const bool by_8 = takes_8(p, weight);
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t first = blockIdx.x % p.row_blocks * WARPS + threadIdx.x / WARP_SIZE;
    const auto row_of_x = [&](uint32_t g) {
        return row_of(p.x, GATE_UP ? choices.list[g] / p.k : choices.list[g]);
    };
    for (uint32_t row = first; row < p.rows; row += p.row_blocks * WARPS) {
        const uint64_t weight_row = uint64_t(expert) * N * p.rows + row;
        Row weights[N];
#pragma unroll
        for (int m = 0; m < N; ++m) weights[m] = row_of(weight, weight_row + m * p.rows);
        Products<DTYPE, N> products;
        products.compute(weights, p.cols, by_8, choices.count, row_of_x);
        if (lane < choices.count) {
            const float y = products.of(0, lane), up = products.of(N - 1, lane);
            row_of(p.out, choices.list[lane]).store(row, GATE_UP ? silu(y) * up : y);
        }
    }
}

// `row_blocks` blocks for each slot. A slot is an expert where there are more choices than experts,
// else a choice; of the choices of one expert, the first does the work for all.
template <uint32_t DTYPE, bool GATE_UP>
__device__ __forceinline__ void multiply_choices(const ExpertsParams& p) {
    pdl_wait();
    pdl_launch_dependents();
    __shared__ Choices choices;
    const uint32_t slot = blockIdx.x / p.row_blocks;
    const bool by_choice = p.num_tokens * p.k <= p.num_experts;
    const uint32_t expert = by_choice ? expert_of(p, slot) : slot;
    if (expert >= p.num_experts) return;
    if (threadIdx.x == 0) choices.next = 0;
    for (bool first = true;; first = false) {
        __syncthreads();
        if (threadIdx.x < WARP_SIZE) find_choices(p, expert, choices);
        __syncthreads();
        if (choices.count == 0 || (first && by_choice && choices.list[0] != slot)) return;
        multiply<DTYPE, GATE_UP>(p, expert, choices);
    }
}

// `out[i] += ...` for few choices: a block computes rows of one token, over all its experts, so
// that nothing needs to be stored in between.
template <uint32_t DTYPE>
__device__ __forceinline__ void multiply_and_sum(const ExpertsParams& p) {
    pdl_wait();
    pdl_launch_dependents();
    const View weight{p.weight, p.cols, DTYPE};
    const bool by_8 = takes_8(p, weight);
    const uint32_t lane = threadIdx.x % WARP_SIZE, token = blockIdx.x / p.row_blocks;
    const uint32_t first = blockIdx.x % p.row_blocks * WARPS + threadIdx.x / WARP_SIZE;
    const Row out = row_of(p.out, token), shares = row_of(p.weights, token);
    for (uint32_t row = first; row < p.rows; row += p.row_blocks * WARPS) {
        float total = 0.0f;
        for (uint32_t j = 0; j < p.k; ++j) {
            const uint32_t choice = token * p.k + j, expert = expert_of(p, choice);
            if (expert >= p.num_experts) continue;
            const Row weights = row_of(weight, uint64_t(expert) * p.rows + row);
            const Row x = row_of(p.x, choice);
            float sum = 0.0f;
            for_each_column(p.cols, by_8, lane, WARP_SIZE, [&](auto width, uint32_t col) {
                float factors[width.value], values[width.value];
                weights.load(col, factors);
                load_x<DTYPE>(x, col, values);
#pragma unroll
                for (int i = 0; i < width.value; ++i) sum += factors[i] * values[i];
            });
            total += shares.load(j) * warp_sum(sum);
        }
        if (lane == 0) out.store(row, out.load(row) + total);
    }
}

// `out[i] += sum of the parts of token i`, weighted. A block of x a token.
extern "C" __global__ void moe_combine(const __grid_constant__ MoeCombineParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const Row out = row_of(p.out, blockIdx.x), weights = row_of(p.weights, blockIdx.x);
    const bool by_8 = p.cols % 8 == 0 && takes_8(p.out) && takes_8(p.parts);
    for_each_column(p.cols, by_8, [&](auto width, uint32_t col) {
        float sum[width.value] = {}, values[width.value];
        for (uint32_t j = 0; j < p.k; ++j) {
            const float weight = weights.load(j);
            row_of(p.parts, uint64_t(blockIdx.x) * p.k + j).load(col, values);
#pragma unroll
            for (int i = 0; i < width.value; ++i) sum[i] += weight * values[i];
        }
        out.load(col, values);
#pragma unroll
        for (int i = 0; i < width.value; ++i) values[i] += sum[i];
        out.store(col, values);
    });
}

// moe_gate_up: the first half of the experts. moe_parts: the second half, one row a choice, which
// moe_combine sums. moe_down: the same as those two in one.
#define EXPERTS(SUFFIX, DTYPE)                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)           \
        moe_gate_up_##SUFFIX(const __grid_constant__ ExpertsParams p) {            \
        multiply_choices<DTYPE, true>(p);                                          \
    }                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)           \
        moe_parts_##SUFFIX(const __grid_constant__ ExpertsParams p) {              \
        multiply_choices<DTYPE, false>(p);                                         \
    }                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)           \
        moe_down_##SUFFIX(const __grid_constant__ ExpertsParams p) {               \
        multiply_and_sum<DTYPE>(p);                                                \
    }

EXPERTS(f32, DTYPE_F32)
EXPERTS(f16, DTYPE_F16)
EXPERTS(bf16, DTYPE_BF16)
