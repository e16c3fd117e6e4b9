//! What a request may ask of sampling, and what is refused.

use tintype_config::GenerationConfig;
use tintype_ops::sampling::SampleParams;

use crate::RequestError;
use crate::random::SplitMix64;

/// How one request's tokens are drawn, and when it ends. The default is greedy, to the model's end
/// of sequence or the longest length.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits. 0 takes the most likely token, and the filters and the seed have no say.
    pub temperature: f32,
    /// Draws among this many of the most likely tokens; 0 for all.
    pub top_k: u32,
    /// Draws among the most likely tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Draws among tokens at least this fraction as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of tokens in prompt or output; 1
    /// changes nothing.
    pub repetition_penalty: f32,
    /// Taken from the logit of every token that is in the output; 0 changes nothing.
    pub presence_penalty: f32,
    /// Taken from the logit of a token once for each time it is in the output.
    pub frequency_penalty: f32,
    /// Same seed, same text, at any batch composition. `None` takes one from the engine's seed
    /// and the request's number.
    pub seed: Option<u64>,
    /// Ends the sequence as soon as one of these is in its text. The text ends before it.
    pub stop: Vec<String>,
    /// End the sequence besides the model's own end-of-sequence tokens.
    pub stop_token_ids: Vec<u32>,
    /// Goes on past the model's end-of-sequence tokens.
    pub ignore_eos: bool,
    /// Most tokens to draw; `None` for as many as the engine's `max_model_len` leaves.
    pub max_tokens: Option<usize>,
    /// Reports the log-probability of each token drawn and of this many of the most likely ones.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            max_tokens: None,
            logprobs: None,
        }
    }
}

impl SamplingParams {
    /// The defaults that the model's authors chose, as transformers reads them: what narrows a
    /// draw counts only where `do_sample` is true, the repetition penalty in greedy decoding too.
    #[must_use]
    pub fn from_generation_config(generation: &GenerationConfig) -> Self {
        let default = Self {
            repetition_penalty: generation.repetition_penalty.unwrap_or(1.0),
            ..Self::default()
        };
        if generation.do_sample != Some(true) {
            return default;
        }
        Self {
            temperature: generation.temperature.unwrap_or(1.0),
            top_k: generation.top_k.map_or(0, |top_k| u32::try_from(top_k).unwrap_or(0)),
            top_p: generation.top_p.unwrap_or(default.top_p),
            min_p: generation.min_p.unwrap_or(default.min_p),
            ..default
        }
    }

    /// Refuses values that mean nothing, before the request takes part in a batch.
    ///
    /// # Errors
    /// [`RequestError::Param`] names the field, its value and the values that are accepted.
    pub fn validate(&self, vocab_size: usize) -> Result<(), RequestError> {
        let at_least_0 = |value: f32| value.is_finite() && value >= 0.0;
        let penalty = |value: f32| (-2.0..=2.0).contains(&value);
        let floats = [
            ("temperature", self.temperature, at_least_0(self.temperature), "at least 0"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
                "above 0; 1 is no penalty",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                penalty(self.presence_penalty),
                "from -2 to 2; 0 is no penalty",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                penalty(self.frequency_penalty),
                "from -2 to 2; 0 is no penalty",
            ),
        ];
        if let Some(&(field, found, _, expected)) = floats.iter().find(|&&(_, _, ok, _)| !ok) {
            return Err(RequestError::param(field, found, expected));
        }
        self.validate_ends(vocab_size)
    }

    fn validate_ends(&self, vocab_size: usize) -> Result<(), RequestError> {
        if self.max_tokens == Some(0) {
            return Err(RequestError::param("max_tokens", 0, "at least 1"));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(RequestError::param("stop", "\"\"", "text that is not empty"));
        }
        match self.logprobs {
            Some(n) if n > vocab_size => {
                let expected = format!("at most the vocabulary's {vocab_size} tokens");
                Err(RequestError::param("logprobs", n, expected))
            }
            _ => Ok(()),
        }
    }

    /// Whether the host must adjust the logits before a token is drawn.
    pub(crate) fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }

    /// The row of [`tintype_ops::Op::Sample`] that draws token number `step` of a sequence.
    pub(crate) fn row(&self, seed: u64, step: u32) -> SampleParams {
        SampleParams {
            temperature: self.temperature,
            top_p: self.top_p,
            min_p: self.min_p,
            top_k: self.top_k,
            seed: [seed as u32, (seed >> 32) as u32],
            step,
            reserved: 0,
        }
    }
}

/// The seed of a request that brings none: the engine's, and the request's number mixed in, so
/// that equal prompts of one run draw differently and a rerun draws the same.
pub(crate) fn derived_seed(engine_seed: u64, index: u64) -> u64 {
    SplitMix64::at(engine_seed, index).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut SamplingParams)) -> String {
        let mut params = SamplingParams::default();
        change(&mut params);
        params.validate(100).unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_greedy_and_valid() {
        let params = SamplingParams::default();
        assert_eq!(params.validate(1), Ok(()));
        assert_eq!(params.row(0, 0), SampleParams::GREEDY);
        assert!(!params.has_penalties());
    }

    #[test]
    fn without_do_sample_only_the_repetition_penalty_counts() {
        let mut generation = GenerationConfig {
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.9),
            min_p: Some(0.1),
            repetition_penalty: Some(1.1),
            ..GenerationConfig::default()
        };
        let greedy = SamplingParams { repetition_penalty: 1.1, ..SamplingParams::default() };
        assert_eq!(SamplingParams::from_generation_config(&generation), greedy);
        generation.do_sample = Some(false);
        assert_eq!(SamplingParams::from_generation_config(&generation), greedy);
        generation.do_sample = Some(true);
        let drawn =
            SamplingParams { temperature: 0.6, top_k: 20, top_p: 0.9, min_p: 0.1, ..greedy };
        assert_eq!(SamplingParams::from_generation_config(&generation), drawn);
    }

    #[test]
    fn each_bad_value_is_named_with_what_is_accepted() {
        let nan = f32::NAN;
        assert_eq!(refusal(|p| p.temperature = -1.0), "temperature = -1: expected at least 0");
        assert_eq!(refusal(|p| p.temperature = nan), "temperature = NaN: expected at least 0");
        assert_eq!(refusal(|p| p.top_p = 0.0), "top_p = 0: expected above 0, at most 1");
        assert_eq!(refusal(|p| p.min_p = 1.5), "min_p = 1.5: expected from 0 to 1");
        let text = refusal(|p| p.repetition_penalty = 0.0);
        assert_eq!(text, "repetition_penalty = 0: expected above 0; 1 is no penalty");
        let text = refusal(|p| p.presence_penalty = 3.0);
        assert_eq!(text, "presence_penalty = 3: expected from -2 to 2; 0 is no penalty");
        let text = refusal(|p| p.frequency_penalty = nan);
        assert_eq!(text, "frequency_penalty = NaN: expected from -2 to 2; 0 is no penalty");
        assert_eq!(refusal(|p| p.max_tokens = Some(0)), "max_tokens = 0: expected at least 1");
        let text = refusal(|p| p.stop = vec![String::new()]);
        assert_eq!(text, "stop = \"\": expected text that is not empty");
        let text = refusal(|p| p.logprobs = Some(101));
        assert_eq!(text, "logprobs = 101: expected at most the vocabulary's 100 tokens");
    }

    #[test]
    fn seeds_reach_the_op_whole() {
        let params = SamplingParams { temperature: 1.0, ..SamplingParams::default() };
        let row = params.row(0x0123_4567_89AB_CDEF, 5);
        assert_eq!((row.seed, row.step), ([0x89AB_CDEF, 0x0123_4567], 5));
    }

    #[test]
    fn derived_seeds_differ_by_request_and_by_engine() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..4).flat_map(|engine| (0..100).map(move |i| derived_seed(engine, i))).collect();
        assert_eq!(seeds.len(), 400);
        assert_eq!(derived_seed(7, 3), derived_seed(7, 3));
    }
}
