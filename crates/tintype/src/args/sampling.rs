//! Flags about how tokens are drawn and when a sequence ends.

use clap::Args;
use tintype_config::GenerationConfig;
use tintype_runner::SamplingParams;

use super::count;

/// Every flag left out takes the value of the model's `generation_config.json`, if that has one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Most tokens to generate for each prompt
    #[arg(short = 'n', long, value_name = "N", default_value = "128")]
    #[arg(value_parser = count::at_least_1, allow_negative_numbers = true)]
    pub(crate) max_tokens: std::num::NonZeroUsize,
    /// 0 takes the most likely token; above, less likely ones get their chance
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Draw among the K most likely tokens; 0 or -1 for all
    #[arg(long, value_name = "K", value_parser = count::top_k, allow_negative_numbers = true)]
    pub(crate) top_k: Option<u32>,
    /// Draw among the most likely tokens that together have probability P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Draw among tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Above 1, tokens of the prompt and the text so far become less likely
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Taken from the logit of each token that occurs in the text so far
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// Taken from the logit of each token once for each time it occurs in the text so far
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Same seed, same text [default: differs from prompt to prompt, not from run to run]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// End before this text; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// End at this token as well; repeatable
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) stop_token_id: Vec<u32>,
    /// Go on past the model's end-of-sequence tokens
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// With --json, report the N most likely tokens of each step
    #[arg(long, value_name = "N", requires = "json", allow_negative_numbers = true)]
    pub(crate) logprobs: Option<usize>,
}

impl SamplingArgs {
    /// What these flags ask for, over what the model's makers suggest.
    pub(crate) fn params(&self, generation: &GenerationConfig) -> SamplingParams {
        let suggested = SamplingParams::from_generation_config(generation);
        let penalty = self.repetition_penalty.unwrap_or(suggested.repetition_penalty);
        SamplingParams {
            temperature: self.temperature.unwrap_or(suggested.temperature),
            top_k: self.top_k.unwrap_or(suggested.top_k),
            top_p: self.top_p.unwrap_or(suggested.top_p),
            min_p: self.min_p.unwrap_or(suggested.min_p),
            repetition_penalty: penalty,
            presence_penalty: self.presence_penalty.unwrap_or(suggested.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(suggested.frequency_penalty),
            seed: self.seed,
            stop: self.stop.clone(),
            stop_token_ids: self.stop_token_id.clone(),
            ignore_eos: self.ignore_eos,
            max_tokens: Some(self.max_tokens.get()),
            logprobs: self.logprobs,
        }
    }
}
