// Reads a buffer once, as fast as memory allows: what every kernel that is bound by reading is
// measured by. Each block reads a stretch of its own, since stretches of 64 KiB and more are read
// faster than anything that strides over the whole buffer.
#include "params/probe.cuh"
#include "view.cuh"

// Named, since names in an unnamed one depend on where the file lies.
namespace probe_cu {

constexpr uint32_t THREADS = 256;
constexpr uint32_t IN_FLIGHT = 8;      // 16-byte loads of a thread
constexpr uint32_t SENTINEL = 0x5eed;  // keeps the loads: the compiler cannot tell it never comes

// Past the first-level cache: nothing is read twice.
__device__ __forceinline__ uint4 load_once(uint64_t address) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(address));
    return v;
}

}  // namespace probe_cu

using namespace probe_cu;

extern "C" __global__ void __launch_bounds__(THREADS)
    read_probe(const __grid_constant__ ReadProbeParams p) {
    const uint64_t start = blockIdx.x * p.block_bytes;
    const uint64_t end = min(start + p.block_bytes, p.num_bytes);
    const uint64_t last_vector = end & ~uint64_t{15};
    uint32_t sum = 0;
    uint64_t at = start + threadIdx.x * 16;
    for (; at + (IN_FLIGHT - 1) * THREADS * 16 < last_vector; at += IN_FLIGHT * THREADS * 16) {
        uint4 v[IN_FLIGHT];
#pragma unroll
        for (uint32_t i = 0; i < IN_FLIGHT; ++i) v[i] = load_once(p.data + at + i * THREADS * 16);
#pragma unroll
        for (uint32_t i = 0; i < IN_FLIGHT; ++i) sum += v[i].x + v[i].y + v[i].z + v[i].w;
    }
    for (; at < last_vector; at += THREADS * 16) {
        const uint4 v = load_once(p.data + at);
        sum += v.x + v.y + v.z + v.w;
    }
    // The last bytes of a buffer that is no multiple of 16.
    const uint64_t tail = max(last_vector, start) + threadIdx.x;
    if (tail < end) sum += *global_pointer<const uint8_t>(p.data + tail);
    if (sum == SENTINEL) *global_pointer<uint32_t>(p.out) = sum;
}
