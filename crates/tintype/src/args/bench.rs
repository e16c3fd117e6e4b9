//! Flags of `tintype bench`.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};

use super::EngineArgs;
use super::count::at_least_1;

/// `tintype bench`.
#[derive(Debug, Args)]
#[command(after_help = LATENCY_EXAMPLE)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchCommand,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure the time of one batch, from prompt to last token, and the memory rate it reaches
    Latency(Box<LatencyArgs>),
    /// Measure the time from the start of the process to the first token, phase by phase
    Start(Box<StartArgs>),
}

const LATENCY_EXAMPLE: &str = "Example:
  tintype bench latency --model synthetic:llama-3.2-1b --batch-size 1 --num-iters 5";

/// Flags of `tintype bench latency`.
#[derive(Debug, Args)]
#[command(after_help = LATENCY_EXAMPLE)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value = "32", help_heading = "Batch")]
    #[arg(value_parser = at_least_1, allow_negative_numbers = true)]
    pub(crate) input_len: NonZeroUsize,
    /// Tokens generated for each prompt
    #[arg(long, value_name = "N", default_value = "128", help_heading = "Batch")]
    #[arg(value_parser = at_least_1, allow_negative_numbers = true)]
    pub(crate) output_len: NonZeroUsize,
    /// Prompts
    #[arg(long, value_name = "N", default_value = "8", help_heading = "Batch")]
    #[arg(value_parser = at_least_1, allow_negative_numbers = true)]
    pub(crate) batch_size: NonZeroUsize,
    /// Timed runs of the batch, after one that is not timed
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Batch")]
    #[arg(value_parser = at_least_1, allow_negative_numbers = true)]
    pub(crate) num_iters: NonZeroUsize,
    /// Seed of the random prompts
    #[arg(long, value_name = "N", default_value = "0", help_heading = "Batch")]
    pub(crate) seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `tintype bench start`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tintype bench start --model synthetic:llama-3.2-1b --json")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value = "32")]
    #[arg(value_parser = at_least_1, allow_negative_numbers = true)]
    pub(crate) input_len: NonZeroUsize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
