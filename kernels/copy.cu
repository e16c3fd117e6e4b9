// Copies a few words, for instance to memory of the host: kernels go on sooner behind this one than
// behind the copy engine.
#include "params/copy.cuh"
#include "pdl.cuh"
#include "view.cuh"

extern "C" __global__ void copy_words(const __grid_constant__ CopyWordsParams p) {
    pdl_wait();
    pdl_launch_dependents();
    const uint32_t word = blockIdx.x * blockDim.x + threadIdx.x;
    if (word < p.num_words) {
        global_pointer<uint32_t>(p.out)[word] = global_pointer<const uint32_t>(p.src)[word];
    }
}
