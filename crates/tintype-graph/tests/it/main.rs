//! The pool, driven as an engine drives it, on a stream that logs what happens.
#![allow(clippy::unwrap_used, reason = "a helper that fails should end its test")]

mod support;

/// Captures at start-up, in steps and in the background; sealing.
mod capture;
/// The same on the CPU stream, with attention over a paged cache.
mod cpu;
/// One op at a time.
mod debug;
/// What the examples show.
mod examples;
/// Captures and replays that fail.
mod failure;
/// Graphs between ops.
mod piecewise;
/// Replays against eager runs.
mod replay;
/// What is counted and reported.
mod report;
/// Checks of operands and of bits.
mod verify;
