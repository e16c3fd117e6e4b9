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
    let (config, layer) = (&loader.files().config, prefix(layer_idx));
    let attention = Attention::load(loader, &layer, AttentionOptions::new(config, layer_idx))?;
    let feed_forward = FeedForward::Dense(Mlp::load(loader, &layer, config.mlp_bias)?);
    Ok(DecoderLayer { attention, feed_forward })
}
