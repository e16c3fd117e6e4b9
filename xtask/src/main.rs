//! `cargo xtask`: the chores of this workspace, written in the language of the workspace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program reports by printing")]

mod ci;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use xtask::tidy;

/// The chores of this workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run everything a change must pass: fmt, tidy, clippy, doc, test. Stops at the first failure.
    ///
    /// Example: cargo xtask ci
    Ci,
    /// Check what the compiler does not: layers, sizes, headers, bans, links, dead files.
    ///
    /// Example: cargo xtask tidy
    Tidy,
}

fn main() -> ExitCode {
    match run(&Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the xtask package lies at the root of the file system, outside a workspace")?;
    match chore {
        Chore::Ci => ci::run(root),
        Chore::Tidy => tidy(root),
    }
}

/// Prints what was checked and every problem; an error if there is any.
fn tidy(root: &Path) -> Result<()> {
    let report = tidy::check(root)?;
    println!("{report}");
    ensure!(report.problems.is_empty(), "the workspace is not tidy");
    Ok(())
}
