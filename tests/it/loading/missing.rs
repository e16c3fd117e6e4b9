//! What is not there is named, with the way out.

use tintype_model::{ModelFiles, ModelSource};

use super::{Folder, refusal};
use crate::model::fixture;

fn message(source: ModelSource) -> String {
    ModelFiles::open(source).err().unwrap().to_string()
}

#[test]
fn a_folder_that_does_not_exist() {
    let message = message(ModelSource::Folder("no/such/model".into()));
    assert!(message.starts_with("no model folder at no/such/model; give a folder in"), "{message}");
}

#[test]
fn a_folder_without_config() {
    let folder = Folder::copy_of("llama-gqa-f32");
    folder.remove("config.json");
    assert_eq!(
        refusal(&folder),
        "FOLDER has no config.json; it says what the model looks like; download the whole folder"
    );
}

#[test]
fn a_folder_without_weights() {
    let folder = Folder::copy_of("llama-gqa-f32");
    folder.remove("model.safetensors");
    let message = refusal(&folder);
    assert!(message.starts_with("FOLDER has no model.safetensors; its weights must"), "{message}");
}

#[test]
fn embedded_files_without_config() {
    let message = message(ModelSource::Embedded(&[("model.safetensors", b"")]));
    assert!(message.starts_with("embedded has no config.json; "), "{message}");
}

#[test]
fn weights_that_are_no_file() {
    let folder = Folder::copy_of("llama-gqa-f32");
    folder.remove("model.safetensors");
    std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(refusal(&folder), "cannot read model.safetensors: it is not a regular file");
}

#[test]
fn everything_else_may_be_missing() {
    let folder = Folder::copy_of("llama-gqa-f32");
    for file in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        folder.remove(file);
    }
    assert_eq!(refusal(&folder), "loaded");
    let files = ModelFiles::open(ModelSource::Folder(folder.path().into())).unwrap();
    assert!(files.tokenizer_json.is_none() && files.tokenizer_config.is_none());
    let whole = ModelFiles::open(ModelSource::Folder(fixture("llama-gqa-f32"))).unwrap();
    assert!(whole.tokenizer_json.is_some() && whole.tokenizer_config.is_some());
    assert_eq!(whole.generation.eos_token_ids, Some(vec![2]));
}

#[test]
fn a_shard_that_the_index_lists() {
    let folder = Folder::copy_of("qwen3-qknorm-f32-sharded");
    folder.remove("model-00004-of-00008.safetensors");
    assert_eq!(
        refusal(&folder),
        "FOLDER has no model-00004-of-00008.safetensors, where model.safetensors.index.json puts \
         model.layers.0.mlp.gate_proj.weight and others; download the missing shard"
    );
}

#[test]
fn a_tensor_that_the_config_asks_for() {
    let folder = Folder::copy_of("llama-gqa-f32");
    folder.edit_tensors(|tensors| tensors.retain(|t| !t.name.ends_with("1.mlp.up_proj.weight")));
    assert_eq!(
        refusal(&folder),
        "FOLDER has no tensor model.layers.1.mlp.up_proj.weight, which its config.json asks for; \
         the config contradicts the weights, or a file of weights is missing"
    );
}

#[test]
fn a_synthetic_model_of_no_known_shape() {
    let message = message(ModelSource::Synthetic("gpt-5".into()));
    assert!(message.starts_with("no synthetic model \"gpt-5\"; there are tiny, "), "{message}");
}
