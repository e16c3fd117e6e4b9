//! `cargo xtask`: the chores of this workspace, written in the language of the workspace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program reports by printing")]

mod build_kernels;
mod cargo;
mod ci;
mod fake_cuda;
mod gpu_bundle;

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
    /// Compile kernels/*.cu to the PTX that the program embeds. Only this needs nvcc.
    ///
    /// Example: cargo xtask build-kernels --check --fetch-toolchain
    BuildKernels(build_kernels::Options),
    /// Build the driver that runs kernels on the CPU; the last line is the folder to put on
    /// LD_LIBRARY_PATH, so that any program runs on it.
    ///
    /// Example: LD_LIBRARY_PATH=$(cargo xtask fake-cuda) target/release/tintype doctor
    FakeCuda,
    /// Build a folder that tests and measures the program on a machine with nothing but a driver;
    /// the last line is its path. Its script `run` does the rest there.
    ///
    /// Example: cargo xtask gpu-bundle
    GpuBundle,
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
        Chore::BuildKernels(options) => build_kernels::run(root, options),
        Chore::FakeCuda => fake_cuda::run(root),
        Chore::GpuBundle => gpu_bundle::run(root),
    }
}

/// Prints what was checked and every problem; an error if there is any.
fn tidy(root: &Path) -> Result<()> {
    let report = tidy::check(root)?;
    println!("{report}");
    ensure!(report.problems.is_empty(), "the workspace is not tidy");
    Ok(())
}
