//! Sampling: seeds, filters, penalties and log-probabilities through the whole engine.

use std::collections::BTreeSet;

use tintype_runner::{Completion, SamplingParams};

use super::*;

on_each_stream! {
    a_seed_gives_the_same_text_at_any_batch_composition,
    without_a_seed_requests_differ_and_a_rerun_does_not,
    one_of_one_token_is_greedy,
    penalties_keep_tokens_from_coming_back,
    logprobs_are_of_the_raw_logits,
}

/// A request that draws `len` tokens.
fn sampled(prompt_ids: Vec<u32>, len: usize, seed: Option<u64>) -> Request {
    let mut request = greedy(prompt_ids, len);
    request.params = SamplingParams {
        temperature: 0.9,
        top_k: 50,
        top_p: 0.95,
        min_p: 0.01,
        seed,
        ..request.params
    };
    request
}

fn tokens(completions: &[Completion]) -> Vec<Vec<u32>> {
    completions.iter().map(|completion| completion.output_ids.clone()).collect()
}

fn a_seed_gives_the_same_text_at_any_batch_composition<S: TestStream>() {
    let requests: Vec<_> = prompts(7, 12)
        .into_iter()
        .zip(100..)
        .map(|(p, seed)| sampled(p, S::size(16, 6), Some(seed)))
        .collect();
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let together = tokens(&engine.generate(requests.clone()).unwrap());
    for size in [1, 2, 5] {
        let chunks = requests.chunks(size);
        let apart: Vec<_> =
            chunks.flat_map(|chunk| tokens(&engine.generate(chunk.to_vec()).unwrap())).collect();
        assert_eq!(apart, together, "in batches of {size}");
    }
    let others =
        prompts(7, 12).into_iter().map(|prompt| sampled(prompt, S::size(16, 6), Some(7))).collect();
    assert_ne!(tokens(&engine.generate(others).unwrap()), together);
}

fn without_a_seed_requests_differ_and_a_rerun_does_not<S: TestStream>() {
    let run = |seed| {
        let mut engine = engine::<S>(LLAMA, &EngineConfig { seed, ..config("{}") });
        tokens(&engine.generate(vec![sampled(vec![5, 6, 7], S::size(16, 8), None); 4]).unwrap())
    };
    let first = run(1);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "equal prompts drew alike");
    assert_eq!(run(1), first);
    assert_ne!(run(2), first);
}

fn one_of_one_token_is_greedy<S: TestStream>() {
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let expected = engine.generate(vec![greedy(vec![9, 8, 7], 8)]).unwrap();
    let mut request = sampled(vec![9, 8, 7], 16, Some(3));
    request.params = SamplingParams { top_k: 1, max_tokens: Some(8), ..request.params };
    assert_eq!(tokens(&engine.generate(vec![request]).unwrap()), tokens(&expected));
}

fn penalties_keep_tokens_from_coming_back<S: TestStream>() {
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let num_distinct = |change: fn(&mut SamplingParams), engine: &mut Engine<S>| {
        let mut request = greedy(vec![11, 12, 13, 14], 40);
        change(&mut request.params);
        // Beside a request that asks for none, which must not notice.
        let plain = greedy(vec![11, 12, 13, 14], 40);
        let completions = engine.generate(vec![request, plain]).unwrap();
        let distinct: BTreeSet<_> = completions[0].output_ids.iter().copied().collect();
        (distinct.len(), completions[1].output_ids.clone())
    };
    let (without, plain) = num_distinct(|_| (), &mut engine);
    for change in
        [(|params| params.repetition_penalty = 1e6) as fn(&mut SamplingParams), |params| {
            (params.presence_penalty, params.frequency_penalty) = (2.0, 2.0)
        }]
    {
        let (with, beside) = num_distinct(change, &mut engine);
        assert!(with > without, "{with} distinct tokens with a penalty, {without} without");
        assert_eq!(beside, plain);
    }
}

fn logprobs_are_of_the_raw_logits<S: TestStream>() {
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let mut request = greedy(vec![20, 21, 22], 5);
    request.params.logprobs = Some(320);
    let plain = engine.generate(vec![request.clone()]).unwrap().remove(0);
    for step in plain.logprobs.unwrap() {
        assert_eq!(step.chosen, step.top[0]);
        let sum: f64 = step.top.iter().map(|token| f64::from(token.logprob).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "probabilities sum to {sum}");
        assert!(step.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
    }
    // A penalty and a temperature change what is drawn, not what the model found likely.
    let first = |request: Request, engine: &mut Engine<S>| {
        engine.generate(vec![request]).unwrap().remove(0).logprobs.unwrap().remove(0).top
    };
    let raw = first(request.clone(), &mut engine);
    request.params.repetition_penalty = 1e6;
    request.params.temperature = 3.0;
    assert_eq!(first(request, &mut engine), raw);
}

#[test]
fn bad_parameters_are_refused_and_the_others_run() {
    let mut engine = engine::<CpuStream>(LLAMA, &config("{}"));
    let mut bad = greedy(vec![5], 3);
    bad.params.top_p = 0.0;
    let error = engine.add_request(bad).unwrap_err().to_string();
    assert_eq!(error, "top_p = 0: expected above 0, at most 1");
    let error = engine.add_request(greedy(vec![320], 3)).unwrap_err().to_string();
    assert_eq!(error, "token id 320 is not in the model's vocabulary of 320");
    let error = engine.add_request(greedy(vec![], 3)).unwrap_err().to_string();
    assert!(error.contains("the prompt is empty"), "{error}");
    let error = engine.generate(vec![greedy(vec![5], 3), greedy(vec![], 3)]).unwrap_err();
    assert!(error.to_string().contains("the prompt is empty"), "{error}");
    assert!(!engine.has_unfinished(), "a refused list left a request behind");
    assert_eq!(engine.generate(vec![greedy(vec![5], 3)]).unwrap()[0].output_ids.len(), 3);
}
