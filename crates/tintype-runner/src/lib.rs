//! tintype-runner
mod block_manager;
mod chat;
mod date;
mod detokenize;
mod error;
mod sampling;
mod scheduler;
mod sequence;
mod stop;
#[cfg(test)]
mod test_tokenizers;
mod tokenizer;

pub use chat::{Chat, ChatError, ChatMessage, ChatTemplate};
pub use date::Date;
pub use error::{EngineError, RequestError};
pub use sampling::SamplingParams;
pub use sequence::{FinishReason, Request, RequestId};
pub use tokenizer::{Tokenizer, TokenizerError};
