//! A Hugging Face `config.json` as numbers that are known to fit together.

use std::fmt;

use crate::ConfigError;

mod architecture;
mod attention;
mod fields;
mod generation;
mod moe;
mod rope;

pub use architecture::Architecture;
pub use generation::GenerationConfig;
pub use moe::MoeConfig;
pub use rope::Rope;

use attention::{Biases, Heads};
use fields::{Fields, MAX_COUNT};
use rope::RopeFields;

/// The most parameters a config may describe, so that no size computed from it overflows.
const MAX_PARAMETERS: u128 = 1 << 50;

/// One model's shape, from `config.json` as transformers 4 or 5 writes it.
///
/// Keys that are not read here may say anything. What is read is checked against the rest, so that
/// whoever allocates or indexes by these numbers need not fear zero, overflow or a bad division.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which family's forward pass this is.
    pub architecture: Architecture,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside a dense MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads; a multiple of `num_key_value_heads`.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of one head. Not always `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Epsilon of every RMS norm.
    pub rms_norm_eps: f32,
    /// The most positions that the model was made for.
    pub max_position_embeddings: usize,
    /// Whether the output matrix is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether the q, k and v projections have biases.
    pub qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub o_bias: bool,
    /// Whether the MLP's three projections have biases.
    pub mlp_bias: bool,
    /// Per layer: a query sees this many positions, its own included; `None` = all before it.
    pub sliding_windows: Vec<Option<usize>>,
    /// How positions turn into rotations.
    pub rope: Rope,
    /// Base of the rotary frequencies, above 1.
    pub rope_theta: f64,
    /// Leading dimensions of a head that are rotated; even, at most `head_dim`.
    pub rotary_dim: usize,
    /// The experts, in a mixture-of-experts family.
    pub moe: Option<MoeConfig>,
    /// The weights' dtype as the config states it; the files may differ, and are what counts.
    pub dtype: Option<WeightDType>,
    /// Tokens that begin a text.
    pub bos_token_ids: Vec<u32>,
    /// Tokens that end a text; `generation_config.json` may name others.
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, what it holds and what is supported: another architecture,
    /// activation, rope type or quantisation, a missing or impossible size.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let fields = Fields::parse(text)?;
        let architecture = Architecture::from_fields(&fields)?;
        refuse_unsupported(&fields)?;

        let hidden_size = fields.required_size("hidden_size")?;
        let num_hidden_layers = fields.required_count("num_hidden_layers")?;
        let max_position_embeddings = fields.required_size("max_position_embeddings")?;
        let heads = Heads::from_fields(&fields, hidden_size)?;
        let rope = RopeFields::read(&fields, architecture, heads.dim, max_position_embeddings)?;
        let biases = Biases::from_fields(&fields, architecture)?;
        let config = Self {
            architecture,
            vocab_size: fields.required_size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.required_size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads: heads.num_query,
            num_key_value_heads: heads.num_key_value,
            head_dim: heads.dim,
            rms_norm_eps: rms_norm_eps(&fields, architecture)?,
            max_position_embeddings,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            qkv_bias: biases.qkv,
            o_bias: biases.o,
            mlp_bias: biases.mlp,
            sliding_windows: attention::sliding_windows(&fields, architecture, num_hidden_layers)?,
            rope: rope.rope,
            rope_theta: rope.theta,
            rotary_dim: rope.rotary_dim,
            moe: MoeConfig::from_fields(&fields, architecture)?,
            dtype: WeightDType::from_fields(&fields)?,
            bos_token_ids: fields.token_ids("bos_token_id")?.unwrap_or_default(),
            eos_token_ids: fields.token_ids("eos_token_id")?.unwrap_or_default(),
        };
        config.check_size()?;
        Ok(config)
    }

    /// Rows of the q projection: query heads × head_dim.
    pub fn q_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Rows of the k projection, and of the v projection: KV heads × head_dim.
    pub fn kv_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// The experts of one layer; `None` where its MLP is dense.
    pub fn moe_layer(&self, layer_idx: usize) -> Option<&MoeConfig> {
        self.moe.as_ref().filter(|moe| moe.covers(layer_idx))
    }

    /// Inverse frequencies `[rotary_dim / 2]` and the factor on cos and sin; see
    /// [`Rope::inv_freq`].
    pub fn inv_freq(&self) -> (Vec<f32>, f32) {
        self.rope.inv_freq(self.rotary_dim, self.rope_theta)
    }

    /// Values in all weights; tied embeddings count once. At most 2^50 as read by
    /// [`from_json`](Self::from_json); a config that was edited into more than fits saturates.
    pub fn num_parameters(&self) -> u64 {
        u64::try_from(self.count_parameters()).unwrap_or(u64::MAX)
    }

    fn count_parameters(&self) -> u128 {
        let [vocab, hidden] = [self.vocab_size, self.hidden_size].map(|size| size as u128);
        let num_tables = if self.tie_word_embeddings { 1 } else { 2 };
        let layers: u128 = (0..self.num_hidden_layers)
            .map(|idx| self.count_attention() + self.count_mlp(idx) + 2 * hidden)
            .sum();
        num_tables * vocab * hidden + layers + hidden
    }

    fn count_attention(&self) -> u128 {
        let sizes = [self.hidden_size, self.num_attention_heads, self.num_key_value_heads];
        let [hidden, num_query, num_kv] = sizes.map(|size| size as u128);
        let head_dim = self.head_dim as u128;
        let (q, kv) = (num_query * head_dim, num_kv * head_dim);
        let qkv_bias = if self.qkv_bias { q + 2 * kv } else { 0 };
        let o_bias = if self.o_bias { hidden } else { 0 };
        let qk_norm = if self.architecture.has_qk_norm() { 2 * head_dim } else { 0 };
        2 * hidden * (q + kv) + qkv_bias + o_bias + qk_norm
    }

    fn count_mlp(&self, layer_idx: usize) -> u128 {
        let [hidden, inner] = [self.hidden_size, self.intermediate_size].map(|size| size as u128);
        match self.moe_layer(layer_idx) {
            Some(moe) => moe.count_parameters(hidden),
            None if self.mlp_bias => 3 * hidden * inner + 2 * inner + hidden,
            None => 3 * hidden * inner,
        }
    }

    fn check_size(&self) -> Result<(), ConfigError> {
        let count = self.count_parameters();
        if count <= MAX_PARAMETERS {
            return Ok(());
        }
        let problem =
            format!("with the other sizes it makes {count} parameters; expected at most 2^50");
        Err(ConfigError::value("hidden_size", self.hidden_size, problem))
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ConfigError> {
    if let Some(quantization) = fields.get("quantization_config") {
        let method = quantization.get("quant_method").unwrap_or(quantization);
        let problem = "quantised weights are not supported; take the checkpoint in bf16 or f16";
        return Err(ConfigError::value("quantization_config", method, problem));
    }
    match fields.text("hidden_act")?.unwrap_or("silu") {
        "silu" | "swish" => Ok(()),
        other => {
            let found = format!("{other:?}");
            Err(ConfigError::value("hidden_act", found, "the supported activation is silu"))
        }
    }
}

fn rms_norm_eps(fields: &Fields<'_>, architecture: Architecture) -> Result<f32, ConfigError> {
    let default = if architecture == Architecture::Mixtral { 1e-5 } else { 1e-6 };
    let eps = fields.number("rms_norm_eps", 0.0..=1.0, "a number from 0 to 1")?;
    Ok(eps.unwrap_or(default) as f32)
}

/// The dtype of weights, as a config spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightDType {
    /// `float32`.
    F32,
    /// `float16`.
    F16,
    /// `bfloat16`.
    Bf16,
}

impl WeightDType {
    /// transformers 5 writes `dtype`, 4 wrote `torch_dtype`.
    fn from_fields(fields: &Fields<'_>) -> Result<Option<Self>, ConfigError> {
        let key = if fields.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        match fields.text(key)? {
            None => Ok(None),
            Some("float32") => Ok(Some(Self::F32)),
            Some("float16") => Ok(Some(Self::F16)),
            Some("bfloat16") => Ok(Some(Self::Bf16)),
            Some(other) => {
                let problem = "the supported dtypes are float32, float16 and bfloat16";
                Err(ConfigError::value(key, format!("{other:?}"), problem))
            }
        }
    }
}

impl fmt::Display for WeightDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        })
    }
}

#[cfg(test)]
mod tests;
