//! The `tintype` command: flags, progress, output and exit codes over the crates that do the work.
//!
//! Which device runs is decided in `device`, in one place; everything else is generic over it.

mod args;
mod commands;
mod console;
mod demo;
mod device;
mod environment;
mod exit;
mod interrupt;
mod output;
mod progress;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::args::Cli;
use crate::console::Console;

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = Cli::parse();
    environment::prepare(cli.command.device());
    let console = Console::new(cli.messages);
    match commands::run(cli.command, began, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error, &console),
    }
}
