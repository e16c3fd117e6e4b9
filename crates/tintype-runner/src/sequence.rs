//! One request's tokens, and how far they have come.

use std::fmt;

use serde::Serialize;

use crate::SamplingParams;

/// What is asked of the engine: continue this prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The prompt's token ids; at least one.
    pub prompt_ids: Vec<u32>,
    /// How tokens are drawn and when to stop.
    pub params: SamplingParams,
}

/// Names a request in its engine. Numbers follow the order of
/// [`Engine::add_request`](crate::Engine::add_request), from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// An end-of-sequence token, a stop token or a stop string.
    Stop,
    /// `max_tokens`, or the engine's `max_model_len`.
    Length,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stop => "stop",
            Self::Length => "length",
        })
    }
}

/// Stands for a token that is drawn but not known yet. No vocabulary has it.
const PENDING: u32 = u32::MAX;

/// A request on its way. Whether it waits or runs is said by the scheduler's queue that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) id: RequestId,
    pub(crate) params: SamplingParams,
    /// Of sampling.
    pub(crate) seed: u64,
    /// Prompt, then output.
    pub(crate) tokens: Vec<u32>,
    pub(crate) num_prompt_tokens: usize,
    /// Tokens whose keys and values are in the cache.
    pub(crate) num_computed: usize,
    /// Logical block → physical block.
    pub(crate) block_table: Vec<u32>,
    /// Tokens at which it ends for its length; set when it is accepted.
    pub(crate) max_len: usize,
    pub(crate) finish_reason: Option<FinishReason>,
}

impl Sequence {
    pub(crate) fn new(id: RequestId, request: Request, seed: u64) -> Self {
        Self {
            id,
            params: request.params,
            seed,
            num_prompt_tokens: request.prompt_ids.len(),
            tokens: request.prompt_ids,
            num_computed: 0,
            block_table: Vec::new(),
            max_len: usize::MAX,
            finish_reason: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn output(&self) -> &[u32] {
        &self.tokens[self.num_prompt_tokens..]
    }

    /// Tokens whose keys and values are not in the cache yet.
    pub(crate) fn num_uncomputed(&self) -> usize {
        self.len() - self.num_computed
    }

    /// Whether its next step decodes: all but the token drawn last is in the cache. A prompt chunk
    /// that merely has one token is no decode.
    pub(crate) fn is_decoding(&self) -> bool {
        self.num_uncomputed() == 1 && self.len() > self.num_prompt_tokens
    }

    /// Takes in a step that computes `num_tokens` and draws a token after the last of them, which
    /// is not known yet. While part of the prompt is left, that token does not count.
    pub(crate) fn advance(&mut self, num_tokens: usize) {
        self.num_computed += num_tokens;
        if self.num_uncomputed() == 0 {
            self.tokens.push(PENDING);
        }
    }

    /// Takes in the token that the step drew. Returns whether it counts.
    pub(crate) fn take_token(&mut self, token: u32) -> bool {
        match self.tokens.last_mut() {
            Some(last) if *last == PENDING => {
                *last = token;
                true
            }
            _ => false,
        }
    }

    /// Whether a step drew a token that is not known yet.
    pub(crate) fn awaits_token(&self) -> bool {
        self.tokens.last() == Some(&PENDING)
    }

    /// Forgets what is in the cache, so that it is computed again.
    pub(crate) fn reset(&mut self) {
        self.num_computed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(num_prompt_tokens: usize) -> Sequence {
        let request = Request { prompt_ids: vec![7; num_prompt_tokens], ..Request::default() };
        Sequence::new(RequestId(0), request, 0)
    }

    /// A step whose token is known at once.
    fn step(sequence: &mut Sequence, num_tokens: usize, token: u32) -> bool {
        sequence.advance(num_tokens);
        sequence.take_token(token)
    }

    #[test]
    fn a_token_counts_only_after_the_whole_prompt() {
        let mut sequence = sequence(5);
        assert!(!step(&mut sequence, 3, 1));
        assert_eq!((sequence.num_uncomputed(), sequence.output().len()), (2, 0));
        assert!(step(&mut sequence, 2, 9));
        assert_eq!((sequence.num_uncomputed(), sequence.output()), (1, &[9u32][..]));
    }

    #[test]
    fn a_sequence_decodes_before_its_token_is_known() {
        let mut sequence = sequence(2);
        sequence.advance(2);
        assert!(sequence.awaits_token() && sequence.is_decoding());
        assert_eq!((sequence.len(), sequence.output().len()), (3, 1));
        assert!(sequence.take_token(9) && !sequence.awaits_token());
        assert!(!sequence.take_token(8), "there is one token to be had");
        assert_eq!(sequence.output(), [9]);
    }

    #[test]
    fn a_prompt_chunk_of_one_token_is_no_decode() {
        let mut short = sequence(1);
        assert!(!short.is_decoding());
        step(&mut short, 1, 2);
        assert!(short.is_decoding());
        let mut long = sequence(5);
        step(&mut long, 4, 0);
        assert!(!long.is_decoding());
    }

    #[test]
    fn a_reset_sequence_computes_prompt_and_output_again() {
        let mut sequence = sequence(2);
        step(&mut sequence, 2, 8);
        step(&mut sequence, 1, 9);
        sequence.reset();
        assert_eq!(sequence.num_uncomputed(), 4);
        assert!(!sequence.is_decoding());
        assert!(step(&mut sequence, 4, 10));
        assert_eq!(sequence.output(), [8, 9, 10]);
    }
}
