//! What a step and a whole request give.

use serde::Serialize;

use crate::{FinishReason, RequestId, TokenLogprobs};

/// One more token of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SequenceOutput {
    /// The request.
    pub id: RequestId,
    /// The token drawn, an end-of-sequence token included.
    pub token_id: u32,
    /// The text that can be shown now: whole characters, and nothing that may turn out to be part
    /// of a stop string. Empty without a tokenizer.
    pub text: String,
    /// Where the request asked for them.
    pub logprobs: Option<TokenLogprobs>,
    /// Set with the last token.
    pub finish_reason: Option<FinishReason>,
}

/// What one step gave: at most one token per request, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepOutputs {
    /// The tokens. A step that only computed part of a prompt has none.
    pub outputs: Vec<SequenceOutput>,
    /// Tokens computed, prompts and output together.
    pub num_tokens: usize,
    /// Whether every sequence of the step decoded.
    pub is_decode: bool,
}

/// A request from beginning to end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// The prompt.
    pub prompt_ids: Vec<u32>,
    /// The tokens drawn, an end-of-sequence token included.
    pub output_ids: Vec<u32>,
    /// Their text, without special tokens, up to the first stop string. Empty without a tokenizer.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// One for each token, where the request asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprobs>>,
}

impl Completion {
    pub(crate) fn new(prompt_ids: Vec<u32>, wants_logprobs: bool) -> Self {
        Self {
            prompt_ids,
            output_ids: Vec::new(),
            text: String::new(),
            finish_reason: FinishReason::Length,
            logprobs: wants_logprobs.then(Vec::new),
        }
    }

    /// Takes in one more token.
    pub(crate) fn push(&mut self, output: SequenceOutput) {
        self.output_ids.push(output.token_id);
        self.text.push_str(&output.text);
        if let (Some(all), Some(one)) = (&mut self.logprobs, output.logprobs) {
            all.push(one);
        }
        if let Some(reason) = output.finish_reason {
            self.finish_reason = reason;
        }
    }
}
