//! What a request must keep to. A model's files and the config say it before anything is loaded.

use std::fmt;

use tintype_config::EngineConfig;
use tintype_model::ModelFiles;

use crate::{EngineError, Request, RequestError, SamplingParams};

/// What keeps the sequences of an engine from being longer. Prints as the end of an error: the way
/// to longer ones, if there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthLimit {
    /// The model has no more positions.
    Model,
    /// `max_model_len`, which was asked for.
    Asked {
        /// What it may be raised to.
        max_position_embeddings: usize,
    },
    /// The KV cache, which holds no longer sequence.
    KvCache {
        /// Its blocks.
        num_blocks: usize,
        /// Tokens in each.
        block_size: usize,
    },
}

impl fmt::Display for LengthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.write_str(": the model has no more positions"),
            Self::Asked { max_position_embeddings } => {
                write!(f, ", or raise max_model_len, up to {max_position_embeddings}")
            }
            Self::KvCache { num_blocks, block_size } => write!(
                f,
                ", or raise num_kv_blocks: it is {num_blocks} at a block_size of {block_size}"
            ),
        }
    }
}

/// The limits of every request to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    vocab_size: usize,
    max_model_len: usize,
    length_limit: LengthLimit,
    has_tokenizer: bool,
}

impl RequestLimits {
    /// Those of an engine with this config and, if the user chose it, this number of KV blocks. A
    /// loaded engine may have less room: how much memory there is shows only then.
    ///
    /// # Errors
    /// When a limit of the config is impossible, or beyond the model's.
    pub fn new(
        files: &ModelFiles,
        config: &EngineConfig,
        num_kv_blocks: Option<usize>,
    ) -> Result<Self, EngineError> {
        config.check()?;
        let max_model_len = max_model_len(files, config)?;
        let max_position_embeddings = files.config.max_position_embeddings;
        let length_limit = match max_model_len < max_position_embeddings {
            true => LengthLimit::Asked { max_position_embeddings },
            false => LengthLimit::Model,
        };
        let limits = Self {
            vocab_size: files.config.vocab_size,
            max_model_len,
            length_limit,
            has_tokenizer: files.tokenizer_json.is_some(),
        };
        Ok(match num_kv_blocks {
            Some(num_blocks) => limits.within_cache(num_blocks, config.block_size),
            None => limits,
        })
    }

    /// These limits where the KV cache has `num_blocks` blocks of `block_size` tokens.
    pub(crate) fn within_cache(self, num_blocks: usize, block_size: usize) -> Self {
        let num_tokens = num_blocks.saturating_mul(block_size);
        if num_tokens >= self.max_model_len {
            return self;
        }
        let length_limit = LengthLimit::KvCache { num_blocks, block_size };
        Self { max_model_len: num_tokens, length_limit, ..self }
    }

    /// These limits where there is a tokenizer, or none.
    pub(crate) fn with_tokenizer(self, has_tokenizer: bool) -> Self {
        Self { has_tokenizer, ..self }
    }

    /// Most tokens of a sequence, prompt and output together.
    #[must_use]
    pub fn max_model_len(&self) -> usize {
        self.max_model_len
    }

    /// What keeps sequences from being longer.
    #[must_use]
    pub fn length_limit(&self) -> LengthLimit {
        self.length_limit
    }

    /// Refuses a request that can never run.
    ///
    /// # Errors
    /// [`RequestError`] says what about it, and the way out.
    pub fn check(&self, request: &Request) -> Result<(), RequestError> {
        self.check_params(&request.params)?;
        self.check_prompt(&request.prompt_ids)
    }

    /// The part of [`check`](Self::check) that is about the prompt.
    ///
    /// # Errors
    /// [`RequestError`], as there.
    pub fn check_prompt(&self, prompt_ids: &[u32]) -> Result<(), RequestError> {
        self.check_prompt_len(prompt_ids.len())?;
        let vocab_size = self.vocab_size;
        match prompt_ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&found) => Err(RequestError::UnknownToken { found, vocab_size }),
            None => Ok(()),
        }
    }

    /// The part of [`check_prompt`](Self::check_prompt) that needs only the number of its tokens.
    ///
    /// # Errors
    /// [`RequestError`], as there.
    pub fn check_prompt_len(&self, found: usize) -> Result<(), RequestError> {
        let Self { max_model_len, length_limit, .. } = *self;
        if found == 0 {
            Err(RequestError::EmptyPrompt)
        } else if found >= max_model_len {
            Err(RequestError::PromptTooLong { found, max_model_len, length_limit })
        } else {
            Ok(())
        }
    }

    /// The part of [`check`](Self::check) that needs no prompt.
    ///
    /// # Errors
    /// [`RequestError`], as there.
    pub fn check_params(&self, params: &SamplingParams) -> Result<(), RequestError> {
        params.validate(self.vocab_size)?;
        match params.stop.is_empty() || self.has_tokenizer {
            true => Ok(()),
            false => Err(RequestError::StopWithoutTokenizer),
        }
    }
}

/// Most tokens of a sequence, as far as the model and the user say it.
pub(crate) fn max_model_len(
    files: &ModelFiles,
    config: &EngineConfig,
) -> Result<usize, EngineError> {
    let max_position_embeddings = files.config.max_position_embeddings;
    match config.max_model_len.unwrap_or(max_position_embeddings) {
        found if found > max_position_embeddings => {
            Err(EngineError::BeyondPositions { found, max_position_embeddings })
        }
        max_model_len => Ok(max_model_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits {
        vocab_size: 10,
        max_model_len: 64,
        length_limit: LengthLimit::Model,
        has_tokenizer: true,
    };

    fn refusal(limits: RequestLimits, prompt_ids: Vec<u32>) -> String {
        let request = Request { prompt_ids, params: SamplingParams::default() };
        limits.check(&request).unwrap_err().to_string()
    }

    #[test]
    fn a_prompt_must_have_tokens_that_the_model_has() {
        assert_eq!(refusal(LIMITS, vec![]), "the prompt is empty; give at least one token");
        let unknown = "token id 10 is not in the model's vocabulary of 10";
        assert_eq!(refusal(LIMITS, vec![9, 10]), unknown);
    }

    #[test]
    fn a_prompt_leaves_room_for_a_token() {
        let request = Request { prompt_ids: vec![1; 63], params: SamplingParams::default() };
        assert_eq!(LIMITS.check(&request), Ok(()));
        let long = refusal(LIMITS, vec![1; 64]);
        assert!(long.starts_with("the prompt has 64 tokens, but max_model_len is 64"), "{long}");
        assert!(long.ends_with("shorten the prompt: the model has no more positions"), "{long}");
    }

    #[test]
    fn what_limits_the_length_is_what_may_be_raised() {
        let limit = LengthLimit::Asked { max_position_embeddings: 128 };
        let asked = RequestLimits { length_limit: limit, ..LIMITS };
        let long = refusal(asked, vec![1; 64]);
        assert!(long.ends_with("prompt, or raise max_model_len, up to 128"), "{long}");
        let long = refusal(asked.within_cache(1, 8), vec![1; 8]);
        assert!(long.contains("max_model_len is 8 "), "{long}");
        assert!(long.ends_with(", or raise num_kv_blocks: it is 1 at a block_size of 8"), "{long}");
        assert_eq!(asked.within_cache(8, 8), asked);
        assert_eq!(asked.within_cache(usize::MAX, 8), asked);
    }

    #[test]
    fn stop_strings_need_a_tokenizer() {
        let params = SamplingParams { stop: vec!["x".into()], ..SamplingParams::default() };
        assert_eq!(LIMITS.check_params(&params), Ok(()));
        let without = LIMITS.with_tokenizer(false).check_params(&params);
        assert_eq!(without, Err(RequestError::StopWithoutTokenizer));
    }
}
