//! Folders that say the same thing in another way give the same logits.

use tintype_cpu::CpuStream;
use tintype_model::{ModelFiles, ModelSource};

use super::Folder;
use super::folder::Parts;
use crate::model::{Driver, Expected};

fn logits(folder: &Folder) -> Vec<f32> {
    let source = ModelSource::Folder(folder.path().into());
    let files = ModelFiles::open(source).unwrap();
    Driver::<CpuStream>::load(&files).unwrap().feed(&Expected::read("llama-gqa-f32")[3].prompt)
}

/// Stacks the experts of each layer, as transformers 5 has them in memory.
fn stack_experts(tensors: &mut Vec<Parts>, block: &str, [gate, up, down]: [&str; 3]) {
    let (experts, mut rest): (Vec<Parts>, Vec<Parts>) =
        tensors.drain(..).partition(|tensor| tensor.name.contains(".experts."));
    let num_experts = experts.len() / (2 * 3);
    for layer in 0..2 {
        let find = |expert: usize, projection: &str| {
            let name = format!("model.layers.{layer}.{block}.experts.{expert}.{projection}.weight");
            experts.iter().find(|tensor| tensor.name == name).unwrap()
        };
        for (stacked, parts) in [("gate_up_proj", &[gate, up][..]), ("down_proj", &[down])] {
            let all = (0..num_experts).flat_map(|expert| parts.iter().map(move |p| (expert, *p)));
            let data = all.flat_map(|(expert, part)| find(expert, part).data.clone()).collect();
            let first = find(0, parts[0]);
            rest.push(Parts {
                name: format!("model.layers.{layer}.mlp.experts.{stacked}"),
                dtype: first.dtype,
                shape: vec![num_experts, parts.len() * first.shape[0], first.shape[1]],
                data,
            });
        }
    }
    for tensor in &mut rest {
        tensor.name = tensor.name.replace(&format!(".{block}.gate."), ".mlp.gate.");
    }
    *tensors = rest;
}

#[test]
fn stacked_experts_are_the_experts_one_by_one() {
    for (name, block, projections) in [
        ("mixtral-moe-f32", "block_sparse_moe", ["w1", "w3", "w2"]),
        ("qwen3moe-bf16", "mlp", ["gate_proj", "up_proj", "down_proj"]),
    ] {
        let folder = Folder::copy_of(name);
        let one_by_one = logits(&folder);
        folder.edit_tensors(|tensors| stack_experts(tensors, block, projections));
        assert_eq!(logits(&folder), one_by_one, "{name}");
    }
}

#[test]
fn tensors_may_lie_in_any_order_and_beside_others() {
    let folder = Folder::copy_of("llama-gqa-f32");
    let before = logits(&folder);
    folder.edit_tensors(|tensors| {
        for extra in ["model.layers.0.self_attn.rotary_emb.inv_freq", "vision.proj.weight"] {
            tensors.push(Parts {
                name: extra.into(),
                dtype: safetensors::Dtype::I64,
                shape: vec![1],
                data: vec![0; 8],
            });
        }
    });
    assert_eq!(logits(&folder), before);
}

#[test]
fn dense_layers_of_a_sparse_model() {
    let folder = Folder::copy_of("qwen3moe-bf16");
    folder.set("mlp_only_layers", serde_json::json!([1])).set("intermediate_size", 48);
    folder.edit_tensors(|tensors| {
        // The first expert of layer 1 becomes its MLP.
        tensors.retain(|t| !t.name.contains("1.mlp.gate.") && !is_later_expert(&t.name));
        for tensor in tensors {
            tensor.name = tensor.name.replace("layers.1.mlp.experts.0.", "layers.1.mlp.");
        }
    });
    assert!(logits(&folder).iter().all(|logit| logit.is_finite()));
}

fn is_later_expert(name: &str) -> bool {
    name.contains("layers.1.mlp.experts.") && !name.contains("layers.1.mlp.experts.0.")
}

#[test]
fn embedded_files_give_the_logits_of_their_folder() {
    const FILES: &[tintype_model::EmbeddedFile] = &[
        ("config.json", include_bytes!("../../fixtures/llama-gqa-f32/config.json")),
        ("model.safetensors", include_bytes!("../../fixtures/llama-gqa-f32/model.safetensors")),
    ];
    let files = ModelFiles::open(ModelSource::Embedded(FILES)).unwrap();
    let expected = &Expected::read("llama-gqa-f32")[3];
    let embedded = Driver::<CpuStream>::load(&files).unwrap().feed(&expected.prompt);
    assert_eq!(embedded, logits(&Folder::copy_of("llama-gqa-f32")));
}
