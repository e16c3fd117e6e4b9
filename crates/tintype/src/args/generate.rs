//! Flags of `tintype generate`.

use clap::Args;

use super::{EngineArgs, PromptArgs, SamplingArgs};

/// Flags of `tintype generate`.
#[derive(Debug, Args)]
#[command(after_help = "With one prompt, its continuation is printed as it comes. With several, \
each follows under
the prompt as a header, in the order given. --json prints one object a line, in the same order.

Example:
  tintype generate --prompt \"348+277=\"
  tintype generate --prompt \"sort 3 1 2=\" --prompt \"reverse copper=\" --json --stats
  tintype generate --model path/to/folder --chat --prompt \"Why is the sky blue?\" -n 64")]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) prompts: PromptArgs,
    /// Put each prompt into the model's chat template as the user's message
    #[arg(long, conflicts_with = "prompt_ids", help_heading = "Prompts")]
    pub(crate) chat: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Print one JSON object a line instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Also report times, token counts, replays and eager steps
    #[arg(long, help_heading = "Output")]
    pub(crate) stats: bool,
}
