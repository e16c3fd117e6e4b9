//! Mixtures of experts.

use super::{Architecture, Fields, MAX_COUNT};
use crate::ConfigError;

/// The experts of a mixture-of-experts model; every such layer has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoeConfig {
    /// Experts in a layer.
    pub num_experts: usize,
    /// Experts that each token is sent to; at most `num_experts`.
    pub num_experts_per_tok: usize,
    /// Width inside one expert.
    pub moe_intermediate_size: usize,
    /// Whether the chosen experts' weights are scaled to sum to 1.
    pub norm_topk_prob: bool,
    /// Layers `step - 1`, `2 * step - 1`, … have experts.
    pub decoder_sparse_step: usize,
    /// Layers that are dense all the same, ascending.
    pub mlp_only_layers: Vec<usize>,
}

impl MoeConfig {
    /// `None` for a dense family.
    pub(super) fn from_fields(
        fields: &Fields<'_>,
        architecture: Architecture,
    ) -> Result<Option<Self>, ConfigError> {
        match architecture {
            Architecture::Mixtral => Ok(Some(Self {
                // Mixtral always rescales, and every one of its layers has experts.
                norm_topk_prob: true,
                decoder_sparse_step: 1,
                mlp_only_layers: Vec::new(),
                ..Self::experts(fields, "intermediate_size")?
            })),
            Architecture::Qwen3Moe => Ok(Some(Self::experts(fields, "moe_intermediate_size")?)),
            _ => Ok(None),
        }
    }

    fn experts(fields: &Fields<'_>, size_key: &str) -> Result<Self, ConfigError> {
        // transformers 4 wrote Qwen's as num_experts; 5 writes num_local_experts for both.
        let has_local = fields.get("num_local_experts").is_some();
        let key = if has_local { "num_local_experts" } else { "num_experts" };
        let num_experts = fields.required_count(key)?;
        let num_experts_per_tok = fields.required_count("num_experts_per_tok")?;
        if num_experts_per_tok > num_experts {
            let problem = format!("expected at most {key} = {num_experts}");
            return Err(fields.refuse("num_experts_per_tok", problem));
        }
        let step = fields.integer("decoder_sparse_step", 1..=MAX_COUNT)?;
        Ok(Self {
            num_experts,
            num_experts_per_tok,
            moe_intermediate_size: fields.required_size(size_key)?,
            norm_topk_prob: fields.flag("norm_topk_prob")?.unwrap_or(false),
            decoder_sparse_step: step.unwrap_or(1),
            mlp_only_layers: mlp_only_layers(fields)?,
        })
    }

    /// Whether this layer has experts.
    pub(super) fn covers(&self, layer_idx: usize) -> bool {
        (layer_idx + 1).is_multiple_of(self.decoder_sparse_step)
            && self.mlp_only_layers.binary_search(&layer_idx).is_err()
    }

    /// The router and the three matrices of each expert.
    pub(super) fn count_parameters(&self, hidden_size: u128) -> u128 {
        let num_experts = self.num_experts as u128;
        num_experts * hidden_size * (1 + 3 * self.moe_intermediate_size as u128)
    }
}

fn mlp_only_layers(fields: &Fields<'_>) -> Result<Vec<usize>, ConfigError> {
    let mut layers = fields.integers("mlp_only_layers")?.unwrap_or_default();
    layers.sort_unstable();
    layers.dedup();
    Ok(layers)
}
