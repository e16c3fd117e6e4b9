//! Which other requests share a step, how a prompt is cut, and who is preempted change nothing.

use tintype_runner::{Completion, EngineOptions, FinishReason};

use super::*;

on_each_stream! {
    a_batch_gives_what_its_requests_give_alone,
    requests_that_join_on_the_way_change_nothing,
    a_prompt_in_chunks_gives_what_it_gives_whole,
    preemption_changes_nothing,
    an_aborted_request_leaves_the_others_alone,
    generate_swallows_no_tokens_of_others,
    the_longest_length_ends_a_sequence,
}

fn requests<S: TestStream>(num_requests: usize) -> Vec<Request> {
    let num_requests = S::size(num_requests, num_requests.min(8));
    let lengths = (0..num_requests).map(|i| 4 + i * 5 % S::size(23, 6));
    let prompts = prompts(num_requests, S::size(20, 9)).into_iter();
    prompts.zip(lengths).map(|(p, len)| greedy(p, len)).collect()
}

/// What comes of each request when it has the engine to itself.
fn one_by_one<S: TestStream>(requests: &[Request]) -> Vec<Completion> {
    let mut engine = engine::<S>(LLAMA, &eager_config());
    let alone = |request: &Request| engine.generate(vec![request.clone()]).unwrap().remove(0);
    requests.iter().map(alone).collect()
}

fn a_batch_gives_what_its_requests_give_alone<S: TestStream>() {
    let requests = requests::<S>(20);
    let expected = one_by_one::<S>(&requests);
    let found = engine::<S>(LLAMA, &config("{}")).generate(requests).unwrap();
    let compared = assert_same(&found, &expected, "as a batch");
    println!("{compared} tokens compared");
}

fn generate_swallows_no_tokens_of_others<S: TestStream>() {
    let mut engine = engine::<S>(LLAMA, &eager_config());
    let request = requests::<S>(1).remove(0);
    let id = engine.add_request(request.clone()).unwrap();
    let error = engine.generate(vec![request.clone()]).unwrap_err().to_string();
    assert!(error.starts_with("1 requests that were added before are unfinished"), "{error}");
    assert!(engine.abort(id));
    assert_eq!(engine.generate(vec![request]).unwrap().len(), 1);
}

fn requests_that_join_on_the_way_change_nothing<S: TestStream>() {
    let requests = requests::<S>(12);
    let expected = one_by_one::<S>(&requests);
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let mut found = vec![Vec::new(); requests.len()];
    let mut waiting = requests.into_iter();
    loop {
        if let Some(request) = waiting.next() {
            engine.add_request(request).unwrap();
        }
        if !engine.has_unfinished() {
            break;
        }
        for output in engine.step().unwrap().outputs {
            found[output.id.0 as usize].push(output.token_id);
        }
    }
    for (found, expected) in found.iter().zip(&expected) {
        let completion = Completion { output_ids: found.clone(), ..expected.clone() };
        assert_same(&[completion], std::slice::from_ref(expected), "joined on the way");
    }
}

fn a_prompt_in_chunks_gives_what_it_gives_whole<S: TestStream>() {
    let prompts = vec![prompts(1, 1)[0].repeat(S::size(150, 50)), prompts(40, 40)[17].clone()];
    let requests: Vec<_> =
        prompts.into_iter().map(|prompt| greedy(prompt, S::size(10, 3))).collect();
    let whole = EngineConfig { max_num_batched_tokens: 512, ..eager_config() };
    let expected = engine::<S>(LLAMA, &whole).generate(requests.clone()).unwrap();
    for max_num_batched_tokens in [8, 17, 64] {
        for config in [eager_config(), config("{}")] {
            let config = EngineConfig { max_num_batched_tokens, ..config };
            let found = engine::<S>(LLAMA, &config).generate(requests.clone()).unwrap();
            assert_same(&found, &expected, &format!("chunks of {max_num_batched_tokens}"));
        }
    }
}

fn preemption_changes_nothing<S: TestStream>() {
    let requests = requests::<S>(8);
    let expected = one_by_one::<S>(&requests);
    for config in [eager_config(), config("{}")] {
        let config = EngineConfig { block_size: 4, max_model_len: Some(S::size(48, 24)), ..config };
        let num_kv_blocks = Some(S::size(14, 7));
        let options = EngineOptions { num_kv_blocks, ..EngineOptions::default() };
        let mut engine = try_engine::<S>(LLAMA, &config, options).unwrap();
        let found = engine.generate(requests.clone()).unwrap();
        assert_same(&found, &expected, "with preemption");
        let stats = engine.stats();
        assert!(stats.preemptions > 0, "nothing was preempted");
        let num_tokens: usize = found.iter().map(|completion| completion.output_ids.len()).sum();
        assert_eq!(stats.output_tokens, num_tokens as u64);
    }
}

fn an_aborted_request_leaves_the_others_alone<S: TestStream>() {
    let requests = requests::<S>(6);
    let expected = one_by_one::<S>(&requests);
    let mut engine = engine::<S>(LLAMA, &config("{}"));
    let ids: Vec<_> =
        requests.into_iter().map(|request| engine.add_request(request).unwrap()).collect();
    let mut found = vec![Vec::new(); ids.len()];
    for step in 0.. {
        if step == 2 {
            assert!(engine.abort(ids[3]) && !engine.abort(ids[3]));
        }
        if !engine.has_unfinished() {
            break;
        }
        for output in engine.step().unwrap().outputs {
            found[output.id.0 as usize].push(output.token_id);
        }
    }
    assert!(found[3].len() <= 2, "the aborted one went on");
    for i in [0, 1, 2, 4, 5] {
        let completion = Completion { output_ids: found[i].clone(), ..expected[i].clone() };
        assert_same(&[completion], &expected[i..=i], "beside an aborted one");
    }
}

fn the_longest_length_ends_a_sequence<S: TestStream>() {
    let config = EngineConfig { max_model_len: Some(12), ..config("{}") };
    let mut engine = engine::<S>(LLAMA, &config);
    let found = engine.generate(vec![greedy(vec![7; 5], 100)]).unwrap().remove(0);
    assert_eq!((found.output_ids.len(), found.finish_reason), (7, FinishReason::Length));
    let error = engine.add_request(greedy(vec![7; 12], 1)).unwrap_err().to_string();
    assert!(error.contains("prompt has 12 tokens, but max_model_len is 12"), "{error}");
}
