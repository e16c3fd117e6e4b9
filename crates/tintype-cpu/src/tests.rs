//! Each op against plain f64 loops, over odd shapes, strides and every float type; then what the
//! stream promises: capture, replay, threads, poison and errors.

mod dense;
pub(crate) mod device;
mod device_values;
mod moe;
mod rows;
mod sample;
mod stream;
mod threads;

use tintype_ops::DType;

/// Every float type.
pub(crate) const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];
