//! Limits that do not fit, and the notes about what was lowered.

use tintype_runner::EngineOptions;

use super::*;

fn refusal(config: &EngineConfig, options: EngineOptions) -> String {
    match try_engine::<CpuStream>(LLAMA, config, options) {
        Ok(_) => panic!("{config:?} with {options:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_length_beyond_the_models_is_refused() {
    let config = EngineConfig { max_model_len: Some(513), ..config("{}") };
    let error = refusal(&config, EngineOptions::default());
    assert!(error.contains("max_model_len = 513, but the model has 512 positions"), "{error}");
}

#[test]
fn a_small_kv_cache_lowers_the_models_length_with_a_note_but_not_the_users() {
    let options = EngineOptions { num_kv_blocks: Some(3), ..EngineOptions::default() };
    let engine = try_engine::<CpuStream>(LLAMA, &config("{}"), options).unwrap();
    assert_eq!((engine.max_model_len(), engine.num_kv_blocks()), (48, 3));
    let note = engine.notes().iter().find(|note| note.field == "max_model_len").unwrap();
    assert_eq!((note.asked.as_str(), note.got.as_str()), ("512 (the model's)", "48"));
    let config = EngineConfig { max_model_len: Some(49), ..config("{}") };
    let error = refusal(&config, options);
    assert!(error.contains("a sequence of 49 tokens takes 32768 bytes of KV cache"), "{error}");
    let none = EngineOptions { num_kv_blocks: Some(0), ..EngineOptions::default() };
    assert!(refusal(&config, none).contains("num_kv_blocks = 0"));
}

#[test]
fn by_default_every_sequence_has_room_for_its_full_length() {
    let engine = try_engine::<CpuStream>(LLAMA, &config("{}"), EngineOptions::default()).unwrap();
    assert_eq!((engine.max_model_len(), engine.num_kv_blocks()), (512, 8 * 512 / 16));
    assert!(engine.notes().is_empty(), "{:?}", engine.notes());
}

#[test]
fn a_batch_padded_beyond_max_num_seqs_has_room() {
    // Five sequences decode at the only size there is, eight.
    let compilation = r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [8]}"#;
    let config = EngineConfig { max_num_seqs: 5, ..config(compilation) };
    let mut engine = engine::<CpuStream>(LLAMA, &config);
    let requests: Vec<_> = prompts(5, 1).into_iter().map(|prompt| greedy(prompt, 9)).collect();
    let found = engine.generate(requests.clone()).unwrap();
    assert_eq!(engine.stats().steps.total_eager(), 0);
    let expected = self::engine::<CpuStream>(LLAMA, &eager_config()).generate(requests).unwrap();
    assert_same(&found, &expected, "padded to eight");
}

#[test]
fn counts_that_devices_cannot_hold_are_refused() {
    let config = EngineConfig { max_num_batched_tokens: 1 << 40, ..eager_config() };
    let error = refusal(&config, EngineOptions::default());
    assert!(error.contains("`max_num_batched_tokens` = 1099511627776"), "{error}");
}
