//! Steps that are queued before the tokens of the one in front are known: the same tokens.

use tintype_graph::GraphOptions;
use tintype_runner::{Completion, EngineOptions, FinishReason, RequestId};

use super::watched::{self, Call, Fault};
use super::*;

on_each_stream! {
    the_tokens_are_those_of_steps_one_by_one,
    draws_are_those_of_steps_one_by_one,
    preemption_takes_no_token,
    a_sequence_that_ends_unforeseen_lets_go_of_what_follows,
    requests_come_and_go_on_the_way,
}

const AHEAD: EngineOptions = EngineOptions {
    num_kv_blocks: Some(64),
    kv_memory_fraction: 0.5,
    async_scheduling: Some(true),
    graphs: GraphOptions {
        policy: tintype_graph::CapturePolicy::Startup,
        on_capture_failure: tintype_graph::OnCaptureFailure::Error,
        verify: false,
        debug: false,
        force_eager: false,
    },
};

const ONE_BY_ONE: EngineOptions = EngineOptions { async_scheduling: Some(false), ..AHEAD };

const FULL: &str = r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [1, 2, 4, 8]}"#;

/// Requests of different lengths. They report log-probabilities, so none is queued ahead.
fn requests<S: TestStream>(num_requests: usize) -> Vec<Request> {
    let lengths = (0..).map(|i| 3 + i * 5 % S::size(17, 7));
    prompts(num_requests, 9).into_iter().zip(lengths).map(|(p, len)| greedy(p, len)).collect()
}

/// The same without log-probabilities, so that nothing has to come to the host but tokens.
fn plain(requests: &[Request]) -> Vec<Request> {
    let mut requests = requests.to_vec();
    requests.iter_mut().for_each(|request| request.params.logprobs = None);
    requests
}

fn generate<S: TestStream>(
    config: &EngineConfig,
    options: EngineOptions,
    requests: Vec<Request>,
) -> Vec<Completion> {
    try_engine::<S>(LLAMA, config, options).unwrap().generate(requests).unwrap()
}

fn the_tokens_are_those_of_steps_one_by_one<S: TestStream>() {
    // More than run at once, so that prompts join decodes.
    let requests = requests::<S>(11);
    let both = r#"{"cudagraph_mode": "FULL_AND_PIECEWISE", "cudagraph_capture_sizes": [1, 4]}"#;
    for config in [eager_config(), config(FULL), config(both)] {
        let expected = generate::<S>(&config, ONE_BY_ONE, requests.clone());
        let found = generate::<S>(&config, AHEAD, plain(&requests));
        assert_same(&found, &expected, "ahead");
    }
}

fn draws_are_those_of_steps_one_by_one<S: TestStream>() {
    let mut requests = plain(&requests::<S>(4));
    for (request, seed) in requests.iter_mut().zip(1..) {
        let params = &mut request.params;
        (params.temperature, params.seed, params.max_tokens) = (1.0, Some(seed), Some(9));
    }
    let expected = generate::<S>(&config(FULL), ONE_BY_ONE, requests.clone());
    assert_eq!(generate::<S>(&config(FULL), AHEAD, requests), expected);
}

fn preemption_takes_no_token<S: TestStream>() {
    let requests = requests::<S>(8);
    let config = EngineConfig { block_size: 4, max_model_len: Some(32), ..config(FULL) };
    let expected = generate::<S>(&config, ONE_BY_ONE, requests.clone());
    let few = EngineOptions { num_kv_blocks: Some(9), ..AHEAD };
    let mut engine = try_engine::<S>(LLAMA, &config, few).unwrap();
    let found = engine.generate(plain(&requests)).unwrap();
    assert_same(&found, &expected, "with preemption");
    assert!(engine.stats().preemptions > 0, "nothing was preempted");
}

fn a_sequence_that_ends_unforeseen_lets_go_of_what_follows<S: TestStream>() {
    let mut requests = requests::<S>(3);
    requests.iter_mut().for_each(|request| request.params.max_tokens = Some(8));
    let expected = generate::<S>(&config(FULL), ONE_BY_ONE, requests.clone());
    let mut requests = plain(&requests);
    let stopped = &expected[1].output_ids;
    requests[1].params.stop_token_ids = vec![stopped[3]];
    let mut engine = try_engine::<S>(LLAMA, &config(FULL), AHEAD).unwrap();
    let found = engine.generate(requests.clone()).unwrap();
    let end = stopped.iter().position(|token| *token == stopped[3]).unwrap();
    assert_eq!(found[1].output_ids, stopped[..=end]);
    assert_eq!(found[1].finish_reason, FinishReason::Stop);
    for i in [0, 2] {
        assert_same(&found[i..=i], &expected[i..=i], "beside one that ended");
    }
    // It was on its way once more when it ended, and so is the very last step here.
    let alone = vec![requests[1].clone()];
    assert_eq!(engine.generate(alone.clone()).unwrap(), found[1..=1]);
    assert_eq!(engine.generate(alone).unwrap(), found[1..=1], "after a step of nobody's");
    assert!(engine.step().unwrap().outputs.is_empty());
}

fn requests_come_and_go_on_the_way<S: TestStream>() {
    let requests = requests::<S>(6);
    let alone = |request: &Request| {
        generate::<S>(&eager_config(), ONE_BY_ONE, vec![request.clone()]).remove(0)
    };
    let expected: Vec<_> = requests.iter().map(alone).collect();
    let mut engine = try_engine::<S>(LLAMA, &config(FULL), AHEAD).unwrap();
    let mut found = vec![Vec::new(); requests.len()];
    let mut waiting = plain(&requests).into_iter();
    for step in 0.. {
        if let Some(request) = waiting.next() {
            engine.add_request(request).unwrap();
        }
        if !engine.has_unfinished() {
            break;
        }
        for output in engine.step().unwrap().outputs {
            found[output.id.0 as usize].push(output.token_id);
        }
        if step == 3 {
            assert!(engine.abort(RequestId(1)) && !engine.abort(RequestId(1)));
            found[1].clear();
        }
    }
    assert_eq!(found[1], [0u32; 0], "a token came of a request that was dropped");
    for i in [0, 2, 3, 4, 5] {
        let completion = Completion { output_ids: found[i].clone(), ..expected[i].clone() };
        assert_same(&[completion], &expected[i..=i], "on the way");
    }
}

#[test]
fn the_next_step_is_queued_before_the_tokens_come() {
    let (mut engine, watch) = watched::engine_with(&config(FULL), AHEAD);
    engine.add_request(plain(&[greedy(vec![7; 9], 4)]).remove(0)).unwrap();
    let prompt = [Call::Upload, Call::Upload, Call::Upload, Call::Sample, Call::StartDownload];
    // The token is on the device, and so is the block table.
    let decode = [Call::Upload, Call::Replay, Call::Sample, Call::StartDownload];
    let step = |engine: &mut Engine<_>| {
        assert_eq!(engine.step().unwrap().outputs.len(), 1);
        watch.take_calls()
    };
    assert_eq!(step(&mut engine), [&prompt[..], &decode, &[Call::Download]].concat());
    assert_eq!(step(&mut engine), [&decode[..], &[Call::Download]].concat());
    assert_eq!(step(&mut engine), [&decode[..], &[Call::Download]].concat());
    assert_eq!(step(&mut engine), [Call::Download], "no step follows the last token");
    assert!(!engine.has_unfinished());
}

#[test]
fn a_device_that_does_not_run_beside_the_host_is_given_no_step_ahead() {
    let (mut engine, watch) = watched::engine(&config(FULL), GraphOptions::default());
    engine.add_request(plain(&[greedy(vec![7; 9], 4)]).remove(0)).unwrap();
    engine.step().unwrap();
    assert_eq!(watch.take_calls().last(), Some(&Call::Download));
    assert!(!watch.take_calls().contains(&Call::Replay));
}

#[test]
fn a_step_ahead_that_fails_takes_no_token_and_fails_the_next() {
    let request = plain(&[greedy(vec![7; 3], 6)]).remove(0);
    let (mut engine, watch) = watched::engine_with(&config(FULL), AHEAD);
    let expected = engine.generate(vec![request.clone()]).unwrap();
    for fault in [Fault::Upload, Fault::Replay, Fault::Enqueue] {
        engine.add_request(request.clone()).unwrap();
        let mut found = Vec::new();
        let mut step = |engine: &mut Engine<_>| {
            found.extend(engine.step()?.outputs.iter().map(|output| output.token_id));
            Ok::<_, EngineError>(())
        };
        step(&mut engine).unwrap();
        watch.fault.set(fault);
        step(&mut engine).unwrap();
        let error = step(&mut engine).unwrap_err().to_string();
        assert!(error.contains("fell off the bus"), "{fault:?}: {error}");
        assert_eq!(found, expected[0].output_ids[..2], "{fault:?}");
        watch.fault.set(Fault::None);
        assert_eq!(engine.generate(vec![request.clone()]).unwrap(), expected, "{fault:?}");
    }
}
