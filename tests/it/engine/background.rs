//! Captures in the background: behind steps, in front of nothing that anybody waits for.

use std::time::Duration;

use tintype_graph::{CapturePolicy, GraphKey, GraphMode, GraphOptions, OnCaptureFailure};
use tintype_ops::Stream;

use super::watched::{self, Call, Fault};
use super::*;

on_each_stream! {
    the_text_is_that_of_start_up_and_of_eager,
    every_graph_is_captured_in_the_end,
    nothing_is_captured_where_nothing_is_replayed,
}

const BACKGROUND: GraphOptions = GraphOptions {
    policy: CapturePolicy::Background,
    on_capture_failure: OnCaptureFailure::Error,
    verify: false,
    debug: false,
    force_eager: false,
};

const FULL: &str = r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [1, 2, 4, 8]}"#;
const BOTH: &str = r#"{"cudagraph_mode": "FULL_AND_PIECEWISE", "cudagraph_capture_sizes": [1, 4]}"#;

fn with(graphs: GraphOptions) -> EngineOptions {
    EngineOptions { num_kv_blocks: Some(64), graphs, ..EngineOptions::default() }
}

fn requests(num_requests: usize, max_tokens: usize) -> Vec<Request> {
    prompts(num_requests, 9).into_iter().map(|prompt| greedy(prompt, max_tokens)).collect()
}

/// Requests that do not bring their logits to the host.
fn plain_requests(num_requests: usize, max_tokens: usize) -> Vec<Request> {
    let mut requests = requests(num_requests, max_tokens);
    requests.iter_mut().for_each(|request| request.params.logprobs = None);
    requests
}

/// What has a graph, in the order of start-up.
fn captured<S: Stream>(engine: &Engine<S>) -> Vec<GraphKey> {
    engine.capture_report().graphs.iter().map(|graph| graph.key).collect()
}

/// The sizes of decode graphs that there are, ascending.
fn decode_sizes<S: Stream>(engine: &Engine<S>) -> Vec<u32> {
    let keys = captured(engine).into_iter().filter(|key| key.descriptor.uniform);
    let mut sizes: Vec<_> = keys.map(|key| key.descriptor.num_tokens).collect();
    sizes.sort_unstable();
    sizes
}

fn the_text_is_that_of_start_up_and_of_eager<S: TestStream>() {
    let requests = requests(3, S::size(12, 4));
    let eager = engine::<S>(LLAMA, &eager_config()).generate(requests.clone()).unwrap();
    for mode in [FULL, BOTH] {
        let startup = engine::<S>(LLAMA, &config(mode)).generate(requests.clone()).unwrap();
        let mut engine = try_engine::<S>(LLAMA, &config(mode), with(BACKGROUND)).unwrap();
        let found = engine.generate(requests.clone()).unwrap();
        // The same padded shapes, so the same bits.
        assert_eq!(found, startup, "{mode}");
        assert_same(&found, &eager, mode);
        assert!(engine.stats().steps.total_replays() > 0, "{mode}: nothing was replayed");
    }
}

fn nothing_is_captured_where_nothing_is_replayed<S: TestStream>() {
    let debug = GraphOptions { debug: true, ..BACKGROUND };
    let forced = GraphOptions { force_eager: true, ..BACKGROUND };
    for graphs in [debug, forced] {
        let mut engine = try_engine::<S>(LLAMA, &config(FULL), with(graphs)).unwrap();
        engine.generate(requests(1, 3)).unwrap();
        assert_eq!(captured(&engine), vec![], "{graphs:?}");
    }
}

fn every_graph_is_captured_in_the_end<S: TestStream>() {
    for mode in [FULL, BOTH] {
        let expected = captured(&engine::<S>(LLAMA, &config(mode)));
        let mut engine = try_engine::<S>(LLAMA, &config(mode), with(BACKGROUND)).unwrap();
        assert_eq!((captured(&engine), engine.stats().captured_after_ms), (vec![], None));
        // At least one graph goes with each step.
        engine.generate(requests(2, expected.len())).unwrap();
        assert_eq!(captured(&engine), expected, "{mode}");
        assert!(engine.graphs().is_sealed());
        let stats = engine.stats();
        assert!(stats.capture_ms > 0.0 && stats.captured_after_ms > Some(stats.load_ms));
        let before = stats.steps.total_eager();
        engine.generate(requests(1, 2)).unwrap();
        assert_eq!(engine.stats().steps.total_eager(), before, "{mode}: a graph is missing");
    }
}

#[test]
fn captures_lie_between_the_draw_and_the_wait() {
    let (mut engine, watch) = watched::engine(&config(FULL), BACKGROUND);
    engine.add_request(plain_requests(1, 9).remove(0)).unwrap();
    engine.step().unwrap();
    let calls = watch.take_calls();
    assert_eq!(calls[..3], [Call::Upload; 3], "inputs, tokens and block tables");
    assert_eq!(calls[3..], [Call::Sample, Call::StartDownload, Call::Capture, Call::Download]);
    engine.step().unwrap();
    let calls = watch.take_calls();
    assert_eq!(calls[..4], [Call::Upload, Call::Upload, Call::Replay, Call::Sample]);
    let expected = [Call::StartDownload, Call::Capture, Call::Download];
    assert_eq!(calls[4..], expected, "the second step replays what was captured behind the first");
}

#[test]
fn a_step_that_waits_for_logits_is_used_before_that() {
    let (mut engine, watch) = watched::engine(&config(FULL), BACKGROUND);
    engine.add_request(requests(1, 9).remove(0)).unwrap();
    engine.step().unwrap();
    let drawn = [Call::Sample, Call::StartDownload, Call::Download];
    let expected = [&[Call::Capture, Call::Download][..], &drawn].concat();
    assert_eq!(watch.take_calls()[3..], expected);
}

#[test]
fn as_many_captures_follow_a_step_as_fit_behind_it() {
    let (mut engine, watch) = watched::engine(&config("{}"), BACKGROUND);
    engine.add_request(plain_requests(1, 9).remove(0)).unwrap();
    let mut num_captured = |delay| {
        watch.delay.set(delay);
        engine.step().unwrap();
        captured(&engine).len()
    };
    // Room for two captures, however busy the machine is.
    let long = Duration::from_millis(500);
    // Nothing is known of the first prompt, nor of the first decode.
    assert_eq!([num_captured(Duration::ZERO), num_captured(long)], [1, 2]);
    assert!(num_captured(Duration::ZERO) > 3);
}

#[test]
fn what_the_next_step_needs_is_captured_first_then_what_the_last_one_lacked() {
    let (mut engine, _) = watched::engine(&config(BOTH), BACKGROUND);
    for request in plain_requests(3, 9) {
        engine.add_request(request).unwrap();
    }
    // A prompt of more tokens than the largest graph lacks none.
    engine.step().unwrap();
    assert_eq!(decode_sizes(&engine), [4]);
    engine.abort(tintype_runner::RequestId(1));
    engine.abort(tintype_runner::RequestId(2));
    engine.add_request(plain_requests(1, 9).remove(0)).unwrap();
    // One decode beside a prompt of one token: two tokens, padded to 4, in pieces.
    let step = engine.step().unwrap();
    assert_eq!((step.num_tokens, step.is_decode), (2, false));
    let pieces = |key: &GraphKey| key.mode == GraphMode::Piecewise;
    let found: Vec<_> = captured(&engine).into_iter().filter(pieces).collect();
    assert_eq!(found.iter().map(|key| key.descriptor.num_tokens).collect::<Vec<_>>(), [4]);
    assert_eq!(decode_sizes(&engine), [4], "1 was neither lacked nor is it needed next");
}

#[test]
fn an_idle_caller_captures_the_rest() {
    let expected = captured(&engine::<CpuStream>(LLAMA, &config(BOTH)));
    let (mut engine, watch) = watched::engine(&config(BOTH), BACKGROUND);
    let mut num_captured = 0;
    while engine.capture_next().unwrap().is_some() {
        num_captured += 1;
    }
    assert_eq!((num_captured, captured(&engine)), (expected.len(), expected));
    assert!(engine.graphs().is_sealed() && engine.stats().captured_after_ms.is_some());
    assert!(watch.take_calls().iter().all(|call| *call == Call::Capture), "nothing else is done");
    engine.generate(plain_requests(1, 3)).unwrap();
    assert!(!watch.take_calls().contains(&Call::Capture));
}

#[test]
fn a_failed_capture_takes_nothing_from_its_step_and_fails_the_next() {
    let requests = plain_requests(2, 4);
    let expected = engine::<CpuStream>(LLAMA, &config(FULL)).generate(requests.clone()).unwrap();
    let (mut engine, watch) = watched::engine(&config(FULL), BACKGROUND);
    watch.fault.set(Fault::Instantiate);
    for request in &requests {
        engine.add_request(request.clone()).unwrap();
    }
    let tokens: Vec<_> = engine.step().unwrap().outputs.iter().map(|out| out.token_id).collect();
    assert_eq!(tokens, [expected[0].output_ids[0], expected[1].output_ids[0]]);
    let error = engine.step().unwrap_err();
    assert!(matches!(&error, EngineError::Step { failed, .. } if failed.len() == 2), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("instantiating") && text.contains("on_capture_failure"), "{text}");
    assert!(!engine.has_unfinished());
    // It failed once, and once is enough.
    engine.synchronize().unwrap();
    watch.fault.set(Fault::None);
    assert_eq!(engine.generate(requests).unwrap(), expected);
}

#[test]
fn a_failure_behind_the_very_last_step_is_not_lost() {
    let (mut engine, watch) = watched::engine(&config(FULL), BACKGROUND);
    watch.fault.set(Fault::Instantiate);
    assert_eq!(engine.generate(plain_requests(2, 1)).unwrap().len(), 2, "all tokens are there");
    let error = engine.synchronize().unwrap_err().to_string();
    assert!(error.contains("instantiating"), "{error}");
    assert!(engine.capture_next().is_err(), "the next capture fails by itself");
    watch.fault.set(Fault::None);
    assert!(engine.capture_next().unwrap().is_some());
}

#[test]
fn requests_outlive_failed_captures_when_told_to() {
    let expected = engine::<CpuStream>(LLAMA, &config(FULL)).generate(requests(3, 6)).unwrap();
    let options = GraphOptions { on_capture_failure: OnCaptureFailure::Eager, ..BACKGROUND };
    let (mut engine, watch) = watched::engine(&config(FULL), options);
    watch.fault.set(Fault::Instantiate);
    let found = engine.generate(requests(3, 6)).unwrap();
    assert_same(&found, &expected, "without graphs");
    let report = engine.capture_report();
    assert!(report.graphs.is_empty() && !report.notes.is_empty(), "{report:?}");
    assert_eq!(engine.stats().steps.total_replays(), 0);
}
