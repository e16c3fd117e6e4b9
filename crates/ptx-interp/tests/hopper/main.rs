//! The Hopper parts of the interpreter against kernels that `nvcc` compiled: right kernels give
//! right results whatever the seed, and each planted mistake is reported as what it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod async_copy;
mod attention;
mod cluster;
mod dependent;
mod device;
mod half;
mod matmul;
mod producer;
mod ring;
mod tile_matmul;
mod wgmma;
