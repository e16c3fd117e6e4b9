//! Mistral: Llama with a sliding window.

use tintype_ops::Stream;

use super::prefix;
use crate::ModelError;
use crate::layers::{Attention, AttentionOptions, DecoderLayer, FeedForward, Mlp};
use crate::weights::Loader;

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
    let feed_forward = FeedForward::Dense(Mlp::load(loader, &layer, false)?);
    Ok(DecoderLayer { attention, feed_forward })
}
