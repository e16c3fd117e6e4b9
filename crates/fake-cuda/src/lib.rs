//! A `libcuda.so` for tests: the CUDA driver API on the CPU, with kernels run by `ptx-interp`.
//!
//! Programs do not link this crate; they load the shared library that it builds, as they load the
//! driver's. What the library does is in `docs/cuda-driver-model.md`, what a test may ask of it
//! beyond the driver API in this crate's README.
//!
//! The code knows nothing of the project's own kernels and of the crates that launch them. It
//! consists of the shims in `api`, which turn C calls into calls of methods of `Driver`; `Driver`,
//! whose methods are spread over a file for each part of the API; and `ffi`, where every pointer of
//! the program is dereferenced.
//!
//! What a Rust test links of this crate is [`FakeDriver`], which loads the library and talks to it.

#[macro_use]
mod exports;

mod api;
mod capture;
mod client;
mod config;
mod context;
mod control;
mod copy;
mod device;
mod driver;
mod error;
mod event;
mod executor;
mod faults;
mod ffi;
mod graph;
mod graph_exec;
mod handle;
mod host;
mod launch;
mod lent;
mod library;
mod memory;
mod module;
mod occupancy;
mod operation;
mod pool;
mod stream;
mod types;
mod vmm;

pub use client::{ControlError, FakeDriver};
pub use library::{beside_executable, driver_folder, without_symbol};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
