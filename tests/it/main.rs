//! Tests across crates.

mod tidy; // The workspace keeps its own rules.
