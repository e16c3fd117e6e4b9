//! Captures and replays that fail: what is said, and what still works.

use tintype_graph::{
    CapturePolicy, Dispatch, EagerReason, GraphError, GraphOptions, OnCaptureFailure, Ran,
};
use tintype_ops::{Enqueue, Error};

use crate::support::{BOTH, DECODE, Event, Fault, full, piecewise, rig};

fn lenient(policy: CapturePolicy) -> GraphOptions {
    let on_capture_failure = OnCaptureFailure::Eager;
    GraphOptions { policy, on_capture_failure, ..GraphOptions::default() }
}

/// The message of a capture that fails so.
fn message(fault: Fault) -> String {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.stream.fault = Some(fault);
    let error = rig.capture_all().unwrap_err();
    assert!(!rig.pool.has(piecewise(8)));

    rig.stream.fault = None;
    rig.capture_all().expect("the stream is usable and the capture can be tried again");
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Replayed(full(4))));
    error.to_string()
}

#[test]
fn a_refused_op_is_named_with_its_tensors_and_the_way_out() {
    let message = message(Fault::Record("add"));
    assert!(message.starts_with("PIECEWISE graph for a mixed batch of 8 tokens"), "{message}");
    assert!(message.contains("recording op 3 `add out=f32[8x4]@b4 x=f32[8x4]@b3`"), "{message}");
    assert!(message.contains("recording is broken"), "{message}");
    assert!(message.contains("on_capture_failure") && message.contains("enforce_eager"));
}

#[test]
fn every_phase_says_which_ops_it_was_at() {
    let cases = [
        (Fault::EndCapture, "recording the graph of ops 0..2 failed"),
        (Fault::Instantiate, "instantiating the graph of ops 0..2 failed"),
        (Fault::Upload, "uploading the graph of ops 0..2 failed"),
    ];
    for (fault, expected) in cases {
        let message = message(fault);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_audit_finds_an_op_that_the_graph_lost() {
    let message = message(Fault::LoseOp);
    let expected = "the graph of ops 0..2 holds 1 ops, but 2 were recorded";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_forward_pass_that_cannot_be_queued_keeps_its_own_words() {
    let mut rig = rig(DECODE, GraphOptions::default());
    let mut queue = |_, _: &mut dyn Enqueue| Err(Error::Device("gone".into()).context("layer 7"));
    let error = rig.pool.capture(&mut rig.stream, full(4), &mut queue).unwrap_err();
    assert!(matches!(error, GraphError::Record { .. }), "{error:?}");
    assert!(error.to_string().contains("layer 7: device: gone"), "{error}");
    assert_eq!(rig.stream.take_events(), [], "the device was not asked");
}

#[test]
fn a_warmup_that_fails_says_so() {
    let config = r#"{
        "cudagraph_mode": "FULL", "cudagraph_capture_sizes": [4], "cudagraph_num_of_warmups": 1
    }"#;
    let mut rig = rig(config, GraphOptions::default());
    rig.stream.fault = Some(Fault::Op("add"));
    let error = rig.capture_all().unwrap_err();
    assert!(error.to_string().contains("a warmup before its capture failed: layer 0"), "{error}");
}

#[test]
fn start_up_goes_on_without_the_graph_when_told_to() {
    let mut rig = rig(BOTH, lenient(CapturePolicy::Startup));
    let forward = rig.forward;
    // Everything but the decode graph of 4 can be captured.
    let mut queue = |batch: tintype_graph::BatchDescriptor, queue: &mut dyn Enqueue| {
        let refused = batch == full(4).descriptor;
        let outcome = forward.queue(batch, queue);
        if refused { Err(Error::Device("out of nodes".into())) } else { outcome }
    };
    rig.pool.capture_all(&mut rig.stream, &mut queue, &mut |_| {}).unwrap();
    rig.pool.seal();

    let report = rig.pool.report();
    assert_eq!(report.graphs.len(), 4);
    assert_eq!(report.notes.len(), 1);
    assert_eq!(report.notes[0].key, full(4));
    assert!(report.notes[0].why.contains("out of nodes"), "{}", report.notes[0]);
    let instead = rig.pool.dispatcher().dispatch(3, 3, true);
    assert_eq!(instead, Dispatch::from(piecewise(4)), "the next best graph serves the batch");
}

#[test]
fn a_lazy_step_whose_capture_fails_still_runs_when_told_to() {
    let mut rig = rig(DECODE, lenient(CapturePolicy::Lazy));
    rig.stream.fault = Some(Fault::Instantiate);
    let poison = rig.forward.poison(&mut rig.stream);
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
    assert_ne!(rig.forward.result(&mut rig.stream, 4), poison[..64]);
    assert_eq!(rig.pool.report().notes.len(), 1);

    rig.stream.fault = None;
    rig.stream.take_events();
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
    assert!(!rig.stream.take_events().contains(&Event::Capture(6)), "it is not tried again");
    let dispatch = rig.pool.dispatcher().dispatch(4, 4, true);
    assert_eq!(dispatch, Dispatch::Eager(EagerReason::NotCaptured));
}

#[test]
fn a_lazy_step_whose_capture_fails_is_an_error_by_default() {
    let options = GraphOptions { policy: CapturePolicy::Lazy, ..GraphOptions::default() };
    let mut rig = rig(DECODE, options);
    rig.stream.fault = Some(Fault::Upload);
    assert!(matches!(rig.run(full(4).into()), Err(GraphError::Capture { .. })));
    rig.stream.fault = None;
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Captured(full(4))), "the next step may try again");
}

#[test]
fn a_background_capture_that_fails_may_be_tried_again_by_default() {
    let options = GraphOptions { policy: CapturePolicy::Background, ..GraphOptions::default() };
    let mut rig = rig(DECODE, options);
    rig.stream.fault = Some(Fault::Instantiate);
    rig.run(full(2).into()).unwrap();
    assert!(matches!(rig.capture_next(), Err(GraphError::Capture { key, .. }) if key == full(2)));
    assert_eq!(rig.run(full(2).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
    rig.stream.fault = None;
    assert_eq!(rig.capture_next(), Ok(Some(full(2))));
    assert_eq!(rig.run(full(2).into()), Ok(Ran::Replayed(full(2))));
}

#[test]
fn the_background_passes_over_captures_that_fail_when_told_to() {
    let mut rig = rig(DECODE, lenient(CapturePolicy::Background));
    rig.stream.fault = Some(Fault::Upload);
    rig.capture_next().unwrap();
    rig.stream.fault = None;
    while rig.capture_next().unwrap().is_some() {}
    assert!(rig.pool.is_complete());
    assert_eq!((rig.pool.report().graphs.len(), rig.pool.report().notes.len()), (2, 1));
}

#[test]
fn a_failed_replay_points_to_the_debug_run() {
    let mut rig = rig(DECODE, GraphOptions::default());
    rig.capture_all().unwrap();
    rig.stream.fault = Some(Fault::Replay);
    let error = rig.run(full(2).into()).unwrap_err().to_string();
    assert!(error.starts_with("FULL graph for a decode of 2 sequences"), "{error}");
    assert!(error.contains("GraphOptions::debug (--debug-cuda-graph)"), "{error}");
    rig.stream.fault = None;
    assert_eq!(rig.run(full(2).into()), Ok(Ran::Replayed(full(2))));
}

#[test]
fn a_fault_that_shows_later_is_put_down_to_the_step_that_ran_last() {
    let mut rig = rig(DECODE, GraphOptions::default());
    rig.capture(full(2)).unwrap();
    rig.run(full(2).into()).unwrap();
    let fault = || Error::Device("illegal address".into());
    let explained = rig.pool.explain(fault()).to_string();
    assert!(explained.contains("decode of 2 sequences"), "{explained}");
    assert!(explained.contains("illegal address"), "{explained}");
    assert!(explained.contains("GraphOptions::debug (--debug-cuda-graph)"), "{explained}");
    rig.run(full(4).into()).unwrap();
    assert_eq!(rig.pool.explain(fault()), GraphError::Stream(fault()), "no graph ran last");
}
