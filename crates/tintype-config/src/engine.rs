//! What takes part in the rules besides `CompilationConfig`: the engine's limits and the backend.

use crate::error::Setting;
use crate::{CompilationConfig, CompilationLevel, ConfigError, CudaGraphMode, GraphSupport};

/// The most that any of the limits may be: positions above this are not exact in f32, in which
/// rotary embeddings are computed.
pub const MAX_LIMIT: u32 = 1 << 24;

/// Everything that the user says about the engine; the defaults are vLLM's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// The most sequences in one step.
    pub max_num_seqs: usize,
    /// The most tokens in one step.
    pub max_num_batched_tokens: usize,
    /// The most tokens of one sequence, prompt included; `None` = what the model and memory allow.
    pub max_model_len: Option<usize>,
    /// Tokens in one block of the paged KV cache.
    pub block_size: usize,
    /// No compilation and no graphs, whatever `compilation` says.
    pub enforce_eager: bool,
    /// `-O`, 0 to 3: fills what `compilation` leaves unset. `None` acts as 2.
    pub optimization_level: Option<u8>,
    /// `--compilation-config`.
    pub compilation: CompilationConfig,
    /// Seed of sampling, for sequences that bring none of their own.
    pub seed: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            max_model_len: None,
            block_size: 16,
            enforce_eager: false,
            optimization_level: None,
            compilation: CompilationConfig::default(),
            seed: 0,
        }
    }
}

impl EngineConfig {
    /// Refuses limits that no engine can run with, whether or not graphs are on.
    /// [`resolve`](crate::resolve) does so too.
    ///
    /// # Errors
    /// [`ConfigError`] names the limit, its value and what is accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("max_model_len", self.max_model_len.unwrap_or(1)),
            ("block_size", self.block_size),
        ];
        for (field, value) in limits {
            if !(1..=MAX_LIMIT as usize).contains(&value) {
                let problem = format!("expected 1 to {MAX_LIMIT}");
                return Err(ConfigError::value(field, value, problem));
            }
        }
        if self.max_num_batched_tokens < self.max_num_seqs {
            return Err(ConfigError::Conflict {
                first: Setting::new("max_num_batched_tokens", self.max_num_batched_tokens),
                second: Setting::new("max_num_seqs", self.max_num_seqs),
                why: "a decode step takes one token of every sequence",
                fix: "raise max_num_batched_tokens or lower max_num_seqs",
            });
        }
        match self.optimization_level {
            Some(level) if level > 3 => Err(ConfigError::value(
                "optimization_level",
                level,
                "expected -O0, -O1, -O2 or -O3",
            )),
            _ => Ok(()),
        }
    }

    /// The level and mode that `-O` fills in.
    pub(crate) fn preset(&self) -> (CompilationLevel, CudaGraphMode) {
        match self.optimization_level {
            Some(0) => (CompilationLevel::NoCompilation, CudaGraphMode::None),
            Some(1) => (CompilationLevel::Piecewise, CudaGraphMode::Piecewise),
            _ => (CompilationLevel::Piecewise, CudaGraphMode::FullAndPiecewise),
        }
    }
}

/// What the rules must know about the stream that will run the ops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// How messages call it, for example `cpu`.
    pub name: String,
    /// Whether it can record and replay at all.
    pub can_capture: bool,
    /// Which batches its attention can run inside a graph.
    pub graph_support: GraphSupport,
    /// The op names that `splitting_ops` may use; empty = any.
    pub splittable_ops: Vec<String>,
}
