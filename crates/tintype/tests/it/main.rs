//! The `tintype` command from outside: what it prints where, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod bench;
mod config;
mod cuda;
mod doctor;
mod errors;
mod generate;
mod graphs;
mod help;
mod info;
mod process;
mod sampling;
mod start;
mod streams;
