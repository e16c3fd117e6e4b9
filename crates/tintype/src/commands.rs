//! One module per command.

mod bench;
mod config;
mod doctor;
mod dtypes;
mod generate;
mod graphs;
mod info;
mod start;

use std::time::Instant;

use anyhow::Result;

use crate::args::Command;
use crate::console::Console;

/// Runs the command that the user gave to a process that began at `began`.
pub(crate) fn run(command: Command, began: Instant, console: &Console) -> Result<()> {
    match command {
        Command::Generate(args) => generate::run(*args, console),
        Command::Config(args) => config::run(args, console),
        Command::Graphs(args) => graphs::run(args, console),
        Command::Info(args) => info::run(args, console),
        Command::Doctor(args) => doctor::run(args, console),
        Command::Bench(args) => bench::run(args.what, began, console),
    }
}
