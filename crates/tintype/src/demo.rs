//! The demo model, inside the binary. Where its weights come from: `assets/demo-model/README.md`.

use tintype_model::EmbeddedFile;

/// One file of the folder and its bytes.
macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../assets/demo-model/", $name)).as_slice())
    };
}

/// A Llama of 1.8 million parameters that adds, subtracts, sorts and reverses.
pub(crate) const FILES: &[EmbeddedFile] = &[
    file!("config.json"),
    file!("generation_config.json"),
    file!("tokenizer.json"),
    file!("tokenizer_config.json"),
    file!("model.safetensors"),
];
