//! The core of the interpreter: arithmetic against Rust, real kernels against known results, and
//! each planted mistake reported as what it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

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
