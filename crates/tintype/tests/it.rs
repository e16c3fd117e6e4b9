//! The `tintype` command from outside: what it prints where, and how it ends.

#[path = "it/bench.rs"]
mod bench;
#[path = "it/config.rs"]
mod config;
#[path = "it/doctor.rs"]
mod doctor;
#[path = "it/errors.rs"]
mod errors;
#[path = "it/generate.rs"]
mod generate;
#[path = "it/graphs.rs"]
mod graphs;
#[path = "it/help.rs"]
mod help;
#[path = "it/info.rs"]
mod info;
#[path = "it/process.rs"]
mod process;
#[path = "it/sampling.rs"]
mod sampling;
#[path = "it/streams.rs"]
mod streams;
