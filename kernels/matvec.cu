// Products of up to 16 rows with weights of any float type, for any mix of operands and any size:
// bound by reading the weights, which happens once for all rows.
//
// A block goes over the columns in tiles. It brings a tile of x to shared memory, normalised and in
// f32; each warp multiplies it with the same tile of its own rows of the weight, whose loads were
// started a tile earlier.
#include "matvec.cuh"
#include "packed.cuh"
#include "pdl.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace matvec_cu {

constexpr uint32_t WARPS = 8;
constexpr uint32_t THREADS = WARPS * 32;

// Eight elements of a weight as they lie in memory.
template <uint32_t DTYPE>
struct Raw {
    static constexpr int VECTORS = DTYPE == DTYPE_F32 ? 2 : 1;
    uint4 vectors[VECTORS];

    __device__ __forceinline__ void convert(float (&out)[8]) const {
        if constexpr (DTYPE == DTYPE_BF16) {
            unpack8<unpack_bf16>(vectors[0], out);
        } else if constexpr (DTYPE == DTYPE_F16) {
            unpack8<unpack_f16>(vectors[0], out);
        } else {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                out[4 * i] = __uint_as_float(vectors[i].x);
                out[4 * i + 1] = __uint_as_float(vectors[i].y);
                out[4 * i + 2] = __uint_as_float(vectors[i].z);
                out[4 * i + 3] = __uint_as_float(vectors[i].w);
            }
        }
    }
};

// Rows of a row-major weight.
template <uint32_t DTYPE>
struct RowMajor {
    const MatvecParams& p;

    __device__ __forceinline__ uint64_t address(uint32_t row, uint32_t col) const {
        const uint64_t element = static_cast<uint64_t>(row) * p.cols + col;
        return p.weight + element * (DTYPE == DTYPE_F32 ? 4 : 2);
    }

    // Columns col..col + 8, zeros past the end. Whole ones leave no trace in the L1, which is x's.
    __device__ __forceinline__ Raw<DTYPE> load8(uint32_t row, uint32_t col) const {
        if (p.weight % 16 != 0 || p.cols % 8 != 0 || col >= p.cols) return gather8(row, col);
        Raw<DTYPE> raw;
        const uint64_t from = address(row, col);
#pragma unroll
        for (int i = 0; i < Raw<DTYPE>::VECTORS; ++i) {
            uint4& v = raw.vectors[i];
            asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                         : "l"(from + i * 16));
        }
        return raw;
    }

    // The same one element at a time: each is shifted in from the end. A rolled loop keeps the
    // code small.
    __device__ __forceinline__ Raw<DTYPE> gather8(uint32_t row, uint32_t col) const {
        constexpr uint32_t WORDS = 4 * Raw<DTYPE>::VECTORS;
        uint32_t words[WORDS] = {};
#pragma unroll 1
        for (uint32_t i = 0; i < 8; ++i) {
            const uint64_t from = address(row, col + i);
            uint32_t last = 0;
            if (col + i < p.cols) {
                last = DTYPE == DTYPE_F32 ? *global_pointer<const uint32_t>(from)
                                          : *global_pointer<const uint16_t>(from);
            }
#pragma unroll
            for (uint32_t w = 0; w < WORDS; ++w) {
                const uint32_t next = w + 1 < WORDS ? words[w + 1] : last;
                words[w] = DTYPE == DTYPE_F32 ? next : words[w] >> 16 | next << 16;
            }
        }
        Raw<DTYPE> raw;
#pragma unroll
        for (int i = 0; i < Raw<DTYPE>::VECTORS; ++i) {
            raw.vectors[i] = make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2],
                                        words[4 * i + 3]);
        }
        return raw;
    }
};

// Rows of a packed weight, whose columns are a multiple of 64.
template <uint32_t DTYPE>
struct Packed {
    const MatvecParams& p;

    __device__ __forceinline__ Raw<DTYPE> load8(uint32_t row, uint32_t col) const {
        if (col >= p.cols) return {{make_uint4(0, 0, 0, 0)}};
        return {{packed_load8(p.weight, p.cols, packed_place(row, p.gate_rows), col)}};
    }
};

// How the work is cut. With many tokens a warp takes more rows, so that it reads x less often.
template <uint32_t DTYPE, int TOKENS>
struct Cut {
    static constexpr uint32_t PAIRS = TOKENS == 16 && DTYPE != DTYPE_F32 ? 2 : 1;
    static constexpr uint32_t UNROLL = TOKENS == 16 ? 1 : DTYPE == DTYPE_F32 ? 2 : 4;
    static constexpr uint32_t VECTORS = 32 * UNROLL;  // of 8 columns in a tile
    static constexpr uint32_t COLS = 8 * VECTORS;
    // Vectors of a tile of x that a thread brings.
    static constexpr uint32_t ITEMS = (TOKENS * VECTORS + THREADS - 1) / THREADS;
};

// A tile of x in shared memory; the halves of each 8 columns lie apart, free of bank conflicts.
template <uint32_t DTYPE, int TOKENS>
struct Tile {
    using C = Cut<DTYPE, TOKENS>;

    float4 x[TOKENS][2][C::VECTORS];
    float squares[WARPS][C::ITEMS];  // of the vectors that each warp brought, over all tiles

    // Brings the columns from `first`; `squares` are the thread's own.
    __device__ __forceinline__ void bring(const MatvecParams& p, uint32_t first,
                                          float (&squares)[C::ITEMS]) {
#pragma unroll
        for (uint32_t k = 0; k < C::ITEMS; ++k) {
            const uint32_t item = k * THREADS + threadIdx.x;
            const uint32_t token = item / C::VECTORS, vector = item % C::VECTORS;
            if (token >= p.num_tokens) break;
            float v[8];
            const uint32_t col = first + vector * 8;
            load8(row_of(p.x, token), col, p.cols, takes_8(p.x), v);
            if (present(p.norm)) {
                float norm[8];
                load8(row_of(p.norm, 0), col, p.cols, takes_8(p.norm), norm);
#pragma unroll
                for (uint32_t i = 0; i < 8; ++i) {
                    squares[k] = fmaf(v[i], v[i], squares[k]), v[i] *= norm[i];
                }
            }
            x[token][0][vector] = make_float4(v[0], v[1], v[2], v[3]);
            x[token][1][vector] = make_float4(v[4], v[5], v[6], v[7]);
        }
    }

    __device__ __forceinline__ void read(uint32_t token, uint32_t vector, float (&v)[8]) const {
        const float4 low = x[token][0][vector], high = x[token][1][vector];
        v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
        v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
    }

    // A token's vectors were brought by whole warps: adds those up.
    __device__ __forceinline__ float token_squares(uint32_t token) const {
        float sum = 0.0f;
        for (uint32_t i = 0; i < C::VECTORS; i += 32) {
            const uint32_t item = token * C::VECTORS + i;
            sum += squares[item % THREADS / 32][item / THREADS];
        }
        return sum;
    }
};

// A warp's rows of the weight: pairs that are finished together.
template <uint32_t DTYPE, template <uint32_t> class Weight, int TOKENS>
struct Warp {
    using C = Cut<DTYPE, TOKENS>;
    static constexpr uint32_t ROWS = 2 * C::PAIRS;

    const MatvecParams& p;
    const Weight<DTYPE> weight;
    uint32_t lane, first_pair;
    Raw<DTYPE> raw[C::UNROLL][ROWS];  // the tile that comes next
    float sums[ROWS][TOKENS];

    __device__ __forceinline__ explicit Warp(const MatvecParams& p)
        : p(p), weight{p}, lane(threadIdx.x % 32), sums{} {
        first_pair = (blockIdx.x * WARPS + threadIdx.x / 32) * C::PAIRS;
    }

    __device__ __forceinline__ uint32_t num_pairs() const { return (p.rows + 1) / 2; }

    __device__ __forceinline__ Pair pair(uint32_t token, uint32_t i) const {
        const uint32_t index = first_pair + i;
        if (p.epilogue == EPILOGUE_SILU_MUL) return Pair{token, {index, p.rows / 2 + index}};
        return Pair{token, {2 * index, 2 * index + 1}};
    }

    // Starts loading the tile from `first`. Rows past the end repeat the last.
    __device__ __forceinline__ void load(uint32_t first) {
#pragma unroll
        for (uint32_t r = 0; r < ROWS; ++r) {
            const uint32_t row = min(pair(0, r / 2).rows[r % 2], p.rows - 1);
#pragma unroll
            for (uint32_t u = 0; u < C::UNROLL; ++u) {
                raw[u][r] = weight.load8(row, first + (u * 32 + lane) * 8);
            }
        }
    }

    // Multiplies the loaded tile, having started on the one from `next`.
    __device__ __forceinline__ void multiply(const Tile<DTYPE, TOKENS>& tile, uint32_t next) {
        Raw<DTYPE> now[C::UNROLL][ROWS];
#pragma unroll
        for (uint32_t u = 0; u < C::UNROLL; ++u) {
#pragma unroll
            for (uint32_t r = 0; r < ROWS; ++r) now[u][r] = raw[u][r];
        }
        if (next < p.cols) load(next);
#pragma unroll
        for (uint32_t u = 0; u < C::UNROLL; ++u) {
            float w[ROWS][8];
#pragma unroll
            for (uint32_t r = 0; r < ROWS; ++r) now[u][r].convert(w[r]);
            add(tile, u * 32 + lane, w);
        }
    }

    __device__ __forceinline__ void add(const Tile<DTYPE, TOKENS>& tile, uint32_t vector,
                                        const float (&w)[ROWS][8]) {
#pragma unroll
        for (uint32_t t = 0; t < TOKENS; ++t) {
            if (t >= p.num_tokens) break;
            float x[8];
            tile.read(t, vector, x);
#pragma unroll
            for (uint32_t r = 0; r < ROWS; ++r) {
#pragma unroll
                for (uint32_t i = 0; i < 8; ++i) sums[r][t] = fmaf(x[i], w[r][i], sums[r][t]);
            }
        }
    }

    // Adds up the lanes; lane t then finishes token t.
    __device__ __forceinline__ void finish_tokens(const Tile<DTYPE, TOKENS>& tile) {
        const uint32_t token = min(lane, p.num_tokens - 1);
        const float scale = present(p.norm) ? norm_scale(p, tile.token_squares(token)) : 1.0f;
#pragma unroll
        for (uint32_t i = 0; i < C::PAIRS; ++i) {
            float2 y = make_float2(0.0f, 0.0f);
#pragma unroll
            for (uint32_t t = 0; t < TOKENS; ++t) {
                const float first = warp_sum(sums[2 * i][t]);
                const float second = warp_sum(sums[2 * i + 1][t]);
                if (lane == t) y = make_float2(first * scale, second * scale);
            }
            if (lane >= p.num_tokens || first_pair + i >= num_pairs()) continue;
            const Pair where = pair(lane, i);
            finish(p, where, y, load_residual(p, where));
        }
    }
};

// Blocks of 8 warps, each for 2 * PAIRS rows of the weight.
template <uint32_t DTYPE, template <uint32_t> class Weight, int TOKENS>
__device__ __forceinline__ void matvec(const MatvecParams& p) {
    using C = Cut<DTYPE, TOKENS>;
    __shared__ Tile<DTYPE, TOKENS> tile;
    pdl_launch_dependents();
    Warp<DTYPE, Weight, TOKENS> warp(p);
    warp.load(0);
    pdl_wait();
    float squares[C::ITEMS] = {};
    for (uint32_t first = 0; first < p.cols; first += C::COLS) {
        tile.bring(p, first, squares);
        __syncthreads();
        warp.multiply(tile, first + C::COLS);
        __syncthreads();
    }
#pragma unroll
    for (uint32_t k = 0; k < C::ITEMS; ++k) {
        const float sum = warp_sum(squares[k]);
        if (warp.lane == 0) tile.squares[threadIdx.x / 32][k] = sum;
    }
    __syncthreads();
    warp.finish_tokens(tile);
}

}  // namespace matvec_cu

using namespace matvec_cu;

// `matvec_<dtype of a row-major weight>_n<most tokens>`.
#define MATVEC(name, DTYPE, TOKENS)                                      \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)                \
        name(const __grid_constant__ MatvecParams p) {                   \
        matvec<DTYPE, RowMajor, TOKENS>(p);                              \
    }

MATVEC(matvec_f32_n1, DTYPE_F32, 1)
MATVEC(matvec_f32_n16, DTYPE_F32, 16)
MATVEC(matvec_f16_n1, DTYPE_F16, 1)
MATVEC(matvec_f16_n16, DTYPE_F16, 16)
MATVEC(matvec_bf16_n1, DTYPE_BF16, 1)
MATVEC(matvec_bf16_n16, DTYPE_BF16, 16)

// `matvec_packed_any_<dtype>`: packed weights with operands that the fast kernel does not take.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matvec_packed_any_f16(const __grid_constant__ MatvecParams p) {
    matvec<DTYPE_F16, Packed, 16>(p);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matvec_packed_any_bf16(const __grid_constant__ MatvecParams p) {
    matvec<DTYPE_BF16, Packed, 16>(p);
}
