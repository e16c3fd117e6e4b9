//! Mixtral: Mistral whose MLPs are mixtures of experts.

use tintype_ops::Stream;

use super::prefix;
use crate::ModelError;
use crate::layers::{
    Attention, AttentionOptions, DecoderLayer, ExpertNames, FeedForward, Mlp, Moe,
};
use crate::weights::Loader;

/// What the sparse block's tensors are called.
const EXPERTS: ExpertNames =
    ExpertNames { block: "block_sparse_moe", projections: ["w1", "w3", "w2"] };

/// Loads layer `layer_idx`.
pub(super) fn load_layer<S: Stream>(
    loader: &mut Loader<'_, S>,
    layer_idx: usize,
) -> Result<DecoderLayer, ModelError> {
    let config = &loader.files().config;
    let layer = prefix(layer_idx);
    let options = AttentionOptions {
        qkv_bias: false,
        o_bias: false,
        qk_norm: false,
        window: config.sliding_windows[layer_idx],
    };
    let attention = Attention::load(loader, &layer, options)?;
    let feed_forward = match config.moe_layer(layer_idx) {
        Some(moe) => FeedForward::Sparse(Moe::load(loader, &layer, moe, EXPERTS)?),
        None => FeedForward::Dense(Mlp::load(loader, &layer, false)?),
    };
    Ok(DecoderLayer { attention, feed_forward })
}
