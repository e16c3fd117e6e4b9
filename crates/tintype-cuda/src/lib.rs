//! The CUDA backend: ops as kernel launches, captured as CUDA graphs.
//!
//! [`CudaStream`] queues the kernels of each op on one stream of the device. Capture records the
//! same launches and runs none of them; a graph holds kernels and nothing else, which is checked.
//!
//! The crate is built on any machine. The driver's library is loaded when a stream is opened, and
//! a machine without one gets an [`OpenError`].
//!
//! **Aliasing.** An op's outputs share no buffer with its inputs. Each op's launches run in the
//! order of the queue, or behave as if they did: a kernel that starts early waits by itself before
//! it touches anything but weights.
//!
//! **Unsafe.** `driver` wraps the driver's functions; what it cannot know, such as that a kernel
//! stays inside its operands, is argued where launches and copies are queued.

mod capture;
mod device;
mod download;
mod driver;
mod graph;
mod host_copy;
mod kernels;
mod launch;
mod launcher;
mod loader;
mod memory;
mod open_error;
mod read_probe;
mod staging;
mod stream;
mod weights;

pub use device::{DeviceSummary, RECOMMENDED_ENVIRONMENT, devices};
pub use download::CudaDownload;
pub use driver::Version;
pub use graph::{CudaGraph, CudaGraphExec};
pub use open_error::OpenError;
pub use stream::{Counters, CudaStream};
