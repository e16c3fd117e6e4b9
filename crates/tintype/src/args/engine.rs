//! The flags that every command with an engine shares, and the `EngineConfig` they spell.

use std::num::NonZeroUsize;

use clap::Args;
use tintype_config::EngineConfig;
use tintype_graph::CapturePolicy;
use tintype_model::ModelFiles;
use tintype_runner::{EngineError, EngineOptions, RequestLimits};

use super::compilation::CompilationArgs;
use super::count::{at_least_1, limit};
use super::{DeviceArgs, ModelArgs};

/// Model, device, limits and graphs.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Queue no step before the tokens of the one in front of it are known
    #[arg(long, help_heading = "Device")]
    no_async_scheduling: bool,
    #[command(flatten)]
    pub(crate) compilation: CompilationArgs,
}

/// What the engine makes room for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Most sequences in one step [default: 256]
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_num_seqs: Option<usize>,
    /// Most tokens in one step [default: 2048]
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_num_batched_tokens: Option<usize>,
    /// Most tokens of one sequence, prompt included [default: the model's]
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_model_len: Option<usize>,
    /// Tokens in one block of the KV cache [default: 16]
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    block_size: Option<usize>,
    /// Blocks of the KV cache [default: what the limits need, as far as memory goes]
    #[arg(long, value_name = "N", value_parser = at_least_1, allow_negative_numbers = true)]
    num_kv_blocks: Option<NonZeroUsize>,
}

impl EngineArgs {
    /// The configuration that these flags spell; what they leave out has its default.
    pub(crate) fn config(&self) -> EngineConfig {
        let default = EngineConfig::default();
        let LimitArgs { max_num_seqs, max_num_batched_tokens, max_model_len, block_size, .. } =
            self.limits;
        EngineConfig {
            max_num_seqs: max_num_seqs.unwrap_or(default.max_num_seqs),
            max_num_batched_tokens: max_num_batched_tokens
                .unwrap_or(default.max_num_batched_tokens),
            max_model_len,
            block_size: block_size.unwrap_or(default.block_size),
            enforce_eager: self.compilation.enforce_eager,
            optimization_level: self.compilation.optimization_level,
            compilation: self.compilation.compilation_config.clone().unwrap_or_default(),
            seed: default.seed,
        }
    }

    /// How the engine behaves beyond that, in a command that captures graphs so by `default`.
    pub(crate) fn options(&self, default: CapturePolicy) -> EngineOptions {
        EngineOptions {
            num_kv_blocks: self.limits.num_kv_blocks.map(usize::from),
            async_scheduling: self.no_async_scheduling.then_some(false),
            graphs: self.compilation.options(default),
            ..EngineOptions::default()
        }
    }

    /// What requests must keep to, as far as it is known before the model is loaded.
    pub(crate) fn request_limits(&self, files: &ModelFiles) -> Result<RequestLimits, EngineError> {
        RequestLimits::new(files, &self.config(), self.limits.num_kv_blocks.map(usize::from))
    }
}
