//! One file per architecture: what a layer of it looks like.

mod llama;
mod mistral;
mod mixtral;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use tintype_config::Architecture;
use tintype_ops::Stream;

use crate::ModelError;
use crate::layers::CausalLm;
use crate::weights::Loader;

/// Loads a model of any architecture.
pub(crate) fn load<S: Stream>(loader: Loader<'_, S>) -> Result<CausalLm, ModelError> {
    let load_layer = match loader.files().config.architecture {
        Architecture::Llama => llama::load_layer,
        Architecture::Mistral => mistral::load_layer,
        Architecture::Mixtral => mixtral::load_layer,
        Architecture::Qwen2 => qwen2::load_layer,
        Architecture::Qwen3 => qwen3::load_layer,
        Architecture::Qwen3Moe => qwen3_moe::load_layer,
    };
    CausalLm::load(loader, load_layer)
}

/// What the tensors of a layer start with.
fn prefix(layer_idx: usize) -> String {
    format!("model.layers.{layer_idx}")
}
