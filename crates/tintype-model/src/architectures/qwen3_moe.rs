//! Qwen 3 MoE: Qwen 3 with a mixture of experts in most layers.

use tintype_ops::Stream;

use super::prefix;
use crate::ModelError;
use crate::layers::{Attention, AttentionOptions, DecoderLayer, ExpertNames, FeedForward};
use crate::weights::Loader;

/// What the sparse block's tensors are called.
const EXPERTS: ExpertNames =
    ExpertNames { block: "mlp", projections: ["gate_proj", "up_proj", "down_proj"] };

/// Loads layer `layer_idx`.
pub(super) fn load_layer<S: Stream>(
    loader: &mut Loader<'_, S>,
    layer_idx: usize,
) -> Result<DecoderLayer, ModelError> {
    let (config, layer) = (&loader.files().config, prefix(layer_idx));
    let attention = Attention::load(loader, &layer, AttentionOptions::new(config, layer_idx))?;
    let feed_forward = FeedForward::load(loader, &layer, layer_idx, EXPERTS)?;
    Ok(DecoderLayer { attention, feed_forward })
}
