//! tintype-cpu

mod matmul;
mod simd;
mod weights;
