//! Runs NVIDIA PTX on the CPU and checks every access.
#![doc = include_str!("../README.md")]

mod bulk;
mod convert;
mod exec;
mod fault;
mod float_math;
mod half_math;
mod instruction;
mod lane_op;
mod lanes;
mod launch;
mod ldmatrix;
mod loaded;
mod mbarrier;
mod memory;
mod mma;
mod module;
mod parse;
mod scratch;
mod stream;
mod wgmma;

pub use fault::{Fault, FaultKind};
pub use launch::{Launch, Options, Stats, run};
pub use loaded::Loaded;
pub use memory::{Memory, MemoryError};
pub use module::{Kernel, Module, Param, ParseError};
