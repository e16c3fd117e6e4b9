//! What a captured graph is for: the key of a padded batch, and the mode it was captured in.

use std::fmt;

use serde::Serialize;

/// The smallest key of a padded batch. Two steps with the same descriptor queue the same ops with
/// the same shapes; context lengths are never part of it.
///
/// **Decode** (`uniform`): every sequence decodes exactly one token, so `num_seqs == num_tokens`.
/// A prompt chunk that merely has one token is not decoding and must not be passed off as such.
///
/// **Mixed**: any batch. A graph bakes the row counts of the attention metadata, so a mixed
/// descriptor carries as many sequences as a batch of that many tokens can have,
/// `min(max_num_seqs, num_tokens)`: a sequence has at least one token in a step. The sequences
/// that the real batch lacks are empty: `cu_seqlens` repeats the number of real tokens for them
/// and their context length is 0. Piecewise graphs use the same descriptor, so that the ops which
/// run eagerly between the pieces have the shapes that the pieces were captured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct BatchDescriptor {
    /// Tokens of the batch, padding included.
    pub num_tokens: u32,
    /// Rows of the attention metadata, padding included.
    pub num_seqs: u32,
    /// Whether every sequence decodes exactly one token.
    pub uniform: bool,
}

impl BatchDescriptor {
    /// `num_tokens` sequences that decode one token each.
    #[must_use]
    pub const fn decode(num_tokens: u32) -> Self {
        Self { num_tokens, num_seqs: num_tokens, uniform: true }
    }

    /// Any batch of `num_tokens` tokens in an engine that runs at most `max_num_seqs` sequences.
    #[must_use]
    pub const fn mixed(num_tokens: u32, max_num_seqs: u32) -> Self {
        let num_seqs = if max_num_seqs < num_tokens { max_num_seqs } else { num_tokens };
        Self { num_tokens, num_seqs, uniform: false }
    }
}

impl fmt::Display for BatchDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { num_tokens, num_seqs, uniform } = *self;
        let ending = |count: u32| if count == 1 { "" } else { "s" };
        match uniform {
            true => write!(f, "decode of {num_seqs} sequence{}", ending(num_seqs)),
            false => write!(
                f,
                "mixed batch of {num_tokens} token{}, {num_seqs} sequence{}",
                ending(num_tokens),
                ending(num_seqs)
            ),
        }
    }
}

/// How a forward pass is captured, in the order of capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum GraphMode {
    /// One graph for each run of ops between the splitting ops, which run eagerly.
    Piecewise,
    /// One graph for the whole forward pass.
    Full,
}

impl GraphMode {
    /// Both, in the order of capture.
    pub const ALL: [Self; 2] = [Self::Piecewise, Self::Full];
}

impl fmt::Display for GraphMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Piecewise => "PIECEWISE",
            Self::Full => "FULL",
        })
    }
}

/// Names one captured forward pass in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct GraphKey {
    /// How it is captured.
    pub mode: GraphMode,
    /// Which batches it serves.
    pub descriptor: BatchDescriptor,
}

impl fmt::Display for GraphKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} graph for a {}", self.mode, self.descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_singular() {
        let text = |descriptor: BatchDescriptor| descriptor.to_string();
        assert_eq!(text(BatchDescriptor::decode(1)), "decode of 1 sequence");
        assert_eq!(text(BatchDescriptor::decode(2)), "decode of 2 sequences");
        assert_eq!(text(BatchDescriptor::mixed(1, 4)), "mixed batch of 1 token, 1 sequence");
        assert_eq!(text(BatchDescriptor::mixed(8, 4)), "mixed batch of 8 tokens, 4 sequences");
    }
}
