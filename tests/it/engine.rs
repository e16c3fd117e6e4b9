//! The engine: the same text whatever the batch, the padding and the graphs.

mod ahead;
mod background;
mod batching;
mod failures;
mod graphs;
mod limits;
mod padding;
mod sampling;
mod text;
mod watched;

use tintype_config::{CompilationConfig, EngineConfig};
use tintype_cpu::CpuStream;
use tintype_model::{ModelFiles, ModelSource};
use tintype_runner::{Completion, Engine, EngineError, EngineOptions, Request, SamplingParams};

use crate::model::fixture;
use crate::streams::{TestStream, on_each_stream};

/// The fixture of tests that one model is enough for.
pub(crate) const LLAMA: &str = "llama-gqa-f32";

/// Where the two most likely tokens are nearer than this, sums taken in another order may swap
/// them. Rounding of f32 is a hundred times smaller.
const NEAR_TIE: f32 = 1e-4;

/// The files of a fixture.
pub(crate) fn files(name: &str) -> ModelFiles {
    ModelFiles::open(ModelSource::Folder(fixture(name))).unwrap()
}

/// A config with `--compilation-config` and room for small tests.
pub(crate) fn config(compilation: &str) -> EngineConfig {
    EngineConfig {
        max_num_seqs: 8,
        max_num_batched_tokens: 64,
        compilation: CompilationConfig::from_json(compilation).unwrap(),
        ..EngineConfig::default()
    }
}

/// The same without graphs.
pub(crate) fn eager_config() -> EngineConfig {
    EngineConfig { enforce_eager: true, ..config("{}") }
}

/// The engine of a fixture, or why there is none.
pub(crate) fn try_engine<S: TestStream>(
    name: &str,
    config: &EngineConfig,
    options: EngineOptions,
) -> Result<Engine<S>, EngineError> {
    Engine::new(S::open(), &files(name), config, options, &mut |_| ())
}

/// The engine of a fixture with a KV cache of 512 blocks.
pub(crate) fn engine<S: TestStream>(name: &str, config: &EngineConfig) -> Engine<S> {
    let options = EngineOptions { num_kv_blocks: Some(512), ..EngineOptions::default() };
    try_engine(name, config, options).unwrap()
}

/// A greedy request that goes on to the full length, and reports how near ties were.
pub(crate) fn greedy(prompt_ids: Vec<u32>, max_tokens: usize) -> Request {
    let params = SamplingParams {
        ignore_eos: true,
        max_tokens: Some(max_tokens),
        logprobs: Some(2),
        ..SamplingParams::default()
    };
    Request { prompt_ids, params }
}

/// Prompts of different tokens and lengths, 1 to `max_len` tokens.
pub(crate) fn prompts(num_prompts: usize, max_len: usize) -> Vec<Vec<u32>> {
    let prompt = |i: usize| {
        let len = 1 + i * 7 % max_len;
        (0..len).map(|j| (3 + (i * 131 + j * j * 17 + j * 29) % 317) as u32).collect()
    };
    (0..num_prompts).map(prompt).collect()
}

/// Checks that two runs gave the same tokens, up to the first near tie, and returns how many were
/// compared.
pub(crate) fn assert_same(found: &[Completion], expected: &[Completion], what: &str) -> usize {
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().zip(expected).enumerate();
    pairs.map(|(i, (a, b))| same_tokens(a, b, &format!("{what}, request {i}"))).sum()
}

fn same_tokens(found: &Completion, expected: &Completion, what: &str) -> usize {
    assert_eq!(found.prompt_ids, expected.prompt_ids, "{what}");
    assert_eq!(found.output_ids.len(), expected.output_ids.len(), "{what}");
    let mut tokens = found.output_ids.iter().zip(&expected.output_ids);
    let Some(at) = tokens.position(|(a, b)| a != b) else { return found.output_ids.len() };
    let top = &expected.logprobs.as_ref().unwrap()[at].top;
    let margin = top[0].logprob - top[1].logprob;
    assert!(
        margin < NEAR_TIE,
        "{what}: token {at} is {}, expected {} by a margin of {margin}",
        found.output_ids[at],
        expected.output_ids[at]
    );
    at
}
