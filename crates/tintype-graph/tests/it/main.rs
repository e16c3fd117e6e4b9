//! The pool, driven as an engine drives it, on a stream that logs what happens.

mod support;

/// Captures at start-up, in steps and in the background; sealing.
mod capture;
/// One op at a time.
mod debug;
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
