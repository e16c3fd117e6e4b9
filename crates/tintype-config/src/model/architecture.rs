//! The families of models whose forward pass tintype knows.

use std::fmt;

use serde_json::Value;

use super::Fields;
use crate::ConfigError;

/// A family of decoder-only models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 2 and 3, and models saved in their layout.
    Llama,
    /// Qwen 2 and 2.5: biases on q, k and v.
    Qwen2,
    /// Qwen 3: norms on the heads of q and k.
    Qwen3,
    /// Mistral: every layer may have a sliding window.
    Mistral,
    /// Mixtral: every MLP is a mixture of experts.
    Mixtral,
    /// Qwen 3 MoE: Qwen 3 with a mixture of experts in some layers or all.
    Qwen3Moe,
}

impl Architecture {
    /// Every family, in the order in which messages list them.
    pub const ALL: [Self; 6] =
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Mistral, Self::Mixtral, Self::Qwen3Moe];

    /// The name in `architectures`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Mixtral => "MixtralForCausalLM",
            Self::Qwen3Moe => "Qwen3MoeForCausalLM",
        }
    }

    /// The name in `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Mistral => "mistral",
            Self::Mixtral => "mixtral",
            Self::Qwen3Moe => "qwen3_moe",
        }
    }

    /// Whether each head of q and k is normalised before it is rotated.
    pub fn has_qk_norm(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Qwen3Moe)
    }

    /// Reads `architectures[0]`, or `model_type` where a folder has no list.
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        let listed = fields.texts("architectures")?.and_then(|names| names.first().copied());
        let (key, found, name_of): (_, _, fn(Self) -> &'static str) =
            match (listed, fields.text("model_type")?) {
                (Some(name), _) => ("architectures", name, Self::name),
                (None, Some(name)) => ("model_type", name, Self::model_type),
                (None, None) => {
                    let expected = format!("one of {}", Self::ALL.map(Self::name).join(", "));
                    return Err(fields.missing("architectures", expected));
                }
            };
        Self::ALL.into_iter().find(|&family| name_of(family) == found).ok_or_else(|| {
            let supported = Self::ALL.map(name_of).join(", ");
            let problem = format!("the supported ones are {supported}");
            ConfigError::value(key, Value::from(found), problem)
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
