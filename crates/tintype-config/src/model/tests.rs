//! Reading `config.json`: the fixtures, models that exist, and what is refused.

use super::*;

mod errors;
mod fixtures;
mod known;
mod options;

fn parse(json: &str) -> ModelConfig {
    ModelConfig::from_json(json).unwrap()
}

/// A small valid config of `architecture`, with the keys of `extra` added or replaced.
fn with(architecture: Architecture, extra: &str) -> String {
    let base = format!(
        r#"{{"architectures": ["{architecture}"], "vocab_size": 100, "hidden_size": 64,
            "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 512, "num_local_experts": 8,
            "num_experts_per_tok": 2, "moe_intermediate_size": 48}}"#
    );
    let mut config: serde_json::Map<_, _> = serde_json::from_str(&base).unwrap();
    config.extend(serde_json::from_str::<serde_json::Map<_, _>>(extra).unwrap());
    serde_json::to_string(&config).unwrap()
}
