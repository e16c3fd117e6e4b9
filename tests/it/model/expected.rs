//! The fixtures, and what transformers computes for them.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// Every folder of `tests/fixtures`, and the relative error its logits may have: the files' dtype
/// is what theirs are computed from in f32, so only rounding tells ours from theirs.
pub(crate) const FIXTURES: [(&str, f64); 8] = [
    ("llama-gqa-f32", 1e-4),
    ("llama-d64-bf16", 2e-2),
    ("llama31-rope-tied-bf16", 2e-2),
    ("mistral-window-f16", 2e-2),
    ("mixtral-moe-f32", 1e-4),
    ("qwen2-bias-bf16", 2e-2),
    ("qwen3-qknorm-f32-sharded", 1e-4),
    ("qwen3moe-bf16", 2e-2),
];

/// The path of a fixture: in the workspace, or where a test binary that was carried elsewhere is
/// told they are.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = std::env::var_os("TINTYPE_TEST_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), PathBuf::from);
    folder.join(name)
}

/// One prompt and what follows from it.
pub(crate) struct Expected {
    pub(crate) prompt: Vec<u32>,
    /// `[prompt.len(), vocab_size]`.
    pub(crate) logits: Vec<f32>,
    /// The tokens that follow, always taking the most likely one.
    pub(crate) greedy: Vec<u32>,
    /// At each of them, the distance between the two largest logits.
    pub(crate) margins: Vec<f32>,
}

impl Expected {
    /// All prompts of a fixture.
    pub(crate) fn read(name: &str) -> Vec<Self> {
        let bytes = fs::read(fixture(name).join("expected.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let data = |name: String| tensors.tensor(&name).unwrap().data();
        let num_prompts = tensors.names().iter().filter(|n| n.starts_with("prompt.")).count();
        let read = |prompt| Self {
            prompt: tokens(data(format!("prompt.{prompt}"))),
            logits: floats(data(format!("logits.{prompt}"))),
            greedy: tokens(data(format!("greedy.{prompt}"))),
            margins: floats(data(format!("margin.{prompt}"))),
        };
        (0..num_prompts).map(read).collect()
    }
}

fn tokens(bytes: &[u8]) -> Vec<u32> {
    let id = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(8).map(|bytes| u32::try_from(id(bytes)).unwrap()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn no_fixture_is_forgotten() {
    let mut folders: Vec<String> = fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut listed = FIXTURES.map(|(name, _)| name);
    listed.sort_unstable();
    assert_eq!(folders, listed);
}
