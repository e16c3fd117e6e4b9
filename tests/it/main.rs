//! Tests across crates.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]
#![expect(clippy::print_stdout, reason = "a test shows what it checked")]

mod engine; // The engine: the same text whatever the batch, the padding and the graphs.
mod loading; // Model folders, whole and broken.
mod model; // Models: logits, greedy tokens, lists of ops.
mod ops; // Every op on every stream against the CPU backend.
mod streams; // What backend-independent tests run on.
mod tidy; // The workspace keeps its own rules.
