//! Runs NVIDIA PTX on the CPU and checks every access.

mod fault;
mod launch;
mod loaded;
mod memory;
mod module;
mod parse;

pub use fault::{Fault, FaultKind};
pub use launch::{Launch, Options, Stats, run};
pub use loaded::Loaded;
pub use memory::{Memory, MemoryError};
pub use module::{Kernel, Module, Param, ParseError};
