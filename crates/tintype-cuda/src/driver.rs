//! The driver API, in thin owned types: a handle is destroyed once, by the `Drop` of its owner.
//!
//! Only cudarc's raw bindings are used. Its safe layer records events behind our back, which a
//! capture forbids, and cannot discard a capture.
//!
//! **Before the first call.** cudarc panics without a driver library and on a symbol that the
//! library lacks. [`Driver::load`] looks for both, and nothing here is reached without a value
//! that it made.
//!
//! **Faults.** A device fault is final for the process. [`Context::call`] keeps the first one and
//! answers every later call with it, without asking the driver.
//!
//! **Threads.** Calls need the context to be current on the calling thread: [`Context::bind`].
//! Destructors bind it themselves and ignore what the driver answers: there is nobody to tell, and
//! after a fault it refuses everything.

/// Calls a function of the driver through a context, by its name.
macro_rules! call {
    ($context:expr, $function:ident($($argument:expr),* $(,)?)) => {
        $context.call(
            stringify!($function),
            || cudarc::driver::sys::$function($($argument),*),
        )
    };
}

mod capture;
mod context;
mod device;
mod error;
mod graph;
mod handle;
mod library;
mod memory;
mod module;
mod queue;

pub(crate) use capture::Capture;
pub(crate) use context::Context;
pub(crate) use device::{Device, Driver};
pub(crate) use error::DriverError;
pub(crate) use graph::{Graph, GraphExec, NodeKind};
pub use library::Version;
pub(crate) use memory::{CopyPart, DeviceBuffer, PinnedBuffer};
pub(crate) use module::{Attribute, Function, LaunchConfig, LoadError, Module};
pub(crate) use queue::{Event, Queue};
