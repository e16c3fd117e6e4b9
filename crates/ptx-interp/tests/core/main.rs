//! The core of the interpreter: arithmetic against Rust, real kernels against known results, and
//! each planted mistake reported as what it is.

mod arithmetic;
mod detectors;
#[path = "../hopper/device.rs"]
mod device;
mod floats;
mod hand_written;
mod launches;
mod one_instruction;
mod samples;
mod syntax;
