//! Configs and weights that are well-formed and do not fit: each other, or this runtime.

use safetensors::tensor::Dtype;
use serde_json::json;

use super::{Folder, refusal};

const Q_PROJ: &str = "model.layers.0.self_attn.q_proj.weight";
const K_PROJ: &str = "model.layers.0.self_attn.k_proj.weight";

#[track_caller]
fn check(fixture: &str, spoil: impl FnOnce(&Folder), expected: &str) {
    let folder = Folder::copy_of(fixture);
    spoil(&folder);
    let message = refusal(&folder);
    assert!(message.contains(expected), "found:    {message}\nexpected: {expected}");
}

#[test]
fn an_architecture_that_is_not_supported() {
    let spoil = |folder: &Folder| {
        folder.set("architectures", json!(["GemmaForCausalLM"]));
    };
    check("llama-gqa-f32", spoil, "config.json: `architectures` = \"GemmaForCausalLM\": ");
    check("llama-gqa-f32", spoil, "LlamaForCausalLM, Qwen2ForCausalLM");
}

#[test]
fn a_rope_type_that_is_not_known() {
    let spoil = |folder: &Folder| {
        folder.set("rope_scaling", json!({"rope_type": "spiral", "factor": 2.0}));
    };
    check("llama31-rope-tied-bf16", spoil, "\"spiral\": the supported types are default, linear");
}

#[test]
fn a_size_of_which_the_weights_know_nothing() {
    check(
        "llama-gqa-f32",
        |folder| {
            folder.set("intermediate_size", 128);
        },
        "model.safetensors: tensor model.layers.0.mlp.gate_proj.weight is [96, 64], \
         expected [128, 64]; config.json contradicts the weights",
    );
    check(
        "qwen3moe-bf16",
        |folder| {
            folder.set("num_local_experts", 4);
        },
        "tensor model.layers.0.mlp.gate.weight is [8, 64], expected [4, 64]",
    );
}

#[test]
fn more_layers_than_there_are_weights() {
    check(
        "llama-gqa-f32",
        |folder| {
            folder.set("num_hidden_layers", 3);
        },
        "FOLDER has no tensor model.layers.2.",
    );
}

#[test]
fn weights_for_which_the_config_has_no_place() {
    check(
        "llama-gqa-f32",
        |folder| {
            folder.set("num_hidden_layers", 1);
        },
        "config.json contradicts the weights: the files hold tensor \
         model.layers.1.input_layernorm.weight, for which a model of this config has no place",
    );
    check(
        "qwen2-bias-bf16",
        |folder| {
            folder.set("architectures", json!(["LlamaForCausalLM"]));
        },
        "the files hold tensor model.layers.0.self_attn.k_proj.bias",
    );
}

#[test]
fn an_output_matrix_that_is_neither_stored_nor_tied() {
    check(
        "llama31-rope-tied-bf16",
        |folder| {
            folder.set("tie_word_embeddings", false);
        },
        "FOLDER has no tensor lm_head.weight",
    );
}

#[test]
fn an_output_matrix_that_is_stored_and_tied_is_left_alone() {
    // transformers ties the two whatever is stored; some checkpoints hold both.
    let tie = |folder: &Folder| {
        folder.set("tie_word_embeddings", true);
    };
    check("llama-gqa-f32", tie, "loaded");
}

#[test]
fn a_tensor_of_another_shape() {
    check(
        "llama-gqa-f32",
        |folder| {
            folder.edit_tensor("model.norm.weight", |tensor| tensor.shape = vec![8, 8]);
        },
        "model.safetensors: tensor model.norm.weight is [8, 8], expected [64]",
    );
}

#[test]
fn a_tensor_of_another_dtype() {
    for (dtype, name, size) in
        [(Dtype::F64, "F64", 8), (Dtype::I8, "I8", 1), (Dtype::F8_E4M3, "F8_E4M3", 1)]
    {
        let spoil = |folder: &Folder| {
            folder.edit_tensor(Q_PROJ, |tensor| {
                tensor.dtype = dtype;
                tensor.data = vec![0; 64 * 64 * size];
            });
        };
        let expected = format!("tensor {Q_PROJ} is {name}, expected F32, F16 or BF16");
        check("llama-gqa-f32", spoil, &expected);
    }
}

#[test]
fn tensors_of_two_dtypes_in_one_matrix() {
    check(
        "llama-gqa-f32",
        |folder| {
            folder.edit_tensor(K_PROJ, |tensor| {
                tensor.dtype = Dtype::BF16;
                tensor.data = vec![0; 32 * 64 * 2];
            });
        },
        &format!("tensor {K_PROJ} is bf16, but {Q_PROJ}, which it is stacked with, is f32"),
    );
}

#[test]
fn an_index_and_shards_that_disagree() {
    const INDEX: &str = "model.safetensors.index.json";
    let move_norm_to = |shard: &'static str| {
        move |folder: &Folder| {
            folder.edit(INDEX, |index| index["weight_map"]["model.norm.weight"] = json!(shard));
        }
    };
    let name = "qwen3-qknorm-f32-sharded";
    check(
        name,
        move_norm_to("model-00001-of-00008.safetensors"),
        "model.safetensors.index.json is truncated or corrupt: it puts tensor model.norm.weight \
         into model-00001-of-00008.safetensors, which does not have it",
    );
    check(name, move_norm_to("model-9.safetensors"), "FOLDER has no model-9.safetensors");
    check(name, move_norm_to("../x.safetensors"), "is not the name of a file in this folder");
    let forget = |folder: &Folder| {
        folder.edit(INDEX, |index| {
            index["weight_map"].as_object_mut().unwrap().remove("model.norm.weight");
        });
    };
    check(name, forget, "FOLDER has no tensor model.norm.weight");
}
