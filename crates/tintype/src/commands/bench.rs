//! `tintype bench`: one module per benchmark.

mod latency;
mod start;

use std::time::Instant;

use anyhow::Result;

use crate::args::BenchCommand;
use crate::console::Console;

/// Runs a benchmark of a process that began at `began`.
pub(super) fn run(what: BenchCommand, began: Instant, console: &Console) -> Result<()> {
    match what {
        BenchCommand::Latency(args) => latency::run(*args, console),
        BenchCommand::Start(args) => start::run(*args, began, console),
    }
}
