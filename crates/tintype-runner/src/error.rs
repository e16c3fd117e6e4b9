//! Why a request is refused, and why an engine or a step fails.

use std::fmt::Display;

use tintype_config::ConfigError;
use tintype_graph::GraphError;
use tintype_model::ModelError;

use crate::{LengthLimit, RequestId, TokenizerError};

/// Why a request is refused. The engine and its other requests go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A sampling parameter has a value that means nothing.
    #[error("{field} = {found}: expected {expected}")]
    Param {
        /// The field of [`SamplingParams`](crate::SamplingParams).
        field: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// There is nothing to continue.
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
    /// A token that the model does not have.
    #[error("token id {found} is not in the model's vocabulary of {vocab_size}")]
    UnknownToken {
        /// The id.
        found: u32,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// The prompt leaves no room for an output token.
    #[error(
        "the prompt has {found} tokens, but max_model_len is {max_model_len} and must hold the \
         prompt and one token of output; shorten the prompt{length_limit}"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        found: usize,
        /// Tokens of a sequence, prompt and output together.
        max_model_len: usize,
        /// What keeps it from being more.
        length_limit: LengthLimit,
    },
    /// Sequences would end before they have the length that a benchmark asks for.
    #[error(
        "input_len = {input_len} and output_len = {output_len} make sequences of more than \
         max_model_len = {max_model_len} tokens; lower one of the two{length_limit}"
    )]
    OutputTooLong {
        /// Tokens of each prompt.
        input_len: usize,
        /// Tokens to be generated for each.
        output_len: usize,
        /// Tokens of a sequence, prompt and output together.
        max_model_len: usize,
        /// What keeps it from being more.
        length_limit: LengthLimit,
    },
    /// The KV cache is too small for this sequence, even if it had it to itself.
    #[error(
        "prompt and output of up to {found} tokens take {needed_blocks} blocks of the KV cache, \
         which has {num_blocks}; lower max_tokens, shorten the prompt, or raise the number of KV \
         blocks"
    )]
    NeverFits {
        /// Most tokens of the sequence.
        found: usize,
        /// Blocks that it would take.
        needed_blocks: usize,
        /// Blocks that there are.
        num_blocks: usize,
    },
    /// Stop strings are looked for in text, and the engine has no tokenizer.
    #[error(
        "stop strings need a tokenizer, and this model has none; use stop_token_ids, or add \
         tokenizer.json to the model folder"
    )]
    StopWithoutTokenizer,
}

impl RequestError {
    pub(crate) fn param(
        field: &'static str,
        found: impl Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Param { field, found: found.to_string(), expected: expected.into() }
    }
}

/// Why an engine cannot start, or a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The configuration contradicts itself, the backend or the model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// A graph could not be captured, or is not what an eager run computes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// [`Engine::generate`](crate::Engine::generate) would swallow the tokens of other requests.
    #[error(
        "{unfinished} requests that were added before are unfinished, and their tokens would be \
         lost; step the engine until they end, or add these requests to them"
    )]
    Busy {
        /// Requests that wait or run.
        unfinished: usize,
    },
    /// `max_model_len` is more than the model was made for.
    #[error(
        "max_model_len = {found}, but the model has {max_position_embeddings} positions; lower \
         max_model_len"
    )]
    BeyondPositions {
        /// What was asked for.
        found: usize,
        /// What `config.json` says.
        max_position_embeddings: usize,
    },
    /// The KV cache has no room for the longest sequence that was asked for, or for any.
    #[error(
        "a sequence of {max_model_len} tokens takes {needed_bytes} bytes of KV cache, and \
         {available_bytes} are to be had ({source_of_limit}); lower max_model_len, or set \
         num_kv_blocks to at least {needed_blocks}"
    )]
    KvCacheTooSmall {
        /// Tokens of the sequence.
        max_model_len: usize,
        /// Blocks that it takes.
        needed_blocks: usize,
        /// Bytes that it takes.
        needed_bytes: u64,
        /// Bytes that the KV cache may have.
        available_bytes: u64,
        /// What sets that limit.
        source_of_limit: String,
    },
    /// The device failed outside a step.
    #[error("{what}: {source}")]
    Stream {
        /// What was being done.
        what: &'static str,
        /// What the stream returned.
        source: tintype_ops::Error,
    },
    /// A step failed, and with it every request of the engine. Nothing of them is left, and their
    /// KV blocks are free again.
    #[error(
        "a step failed, and with it {} request{}: {source}",
        failed.len(),
        if failed.len() == 1 { "" } else { "s" }
    )]
    Step {
        /// The requests, in the order in which they were added.
        failed: Vec<RequestId>,
        /// Why.
        source: Box<EngineError>,
    },
    /// The tokenizer cannot turn its own tokens into text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A request is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<ModelError> for EngineError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

/// Names what was being done when the stream failed.
pub(crate) fn doing(what: &'static str) -> impl Fn(tintype_ops::Error) -> EngineError {
    move |source| EngineError::Stream { what, source }
}
