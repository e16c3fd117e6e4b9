//! Capture policy: which batches get a graph, when it is captured, and which step replays it.
//!
//! The crate knows neither models nor devices. It runs whatever list of ops a closure queues, on
//! whatever implements [`Stream`](tintype_ops::Stream): see `examples/own_ops.rs` and
//! `examples/own_stream.rs`.
//!
//! A step goes through it like this:
//!
//! 1. [`Dispatcher::dispatch`] maps the batch to a [`BatchDescriptor`], before any metadata of the
//!    step is built: the descriptor is the shape that the batch is padded to.
//! 2. The caller writes the padded batch into persistent buffers.
//! 3. [`GraphPool::run`] replays the graph of the descriptor, captures it first if that is the
//!    policy, or runs the ops eagerly. Whichever it is, [`Counters`] count it.
//!
//! What a graph may bake, and what it must read through a pointer, is said in [`tintype_ops`].
//! Eager and replayed runs of the same padded shape give the same bits; to compare the two, pad
//! and set [`GraphOptions::force_eager`], or let [`GraphPool::verify_all`] do it.

mod backend;
mod capture;
mod counters;
mod debug;
mod descriptor;
mod dispatch;
mod dot;
mod error;
mod options;
mod piecewise;
mod pool;
mod report;
mod verify;
mod wrapper;

pub use backend::backend_of;
pub use counters::Counters;
pub use descriptor::{BatchDescriptor, GraphKey, GraphMode};
pub use dispatch::{Dispatch, Dispatcher, EagerReason};
pub use dot::to_dot;
pub use error::GraphError;
pub use options::{CapturePolicy, GraphOptions, OnCaptureFailure};
pub use piecewise::{Piece, split};
pub use pool::{CaptureProgress, Forward, GraphPool, Ran, Step};
pub use report::{CaptureNote, CaptureReport, GraphReport, ModeReport};
pub use verify::{Difference, Mismatch, RandomBatch};
