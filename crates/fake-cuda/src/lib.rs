//! A `libcuda.so` that runs kernels on the CPU, for tests.
