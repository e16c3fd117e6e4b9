// Programmatic dependent launch: a kernel may start before the one in front of it in the stream
// ends. Below sm_90 both functions are empty, and a kernel starts when its predecessor has ended.
#pragma once

// Waits until every kernel in front has ended and its writes are visible. All threads call it
// before their first access to global memory. Weights, which nothing changes, may be read earlier;
// a kernel that reads more argues for it (see attention_rope.cuh).
__device__ __forceinline__ void pdl_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Allows the next kernel to start once every block has called it or ended. The next kernel still
// waits for this one's end before it reads, so this is about when its blocks may take up room.
__device__ __forceinline__ void pdl_launch_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
