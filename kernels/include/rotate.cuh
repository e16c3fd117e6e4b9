// The rotary position embedding of elements in registers.
#pragma once

// Rotates pairs of elements by angles.
template <int N>
__device__ __forceinline__ void rotate(float (&first)[N], float (&second)[N],
                                       const float (&cosine)[N], const float (&sine)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const float a = first[i], b = second[i];
        first[i] = a * cosine[i] - b * sine[i];
        second[i] = b * cosine[i] + a * sine[i];
    }
}
