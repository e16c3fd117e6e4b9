//! From requests to text: continuous batching over a paged KV cache, through captured graphs.
//!
//! [`Engine`] takes a [`Stream`](tintype_ops::Stream) and an opened model, loads it, sizes the KV
//! cache and captures the graphs, unless they may come later. Then it takes [`Request`]s and gives
//! tokens step by step:
//!
//! 1. The scheduler picks sequences and how many tokens of each; decoding ones come first.
//! 2. The model runner asks the dispatcher what the batch is padded to, writes it into persistent
//!    buffers, and replays the graph of that shape or queues the forward pass. While the device is
//!    busy, graphs may be captured.
//! 3. Tokens are drawn on the stream. Only rows with penalties or log-probabilities bring their
//!    logits to the host.
//! 4. Tokens become text that never ends in half a character or in half a stop string, and
//!    sequences that are done give their blocks back.
//!
//! [`Tokenizer`] and [`ChatTemplate`] need no engine. This crate names no device, reads no clock
//! but to measure, and prints nothing.

mod batch;
pub mod bench;
mod block_manager;
mod chat;
mod date;
mod detokenize;
mod engine;
mod error;
mod io_buffers;
mod kv_cache;
mod logprobs;
mod model_runner;
mod output;
mod penalties;
mod random;
mod random_batch;
mod request_limits;
mod sampling;
mod scheduler;
mod sequence;
mod slack;
mod stats;
mod stop;
#[cfg(test)]
mod test_tokenizers;
mod text;
mod tokenizer;

pub use chat::{Chat, ChatError, ChatMessage, ChatTemplate};
pub use date::Date;
pub use engine::{Engine, EngineOptions, Progress};
pub use error::{EngineError, RequestError};
pub use logprobs::{Logprob, TokenLogprobs};
pub use output::{Completion, SequenceOutput, StepOutputs};
pub use request_limits::{LengthLimit, RequestLimits};
pub use sampling::SamplingParams;
pub use sequence::{FinishReason, Request, RequestId};
pub use stats::Stats;
pub use tokenizer::{Tokenizer, TokenizerError};
