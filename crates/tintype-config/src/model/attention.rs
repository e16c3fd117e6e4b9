//! What attention takes from the config: heads, biases and windows.

use super::{Architecture, Fields, MAX_COUNT};
use crate::ConfigError;

/// The window of Mistral, and of Qwen where one is used, if the config does not say.
const DEFAULT_WINDOW: usize = 4096;
/// Qwen's first layer with a window, if the config does not say.
const DEFAULT_MAX_WINDOW_LAYERS: usize = 28;

pub(super) struct Heads {
    pub(super) num_query: usize,
    pub(super) num_key_value: usize,
    pub(super) dim: usize,
}

impl Heads {
    pub(super) fn from_fields(
        fields: &Fields<'_>,
        hidden_size: usize,
    ) -> Result<Self, ConfigError> {
        let num_query = fields.required_size("num_attention_heads")?;
        let num_key_value = fields.size("num_key_value_heads")?.unwrap_or(num_query);
        if num_query % num_key_value != 0 {
            let problem = format!("expected a divisor of num_attention_heads = {num_query}");
            return Err(fields.refuse("num_key_value_heads", problem));
        }
        let dim = match fields.integer("head_dim", 1..=MAX_COUNT)? {
            Some(dim) => dim,
            None if hidden_size.is_multiple_of(num_query) => hidden_size / num_query,
            None => {
                let problem = format!(
                    "expected a multiple of num_attention_heads = {num_query}, or a head_dim"
                );
                return Err(fields.refuse("hidden_size", problem));
            }
        };
        Ok(Self { num_query, num_key_value, dim })
    }
}

pub(super) struct Biases {
    pub(super) qkv: bool,
    pub(super) o: bool,
    pub(super) mlp: bool,
}

impl Biases {
    pub(super) fn from_fields(
        fields: &Fields<'_>,
        architecture: Architecture,
    ) -> Result<Self, ConfigError> {
        let attention = || Ok(fields.flag("attention_bias")?.unwrap_or(false));
        match architecture {
            Architecture::Llama => {
                let attention = attention()?;
                let mlp = fields.flag("mlp_bias")?.unwrap_or(false);
                Ok(Self { qkv: attention, o: attention, mlp })
            }
            Architecture::Qwen3 | Architecture::Qwen3Moe => {
                let attention = attention()?;
                Ok(Self { qkv: attention, o: attention, mlp: false })
            }
            Architecture::Qwen2 => Ok(Self { qkv: true, o: false, mlp: false }),
            Architecture::Mistral | Architecture::Mixtral => {
                Ok(Self { qkv: false, o: false, mlp: false })
            }
        }
    }
}

/// The window of each layer, as transformers 5 applies them: in all layers, except in Qwen 2 and
/// 3, where `layer_types`, or else `max_window_layers`, says which.
pub(super) fn sliding_windows(
    fields: &Fields<'_>,
    architecture: Architecture,
    num_layers: usize,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let uses_window = match architecture {
        Architecture::Llama => false,
        Architecture::Mistral | Architecture::Mixtral => true,
        Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Qwen3Moe => {
            fields.flag("use_sliding_window")?.unwrap_or(false)
        }
    };
    let window = if !uses_window {
        None
    } else if architecture == Architecture::Mixtral || fields.mentions("sliding_window") {
        fields.size("sliding_window")?
    } else {
        Some(DEFAULT_WINDOW)
    };
    match architecture {
        Architecture::Qwen2 | Architecture::Qwen3 => qwen_windows(fields, window, num_layers),
        _ => Ok(vec![window; num_layers]),
    }
}

fn qwen_windows(
    fields: &Fields<'_>,
    window: Option<usize>,
    num_layers: usize,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let Some(types) = fields.texts("layer_types")? else {
        let first = fields.integer("max_window_layers", 0..=usize::MAX)?;
        let first = first.unwrap_or(DEFAULT_MAX_WINDOW_LAYERS);
        return Ok((0..num_layers).map(|idx| window.filter(|_| idx >= first)).collect());
    };
    if types.len() != num_layers {
        let problem = format!("expected one entry for each of {num_layers} layers");
        return Err(fields.refuse("layer_types", problem));
    }
    let layer_window = |layer_type| match layer_type {
        "full_attention" => Ok(None),
        "sliding_attention" if window.is_some() => Ok(window),
        "sliding_attention" => {
            let problem = "sliding_attention needs use_sliding_window true and a sliding_window";
            Err(fields.refuse("layer_types", problem))
        }
        _ => {
            let problem = "the supported types are full_attention and sliding_attention";
            Err(fields.refuse("layer_types", problem))
        }
    };
    types.into_iter().map(layer_window).collect()
}
