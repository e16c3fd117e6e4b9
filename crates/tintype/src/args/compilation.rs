//! `--compilation-config` and `-O`: how graphs are used, as vLLM spells it.

use clap::Args;
use tintype_config::CompilationConfig;
use tintype_graph::{CapturePolicy, GraphOptions, OnCaptureFailure};

/// Flags about graphs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Graphs")]
pub(crate) struct CompilationArgs {
    /// Preset for what --compilation-config leaves unset: 0 no graphs, 1 piecewise, 2 and 3 full
    /// and piecewise [default: 2]
    #[arg(short = 'O', long, value_name = "0-3", value_parser = optimization_level)]
    pub(crate) optimization_level: Option<u8>,
    /// JSON object with vLLM's field names, e.g. '{"simple_cuda_graph": true}'
    #[arg(long, value_name = "JSON", value_parser = CompilationConfig::from_json)]
    pub(crate) compilation_config: Option<CompilationConfig>,
    /// Use no graphs at all, whatever else says so
    #[arg(long)]
    pub(crate) enforce_eager: bool,
    /// After capture, compare each graph with an eager run, bit for bit; check addresses on replay
    #[arg(long)]
    pub(crate) verify_graphs: bool,
    /// Run each op of a graph by itself and wait for it, so that a fault names its op
    #[arg(long)]
    pub(crate) debug_cuda_graph: bool,
    /// When graphs are captured: all at start-up, each by the first step that needs it, or all in
    /// the background, while the device is busy with a step [default: background for generate and
    /// bench start, where the first token counts, else startup]
    #[arg(long, value_name = "startup|lazy|background")]
    pub(crate) capture: Option<CapturePolicy>,
    /// What to do when a graph cannot be captured: stop, or run such batches eagerly
    #[arg(long, value_name = "error|eager", default_value_t)]
    pub(crate) on_capture_failure: OnCaptureFailure,
}

impl CompilationArgs {
    /// How the graph pool behaves, beyond what the configuration says. `default` is when a command
    /// captures graphs where the user does not say; those to be verified have to be there first.
    pub(crate) fn options(&self, default: CapturePolicy) -> GraphOptions {
        let default = if self.verify_graphs { CapturePolicy::Startup } else { default };
        GraphOptions {
            policy: self.capture.unwrap_or(default),
            on_capture_failure: self.on_capture_failure,
            verify: self.verify_graphs,
            debug: self.debug_cuda_graph,
            force_eager: false,
        }
    }
}

/// vLLM once took the JSON under `-O` as well, so the message says where it goes now.
fn optimization_level(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(level @ 0..=3) => Ok(level),
        _ if text.starts_with(['{', '.']) => {
            Err("expected 0, 1, 2 or 3; fields go into --compilation-config '{...}'".into())
        }
        _ => Err("expected 0, 1, 2 or 3".into()),
    }
}
