//! Graphs on or off, full or in pieces: the same text.

use tintype_config::{CompilationConfig, CudaGraphMode, EngineConfig};
use tintype_graph::{CapturePolicy, GraphOptions};
use tintype_runner::{Engine, EngineError, EngineOptions};

use super::*;
use crate::model::{Expected, FIXTURES};

on_each_stream! {
    every_fixture_gives_the_text_of_transformers_in_every_mode,
    any_batch_and_length_gives_the_same_text_in_every_mode,
    every_mode_and_level_generates_or_is_refused_by_a_rule,
    every_graph_of_every_fixture_replays_the_bits_of_an_eager_run,
    graphs_may_come_late_or_step_by_step,
    debugging_runs_every_op_by_itself_and_says_so,
}

const MODES: [&str; 3] = [
    r#"{"cudagraph_mode": "FULL", "splitting_ops": []}"#,
    r#"{"cudagraph_mode": "FULL_AND_PIECEWISE"}"#,
    r#"{"cudagraph_mode": "PIECEWISE"}"#,
];

fn every_fixture_gives_the_text_of_transformers_in_every_mode<S: TestStream>() {
    for (name, _) in FIXTURES {
        let mut expected = Expected::read(name);
        expected.truncate(S::size(expected.len(), 3));
        for expected in &mut expected {
            expected.greedy.truncate(S::size(expected.greedy.len(), 5));
            expected.margins.truncate(expected.greedy.len());
        }
        let requests: Vec<_> =
            expected.iter().map(|e| greedy(e.prompt.clone(), e.greedy.len())).collect();
        let eager = engine::<S>(name, &eager_config()).generate(requests.clone()).unwrap();
        // A router may find two experts equally good where activations are rounded.
        let may_flip = S::ROUNDS_ACTIVATIONS && name == "qwen3moe-bf16";
        for (completion, expected) in eager.iter().zip(&expected).filter(|_| !may_flip) {
            let clear = expected.margins.iter().take_while(|&&margin| margin >= 0.05).count();
            assert_eq!(completion.output_ids[..clear], expected.greedy[..clear], "{name}");
        }
        for mode in MODES {
            let mut engine = engine::<S>(name, &config(mode));
            let found = engine.generate(requests.clone()).unwrap();
            assert_same(&found, &eager, &format!("{name}, {mode}"));
            assert!(engine.stats().steps.total_replays() > 0, "{name}, {mode}: nothing replayed");
        }
    }
}

fn any_batch_and_length_gives_the_same_text_in_every_mode<S: TestStream>() {
    let large = |config: EngineConfig| EngineConfig {
        max_num_seqs: 128,
        max_num_batched_tokens: 256,
        ..config
    };
    let mut eager = engine::<S>(LLAMA, &large(eager_config()));
    let mut engines = MODES.map(|mode| engine::<S>(LLAMA, &large(config(mode))));
    let (mut num_compared, mut num_tokens) = (0, 0);
    let batches = [1, 7, 16, 25, 32, 45, 64, 123];
    for &batch in &batches[..S::size(batches.len(), 3)] {
        for &len in &[5, 10, 30][..S::size(3, 1)] {
            let prompts = prompts(batch, 10).into_iter();
            let requests: Vec<_> = prompts.map(|prompt| greedy(prompt, len)).collect();
            let expected = eager.generate(requests.clone()).unwrap();
            for (engine, mode) in engines.iter_mut().zip(MODES) {
                let found = engine.generate(requests.clone()).unwrap();
                let what = format!("{mode}, batch {batch}, {len} tokens");
                num_compared += assert_same(&found, &expected, &what);
                num_tokens += batch * len;
            }
        }
    }
    println!("{num_compared} of {num_tokens} tokens compared; the rest follows a near tie");
    assert!(num_compared * 10 > num_tokens * 9);
}

/// Every mode at every level, and the flags beside them.
fn settings() -> Vec<String> {
    let mut settings = Vec::new();
    for level in ["0", "3"] {
        for mode in CudaGraphMode::ALL {
            settings.push(format!(r#"{{"level": {level}, "cudagraph_mode": "{mode}"}}"#));
        }
        for flag in ["simple_cuda_graph", "full_cuda_graph"] {
            settings.push(format!(r#"{{"level": {level}, "{flag}": true}}"#));
        }
        settings.push(format!(r#"{{"level": {level}, "use_cudagraph": false}}"#));
    }
    settings
}

fn every_mode_and_level_generates_or_is_refused_by_a_rule<S: TestStream>() {
    let prompts = prompts(S::size(5, 3), 9).into_iter();
    let requests: Vec<_> = prompts.map(|prompt| greedy(prompt, S::size(6, 3))).collect();
    let expected = engine::<S>(LLAMA, &eager_config()).generate(requests.clone()).unwrap();
    let (mut num_run, mut num_refused) = (0, 0);
    for setting in settings() {
        match try_engine::<S>(LLAMA, &config(&setting), EngineOptions::default()) {
            Ok(mut engine) => {
                let found = engine.generate(requests.clone()).unwrap();
                assert_same(&found, &expected, &setting);
                let uses_graphs = engine.compilation().use_cuda_graph();
                assert_eq!(engine.stats().steps.total_replays() > 0, uses_graphs, "{setting}");
                num_run += 1;
            }
            Err(EngineError::Config(error)) => {
                assert!(error.to_string().contains("contradicts"), "{setting}: {error}");
                num_refused += 1;
            }
            Err(error) => panic!("{setting}: {error}"),
        }
    }
    println!("{num_run} settings ran, {num_refused} were refused");
    assert!(num_run >= 10 && num_refused >= 2);
}

fn with_graphs(graphs: GraphOptions) -> EngineOptions {
    EngineOptions { num_kv_blocks: Some(512), graphs, ..EngineOptions::default() }
}

fn every_graph_of_every_fixture_replays_the_bits_of_an_eager_run<S: TestStream>() {
    let options = with_graphs(GraphOptions { verify: true, ..GraphOptions::default() });
    for (name, _) in FIXTURES {
        let mut verified = 0;
        let mut progress = |step| {
            if let tintype_runner::Progress::Verified(num_graphs) = step {
                verified = num_graphs;
            }
        };
        let stream = S::open();
        let sizes = [4, 1, 8, 24][..S::size(4, 2)].to_vec();
        let config = config(&format!(r#"{{"cudagraph_capture_sizes": {sizes:?}}}"#));
        let engine = Engine::new(stream, &files(name), &config, options, &mut progress).unwrap();
        // Mixed in pieces at each size; decode in full at all but 24, which no batch needs.
        let num_graphs = 2 * sizes.len() - usize::from(sizes.contains(&24));
        assert_eq!(verified, num_graphs, "{name}");
        assert_eq!(engine.capture_report().graphs.len(), num_graphs, "{name}");
    }
}

fn graphs_may_come_late_or_step_by_step<S: TestStream>() {
    let prompts = prompts(S::size(6, 3), 9).into_iter();
    let requests: Vec<_> = prompts.map(|prompt| greedy(prompt, S::size(12, 4))).collect();
    let expected = engine::<S>(LLAMA, &eager_config()).generate(requests.clone()).unwrap();
    for policy in [CapturePolicy::Lazy, CapturePolicy::Background] {
        for num_of_warmups in [0, 2] {
            let graphs = GraphOptions { policy, ..GraphOptions::default() };
            let compilation = format!(r#"{{"cudagraph_num_of_warmups": {num_of_warmups}}}"#);
            let config = config(&compilation);
            let mut engine = try_engine::<S>(LLAMA, &config, with_graphs(graphs)).unwrap();
            assert_eq!(engine.capture_report().graphs.len(), 0);
            for round in 0..3 {
                let found = engine.generate(requests.clone()).unwrap();
                assert_same(&found, &expected, &format!("{policy}, {compilation}, {round}"));
            }
            assert!(engine.stats().steps.total_replays() > 0, "{policy}, {compilation}");
            assert!(engine.stats().capture_ms > 0.0, "{policy}, {compilation}");
        }
    }
}

fn debugging_runs_every_op_by_itself_and_says_so<S: TestStream>() {
    let requests: Vec<_> = prompts(3, 9).into_iter().map(|prompt| greedy(prompt, 5)).collect();
    let expected = engine::<S>(LLAMA, &config("{}")).generate(requests.clone()).unwrap();
    let graphs = GraphOptions { debug: true, ..GraphOptions::default() };
    let mut engine = try_engine::<S>(LLAMA, &config("{}"), with_graphs(graphs)).unwrap();
    let found = engine.generate(requests).unwrap();
    // The same padded shapes, so the same bits.
    assert_eq!(found, expected);
    let stats = engine.stats();
    assert_eq!(stats.steps.total_replays(), 0);
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["eager_steps"]["debug"], 5, "{json}");
}

#[test]
fn steps_without_a_graph_are_counted_with_the_reason() {
    let compilation = CompilationConfig::from_json(
        r#"{"cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": [1, 2]}"#,
    );
    let config = EngineConfig { compilation: compilation.unwrap(), ..config("{}") };
    let mut engine = engine::<CpuStream>(LLAMA, &config);
    let requests = prompts(4, 9).into_iter().map(|prompt| greedy(prompt, 3)).collect();
    engine.generate(requests).unwrap();
    engine.generate(vec![greedy(vec![5, 6], 4)]).unwrap();
    let json = serde_json::to_value(engine.stats()).unwrap();
    assert_eq!(json["graph_replays"], 3, "{json}");
    let reasons = serde_json::json!({"above-largest": 2, "shape": 2});
    assert_eq!(json["eager_steps"], reasons, "{json}");
}
