//! The blocks that all architectures are made of.
//!
//! A block loads its weights, takes the activations it needs, and queues its ops. Activations are
//! rounded once per op, to the stream's activation dtype; inside an op all arithmetic is in f32.

mod attention;
mod decoder;
mod mlp;
mod moe;
mod rope;

use tintype_ops::Tensor;

use crate::BatchIo;

pub(crate) use attention::{Attention, AttentionOptions};
pub(crate) use decoder::{CausalLm, DecoderLayer, FeedForward};
pub(crate) use mlp::Mlp;
pub(crate) use moe::{ExpertNames, Moe};

/// What every block of one forward pass sees.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) io: &'a BatchIo<'a>,
    /// float `[n, hidden_size]`: the residual stream.
    pub(crate) hidden: Tensor,
    /// f32 `[max_model_len, rotary]`.
    pub(crate) rope_table: Tensor,
}

impl Step<'_> {
    /// Tokens of the padded batch.
    pub(crate) fn num_tokens(&self) -> u32 {
        self.hidden.rows
    }
}
