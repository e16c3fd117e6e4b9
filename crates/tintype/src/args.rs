//! What the command line accepts. These types hold what the user wrote; nothing here runs anything.

mod bench;
mod compilation;
mod count;
mod device;
mod engine;
mod generate;
mod model;
mod prompts;
mod sampling;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchCommand, LatencyArgs, StartArgs};
pub(crate) use device::{DeviceArgs, DeviceChoice};
pub(crate) use engine::EngineArgs;
pub(crate) use generate::GenerateArgs;
pub(crate) use model::ModelArgs;
pub(crate) use prompts::PromptArgs;
pub(crate) use sampling::SamplingArgs;

/// Run large language models through captured graphs
#[derive(Debug, Parser)]
#[command(name = "tintype", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 the run failed, 2 bad arguments or configuration, 130 interrupted.

Example:
  tintype generate --prompt \"348+277=\"")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) messages: MessageArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct MessageArgs {
    /// Print nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on stderr; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Generate text from prompts
    Generate(Box<GenerateArgs>),
    /// Show what the engine flags resolve to, and everything that was overridden
    Config(ConfigArgs),
    /// Capture every graph, then report what each holds and cost
    Graphs(GraphsArgs),
    /// Show what a model is, how large it is, and what fits into memory
    Info(InfoArgs),
    /// Show the devices found and, for each that is missing, the reason and the fix
    Doctor(DoctorArgs),
    /// Measure
    Bench(BenchArgs),
}

impl Command {
    /// The device that it was given; `doctor` looks at all.
    pub(crate) fn device(&self) -> DeviceChoice {
        match self {
            Self::Generate(args) => args.engine.device.device,
            Self::Config(args) => args.engine.device.device,
            Self::Graphs(args) => args.engine.device.device,
            Self::Info(args) => args.device.device,
            Self::Doctor(_) => DeviceChoice::Auto,
            Self::Bench(args) => match &args.what {
                BenchCommand::Latency(args) => args.engine.device.device,
                BenchCommand::Start(args) => args.engine.device.device,
            },
        }
    }
}

/// Flags of `tintype config`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tintype config --compilation-config '{\"simple_cuda_graph\": true}'
  tintype config -O1 --max-num-seqs 8 --json")]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `tintype graphs`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tintype graphs --max-num-seqs 8
  tintype graphs --compilation-config '{\"simple_cuda_graph\": true}' --dot graph.dot")]
pub(crate) struct GraphsArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the op list of the largest graph as a Graphviz drawing
    #[arg(long, value_name = "FILE")]
    pub(crate) dot: Option<PathBuf>,
}

/// Flags of `tintype info`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tintype info --model path/to/folder
  tintype info --model synthetic:llama-3.2-1b --json")]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `tintype doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tintype doctor
  tintype doctor --json")]
pub(crate) struct DoctorArgs {
    /// How many CPU threads to report on [default: all]
    #[arg(long, value_name = "N", value_parser = count::threads, allow_negative_numbers = true)]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests;
